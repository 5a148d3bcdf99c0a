"""A deploy script waits until its changes are accepted: invalidatorctl wait. And what waits: status."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

import command_line
import stack
from pipeline import Pipeline
from sample_site import SITE

DEFAULT_DEBOUNCE_SECONDS = 10


@pytest.fixture
def with_default_debounce(running: Pipeline) -> Iterator[Pipeline]:
    """Ticks are delayed as by default, and the command line reads the debounce from their queue."""
    sqs, queue = running.emulator.client("sqs"), running.stack.outputs["TickQueueUrl"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"DelaySeconds": str(DEFAULT_DEBOUNCE_SECONDS)})
    yield running
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"DelaySeconds": str(running.debounce_seconds)})


def test_whoever_waits_after_an_upload_is_told_when_it_is_accepted(with_default_debounce: Pipeline) -> None:
    running = with_default_debounce
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    before = {name: len(running.invalidations(name)) for name in running.site.distributions}
    began = time.monotonic()
    running.emulator.client("s3").put_object(Bucket=SITE, Key="docs/waited-for.html", Body=b"new")
    waited = ["wait", "--stack", stack.NAME, "--bucket", SITE, "--since", since, "--output", "json"]
    told = json.loads(command_line.run(running.emulator, *waited))
    took = time.monotonic() - began
    # Before anything else is looked at: it must have been so when the command ended.
    assert "/docs/waited-for.html" in running.invalidated_paths("www")
    assert "/waited-for.html" in running.invalidated_paths("docs")
    print(f"from the upload to the end of wait: {took:.1f} s")
    assert (told["v"], told["result"], told["rejected"]) == (1, "accepted", [])
    # Other tests add distributions of this bucket.
    assert set(told["targets"]) >= set(running.site.distributions.values())
    for name, count in before.items():
        assert len(running.invalidations(name)) == count + 1, "a fence invalidates nothing"
    s3, bucket = running.emulator.client("s3"), running.stack.outputs["ErrorBucketName"]
    assert s3.list_objects_v2(Bucket=bucket, Prefix="fences/")["KeyCount"] == 0, "nothing is left of it"


def test_the_status_shows_what_the_emulator_knows(running: Pipeline) -> None:
    status, others = ["status", "--stack", stack.NAME], running.cloudfront.environment
    # A part that the emulator does not know fails it.
    shown = command_line.call(running.emulator, *status, "--output", "json", others=others)
    told = json.loads(shown.stdout)
    queues = {queue["queue"]: queue for queue in told["queues"]}
    assert set(queues) >= {"BufferQueue", "TickQueue", "SubmitQueue", "FailedEventsQueue"}
    assert told["mode"]["mode"] == "live"
    assert told["flushes"], told["unread"]
    assert told["spending"]["paths"] > 0
    print(command_line.call(running.emulator, *status, others=others).stdout)
