"""Buffers the changes an S3 event tells of: a message a change, and a tick a window."""

import json
import os
import re
import time
from urllib.parse import unquote_plus

import boto3
from botocore.exceptions import ClientError

BUFFER_QUEUE = os.environ["BUFFER_QUEUE_URL"]
TICK_QUEUE = os.environ["TICK_QUEUE_URL"]
WINDOW_SECONDS = int(os.environ["DEBOUNCE_SECONDS"]) - 2
TAGS_KEPT_SECONDS = 60

s3 = boto3.client("s3")
sqs = boto3.client("sqs")
known_rules: dict[str, tuple[tuple[str, ...], float]] = {}
sent_window = None


def handler(event: dict, _context: object) -> dict:
    """The function."""
    changes = [change for record in event["Records"] if (change := to_change(record))]
    kept = [change for change in changes if change["deleted"] or not is_excepted(change)]
    for start in range(0, len(kept), 10):
        buffer(kept[start : start + 10])
    if kept:
        tick()
    return {"batchItemFailures": []}


def to_change(record: dict) -> dict | None:
    """The change in a record, or None if it changes no content."""
    name = record["eventName"]
    deleted = name.startswith(("ObjectRemoved:", "LifecycleExpiration:"))
    if not deleted and not name.startswith("ObjectCreated:"):
        return None
    bucket, key = record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"])
    return {"bucket": bucket, "key": key, "deleted": deleted, "time": record["eventTime"]}


def is_excepted(change: dict) -> bool:
    """Whether a tag of the bucket excepts a path above the key."""
    key = change["key"]
    return any(key == rule or key.startswith(rule + "/") for rule in rules(change["bucket"]))


def rules(bucket: str) -> tuple[str, ...]:
    """The excepted paths of a bucket."""
    known = known_rules.get(bucket)
    if not known or time.monotonic() - known[1] > TAGS_KEPT_SECONDS:
        known = known_rules[bucket] = (read_rules(bucket), time.monotonic())
    return known[0]


def read_rules(bucket: str) -> tuple[str, ...]:
    """The excepted paths, from the bucket's tags."""
    try:
        tags = s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchTagSet":
            raise
        return ()
    values = [tag["Value"] for tag in tags if tag["Key"].startswith("exceptionPaths")]
    return tuple(path.strip("/") for value in values for path in re.split(r"[,:\s]+", value) if path)


def buffer(changes: list[dict]) -> None:
    """Send up to ten changes."""
    entries = [{"Id": str(n), "MessageBody": json.dumps(change)} for n, change in enumerate(changes)]
    answer = sqs.send_message_batch(QueueUrl=BUFFER_QUEUE, Entries=entries)
    if failed := answer.get("Failed"):
        raise RuntimeError(f"not buffered: {failed}")


def tick() -> None:
    """Ask for a flush, once a window."""
    global sent_window
    window = int(time.time() // WINDOW_SECONDS)
    if window == sent_window:
        return
    id_ = f"window-{window}"
    sqs.send_message(QueueUrl=TICK_QUEUE, MessageGroupId="flush", MessageDeduplicationId=id_, MessageBody=id_)
    sent_window = window
