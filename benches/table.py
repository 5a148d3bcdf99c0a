"""The table: what was asked, what was measured, and how it compares."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

SECONDS, BYTES, MEMORY, COUNT = "seconds", "bytes", "memory", "count"
HEADINGS = ("goal", "what", "ours", "peer", "ratio", "asked", "met")


@dataclass(frozen=True)
class Figure:
    """What was measured, once a round."""

    values: list[float]
    unit: str

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        low, high = (text(extreme(self.values), self.unit) for extreme in (min, max))
        spread = f" ({low} to {high})" if low != high else ""
        return f"{text(self.median, self.unit)}{spread}"


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    goal: str
    what: str
    ours: str
    peer: str = ""
    ratio: str = ""
    asked: str = ""
    met: str = ""

    def cells(self) -> tuple[str, ...]:
        """From left to right."""
        return (self.goal, self.what, self.ours, self.peer, self.ratio, self.asked, self.met)


Figures = dict[str, Figure]


def cheaper(goal: int, what: str, of: Figures, peer: str, least: float) -> Row:
    """The peer's is at least so many times ours."""
    ratio = of[peer].median / of["ours"].median
    cells = f"{peer}: {of[peer]}", f"1/{ratio:.1f}", f"at most 1/{least:g}"
    return Row(str(goal), what, str(of["ours"]), *cells, verdict(ratio >= least))


def dearer(goal: int, what: str, of: Figures, peer: str, most: float) -> Row:
    """Ours is at most so many times the peer's."""
    ratio = of["ours"].median / of[peer].median
    cells = f"{peer}: {of[peer]}", f"{ratio:.2f}", f"at most {most:g}"
    return Row(str(goal), what, str(of["ours"]), *cells, verdict(ratio <= most))


def at_most(goal: int, what: str, ours: Figure, most: float) -> Row:
    """Ours is at most this."""
    asked = f"at most {text(most, ours.unit)}"
    return Row(str(goal), what, str(ours), asked=asked, met=verdict(ours.median <= most))


def steady(goal: int, what: str, small: Figure, large: Figure, names: tuple[str, str], most: float) -> Row:
    """What is larger in size costs at most so many times as much."""
    ratio = large.median / small.median
    cells = f"{names[1]}: {large}", f"{names[0]}: {small}", f"{ratio:.2f}", f"at most {most:g}"
    return Row(str(goal), what, *cells, verdict(ratio <= most))


def compared(what: str, of: Figures, peer: str) -> Row:
    """Nothing was asked of it, and yet it is worth knowing."""
    return Row("", what, str(of["ours"]), f"{peer}: {of[peer]}", f"1/{of[peer].median / of['ours'].median:.1f}")


def shown(what: str, ours: Figure) -> Row:
    """Nothing was asked of it."""
    return Row("", what, str(ours))


def verdict(met: bool) -> str:
    """A yes, or what cannot be overlooked."""
    return "yes" if met else "**no**"


def text(value: float, unit: str) -> str:
    """A value for people."""
    if unit == BYTES:
        return f"{value:.1f} bytes" if value < 1000 else f"{value / 1_000_000:.2f} MB"
    if unit == MEMORY:
        return f"{value / (1 << 20):.2f} MiB"
    if unit == COUNT:
        return f"{value / 1_000_000:.2f} million" if value >= 1_000_000 else f"{value:,.0f}"
    for factor, name in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {name}"
    return f"{value * 1e9:.3g} ns"


def markdown(rows: Iterable[Row]) -> str:
    """The table as it stands in docs/performance.md."""
    lines = [HEADINGS, tuple("---" for _ in HEADINGS), *(row.cells() for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
