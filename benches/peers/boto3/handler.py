"""The function's job in Python, as its authors would write it: boto3, clients at module level."""

import fnmatch
import functools
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote, unquote_plus

import boto3
from botocore.exceptions import ClientError

BUFFER_QUEUE = os.environ["BUFFER_QUEUE_URL"]
TICK_QUEUE = os.environ["TICK_QUEUE_URL"]
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
MESSAGE_BYTES = 60_000
CACHE_SECONDS = 60

s3 = boto3.client("s3")
sqs = boto3.client("sqs")
tags: dict[str, tuple[float, list[str]]] = {}
sent_windows: set[int] = set()

Match = Callable[[str], object]


@functools.cache
def cloudfront():
    """Made when it is first needed."""
    return boto3.client("cloudfront")


def handler(event: dict, _context: object) -> dict:
    """Ingest, or flush if the event is a tick."""
    if any(record.get("eventSourceARN", "").endswith("tick.fifo") for record in event["Records"]):
        flush()
    else:
        ingest(event["Records"])
    return {"batchItemFailures": []}


def exception_paths(bucket: str) -> list[str]:
    """The prefixes that the tags of a bucket exempt."""
    since, known = tags.get(bucket, (0.0, []))
    if time.monotonic() - since < CACHE_SECONDS:
        return known
    try:
        tag_set = s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchTagSet":
            raise
        tag_set = []
    values = [tag["Value"] for tag in tag_set if tag["Key"].startswith("exceptionPaths")]
    paths = [path.strip("/") for value in values for path in re.split(r"[\s,:]+", value) if path.strip("/")]
    tags[bucket] = (time.monotonic(), paths)
    return paths


def changes(records: list[dict]) -> Iterator[dict]:
    """What changed, without what is exempt."""
    for record in records:
        bucket = record["s3"]["bucket"]["name"]
        key = unquote_plus(record["s3"]["object"]["key"])
        deleted = not record["eventName"].startswith("ObjectCreated")
        if deleted or not any(f"{key}/".startswith(f"{path}/") for path in exception_paths(bucket)):
            yield {"bucket": bucket, "key": quote(key), "kind": "deleted" if deleted else "created"}


def ingest(records: list[dict]) -> None:
    """Buffer what changed, then ask for a flush."""
    bodies: list[list[dict]] = [[]]
    size = 0
    for change in changes(records):
        size += len(json.dumps(change))
        if size > MESSAGE_BYTES:
            bodies.append([])
            size = 0
        bodies[-1].append(change)
    entries = [{"Id": str(n), "MessageBody": json.dumps(body)} for n, body in enumerate(bodies) if body]
    for start in range(0, len(entries), 10):
        answer = sqs.send_message_batch(QueueUrl=BUFFER_QUEUE, Entries=entries[start : start + 10])
        if answer.get("Failed"):
            raise RuntimeError(f"not buffered: {answer['Failed']}")
    window = int(time.time()) // 8
    if entries and window not in sent_windows:
        id_ = f"window-{window}"
        sqs.send_message(QueueUrl=TICK_QUEUE, MessageBody=id_, MessageGroupId="flush", MessageDeduplicationId=id_)
        sent_windows.add(window)


def behaviors(distribution: dict) -> list[tuple[Match, bool]]:
    """What each behavior takes, and whether it caches; the default one last."""
    listed = distribution.get("CacheBehaviors", {}).get("Items", [])
    patterns = ["/" + behavior["PathPattern"].lstrip("/") for behavior in listed] + ["*"]
    cached = [
        behavior.get("CachePolicyId") != CACHING_DISABLED
        for behavior in [*listed, distribution["DefaultCacheBehavior"]]
    ]
    return [
        (re.compile(fnmatch.translate(pattern)).match, caches) for pattern, caches in zip(patterns, cached, strict=True)
    ]


def paths(behaviors: list[tuple[Match, bool]], keys: list[str]) -> list[str]:
    """The paths that a distribution with these behaviors caches."""
    found = []
    for key in keys:
        path = f"/{key}"
        for match, caches in behaviors:
            if match(path):
                if caches:
                    found.append(quote(path))
                break
    return found


def flush() -> None:
    """Drain the buffer, plan, submit, delete."""
    keys: dict[str, dict[str, None]] = {}
    handles = []
    while messages := sqs.receive_message(QueueUrl=BUFFER_QUEUE, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            handles.append(message["ReceiptHandle"])
            for change in json.loads(message["Body"]):
                keys.setdefault(change["bucket"], {})[unquote_plus(change["key"])] = None
    pages = cloudfront().get_paginator("list_distributions").paginate()
    for distribution in (item for page in pages for item in page["DistributionList"].get("Items", [])):
        for origin in distribution["Origins"]["Items"]:
            bucket = origin["DomainName"].split(".s3.")[0]
            submit(distribution["Id"], paths(behaviors(distribution), list(keys.get(bucket, {}))))
    for start in range(0, len(handles), 10):
        entries = [{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate(handles[start : start + 10])]
        sqs.delete_message_batch(QueueUrl=BUFFER_QUEUE, Entries=entries)


def submit(distribution: str, paths: list[str]) -> None:
    """Invalidate, 3,000 paths at a time."""
    for start in range(0, len(paths), 3_000):
        items = paths[start : start + 3_000]
        batch = {"Paths": {"Quantity": len(items), "Items": items}, "CallerReference": f"{time.time()}-{start}"}
        cloudfront().create_invalidation(DistributionId=distribution, InvalidationBatch=batch)
