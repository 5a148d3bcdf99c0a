"""What a month costs: counts from template.yaml, from a counted run, and prices from prices.json.

A command: `make costs` writes the tables of costs.md anew, `make cost` counts a run and shows what it would cost.
`tests/checks/test_costs.py` compares the tables, and
`tests/local/test_costs.py` compares the counts of a run with those here.
"""

import json
import math
import re
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import template
from intrinsics import Scope

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "costs.md"
PRICES = json.loads((DOCS / "prices.json").read_text())["prices"]
MINUTES = 30 * 24 * 60
GIGABYTES = 0.25

# What the function calls. (Lambda's pollers and Scheduler come on top.)
CALLS_OF_A_SWEEP = {"sqs:ReceiveMessage": 1, "s3:GetObject": 4}
CALLS_OF_A_CHANGE = {
    "s3:GetBucketTagging": 1,
    "sqs:SendMessage": 3,
    "sqs:ReceiveMessage": 2,
    "sqs:DeleteMessage": 2,
    "cloudfront:CreateInvalidation": 1,
}
# What an idle sweep emits: the heartbeat.
METRICS_OF_A_SWEEP = 1
# A long poll of an empty buffer takes a second.
SECONDS_OF_A_SWEEP = 1.5
# What is logged, in bytes, with the 26 that CloudWatch Logs adds to each line. Lambda logs only failures by itself.
LOG_BYTES_OF_A_SWEEP = 500
LOG_BYTES_OF_AN_EVENT = 0
LOG_BYTES_OF_A_DECISION = 390
# Without decisions.
LOG_BYTES_OF_A_FLUSH = 1_180
LOG_BYTES_OF_A_SUBMIT = 1_050
# core/src/allowance.rs: so many decisions are logged in a minute, where there are many.
DECISIONS_A_MINUTE = 4
# Seconds that are billed: one or two calls to SQS; the calls and the long poll that confirms that the buffer is empty;
# one call to CloudFront.
SECONDS_OF_AN_EVENT, SECONDS_OF_A_FLUSH, SECONDS_OF_A_SUBMIT = 0.02, 1.1, 0.2
# Lambda polls a queue with five long polls of 20 s at once (the Lambda Developer Guide names the five): 15 empty polls
# a minute, as others measured (issue 132 of getlift/lift). Whether it polls FIFO queues less is not known.
POLLERS, SECONDS_OF_A_POLL = 5, 20
POLLS_A_MINUTE = POLLERS * 60 // SECONDS_OF_A_POLL
# What a further event of a batch takes.
SECONDS_OF_A_FURTHER_EVENT = 0.0005
# Lambda's pollers receive and delete ten messages with a call, and so does a flush.
CALLS_OF_A_MESSAGE = 1 + 2 / 10


@dataclass(frozen=True)
class Line:
    """An item of the bill: so much, at a price of prices.json."""

    what: str
    amount: float
    price: str
    # So much of the free amount others have already used.
    used: float = 0

    def usd(self, with_free_tier: bool) -> float:
        """What it costs in USD."""
        price = PRICES[self.price]
        free = max(price["free"] - self.used, 0) if with_free_tier else 0
        return max(self.amount - free, 0) * price["usd"] / price["per"]


def resources(kind: str) -> list[dict]:
    """The properties of all resources of a type that every stack has."""
    return [
        resource["Properties"]
        for resource in template.load()["Resources"].values()
        if resource["Type"] == kind and "Condition" not in resource
    ]


def mappings() -> int:
    """How many queues Lambda polls."""
    events = resources("AWS::Serverless::Function")[0]["Events"]
    return sum(event["Type"] == "SQS" for event in events.values())


def alarm_metrics() -> int:
    """How many metrics the alarms watch: an alarm on an expression costs as much as one on each of its metrics."""
    return sum(
        sum("MetricStat" in metric for metric in alarm.get("Metrics", [])) or 1
        for alarm in resources("AWS::CloudWatch::Alarm")
    )


def sweeps() -> int:
    """How many sweeps a month has, with the default debounce."""
    (schedule,) = resources("AWS::Scheduler::Schedule")
    expression = Scope(template.load(), {"AdminEmail": "none"}).resolve(schedule["ScheduleExpression"])
    return MINUTES // int(re.fullmatch(r"rate\((\d+) minutes\)", expression)[1])


def sqs_calls(calls: dict[str, int]) -> int:
    """How many calls go to SQS."""
    return sum(count for action, count in calls.items() if action.startswith("sqs:"))


def at_rest() -> list[Line]:
    """A month in which nothing happens."""
    polls = mappings() * POLLS_A_MINUTE * MINUTES
    return [
        Line(
            f"Lambda's pollers on {mappings()} queues, and the ticks of the sweeps",
            polls + 2 * sweeps(),
            "SQS FIFO request",
        ),
        Line("sweeps: receives from the buffer", sqs_calls(CALLS_OF_A_SWEEP) * sweeps(), "SQS request"),
        Line("sweeps: invocations", sweeps(), "Lambda request"),
        Line("sweeps: time", sweeps() * SECONDS_OF_A_SWEEP * GIGABYTES, "Lambda GB-second (arm64)"),
        Line("sweeps: sent", sweeps(), "Scheduler invocation"),
        Line("sweeps: what is under state/", CALLS_OF_A_SWEEP["s3:GetObject"] * sweeps(), "S3 GET"),
        Line("sweeps: logs", sweeps() * LOG_BYTES_OF_A_SWEEP / 1e9, "GB of logs"),
        Line("metrics that a sweep emits", METRICS_OF_A_SWEEP, "custom metric"),
        Line(
            f"alarms: {len(resources('AWS::CloudWatch::Alarm'))}, by the metrics they watch",
            alarm_metrics(),
            "alarm metric",
        ),
    ]


def on_top_of(earlier: list[Line], lines: list[Line]) -> list[Line]:
    """Lines that are billed after others: an account has each free amount only once."""
    amounts = Counter[str]()
    for line in earlier:
        amounts[line.price] += line.amount
    billed = []
    for line in lines:
        billed.append(replace(line, used=amounts[line.price]))
        amounts[line.price] += line.amount
    return billed


def newspaper() -> list[Line]:
    """The worked example of costs.md, a month of it, on top of the costs at rest."""
    changes, paths, flushes = 96_000, 84_000, 15_000
    invocations = changes + 2 * flushes
    seconds = changes * 0.05 + flushes * 1.5 + flushes * 0.2
    lines = [
        Line(
            "distinct paths: 54,000 / 1.5 = 36,000 pages + 6,000 deletions, on 2 distributions",
            paths,
            "invalidation path",
        ),
        Line("events, flushes and submits: invocations", invocations, "Lambda request"),
        Line("events (0.05 s), flushes (1.5 s) and submits (0.2 s)", seconds * GIGABYTES, "Lambda GB-second (arm64)"),
        Line("changes into the buffer and out of it", 3 * 60_000, "SQS request"),
        Line("ticks and sets", 4 * flushes + 3 * flushes, "SQS FIFO request"),
        Line(
            "logs",
            flushes * (LOG_BYTES_OF_A_FLUSH + LOG_BYTES_OF_A_SUBMIT * 2 + 5 * LOG_BYTES_OF_A_DECISION) / 1e9,
            "GB of logs",
        ),
        Line("metrics, in the hours in which they are emitted", 24, "custom metric"),
    ]
    return on_top_of(at_rest(), lines)


def by_event(changes: int, batch: int = 1) -> list[Line]:
    """How changes come from an event to the buffer and out of it, so many with an invocation."""
    invocations = changes / batch
    seconds = SECONDS_OF_AN_EVENT + (batch - 1) * SECONDS_OF_A_FURTHER_EVENT
    return [
        Line("invocations", invocations, "Lambda request"),
        Line("time", invocations * seconds * GIGABYTES, "Lambda GB-second (arm64)"),
        Line("the buffer", invocations * CALLS_OF_A_MESSAGE, "SQS request"),
    ]


def by_queue(changes: int, batch: int) -> list[Line]:
    """The same with IntakeQueue: S3's sends are billed to whom the queue belongs."""
    calls = changes * CALLS_OF_A_MESSAGE + POLLS_A_MINUTE * MINUTES
    return [*by_event(changes, batch), Line("IntakeQueue", calls, "SQS request")]


def sources() -> str:
    """What events cost until they are buffered, by the source and their number."""
    rows = [
        "| changes a month | `S3` | `EventBridge` | `SQS`, batches of 2 | `SQS`, of 10 | `SQS`, of 100 |",
        "|---|---|---|---|---|---|",
    ]
    for changes in (100_000, 1_000_000, 10_000_000, 100_000_000):
        alone = by_event(changes)
        bridged = [*alone, Line("events", changes, "EventBridge event")]
        bills = [alone, bridged, *(by_queue(changes, batch) for batch in (2, 10, 100))]
        cells = [f"{total(lines, with_free_tier=False):,.2f}" for lines in bills]
        rows.append(f"| {changes:,} | {' | '.join(cells)} |")
    return "\n".join(rows)


def polls(messages: float) -> float:
    """How often Lambda polls a queue in a month in which so many messages come, each on its own, to any of its pollers.

    A poll ends after twenty seconds, or when a message comes.
    """
    seconds = MINUTES * 60
    a_second = messages / seconds / POLLERS
    length = -math.expm1(-SECONDS_OF_A_POLL * a_second) / a_second
    return POLLERS * seconds / length


def a_million_events(flushes: int, environments: int, sets: int) -> list[Line]:
    """A month of a million events that each tell of one change, for one distribution, in so many flushes.

    In each flush so many environments receive the events. Paths are not in it.
    """
    events = 1_000_000
    # A receive returns up to ten, and fewer where few wait; one more confirms that none is left.
    receives = flushes * 2 if flushes > events / 20 else events / 10 + flushes
    deletes = max(flushes, events / 10)
    seconds = events * SECONDS_OF_AN_EVENT + flushes * SECONDS_OF_A_FLUSH + sets * SECONDS_OF_A_SUBMIT
    minutes = min(MINUTES, flushes)
    decisions = min(events, minutes * DECISIONS_A_MINUTE + 300)
    logged = (
        events * LOG_BYTES_OF_AN_EVENT
        + flushes * LOG_BYTES_OF_A_FLUSH
        + sets * LOG_BYTES_OF_A_SUBMIT
        + decisions * LOG_BYTES_OF_A_DECISION
    )
    return [
        Line("events, flushes and submits: invocations", events + flushes + sets, "Lambda request"),
        Line("events, flushes and submits: time", seconds * GIGABYTES, "Lambda GB-second (arm64)"),
        Line("changes: sent, received, deleted", events + receives + deletes, "SQS request"),
        Line("ticks: sent, deleted", flushes * (environments + 1), "SQS FIFO request"),
        Line("sets: sent, deleted", sets * 2, "SQS FIFO request"),
        Line("Lambda's polls for both, idle or not", polls(flushes) + polls(sets), "SQS FIFO request"),
        Line("tags, the mode, the pauses and the ledger, read", minutes * (environments + 3), "S3 GET"),
        Line("the ledger, written", min(events / 64, flushes), "S3 LIST or PUT"),
        Line("logs", logged / 1e9, "GB of logs"),
    ]


def evenly_spread() -> list[Line]:
    """A flush every eight seconds, all month."""
    flushes = MINUTES * 60 // 8
    return a_million_events(flushes, environments=1, sets=flushes)


def in_bursts() -> list[Line]:
    """A thousand deployments of a thousand files, each in two flushes, and so many events at once."""
    return a_million_events(2_000, environments=100, sets=2_000)


def table(lines: list[Line]) -> str:
    """A table, with the sum."""
    rows = [
        "| | a month | unit | USD with free tiers | USD without |",
        "|---|---|---|---|---|",
        *(
            f"| {line.what} | {number(line.amount)} | {line.price} | {line.usd(True):.2f} | {line.usd(False):.2f} |"
            for line in lines
        ),
        f"| **all** | | | **{total(lines, True):.2f}** | **{total(lines, False):.2f}** |",
    ]
    return "\n".join(rows)


def total(lines: list[Line], with_free_tier: bool) -> float:
    """The sum in USD."""
    return sum(line.usd(with_free_tier) for line in lines)


def number(amount: float) -> str:
    """An amount for people."""
    return f"{amount:,.0f}" if amount >= 1 else f"{amount:.2f}"


def price_table() -> str:
    """The prices."""
    rows = ["| unit | USD | of them free each month | source |", "|---|---|---|---|"]
    for name, price in PRICES.items():
        per = "" if price["per"] == 1 else f" per {price['per']:,}"
        rows.append(f"| {name} | {price['usd']:.10g}{per} | {price['free']:,} | [AWS]({price['page']}) |")
    return "\n".join(rows)


def refetches() -> str:
    """What it costs to fetch keys again, without and with an Origin Shield. Objects have a megabyte."""
    keys, caches, gigabyte = 10_000, 15, 1 / 1_024

    def usd(*prices: tuple[str, float]) -> float:
        return sum(PRICES[name]["usd"] / PRICES[name]["per"] * amount for name, amount in prices)

    objects = {
        "plain (Standard, Intelligent-Tiering)": usd(("S3 GET", 1)),
        "encrypted with a key of KMS, without a bucket key": usd(("S3 GET", 1), ("KMS request", 1)),
        "Standard-IA, One Zone-IA": usd(("S3 GET, Standard-IA", 1), ("GB retrieved, Standard-IA", gigabyte)),
        "Glacier Instant Retrieval": usd(
            ("S3 GET, Glacier Instant Retrieval", 1), ("GB retrieved, Glacier Instant Retrieval", gigabyte)
        ),
    }
    shield = usd(("Origin Shield request", caches - 1))
    rows = ["| objects of 1 MB | USD | with Origin Shield |", "|---|---|---|"]
    for name, read in objects.items():
        rows.append(f"| {name} | {read * caches * keys:.2f} | {(read + shield) * keys:.2f} |")
    return "\n".join(rows)


TABLES = {
    "at rest": lambda: table(at_rest()),
    "newspaper": lambda: table(newspaper()),
    "evenly spread": lambda: table(evenly_spread()),
    "in bursts": lambda: table(in_bursts()),
    "refetches": refetches,
    "sources": sources,
    "prices": price_table,
}


def written(text: str) -> str:
    """The page with its tables as they must be."""
    for name, make in TABLES.items():
        mark = f"<!-- {name}: by make costs -->\n"
        before, after = text.split(mark)
        rows = re.match(r"(\|.*\n)*", after)[0]
        text = f"{before}{mark}{make()}\n{after.removeprefix(rows)}"
    return text


if __name__ == "__main__":
    if sys.argv[1:] == ["show"]:
        for name in ("at rest", "evenly spread", "in bursts"):
            print(f"\n{name}\n{TABLES[name]()}")
    else:
        PAGE.write_text(written(PAGE.read_text()))
