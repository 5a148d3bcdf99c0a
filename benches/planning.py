"""Goals 4 and 5: from changes to paths, and from message bodies to the bodies of CreateInvalidation."""

import json
import subprocess
from collections import defaultdict

from case import Case, write_case
from function import OUT
from programs import BOTO3, CORE, NODE, NODE_PLAN, PYTHON
from table import BYTES, SECONDS, Figure, Row, at_most, cheaper, shown, steady

ROUNDS = 3
REPEATS = "3"
CHANGES, DISTRIBUTIONS, BEHAVIORS = 10_000, 100, 25
MANY_CHANGES = 1_000_000
XML_CHANGES = "100000"

SETS, ALONE = "with_sets_nanoseconds", "plan_nanoseconds"


def measure() -> list[Row]:
    """The rows of goals 4 and 5."""
    return [*against_peers(), *at_scale(), *others()]


def against_peers() -> list[Row]:
    """The same case, planned by all three."""
    case = write_case(OUT, CHANGES, DISTRIBUTIONS, BEHAVIORS)
    commands = {
        "ours": [str(CORE), "plan", *case.arguments, REPEATS],
        "Python": [PYTHON, str(BOTO3 / "plan.py"), *case.arguments],
        "Node": [NODE, str(NODE_PLAN), *case.arguments],
    }
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    alone: list[float] = []
    pairs: dict[str, int] = {}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            result = printed(command)
            pairs[name] = result["pairs"]
            seconds[name] += seconds_of(result, SETS if name == "ours" else "nanoseconds")
            alone += seconds_of(result, ALONE) if name == "ours" else []
    if len(set(pairs.values())) != 1:
        raise SystemExit(f"the planners do not agree on the number of paths: {pairs}")
    of = {name: Figure(values, SECONDS) for name, values in seconds.items()}
    what = (
        f"plan of {CHANGES:,} changes x {DISTRIBUTIONS} distributions x {BEHAVIORS} behaviors, {pairs['ours']:,} paths"
    )
    return [
        cheaper(4, what, of, "Python", 70),
        cheaper(4, what, of, "Node", 15),
        shown("  the plan alone, before its paths are written", Figure(alone, SECONDS)),
    ]


def at_scale() -> list[Row]:
    """A million changes, and how the plan grows."""
    different = plan(write_case(OUT, MANY_CHANGES, DISTRIBUTIONS, BEHAVIORS))
    shared = plan(write_case(OUT, MANY_CHANGES, DISTRIBUTIONS, BEHAVIORS, shared=True))
    single = plan(write_case(OUT, MANY_CHANGES, 1, BEHAVIORS, shared=True))
    tenth = plan(write_case(OUT, MANY_CHANGES // 10, DISTRIBUTIONS, BEHAVIORS, shared=True))
    per_change = {1: a_change(single, ALONE), DISTRIBUTIONS: a_change(shared, ALONE)}
    many = f"{MANY_CHANGES:,} x {DISTRIBUTIONS}"
    names = "1 distribution", f"{DISTRIBUTIONS} distributions"
    sizes = f"{MANY_CHANGES // 10:,} changes", f"{MANY_CHANGES:,} changes"
    return [
        at_most(4, f"plan of {many}, one behavior list: a change", per_change[DISTRIBUTIONS], 1.2e-6),
        at_most(4, "  memory a change, beyond the keys' own bytes", beyond_keys(shared), 32),
        steady(4, "  more distributions with one behavior list", per_change[1], per_change[DISTRIBUTIONS], names, 1.1),
        steady(4, "  more changes: a change", a_change(tenth, ALONE), per_change[DISTRIBUTIONS], sizes, 1.25),
        at_most(4, f"plan of {many}, different behavior lists: a change", a_change(different, ALONE), 1.2e-6),
        at_most(4, "  memory a change, beyond the keys' own bytes", beyond_keys(different), 32),
    ]


def others() -> list[Row]:
    """What comes before and after planning."""
    xml = printed([str(CORE), "body-to-xml", XML_CHANGES, "5"])
    parts = {
        "S3 event to changes: a change": ("read-event", "1000"),
        "changes to message bodies: a change": ("pack", "10000"),
        "message bodies to changes: a change": ("unpack", "10000"),
    }
    results = {what: printed([str(CORE), *arguments, "20"]) for what, arguments in parts.items()}
    return [
        at_most(5, "message bodies to CreateInvalidation XML: a change", a_change(xml, "nanoseconds"), 0.5e-6),
        *(shown(what, a_change(result, "nanoseconds")) for what, result in results.items()),
    ]


def plan(case: Case) -> dict:
    """Our plan of a case, without its paths written."""
    return printed([str(CORE), "plan", *case.arguments, REPEATS, "alone"])


def a_change(result: dict, name: str) -> Figure:
    """The time of a change."""
    return Figure(seconds_of(result, name, result["changes"]), SECONDS)


def beyond_keys(result: dict) -> Figure:
    """The memory of a change."""
    return Figure([result["bytes_beyond_keys"] / result["changes"]], BYTES)


def seconds_of(result: dict, name: str, parts: int = 1) -> list[float]:
    """What took so many nanoseconds, in seconds of a part."""
    return [nanoseconds / 1e9 / parts for nanoseconds in result[name]]


def printed(command: list[str]) -> dict:
    """The JSON a program prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return json.loads(done.stdout)
