"""The results of the changes: the function's decisions, and the messages left in the queues."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

QUEUE_DEPTHS = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
]


@dataclass(frozen=True)
class Decision:
    """A line of the function's log with the decision for a change, and its reason."""

    stage: str
    bucket: str
    key: str
    kind: str
    decision: str
    reason: str
    distribution: str | None
    paths: tuple[str, ...]


def log_lines(emulator, log_group: str) -> Iterator[dict]:
    """The JSON lines of the function's log; Lambda's own lines between them are not JSON."""
    pages = emulator.client("logs").get_paginator("filter_log_events").paginate(logGroupName=log_group)
    for page in pages:
        for event in page["events"]:
            if event["message"].startswith("{"):
                yield json.loads(event["message"])


def decisions(emulator, log_group: str) -> list[Decision]:
    """All decisions in the function's log."""
    return [
        Decision(
            stage=line["stage"],
            bucket=line["bucket"],
            key=line["key"],
            kind=line["kind"],
            decision=line["decision"],
            reason=line["reason"],
            distribution=line.get("distribution"),
            paths=tuple(line.get("paths", "").split()),
        )
        for line in log_lines(emulator, log_group)
        if line.get("message") == "decision"
    ]


def complaints(emulator, log_group: str) -> list[str]:
    """The warnings and errors in the function's log, each once, without the time."""
    found = [line for line in log_lines(emulator, log_group) if line.get("level") in ("WARN", "ERROR")]
    return list(dict.fromkeys(summary(line) for line in found))


def summary(line: dict) -> str:
    """A line of the log, without what differs when the same happens again."""
    return json.dumps({key: value for key, value in line.items() if key != "timestamp"}, ensure_ascii=False)


def queue_depth(emulator, queue_url: str) -> int:
    """How many messages are in a queue: waiting, delayed or in flight."""
    answer = emulator.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=QUEUE_DEPTHS)
    return sum(int(answer["Attributes"][name]) for name in QUEUE_DEPTHS)
