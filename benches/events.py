"""Goals 1 to 3: the first event of a process, and warm ones."""

import functools
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import instructions
from function import ROOT, Program, running
from programs import (
    BOTO3_INGEST,
    BOTO3_PACKED,
    FLOOR,
    FUNCTION,
    NODE_PACKED,
    NODE_SDK,
    OURS,
    SIGNING,
    ZIPS,
)
from stand_in import StandIn
from table import BYTES, COUNT, MEMORY, SECONDS, Figure, Figures, Row, at_most, cheaper, compared, dearer, shown

EVENT = (ROOT / "events" / "s3-put.json").read_bytes()
KEY = "index.html"
ROUNDS = 15
WARM_UP = 300
WARM = 200
# By then Node's compiler has made the handler as fast as it gets. Few environments live to see so many events.
LATE_ROUNDS, LATE_WARM_UP = 3, 3_000
# The same handlers, which only start in another way.
PACKED = (BOTO3_PACKED, NODE_PACKED)
FIRST_CALLS = Counter(GetBucketTagging=1, SendMessageBatch=1, SendMessage=1)


@dataclass
class Measured:
    """What the rounds of a program have shown."""

    first: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)


async def measure(stand_in: StandIn) -> list[Row]:
    """The rows of goals 1 to 3."""
    of: defaultdict[str, Measured] = defaultdict(Measured)
    # The first round counts for nothing: it brings the programs' files into memory.
    for counts in [False] + [True] * ROUNDS:
        for program in (OURS, FLOOR, BOTO3_INGEST, NODE_SDK, SIGNING, *PACKED):
            await one_round(program, stand_in, of[program.name] if counts else Measured())
    late: Figures = {program.name: Figure([], SECONDS) for program in (OURS, NODE_SDK)}
    for _ in range(LATE_ROUNDS):
        for program in (OURS, NODE_SDK):
            late[program.name].values.append(await late_event(program, stand_in))
    first = {name: Figure(measured.first, SECONDS) for name, measured in of.items()}
    warm = {name: Figure(measured.warm, SECONDS) for name, measured in of.items()}
    counts = {
        program.name: Figure([await instructions.of_events(program, stand_in, EVENT, 1)], COUNT)
        for program in (OURS, BOTO3_INGEST, NODE_SDK)
    }
    start = "first event: CPU from the start of the process"
    counted = "first event: instructions from the start of the process"
    warmer = functools.partial(cheaper, 2, "warm event: CPU", warm)
    return [
        cheaper(1, start, first, BOTO3_PACKED.name, 150),
        compared("  bytecode at hand", first, "boto3"),
        cheaper(1, start, first, NODE_PACKED.name, 80),
        compared("  bundled and minified", first, "Node"),
        dearer(1, start, first, "floor", 4),
        at_most(1, counted, counts["ours"], 2_800_000),
        cheaper(1, "  of the peer with bytecode at hand", counts, "boto3", 150),
        cheaper(1, "  of the peer bundled and minified", counts, "Node", 80),
        warmer("boto3", 15),
        warmer("Node", 20),
        dearer(2, "warm event: CPU", warm, "by hand", 5),
        compared(f"  after {LATE_WARM_UP:,} events", late, "Node"),
        at_most(3, "memory: peak at the first event", Figure(of["ours"].peak, MEMORY), 8 * 1024 * 1024),
        *sizes(),
    ]


def sizes() -> list[Row]:
    """Of what is deployed, for each processor it has been built for."""
    return [
        *(
            at_most(3, f"size of the zip ({processor})", Figure([zip_.stat().st_size], BYTES), 2_500_000)
            for processor, zip_ in ZIPS.items()
            if zip_.exists()
        ),
        shown("size of the binary", Figure([FUNCTION.stat().st_size], BYTES)),
    ]


async def one_round(program: Program, stand_in: StandIn, measured: Measured) -> None:
    """Start a program, and send it a first event and then many."""
    stand_in.begin()
    async with running(program, stand_in) as function:
        first = await function.invoke(EVENT)
        measured.first.append(first.processor_seconds)
        measured.peak.append(function.peak_bytes())
        if program is not FLOOR:
            check_calls(program, stand_in, FIRST_CALLS, 1)
        if program in PACKED:
            return
        begun = await function.invoke(EVENT, WARM_UP)
        ended = await function.invoke(EVENT, WARM)
        measured.warm.append((ended.processor_seconds - begun.processor_seconds) / WARM)
        if program is not FLOOR:
            events = 1 + WARM_UP + WARM
            check_calls(program, stand_in, FIRST_CALLS | Counter(SendMessageBatch=events), events)


async def late_event(program: Program, stand_in: StandIn) -> float:
    """The processor time of an event after many."""
    stand_in.begin()
    async with running(program, stand_in) as function:
        begun = await function.invoke(EVENT, LATE_WARM_UP)
        ended = await function.invoke(EVENT, WARM)
        return (ended.processor_seconds - begun.processor_seconds) / WARM


def check_calls(program: Program, stand_in: StandIn, expected: Counter[str], changes: int) -> None:
    """All programs make the same calls and buffer the same changes, or the comparison says nothing."""
    # A window may end while events come in: one more tick.
    ticks = {"SendMessage": stand_in.names["SendMessage"]} if stand_in.names["SendMessage"] == 2 else {}
    if stand_in.names != expected | Counter(ticks):
        raise SystemExit(f"{program.name} has called {dict(stand_in.names)}, expected {dict(expected)}")
    buffered = sum(KEY in message for message in stand_in.sent_messages())
    if buffered != changes:
        raise SystemExit(f"{program.name} has buffered {buffered} changes, expected {changes}")
