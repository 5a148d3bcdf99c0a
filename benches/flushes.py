"""Goals 6 and 7: a flush of much, and how soon a flush of little reaches CloudFront.

Ours ends in SubmitQueue; what it has put there is handed to the function again, in events as Lambda makes them, and
counts as a part of the flush.
"""

import json

from function import Function, Program, running
from programs import BOTO3_FLUSH, OURS
from stand_in import BUCKET, Call, StandIn
from table import COUNT, MEMORY, SECONDS, Figure, Row, at_most, cheaper, shown, steady

ROUNDS = 3
ROUNDS_AGAINST_BOTO3 = 9
CHANGES = 20_000
MANY_CHANGES, MANY_LATENCY = 100_000, 0.010
SMALL_CHANGES, SMALL_LATENCY = 3, 0.050
CONFIRMING_POLL = 1.0
CHANGES_A_MESSAGE = 100
# Of the messages of an event; Lambda makes none above 6 MB.
EVENT_BYTES = 5_000_000
EVENT_TIME = 1_795_226_584_567
TICK = json.dumps(
    {
        "Records": [
            {
                "messageId": "tick",
                "receiptHandle": "tick",
                "body": "window-1",
                "attributes": {"ApproximateReceiveCount": "1"},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:tick.fifo",
            }
        ]
    }
).encode()


async def measure(stand_in: StandIn) -> list[Row]:
    """The rows of goals 6 and 7."""
    return [*await against_boto3(stand_in), *await many(stand_in), *await small(stand_in)]


async def against_boto3(stand_in: StandIn) -> list[Row]:
    """The processor time of a change, in a process that has flushed before."""
    seconds: dict[str, list[float]] = {OURS.name: [], BOTO3_FLUSH.name: []}
    for _ in range(ROUNDS_AGAINST_BOTO3):
        for program in (OURS, BOTO3_FLUSH):
            async with running(program, stand_in) as function:
                begun = await flush(function, stand_in, bodies(program, 1))
                ended = await flush(function, stand_in, bodies(program, CHANGES))
                seconds[program.name].append((ended - begun) / CHANGES)
    of = {name: Figure(values, SECONDS) for name, values in seconds.items()}
    return [cheaper(6, f"flush of {CHANGES:,} changes: CPU a change", of, "boto3", 100)]


async def many(stand_in: StandIn) -> list[Row]:
    """How long it takes when each call takes a while, and the memory it needs."""
    names = "ReceiveMessage", "CreateInvalidation", "DeleteMessageBatch"
    until: dict[str, list[float]] = {name: [] for name in names}
    peaks: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for count, peak in zip((MANY_CHANGES, 2 * MANY_CHANGES), peaks, strict=True):
            async with running(OURS, stand_in) as function:
                await flush(function, stand_in, bodies(OURS, count), MANY_LATENCY)
                peak.append(function.peak_bytes())
                for name in names if count == MANY_CHANGES else ():
                    last = max(call.answered for call in stand_in.calls if call.name == name and not is_empty(call))
                    until[name].append(last - function.api.handed_out)
    received, invalidated, deleted = (Figure(until[name], SECONDS) for name in names)
    once, twice = (Figure(peak, MEMORY) for peak in peaks)
    what = f"flush of {MANY_CHANGES:,} changes, {MANY_LATENCY * 1000:.0f} ms a call"
    return [
        at_most(6, f"{what}: until all is received", received, 0.5),
        shown("  until CloudFront has taken all", invalidated),
        shown("  until all is acknowledged", deleted),
        steady(6, "  peak memory", once, twice, (f"{MANY_CHANGES:,}", f"{2 * MANY_CHANGES:,} changes"), 1.25),
    ]


async def small(stand_in: StandIn) -> list[Row]:
    """How many calls, one after another, a change waits for, and whether for anything else."""
    rows = []
    # One of them confirms that nothing more waits.
    for what, most in (("first flush of a process", 7), ("warm flush", 5)):
        seconds, trips, calls = [], [], ""
        for _ in range(ROUNDS):
            async with running(OURS, stand_in) as function:
                if what.startswith("warm"):
                    await flush(function, stand_in, bodies(OURS, 1))
                await flush(function, stand_in, bodies(OURS, SMALL_CHANGES, 1), SMALL_LATENCY)
                chain = calls_before_invalidation(stand_in.calls)
                seconds.append(chain[-1].came - function.api.handed_out)
                trips.append(float(len(chain)))
                calls = ", ".join(call.name for call in chain)
        waits = [total - CONFIRMING_POLL - count * SMALL_LATENCY for total, count in zip(seconds, trips, strict=True)]
        rows += [
            at_most(7, f"{what}: calls in a row ({calls})", Figure(trips, COUNT), most),
            shown(
                f"  from the tick to CreateInvalidation, {SMALL_LATENCY * 1000:.0f} ms a call", Figure(seconds, SECONDS)
            ),
            at_most(7, "  of which is no call's", Figure(waits, SECONDS), SMALL_LATENCY / 2),
        ]
    return rows


async def flush(function: Function, stand_in: StandIn, messages: list[str], latency: float = 0.0) -> float:
    """Let a function flush these messages, and see that it does; its processor time so far."""
    stand_in.begin(latency, messages)
    answered = await function.invoke(TICK)
    for event in submit_events(stand_in.sent_entries()):
        answered = await function.invoke(event)
    paths, expected = stand_in.paths(), sum(body.count("/photo-") for body in messages)
    if len(paths) != expected or len(set(paths)) != expected or stand_in.undeleted:
        left = len(stand_in.undeleted)
        raise SystemExit(f"{expected} paths expected: {len(set(paths))} invalidated, {left} messages not deleted")
    return answered.processor_seconds


def submit_events(entries: list[dict]) -> list[bytes]:
    """What Lambda invokes the function with for messages of SubmitQueue: ten at most, of one group or of several."""
    events: list[list[dict]] = []
    for number, entry in enumerate(entries):
        if "MessageGroupId" not in entry:
            continue
        size = sum(len(record["body"]) for record in events[-1]) if events else EVENT_BYTES
        if size + len(entry["MessageBody"]) > EVENT_BYTES or len(events[-1]) == 10:
            events.append([])
        events[-1].append(
            {
                "messageId": f"set-{number}",
                "receiptHandle": f"set-{number}",
                "body": entry["MessageBody"],
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": str(EVENT_TIME),
                    "MessageGroupId": entry["MessageGroupId"],
                    "MessageDeduplicationId": entry["MessageDeduplicationId"],
                },
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:submit.fifo",
            }
        )
    return [json.dumps({"Records": records}).encode() for records in events]


def bodies(program: Program, changes: int, a_message: int = CHANGES_A_MESSAGE) -> list[str]:
    """Message bodies, as the program's own ingest writes them: ours packs, the peer's sends one by one."""
    keys = [f"images/2026/{number // 1000:06}/photo-{number:08}.jpg" for number in range(changes)]
    if program is not OURS:
        return [json.dumps({"bucket": BUCKET, "key": key, "deleted": False, "time": EVENT_TIME}) for key in keys]
    packs = [keys[start : start + a_message] for start in range(0, changes, a_message)]
    return [packed(pack) for pack in packs]


def packed(keys: list[str]) -> str:
    """Changes in one body, as `core/src/buffered.rs` packs them."""
    of_bucket = {"bucket": BUCKET, "created": [[key, EVENT_TIME] for key in keys], "deleted": []}
    return json.dumps({"version": 1, "buckets": [of_bucket]}, separators=(",", ":"))


def is_empty(call: Call) -> bool:
    """Whether a receive found nothing: it is a long poll that ends the flush."""
    return call.name == "ReceiveMessage" and call.received == 0


def calls_before_invalidation(calls: list[Call]) -> list[Call]:
    """The longest chain of calls of which each began after the one before was answered, to the first invalidation."""
    chains: list[list[Call]] = []
    for call in sorted(calls, key=lambda call: call.came):
        before = [chain for chain in chains if chain[-1].answered <= call.came]
        chains.append([*max(before, key=len, default=[]), call])
        if call.name == "CreateInvalidation":
            return chains[-1]
    raise SystemExit("no invalidation was made")
