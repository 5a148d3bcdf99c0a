"""Counts what a sweep and a change cost: the numbers of docs/costs.md."""

import datetime
import json
import time
from collections import Counter

import costs
import observe
import sample_site
import stack
from calls import of_cloudfront
from pipeline import Pipeline
from recorder import Recorder

# CloudWatch Logs adds them to each line (CloudWatch Logs API Reference, PutLogEvents).
BYTES_OF_A_LINE = 26


def test_an_idle_sweep_makes_the_calls_and_emits_the_metrics_that_the_costs_count(
    running: Pipeline, recorder: Recorder
) -> None:
    assert running.wait(running.idle)
    # The mode that a flush has just read is not read again.
    running.restart_function()
    begun = time.time()
    before = counted(running, recorder)
    running.emulator.client("sqs").send_message(
        QueueUrl=running.stack.outputs["TickQueueUrl"], MessageGroupId="flush", MessageBody=f"sweep {begun}"
    )
    assert running.wait(lambda: "sqs:ReceiveMessage" in counted(running, recorder) - before)
    assert running.wait(running.idle)
    ended = time.time()
    paid = counted(running, recorder) - before
    # The mode, the pauses and the incidents may have been read a moment ago, by another test's flush.
    assert set(paid) <= {*costs.CALLS_OF_A_SWEEP, "cloudfront:ListDistributions"}
    for action, count in costs.CALLS_OF_A_SWEEP.items():
        assert paid[action] == count or (action == "s3:GetObject" and paid[action] < count), paid
    # The emulator collects a function's log with its next invocation.
    running.invoke_with_test_event()
    assert running.wait(lambda: len(emitted(running, begun, ended)) == costs.METRICS_OF_A_SWEEP), emitted(
        running, begun, ended
    )


def test_a_change_makes_the_calls_that_the_costs_count(running: Pipeline, recorder: Recorder) -> None:
    assert running.wait(running.idle)
    before = counted(running, recorder)
    running.emulator.client("s3").put_object(Bucket=sample_site.SITE, Key="counted.html", Body=b"changed")
    assert running.wait(lambda: "/counted.html" in running.invalidated_paths("www"))
    assert running.wait(running.idle)
    paid = counted(running, recorder) - before
    for action, count in costs.CALLS_OF_A_CHANGE.items():
        # A tag that was read a minute ago is not read again.
        assert paid[action] == count or action == "s3:GetBucketTagging", paid


def test_a_change_logs_no_more_than_the_costs_count(running: Pipeline) -> None:
    assert running.wait(running.idle)
    begun = time.time()
    running.emulator.client("s3").put_object(Bucket=sample_site.SITE, Key="logged.html", Body=b"changed")
    assert running.wait(lambda: "/logged.html" in running.invalidated_paths("www"))
    assert running.wait(running.idle)
    ended = time.time()
    # The emulator collects a function's log with its next invocation.
    running.invoke_with_test_event()
    assert running.wait(lambda: logged(running, begun, ended)["submit"] > 0)
    found = logged(running, begun, ended)
    assert found["ingest"] == costs.LOG_BYTES_OF_AN_EVENT
    # The sample site has two distributions: one serves the object, and of the other the log says why not.
    assert 0 < found["decision"] <= 2 * costs.LOG_BYTES_OF_A_DECISION
    assert 0 < found["flush"] <= costs.LOG_BYTES_OF_A_FLUSH
    assert found["submit"] <= costs.LOG_BYTES_OF_A_SUBMIT
    assert not set(found) - {"ingest", "decision", "flush", "submit"}, found


def logged(running: Pipeline, begun: float, ended: float) -> Counter[str]:
    """How many bytes were logged in this time, by stage; decisions on their own."""
    found = Counter()
    for line in observe.log_lines(running.emulator, running.stack.outputs["LogGroupName"]):
        if "_aws" in line:
            at = line["_aws"]["Timestamp"] / 1000
            stage = "flush" if "FlushesFinished" in line else "ingest" if "EventsSkipped" in line else "submit"
        else:
            at = datetime.datetime.fromisoformat(line["timestamp"]).timestamp()
            stage = "decision" if line["message"] == "decision" else line.get("stage", "other")
        if begun <= at <= ended:
            found[stage] += len(json.dumps(line, separators=(",", ":"))) + BYTES_OF_A_LINE
    return found


def counted(running: Pipeline, recorder: Recorder) -> Counter[str]:
    """How often the function of this stack has called what costs."""
    own = Counter()
    for call, count in recorder.counts.items():
        if f":{stack.NAME}-" in call.resource or call.resource.endswith(f":::{sample_site.SITE}"):
            own[call.action] += count
    own.update(of_cloudfront(call).action for call in running.cloudfront.calls())
    return own


def emitted(running: Pipeline, begun: float, ended: float) -> set[tuple[str, ...]]:
    """The metrics that the function emitted in this time, by their names and dimensions."""
    return {
        (metric["Name"], *(line[name] for name in dimensions))
        for line in observe.log_lines(running.emulator, running.stack.outputs["LogGroupName"])
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", [])
        if begun * 1000 <= line["_aws"]["Timestamp"] <= ended * 1000
        for dimensions in directive["Dimensions"]
        for metric in directive["Metrics"]
    }
