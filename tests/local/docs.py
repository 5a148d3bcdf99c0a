"""The shell commands of the docs.

A block that cannot be run against the emulator has a comment above it that says why: `<!-- needs AWS: why -->`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"(?:^<!-- (?P<note>[^\n]*?) -->\n)?^```sh\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of shell commands."""

    page: Path
    line: int
    note: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, from top to bottom."""
    text = page.read_text()
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        yield Block(page, line, match.group("note"), match.group("text"))


def table(page: str, heading: str) -> list[str]:
    """The first cells of the first table that has this heading, without their backquotes."""
    text = (ROOT / page).read_text()
    rows = text[text.index(heading) :].split("\n\n")[0].split("\n")[2:]
    return [cell.strip("` ") for row in rows for cell in [row.split("|")[1]]]


# In the code, and in the lists of counters.
EMITTED = re.compile(r'(?:Metric::(?:Count|Milliseconds|Usd|duration)\(\s*|^ {8}\w+: )"([A-Z]\w+)",', re.MULTILINE)


def emitted_metrics() -> set[str]:
    """The metrics that the function's code emits."""
    sources = (source.read_text().split("#[cfg(test)]")[0] for source in (ROOT / "src").rglob("*.rs"))
    return {name for source in sources for name in EMITTED.findall(source)}
