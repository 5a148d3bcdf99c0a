"""Measures the function and its peers: `make bench`. `--update` writes the table into docs/performance.md.

All programs run in turns against one stand-in for AWS, and a program that did less than the others ends the bench.
"""

import asyncio
import sys
import time

import events
import flushes
import machine
import planning
from function import ROOT
from programs import check_all_built
from stand_in import standing_in
from table import markdown

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- written by make bench UPDATE=1 -->\n", "<!-- end -->\n"


async def main() -> None:
    """Measure, print, and write if asked to."""
    check_all_built()
    begun = time.monotonic()
    async with standing_in() as stand_in:
        tell("events")
        rows = await events.measure(stand_in)
        tell("planning")
        rows += planning.measure()
        tell("flushes")
        rows += await flushes.measure(stand_in)
    tell(f"done in {time.monotonic() - begun:.0f} s")
    text = f"\n{machine.described()}\n{markdown(rows)}\n"
    print(text)
    if "--update" in sys.argv:
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(before + BEGIN + text + END + rest.split(END)[1])


def tell(text: str) -> None:
    """Progress, apart from the table."""
    print(f"bench: {text}", file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(main())
