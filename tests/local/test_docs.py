"""What the commands of the docs do, run by the AWS CLI against the emulator."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import docs
import observe
import sample_site
from pipeline import Pipeline
from reader import AWS_CLI, Reader, with_definitions
from waiting import wait_until
from world import prepared

PAGES = [docs.ROOT / "docs" / name for name in ("deploy.md", "tag.md", "operate.md")]

pytestmark = pytest.mark.skipif(not AWS_CLI.exists(), reason="needs the AWS CLI: make .venv/aws")


def run(running: Pipeline, folder: Path, script: str) -> str:
    """Run shell commands as the docs' reader would, except for the names; returns what they print."""
    with Reader(running, folder) as reader:
        done = reader.run("set -euo pipefail\n" + script)
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    # The account that is shown first names the error bucket.
    assert "error" not in done.stderr.lower().replace("error bucket", "").replace("errorbucket", ""), done.stderr
    return done.stdout


def each_failure(running: Pipeline, folder: Path, block: docs.Block) -> Iterator[int]:
    """Run a block once for each of its calls, and let that call fail: its output or the exit status must show it."""
    with Reader(running, folder) as reader:
        for refused_call in itertools.count(1):
            done = reader.run(with_definitions(block.text), refused_call)
            if reader.calls < refused_call:
                return
            # A deletion is repeated, which a line tells.
            is_told = done.returncode != 0 or "could not be deleted" in done.stderr
            assert is_told, f"call {refused_call} of {block.text}\n{done.stdout}{done.stderr}"
            yield refused_call


def test_connecting_a_bucket_twice_keeps_all_else_and_changes_nothing(running: Pipeline, tmp_path: Path) -> None:
    before = notification_configuration(running)
    assert "EventBridgeConfiguration" in before
    connect = block_with("deploy.md", "ConnectBucket")
    run(running, tmp_path, with_definitions(connect.text))
    assert notification_configuration(running) == before


def test_a_bucket_without_any_configuration_is_connected(running: Pipeline, tmp_path: Path) -> None:
    s3 = running.emulator.client("s3")
    s3.create_bucket(Bucket="fresh-site")
    text = with_definitions(block_with("deploy.md", "ConnectBucket").text).replace("=my-site\n", "=fresh-site\n")
    run(running, tmp_path, text)
    (connected,) = s3.get_bucket_notification_configuration(Bucket="fresh-site")["LambdaFunctionConfigurations"]
    assert connected["LambdaFunctionArn"] == running.stack.outputs["FunctionArn"]
    assert sorted(connected["Events"]) == sorted(sample_site.EVENTS)
    disconnect = with_definitions(block_with("deploy.md", "select(.LambdaFunctionArn").text)
    run(running, tmp_path, disconnect.replace('"$BUCKET"', "fresh-site"))
    assert not s3.get_bucket_notification_configuration(Bucket="fresh-site").get("LambdaFunctionConfigurations")


def test_tagging_keeps_the_other_tags(running: Pipeline, tmp_path: Path) -> None:
    s3 = running.emulator.client("s3")
    before = s3.get_bucket_tagging(Bucket=sample_site.SITE)["TagSet"]
    try:
        run(running, tmp_path, next(b for b in docs.blocks(PAGES[1])).text)
        after = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=sample_site.SITE)["TagSet"]}
    finally:
        s3.put_bucket_tagging(Bucket=sample_site.SITE, Tagging={"TagSet": before})
    assert after == {tag["Key"]: tag["Value"] for tag in before} | {"exceptionPaths": "resources/upload:tmp"}
    assert all(sample_site.legal_tag_value(value) == value for value in after.values())


def test_failed_events_are_handed_to_the_function_again(running: Pipeline, tmp_path: Path) -> None:
    url = running.stack.outputs["FailedEventsQueueUrl"]
    running.emulator.client("sqs").send_message(
        QueueUrl=url, MessageBody=json.dumps({"requestPayload": created("failed-once.html"), "responsePayload": {}})
    )
    run(running, tmp_path, with_definitions(block_with("operate.md", 'replay --stack "$STACK" --events').text))
    assert running.depth("FailedEventsQueueUrl") == 0
    assert running.wait(lambda: "/failed-once.html" in running.invalidated_paths("www"))


def test_undelivered_events_are_handed_to_the_function(running: Pipeline, tmp_path: Path) -> None:
    url = running.stack.outputs["FailedEventsQueueUrl"]
    event = {
        "version": "0",
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": "2026-11-21T02:03:04Z",
        "detail": {"bucket": {"name": sample_site.SITE}, "object": {"key": "undelivered.html", "sequencer": "0A"}},
    }
    for body in (event, {"sweep": "2026-11-21T02:03:04Z"}):
        running.emulator.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(body))
    run(running, tmp_path, with_definitions(block_with("operate.md", 'replay --stack "$STACK" --events').text))
    assert running.depth("FailedEventsQueueUrl") == 0
    assert running.wait(lambda: "/undelivered.html" in running.invalidated_paths("www"))


def test_dead_letters_are_put_back(running: Pipeline, tmp_path: Path) -> None:
    with prepared(running):
        run(running, tmp_path, with_definitions(block_with("operate.md", "--dead-letters").text))
        assert [running.depth(queue) for queue in ("BufferDeadLetterQueueUrl", "SubmitDeadLetterQueueUrl")] == [0, 0]
        assert running.wait(lambda: "/put-back.html" in running.invalidated_paths("www"))
        assert running.wait(lambda: "/put-back.html" in running.invalidated_paths("docs"))


@pytest.mark.parametrize("is_delivered", [True, False])
def test_a_failing_call_loses_no_event(is_delivered: bool, running: Pipeline, tmp_path: Path) -> None:
    queue = "FailedEventsQueueUrl"
    sqs = running.emulator.client("sqs")
    url = running.stack.outputs[queue]
    key = f"kept-{is_delivered}.html"
    event = created(key)
    body = {"requestPayload": event} if is_delivered else event
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body))

    def is_processed() -> bool:
        return f"/{key}" in running.invalidated_paths("www")

    timeout = ["VisibilityTimeout"]
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=timeout)["Attributes"]
    # What was received is visible again for the next run.
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "0"})
    try:
        for failing_call in each_failure(
            running, tmp_path, block_with("operate.md", 'replay --stack "$STACK" --events')
        ):
            # Either it waits, or the function has it: the last call looks for further events.
            assert running.depth(queue) == 1 or running.wait(is_processed), failing_call
    finally:
        sqs.set_queue_attributes(QueueUrl=url, Attributes=before)
    assert running.depth(queue) == 0
    assert running.wait(is_processed)


def test_the_kill_switch_keeps_changes_and_lets_them_go_on_return(running: Pipeline, tmp_path: Path) -> None:
    assert running.wait(running.idle)
    tick = running.stack.outputs["TickQueueUrl"]
    returned_before = stopped_flushes(running)
    choose(running, tmp_path, "mode stopped")
    try:
        running.emulator.client("s3").put_object(Bucket=sample_site.SITE, Key="while-off.html", Body=b"changed")
        assert patiently(lambda: running.depth("BufferQueueUrl") == 1)
        # A flush has seen that the stack is stopped, and has returned its tick: if it were killed before, the tick
        # would stay hidden for minutes.
        assert patiently(lambda: stopped_flushes(running) > returned_before)
        # With it there may be that of a sweep.
        assert patiently(lambda: in_flight(running.emulator.client("sqs"), tick) >= 1)
        assert running.depth("BufferQueueUrl") == 1
        assert "/while-off.html" not in running.invalidated_paths("www")
    finally:
        choose(running, tmp_path, "mode live")
    assert patiently(lambda: "/while-off.html" in running.invalidated_paths("www"))
    # The tick came back in a new environment, which cannot know that no flush died with it: it stays for minutes.
    running.emulator.client("sqs").purge_queue(QueueUrl=tick)


def test_the_mode_can_be_written_without_our_program(running: Pipeline, tmp_path: Path) -> None:
    choose(running, tmp_path, "mode stopped")
    run(running, tmp_path, with_definitions(block_with("operate.md", "> mode.json").text))
    shown = run(running, tmp_path, with_definitions('invalidatorctl mode --stack "$STACK"'))
    assert "the mode is live since" in shown
    assert ": by hand" in shown
    running.restart_function()


def test_a_deletion_of_the_mode_is_seen_and_undone(running: Pipeline, tmp_path: Path) -> None:
    bucket = running.stack.outputs["ErrorBucketName"]
    s3 = running.emulator.client("s3")
    choose(running, tmp_path, "mode stopped")
    try:
        version = s3.head_object(Bucket=bucket, Key="state/mode.json")["VersionId"]
        marker = s3.delete_object(Bucket=bucket, Key="state/mode.json")["VersionId"]
        listed = run(running, tmp_path, with_definitions(block_with("operate.md", "reverse[]").text)).splitlines()
        deletion, written = [line.split("\t") for line in listed if "state/mode.json" in line][:2]
        assert deletion[2:] == ["", marker]
        assert written[3] == version
        run(running, tmp_path, with_definitions(block_with("operate.md", "DeleteMarkers[?IsLatest]").text))
        assert json.load(s3.get_object(Bucket=bucket, Key="state/mode.json")["Body"])["mode"] == "stopped"
    finally:
        choose(running, tmp_path, "mode live")


def choose(running: Pipeline, folder: Path, command: str) -> None:
    """Run the command of docs/operate.md, and forget the mode that the function has read."""
    run(running, folder, with_definitions(block_with("operate.md", command).text))
    running.restart_function()


def block_with(page: str, text: str) -> docs.Block:
    """The block of a page that has this in it."""
    return next(block for block in docs.blocks(docs.ROOT / "docs" / page) if text in block.text)


def notification_configuration(running: Pipeline) -> dict:
    """The notification configuration of the sample site's bucket."""
    answer = running.emulator.client("s3").get_bucket_notification_configuration(Bucket=sample_site.SITE)
    answer.pop("ResponseMetadata")
    for configuration in answer.get("LambdaFunctionConfigurations", []):
        configuration["Events"].sort()
    return answer


def patiently(condition) -> bool:
    """Wait for longer than the tick of a flush that was killed stays hidden: 160 s."""
    return wait_until(condition, 240)


def stopped_flushes(running: Pipeline) -> int:
    """How many flushes have ended because the stack is stopped, as the function logged it."""
    lines = observe.log_lines(running.emulator, running.stack.outputs["LogGroupName"])
    return sum(line.get("message") == "the tick comes back" and line.get("end") == "stopped" for line in lines)


def in_flight(sqs, url: str) -> int:
    """How many messages were received and are hidden."""
    name = "ApproximateNumberOfMessagesNotVisible"
    return int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])


def created(key: str) -> dict:
    """An S3 event."""
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": "us-east-1",
                "eventTime": "2026-11-21T02:03:04.000Z",
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": sample_site.SITE}, "object": {"key": key, "sequencer": "0A"}},
            }
        ]
    }
