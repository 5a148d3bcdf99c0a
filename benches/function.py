"""The function and its peers as processes: how each is started, with which settings, and what it is sent."""

import json
from pathlib import Path

from process import Process
from stand_in import BUCKET, StandIn

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benches" / "peers"
BUILT = ROOT / "target"
FUNCTION = BUILT / "release" / "invalidator"
BENCH_CORE = BUILT / "release" / "bench-core"

COMMANDS = {
    "invalidator": [str(FUNCTION)],
    "floor": [str(BUILT / "peers" / "floor" / "release" / "floor")],
    "signing": [str(BUILT / "peers" / "signing" / "release" / "signing")],
    "boto3": [str(ROOT / ".venv" / "peers" / "bin" / "python"), str(PEERS / "boto3" / "bootstrap.py")],
    "node": ["node", str(PEERS / "node" / "dist" / "bootstrap.cjs")],
}

EVENT = (ROOT / "events" / "s3-put.json").read_bytes()
TICK = json.dumps(
    {
        "Records": [
            {
                "messageId": "tick",
                "receiptHandle": "tick",
                "body": "window-1",
                "attributes": {"ApproximateReceiveCount": "1"},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:tick.fifo",
            }
        ]
    }
).encode()


def settings(stand_in: StandIn) -> dict[str, str]:
    """The environment of the function and of its peers; nothing of the machine's own is in it but PATH."""
    endpoint = stand_in.endpoint
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "AWS_LAMBDA_FUNCTION_NAME": "invalidator",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_LOG_GROUP_NAME": "g",
        "AWS_LAMBDA_LOG_STREAM_NAME": "s",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "example",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "BUFFER_QUEUE_URL": f"{endpoint}/000000000000/buffer",
        "TICK_QUEUE_URL": f"{endpoint}/000000000000/tick.fifo",
        "RETRY_QUEUE_URL": f"{endpoint}/000000000000/retry.fifo",
        "ERROR_BUCKET": "errors",
        "TOPIC_ARN": "arn:aws:sns:us-east-1:000000000000:alerts",
    }


def start(name: str, stand_in: StandIn) -> Process:
    """Start the function or a peer."""
    return Process(COMMANDS[name], settings(stand_in))


def key(number: int) -> str:
    """The key of a change."""
    return f"images/2026/{number // 1000:06}/photo-{number:08}.jpg"


def packed(changes: int, per_message: int) -> list[str]:
    """Buffered messages, as the function packs them."""
    bodies = []
    for start in range(0, changes, per_message):
        created = [[key(number), 1_795_226_584_567] for number in range(start, min(start + per_message, changes))]
        body = {"version": 1, "buckets": [{"bucket": BUCKET, "created": created, "deleted": []}]}
        bodies.append(json.dumps(body, separators=(",", ":")))
    return bodies


def single(changes: int) -> list[str]:
    """Buffered messages, as the peers pack them, with one change each."""
    return [json.dumps([{"bucket": BUCKET, "key": key(number), "kind": "created"}]) for number in range(changes)]
