"""Compares the function with its peers, and prints the goals and what is reached: `make bench`.

All of them get the same events, and call the same stand-in; they take turns, so that what the machine does beside
this falls on all of them alike. What is compared is processor time.
"""

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import case
import function
from function import BENCH_CORE, EVENT, FUNCTION, PEERS, ROOT, TICK, start
from stand_in import StandIn

COLD_ROUNDS = 15
WARM_ROUNDS = 5
WARM_EVENTS = 200
ZIP = ROOT / "target" / "lambda" / "invalidator" / "bootstrap.zip"
INGEST_CALLS = ["GetBucketTagging", "SendMessageBatch", "SendMessage"]
Samples = dict[str, list[float]]


def show(title: str, rows: list[tuple[str, ...]]) -> None:
    """Print a Markdown table; the first row is its head."""
    head, *body = rows
    print(f"\n### {title}\n")
    for row in (head, ("---",) * len(head), *body):
        print(f"| {' | '.join(row)} |")
    sys.stdout.flush()


def spread(samples: list[float], factor: float, unit: str) -> str:
    """Median, and from the least to the most."""
    low, middle, high = (factor * value for value in (min(samples), statistics.median(samples), max(samples)))
    return f"{middle:,.3g} {unit} ({low:,.3g} to {high:,.3g})"


def rate(ours: list[float], theirs: list[float]) -> str:
    """How many times as much the peer took, by the medians."""
    return f"{statistics.median(theirs) / statistics.median(ours):,.2f}"


def cold(stand_in: StandIn) -> tuple[Samples, list[float]]:
    """From the start of a process to its answer to the first event."""
    names = ("invalidator", "floor", "boto3", "node")
    seconds: Samples = {name: [] for name in names}
    peaks = []
    for _ in range(COLD_ROUNDS):
        for name in names:
            stand_in.begin()
            process = start(name, stand_in)
            process.invoke(EVENT)
            if name == "invalidator":
                peaks.append(float(process.peak_kibibytes()))
            seconds[name].append(process.end())
            made = [call.name for call in stand_in.calls]
            if name != "floor" and made != INGEST_CALLS:
                raise SystemExit(f"{name} did another job: {made}")
    return seconds, peaks


def warm(stand_in: StandIn) -> Samples:
    """An event in a process that has had some."""
    names = ("invalidator", "signing", "boto3", "node")
    seconds: Samples = {name: [] for name in names}
    for _ in range(WARM_ROUNDS):
        for name in names:
            process = start(name, stand_in)
            for _ in range(20):
                process.invoke(EVENT)
            stand_in.begin()
            before = process.processor_seconds()
            for _ in range(WARM_EVENTS):
                process.invoke(EVENT)
            seconds[name].append((process.processor_seconds() - before) / WARM_EVENTS)
            process.end()
            if stand_in.count("SendMessageBatch") != WARM_EVENTS:
                raise SystemExit(f"{name} did another job: {len(stand_in.calls)} calls")
    return seconds


def run(*command: str) -> dict:
    """What a program prints."""
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def planning(folder: Path) -> list[tuple[str, ...]]:
    """Planning for 10,000 changes, by all."""
    arguments = case.write(folder, 10_000, 100)
    python = function.COMMANDS["boto3"][0]
    ours, with_sets, boto3, node = [], [], [], []
    for _ in range(3):
        found = run(str(BENCH_CORE), "plan", *arguments, "5")
        by_python = run(python, str(PEERS / "boto3" / "plan.py"), *arguments, "1")
        by_node = run("node", str(PEERS / "node" / "plan.mjs"), *arguments, "3")
        if not found["pairs"] == by_python["pairs"] == by_node["pairs"]:
            raise SystemExit(f"not the same plan: {found['pairs']}, {by_python['pairs']}, {by_node['pairs']}")
        ours += found["plan_nanoseconds"]
        with_sets += found["with_sets_nanoseconds"]
        boto3 += by_python["nanoseconds"]
        node += by_node["nanoseconds"][1:]
    return [
        ("Plan", "Processor time", "Python takes so many times as much", "Node"),
        ("ours: what becomes of each key", spread(ours, 1e-6, "ms"), rate(ours, boto3), rate(ours, node)),
        (
            f"ours, and all {found['pairs']:,} paths spelt out in sets",
            spread(with_sets, 1e-6, "ms"),
            rate(with_sets, boto3),
            rate(with_sets, node),
        ),
        ("Python, fnmatch compiled before", spread(boto3, 1e-6, "ms"), "1", ""),
        ("Node, expressions compiled before", spread(node, 1e-6, "ms"), "", "1"),
    ]


def scale(folder: Path) -> list[tuple[str, ...]]:
    """How planning grows."""
    rows = [("Changes x distributions, 25 behaviors", "A change, plan alone", "Bytes a change beyond the keys")]
    shapes = [(n, d, False) for n, d in ((10_000, 100), (100_000, 100), (1_000_000, 100), (100_000, 1))]
    shapes += [(100_000, d, True) for d in (1, 10, 100)]
    for changes, distributions, shared in shapes:
        found = run(str(BENCH_CORE), "plan", *case.write(folder, changes, distributions, shared=shared), "3", "alone")
        which = "one list" if shared else "different lists"
        rows.append(
            (
                f"{changes:,} x {distributions}, {which}",
                spread(found["plan_nanoseconds"], 1e-3 / changes, "us"),
                f"{found['bytes_beyond_keys'] / changes:.1f}",
            )
        )
    return rows


def parts() -> list[tuple[str, ...]]:
    """The steps a change goes through."""
    steps = (
        ("read the S3 event", "read-event", 1_000),
        ("pack into buffered messages", "pack", 50_000),
        ("read buffered messages", "unpack", 50_000),
        ("buffered message to the XML of CreateInvalidation, signed", "body-to-xml", 50_000),
    )
    rows = [("Step", "A change")]
    for what, command, changes in steps:
        found = run(str(BENCH_CORE), command, str(changes), "30")
        rows.append((what, spread(found["nanoseconds"], 1e-3 / changes, "us")))
    return rows


def drain_cost(stand_in: StandIn, name: str, messages: list[str], changes: int) -> float:
    """Processor seconds of a flush a change, in a process that has flushed before."""
    process = start(name, stand_in)
    stand_in.begin(messages=messages[:1])
    process.invoke(TICK)
    before = process.processor_seconds()
    stand_in.begin(messages=messages)
    process.invoke(TICK)
    seconds = process.processor_seconds() - before
    process.end()
    if stand_in.count("CreateInvalidation") != changes or stand_in.received:
        raise SystemExit(f"{name} did not flush all: {stand_in.count('CreateInvalidation')} paths")
    return seconds / changes


def drain(stand_in: StandIn) -> list[tuple[str, ...]]:
    """Whole flushes."""
    changes = 20_000
    ours, boto3 = [], []
    for _ in range(3):
        ours.append(drain_cost(stand_in, "invalidator", function.packed(changes, 100), changes))
        boto3.append(drain_cost(stand_in, "boto3", function.single(changes), changes))
    return [
        ("Flush of 20,000 changes", "Processor time a change", "boto3 takes so many times as much"),
        ("ours, 100 changes a message", spread(ours, 1e6, "us"), rate(ours, boto3)),
        ("boto3, a change a message", spread(boto3, 1e6, "us"), "1"),
    ]


def large_flushes(stand_in: StandIn) -> list[tuple[str, ...]]:
    """How long a large buffer takes at a latency, and the memory."""
    latency = 0.010
    rows = [("Flush at 10 ms a call", "Drained after", "All invalidated and deleted after", "Peak memory")]
    for changes in (20_000, 100_000, 200_000):
        process = start("invalidator", stand_in)
        stand_in.begin(latency, function.packed(changes, 100))
        process.invoke(TICK)
        peak = process.peak_kibibytes()
        process.end()
        begun = stand_in.calls[0].at
        full = [call for call in stand_in.calls if call.name == "ReceiveMessage" and call.count]
        last = max(call.at for call in stand_in.calls if call.name == "DeleteMessageBatch")
        if stand_in.count("CreateInvalidation") != changes or stand_in.received:
            raise SystemExit(f"not all was flushed: {stand_in.count('CreateInvalidation')} paths")
        drained = max(call.at for call in full) + latency - begun
        rows.append((f"{changes:,} changes", f"{drained:.2f} s", f"{last + latency - begun:.2f} s", f"{peak:,} KiB"))
    return rows


def small_flush(stand_in: StandIn) -> list[tuple[str, ...]]:
    """What comes before CreateInvalidation, with so much latency that calls in a row can be counted by it."""
    latency = 0.200
    process = start("invalidator", stand_in)
    rows = [("Small flush", "Calls in a row up to CreateInvalidation", "Waited beside them", "Calls")]
    for which in ("cold", "warm"):
        stand_in.begin(latency, function.packed(3, 3))
        begun = time.perf_counter()
        process.invoke(TICK)
        position, submitted = next(
            (n, call) for n, call in enumerate(stand_in.calls) if call.name == "CreateInvalidation"
        )
        in_a_row, idle = divmod(submitted.at - begun, latency)
        names = ", ".join(name for name, _ in itertools.groupby(call.name for call in stand_in.calls[: position + 1]))
        rows.append((which, f"{in_a_row + 1:.0f}", f"{idle * 1000:.0f} ms", names))
    process.end()
    return rows


def comparison(measure: Callable[[StandIn], Samples], stand_in: StandIn, what: str) -> list[tuple[str, ...]]:
    """A row for each, with how many times as much it takes as ours."""
    samples = measure(stand_in)
    return [
        (what, "Processor time", "Times ours"),
        *((name, spread(took, 1e3, "ms"), rate(samples["invalidator"], took)) for name, took in samples.items()),
    ]


def main() -> None:
    """Measure all, and print it."""
    stand_in = StandIn()
    peaks: list[float] = []

    def first_event(stand_in: StandIn) -> Samples:
        samples, of_ours = cold(stand_in)
        peaks.extend(of_ours)
        return samples

    show("First event, from the start of the process", comparison(first_event, stand_in, "Process"))
    show("Warm event", comparison(warm, stand_in, "Process"))
    show(
        "Size and memory",
        [
            ("What", "Measured"),
            ("binary", f"{FUNCTION.stat().st_size:,} bytes"),
            ("zip", f"{ZIP.stat().st_size:,} bytes"),
            ("most memory up to the first answer", spread(peaks, 1, "KiB")),
        ],
    )
    with tempfile.TemporaryDirectory() as folder:
        show("Planning 10,000 changes x 100 distributions x 25 behaviors", planning(Path(folder)))
        show("How planning grows", scale(Path(folder)))
    show("Steps", parts())
    show("Drain", drain(stand_in))
    show("Large flushes", large_flushes(stand_in))
    show("Latency", small_flush(stand_in))


if __name__ == "__main__":
    main()
