"""Works off the buffer: receive, map, invalidate, delete."""

import json
import os
import time
import uuid

import boto3

import mapping

BUFFER_QUEUE = os.environ["BUFFER_QUEUE_URL"]
MAX_PATHS = 3000
DISTRIBUTIONS_KEPT_SECONDS = 60

sqs = boto3.client("sqs")
cloudfront = boto3.client("cloudfront")
known_distributions: tuple[list[dict], float] | None = None


def handler(_event: dict, _context: object) -> dict:
    """The function."""
    messages = drain()
    changes: dict[str, list[mapping.Change]] = {}
    for message in messages:
        body = json.loads(message["Body"])
        changes.setdefault(body["bucket"], []).append(mapping.change(body["key"], body["deleted"]))
    if changes:
        for distribution in distributions():
            invalidate(distribution["Id"], stale(distribution, changes))
        delete([message["ReceiptHandle"] for message in messages])
    return {"batchItemFailures": []}


def drain() -> list[dict]:
    """All that waits: two long polls in a row that come back empty say that nothing does."""
    messages: list[dict] = []
    empty = 0
    while empty < 2:
        answer = sqs.receive_message(QueueUrl=BUFFER_QUEUE, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        received = answer.get("Messages", [])
        messages += received
        empty = 0 if received else empty + 1
    return messages


def distributions() -> list[dict]:
    """The account's distributions."""
    global known_distributions
    if not known_distributions or time.monotonic() - known_distributions[1] > DISTRIBUTIONS_KEPT_SECONDS:
        pages = cloudfront.get_paginator("list_distributions").paginate()
        listed = [item for page in pages for item in page["DistributionList"].get("Items", [])]
        known_distributions = (listed, time.monotonic())
    return known_distributions[0]


def stale(distribution: dict, changes: dict[str, list[mapping.Change]]) -> list[str]:
    """The paths of a distribution, each once."""
    paths: dict[str, None] = {}
    for bucket, of_bucket in changes.items():
        paths |= dict.fromkeys(mapping.stale_paths(mapping.behaviors(distribution, bucket), of_bucket))
    return list(paths)


def invalidate(distribution: str, paths: list[str]) -> None:
    """Invalidate paths, as many at once as CloudFront takes."""
    for start in range(0, len(paths), MAX_PATHS):
        some = paths[start : start + MAX_PATHS]
        batch = {"Paths": {"Quantity": len(some), "Items": some}, "CallerReference": str(uuid.uuid4())}
        cloudfront.create_invalidation(DistributionId=distribution, InvalidationBatch=batch)


def delete(receipt_handles: list[str]) -> None:
    """Delete messages, ten at once."""
    for start in range(0, len(receipt_handles), 10):
        some = receipt_handles[start : start + 10]
        entries = [{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate(some)]
        answer = sqs.delete_message_batch(QueueUrl=BUFFER_QUEUE, Entries=entries)
        if failed := answer.get("Failed"):
            print(f"not deleted, so they come again: {failed}")
