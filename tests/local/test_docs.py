"""The commands of the docs, run by the AWS CLI against the emulator, page by page from top to bottom."""

import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import docs
import sample_site
import stack
from pipeline import Pipeline

AWS_CLI = docs.ROOT / ".venv/aws/bin"
PAGES = [docs.ROOT / "docs" / name for name in ("deploy.md", "tag.md", "operate.md")]
# Blocks with a test of their own below.
APART = [
    "ConnectBucket",
    "> tags.json",
    'sqs receive-message --queue-url "$url',
    "--no-enabled",
    " --enabled",
    "select(.LambdaFunctionArn",
]
RUNNABLE = [
    block
    for page in PAGES
    for block in docs.blocks(page)
    if not block.note and not any(text in block.text for text in APART)
]
# The definitions at the top of a page, which a reader runs first.
DEFINITIONS = next(docs.blocks(docs.ROOT / "docs/operate.md")).text

pytestmark = pytest.mark.skipif(not (AWS_CLI / "aws").exists(), reason="needs the AWS CLI: make .venv/aws")


def run(running: Pipeline, folder: Path, script: str) -> str:
    """Run shell commands as the docs' reader would, except for the names; returns what they print."""
    done = execute(running, folder, script, ["-euo", "pipefail"])
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    assert "error" not in done.stderr.lower(), done.stderr
    return done.stdout


def execute(
    running: Pipeline, folder: Path, script: str, options: list[str], failing_call: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run shell commands. Of their calls of the AWS CLI, one may fail: that with this number, counted from 1."""
    script = script.replace("STACK=invalidator\n", f"STACK={stack.NAME}\n").replace(
        "=my-site\n", f"={sample_site.SITE}\n"
    )
    # Version 1 of the AWS CLI accepts SQS's endpoint in no other way.
    wrapper = folder / "aws"
    wrapper.write_text(
        f"""#!/bin/sh
echo call >> {folder}/calls
if [ "$(wc -l < {folder}/calls)" -eq {failing_call} ]; then
  echo "An error occurred (TooManyRequestsException): Rate exceeded" >&2
  exit 254
fi
exec {AWS_CLI}/aws --endpoint-url {running.emulator.endpoint} "$@"
"""
    )
    wrapper.chmod(0o755)
    (folder / "calls").write_text("")
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "HOME": str(folder),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "DEBOUNCE_SECONDS": "5",
        "BUCKET": sample_site.SITE,
    }
    command = ["bash", *options, "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90, check=False)


def each_failure(running: Pipeline, folder: Path, block: docs.Block) -> Iterator[int]:
    """Run a block once for each of its calls, and let that call fail: the exit status must show it.

    As a reader would, in a shell that does not stop at an error by itself.
    """
    script = with_definitions(block)
    for failing_call in itertools.count(1):
        done = execute(running, folder, script, [], failing_call)
        if len((folder / "calls").read_text().splitlines()) < failing_call:
            return
        assert done.returncode != 0, f"call {failing_call} of {script}\n{done.stdout}{done.stderr}"
        yield failing_call


def with_definitions(block: docs.Block) -> str:
    """A block, with the definitions of its page before it."""
    return block.text if "out() {" in block.text else DEFINITIONS + block.text


@pytest.mark.parametrize("block", RUNNABLE, ids=str)
def test_the_commands_of_the_docs_work(block: docs.Block, running: Pipeline, tmp_path: Path) -> None:
    run(running, tmp_path, with_definitions(block))


def test_what_is_not_run_has_a_reason() -> None:
    for page in PAGES:
        for block in docs.blocks(page):
            assert block.note is None or block.note.startswith("needs AWS"), str(block)


def test_connecting_a_bucket_twice_keeps_all_else_and_changes_nothing(running: Pipeline, tmp_path: Path) -> None:
    before = notification_configuration(running)
    assert "EventBridgeConfiguration" in before
    connect = block_with("deploy.md", "ConnectBucket")
    run(running, tmp_path, with_definitions(connect))
    assert notification_configuration(running) == before


def test_a_bucket_without_any_configuration_is_connected(running: Pipeline, tmp_path: Path) -> None:
    s3 = running.emulator.client("s3")
    s3.create_bucket(Bucket="fresh-site")
    text = with_definitions(block_with("deploy.md", "ConnectBucket")).replace("=my-site\n", "=fresh-site\n")
    run(running, tmp_path, text)
    (connected,) = s3.get_bucket_notification_configuration(Bucket="fresh-site")["LambdaFunctionConfigurations"]
    assert connected["LambdaFunctionArn"] == running.stack.outputs["FunctionArn"]
    assert sorted(connected["Events"]) == sorted(sample_site.EVENTS)
    disconnect = with_definitions(block_with("deploy.md", "select(.LambdaFunctionArn"))
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
    run(running, tmp_path, with_definitions(block_with("operate.md", "url=$(out FailedEventsQueueUrl)")))
    assert running.depth("FailedEventsQueueUrl") == 0
    assert running.wait(lambda: "/failed-once.html" in running.invalidated_paths("www"))


def test_undelivered_events_are_handed_to_the_function(running: Pipeline, tmp_path: Path) -> None:
    url = running.stack.outputs["UndeliveredQueueUrl"]
    event = {
        "version": "0",
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": "2026-11-21T02:03:04Z",
        "detail": {"bucket": {"name": sample_site.SITE}, "object": {"key": "undelivered.html", "sequencer": "0A"}},
    }
    for body in (event, {"sweep": "2026-11-21T02:03:04Z"}):
        running.emulator.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(body))
    run(running, tmp_path, with_definitions(block_with("operate.md", "url=$(out UndeliveredQueueUrl)")))
    assert running.depth("UndeliveredQueueUrl") == 0
    assert running.wait(lambda: "/undelivered.html" in running.invalidated_paths("www"))


@pytest.mark.parametrize("text", ["ConnectBucket", "select(.LambdaFunctionArn"])
def test_a_failing_call_leaves_the_notifications_of_others(text: str, running: Pipeline, tmp_path: Path) -> None:
    s3 = running.emulator.client("s3")
    before = notification_configuration(running)
    try:
        for _ in each_failure(running, tmp_path, block_with("deploy.md", text)):
            assert "EventBridgeConfiguration" in notification_configuration(running)
    finally:
        s3.put_bucket_notification_configuration(Bucket=sample_site.SITE, NotificationConfiguration=before)


def test_a_failing_call_leaves_the_tags_of_others(running: Pipeline, tmp_path: Path) -> None:
    s3 = running.emulator.client("s3")
    before = s3.get_bucket_tagging(Bucket=sample_site.SITE)["TagSet"]
    others = [tag for tag in before if tag["Key"] != "exceptionPaths"]
    assert others
    try:
        for _ in each_failure(running, tmp_path, next(docs.blocks(PAGES[1]))):
            after = s3.get_bucket_tagging(Bucket=sample_site.SITE)["TagSet"]
            assert all(tag in after for tag in others)
    finally:
        s3.put_bucket_tagging(Bucket=sample_site.SITE, Tagging={"TagSet": before})


@pytest.mark.parametrize("queue", ["FailedEventsQueueUrl", "UndeliveredQueueUrl"])
def test_a_failing_call_loses_no_event(queue: str, running: Pipeline, tmp_path: Path) -> None:
    sqs = running.emulator.client("sqs")
    url = running.stack.outputs[queue]
    key = f"kept-in-{queue}.html"
    event = created(key)
    body = {"requestPayload": event} if queue == "FailedEventsQueueUrl" else event | {"detail": {}}
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body))

    def is_processed() -> bool:
        return f"/{key}" in running.invalidated_paths("www")

    timeout = ["VisibilityTimeout"]
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=timeout)["Attributes"]
    # What was received is visible again for the next run.
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "0"})
    try:
        for failing_call in each_failure(running, tmp_path, block_with("operate.md", f"url=$(out {queue})")):
            # Either it waits, or the function has it: the last call looks for further events.
            assert running.depth(queue) == 1 or running.wait(is_processed), failing_call
    finally:
        sqs.set_queue_attributes(QueueUrl=url, Attributes=before)
    assert running.depth(queue) == 0
    assert running.wait(is_processed)


def test_the_kill_switch_keeps_changes_and_lets_them_go_on_return(running: Pipeline, tmp_path: Path) -> None:
    sqs = running.emulator.client("sqs")
    assert running.wait(running.idle)
    run(running, tmp_path, with_definitions(block_with("operate.md", "--no-enabled")))
    try:
        running.emulator.client("s3").put_object(Bucket=sample_site.SITE, Key="while-off.html", Body=b"changed")
        assert running.wait(lambda: running.depth("BufferQueueUrl") == 1)
        # The tick is visible, and nobody receives it.
        assert running.wait(lambda: visible(sqs, running.stack.outputs["TickQueueUrl"]) == 1)
        assert "/while-off.html" not in running.invalidated_paths("www")
    finally:
        run(running, tmp_path, with_definitions(block_with("operate.md", " --enabled")))
    assert running.wait(lambda: "/while-off.html" in running.invalidated_paths("www"))


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


def visible(sqs, url: str) -> int:
    """How many messages can be received."""
    name = "ApproximateNumberOfMessages"
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
