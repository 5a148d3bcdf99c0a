"""Fails when a change makes the function larger or busier by more than a tenth: `make budget`.

It counts bytes and instructions, which are the same at every run, and compares them with `budget.json`. `make budget
ACCEPT=1` writes what is measured into that file: then the commit says why it is worth it.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import case
from function import BENCH_CORE, EVENT, FUNCTION, ROOT, settings
from process import Process
from stand_in import StandIn

BUDGET = Path(__file__).with_name("budget.json")
ZIP = ROOT / "target" / "lambda" / "invalidator" / "bootstrap.zip"
ALLOWED = 1.10
WARM_EVENTS = 50


def callgrind(out: Path, command: list[str]) -> list[str]:
    """A command whose instructions are counted."""
    return ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *command]


def counted(out: Path) -> int:
    """What was counted."""
    line = next(line for line in out.read_text().splitlines() if line.startswith(("summary:", "totals:")))
    return int(line.split()[1])


def events(count: int, folder: Path) -> int:
    """Instructions of the function from its start to the answer to so many events."""
    stand_in = StandIn()
    # A window that does not end meanwhile: one tick, however slow this is.
    environment = settings(stand_in) | {"DEBOUNCE_SECONDS": "900"}
    out = folder / f"events-{count}"
    process = Process(callgrind(out, [str(FUNCTION)]), environment)
    for _ in range(count):
        process.invoke(EVENT)
    process.end()
    return counted(out)


def core(folder: Path, *arguments: str) -> int:
    """Instructions of a part."""
    out = folder / arguments[0]
    command = callgrind(out, [str(BENCH_CORE), *arguments])
    subprocess.run(command, check=True, capture_output=True, env={"PATH": os.environ["PATH"]})
    return counted(out)


def measure(folder: Path) -> dict[str, int]:
    """All that has a budget."""
    first = events(1, folder)
    return {
        "bytes of the function": FUNCTION.stat().st_size,
        "bytes of its zip": ZIP.stat().st_size,
        "instructions of a first event": first,
        "instructions of a warm event": (events(1 + WARM_EVENTS, folder) - first) // WARM_EVENTS,
        "instructions of a plan: 10,000 changes, 100 distributions": core(
            folder, "plan", *case.write(folder, 10_000, 100), "1"
        ),
        "instructions of 10,000 changes from the buffer to CreateInvalidation": core(
            folder, "body-to-xml", "10000", "1"
        ),
        "instructions of reading an event of 1,000 records": core(folder, "read-event", "1000", "1"),
        "instructions of packing 10,000 changes": core(folder, "pack", "10000", "1"),
        "instructions of reading 10,000 buffered changes": core(folder, "unpack", "10000", "1"),
    }


def main() -> None:
    """Compare, or accept."""
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Path(folder))
    if "--accept" in sys.argv:
        BUDGET.write_text(json.dumps(measured, indent=2) + "\n")
    budget = json.loads(BUDGET.read_text())
    over = [name for name, value in measured.items() if value > budget[name] * ALLOWED]
    for name, value in measured.items():
        change = (value / budget[name] - 1) * 100
        mark = "  TOO MUCH" if name in over else ""
        print(f"{name:<72} {value:>13,} {change:>+7.1f} % of {budget[name]:,}{mark}")
    if over:
        raise SystemExit(
            f"\nbudget: more than {ALLOWED - 1:.0%} above benches/budget.json: {'; '.join(over)}\n"
            "See where it goes with callgrind_annotate. If it is worth it: `make budget ACCEPT=1`, and say why in "
            "the commit."
        )


if __name__ == "__main__":
    main()
