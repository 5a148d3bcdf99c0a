"""Fails when a change adds more than a tenth to a size or a number of instructions: `make budget`.

What is allowed stands in budget.json; `--update` writes what is measured there.
"""

import asyncio
import json
import sys

import instructions
from case import write_case
from events import EVENT
from function import OUT, ROOT
from programs import FUNCTION, OURS, PROCESSOR, ZIPS
from stand_in import standing_in

BUDGET = ROOT / "benches" / "budget.json"
TOLERANCE = 0.10
WARM_EVENTS = 100
WHAT_TO_DO = f"""
`callgrind_annotate {OUT.relative_to(ROOT)}/callgrind.*` shows where the instructions of the last run went; with
`--config profile.release.strip=false` cargo keeps the names of functions.
If it is worth it: `make budget UPDATE=1`, and commit benches/budget.json with the reason."""
CORE = {
    "body-to-xml, 10,000 changes": ("body-to-xml", "10000"),
    "read-event, 1,000 records": ("read-event", "1000"),
    "pack, 10,000 changes": ("pack", "10000"),
    "unpack, 10,000 changes": ("unpack", "10000"),
}


async def measure() -> dict[str, int]:
    """All figures."""
    figures = {"bytes: binary": FUNCTION.stat().st_size, "bytes: zip": ZIPS[PROCESSOR].stat().st_size}
    async with standing_in() as stand_in:
        first = await instructions.of_events(OURS, stand_in, EVENT, 1)
        all_ = await instructions.of_events(OURS, stand_in, EVENT, 1 + WARM_EVENTS)
    figures |= {"instructions: first event": first, f"instructions: {WARM_EVENTS} warm events": all_ - first}
    case = write_case(OUT, changes=5_000, distributions=20, behaviors=25)
    figures["instructions: plan, 5,000 changes x 20 distributions"] = instructions.of_core("plan", *case.arguments)
    return figures | {f"instructions: {name}": instructions.of_core(*arguments) for name, arguments in CORE.items()}


def judged(figures: dict[str, int], allowed: dict[str, int]) -> list[str]:
    """What exceeds the budget, or has none."""
    faults = []
    for name, new in figures.items():
        old = allowed.get(name)
        change = f"{new / old - 1:+.1%}" if old else "new"
        exceeds = old is None or new > old * (1 + TOLERANCE)
        print(f"{name:<55} {old or 0:>13,} -> {new:>13,} {change:>7}{'  TOO MUCH' if exceeds else ''}")
        if exceeds:
            faults.append(f"{name}: {old or 0:,} -> {new:,} ({change}, {TOLERANCE:.0%} is allowed)")
    return faults


def main() -> None:
    """Measure, and compare or write."""
    figures = asyncio.run(measure())
    if "--update" in sys.argv:
        BUDGET.write_text(json.dumps({"processor": PROCESSOR, **figures}, indent=2) + "\n")
    allowed = json.loads(BUDGET.read_text())
    faults = judged(figures, allowed)
    if allowed["processor"] != PROCESSOR:
        print(f"budget: not compared, {BUDGET.name} is of {allowed['processor']}, this is {PROCESSOR}")
    elif faults:
        print("\nbudget: exceeded\n  " + "\n  ".join(faults), file=sys.stderr)
        print(WHAT_TO_DO, file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
