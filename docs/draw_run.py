"""Draws docs/run.svg: a part of what `make local` prints, as it is in a terminal."""

import os
import subprocess
import sys
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
# What is shown: the first changes, and the first invalidation.
CHANGES = 6
LINE, CHARACTER, MARGIN, LONGEST = 17, 7.3, 16, 112
COLOURS = {"OK:": "#7ee787", "What": "#79c0ff"}


def main() -> None:
    """Run `make local` with the function named first, and write the picture named second."""
    run = [sys.executable, ROOT / "tests/local/run.py", sys.argv[1]]
    environment = os.environ | {"DEBOUNCE_SECONDS": "3", "KEEP": ""}
    printed = subprocess.run(run, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    Path(sys.argv[2]).write_text(picture(["$ make local", *excerpt(printed.split("\n"))]))


def excerpt(lines: list[str]) -> list[str]:
    """The lines that are shown."""
    start = next(i for i, line in enumerate(lines) if line.startswith("What became"))
    end = next(i for i, line in enumerate(lines) if line.startswith("What CloudFront"))
    starts = [i for i in range(start + 1, end) if lines[i] == ""]
    verdict = next(line for line in lines if line.startswith("OK:"))
    invalidations = lines[end : end + 6]
    return [*lines[: starts[CHANGES]], "  ...", "", *invalidations, "  ...", "", verdict]


def picture(lines: list[str]) -> str:
    """The lines in a terminal."""
    width, height = LONGEST * CHARACTER + 2 * MARGIN, len(lines) * LINE + 2 * MARGIN
    rows = "\n".join(row(number, line) for number, line in enumerate(lines))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
        f'font-family="ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace" font-size="12" xml:space="preserve">\n'
        f'<rect width="100%" height="100%" rx="6" fill="#0d1117"/>\n{rows}\n</svg>\n'
    )


def row(number: int, line: str) -> str:
    """A line."""
    shown = line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."
    colour = next((colour for start, colour in COLOURS.items() if line.startswith(start)), "#c9d1d9")
    # Reasons stand below their decisions, further to the right.
    colour = "#8b949e" if line.startswith(" " * 14) else colour
    y = MARGIN + (number + 1) * LINE - 5
    return f'<text x="{MARGIN}" y="{y}" fill="{colour}" style="white-space:pre">{escape(shown)}</text>'


if __name__ == "__main__":
    main()
