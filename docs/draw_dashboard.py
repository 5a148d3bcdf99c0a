"""Draws docs/dashboard.svg: the dashboard of template.yaml, with the numbers of docs/sample_day.py.

The layout, the titles and the metrics are the template's. It is not a picture of CloudWatch's console.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import sample_day

import template

UNIT = 40  # a cell of the dashboard's grid, in pixels
COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd"]
LEFT, TOP = 44, 40  # of a chart, beside its labels and below its title


@dataclass(frozen=True)
class Line:
    """A line of a chart."""

    label: str
    values: list[float]
    is_right: bool = False


def main() -> None:
    """Write the picture named first."""
    widgets = template.dashboard(lambda reference: {"AWS::StackName": "invalidator"}.get(reference, reference))
    Path(sys.argv[1]).write_text(picture(widgets))


def picture(widgets: list[dict]) -> str:
    """The whole picture."""
    height = max(widget["y"] + widget["height"] for widget in widgets)
    drawn = "\n".join(draw(widget) for widget in widgets)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {24 * UNIT} {height * UNIT}" font-family="sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#f2f3f3"/>\n{drawn}\n</svg>\n'
    )


def draw(widget: dict) -> str:
    """One widget: its frame, its title and what is in it."""
    x, y = widget["x"] * UNIT + 4, widget["y"] * UNIT + 4
    width, height = widget["width"] * UNIT - 8, widget["height"] * UNIT - 8
    properties = widget["properties"]
    title, *rest = properties.get("markdown", properties.get("title", "")).lstrip("# ").split("\n")
    # A bold letter is about 0.6 of its size wide.
    size = min(13.0, (width - 24) / (0.6 * len(title)))
    inside = [text(12, 22, title, size, weight="bold"), *(text(12, 44, line, 11) for line in rest)]
    if widget["type"] == "alarm":
        inside += alarms([name.removesuffix(".Arn") for name in properties["alarms"]])
    if widget["type"] == "metric":
        inside += chart(lines(properties), properties.get("annotations", {}), width, height)
    if widget["type"] == "log":
        inside += log()
    frame = f'<rect width="{width}" height="{height}" rx="4" fill="white" stroke="#ccc"/>'
    return f'<g transform="translate({x},{y})">{frame}{"".join(inside)}</g>'


def alarms(names: list[str]) -> list[str]:
    """Each alarm, in the state in which it is at the end of the day."""
    inside = []
    for n, name in enumerate(names):
        x, y = 12 + n % 5 * 186, 38 + n // 5 * 34
        inside.append(f'<rect x="{x}" y="{y}" width="176" height="26" rx="3" fill="#e7f5e9" stroke="#2ca02c"/>')
        inside.append(text(x + 8, y + 17, name, 11))
        inside.append(text(x + 152, y + 17, "OK", 10, "#2ca02c"))
    return inside


def log() -> list[str]:
    """The last lines of the function's log."""
    inside = []
    for n, row in enumerate([("time", "level", "stage", "distribution", "message"), *sample_day.LOG]):
        weight = "bold" if n == 0 else "normal"
        for x, cell in zip((12, 62, 122, 192, 316), row, strict=True):
            inside.append(text(x, 52 + n * 22, cell, 11, "#d62728" if cell == "ERROR" else "#222", weight))
    return inside


def lines(properties: dict) -> list[Line]:
    """The lines of a chart. CloudWatch repeats what stands above a dot."""
    found: list[Line] = []
    above: list[str] = []
    for row in properties["metrics"]:
        if isinstance(row[0], dict):
            found += by_distribution()
            continue
        options = row[-1] if isinstance(row[-1], dict) else {}
        names = [part for part in row if isinstance(part, str)]
        names = [above[i] if part == "." else part for i, part in enumerate(names)]
        above = names
        queue = names[3].split(".")[0] if names[0] == "AWS/SQS" else options.get("stat", "")
        label = options.get("label", names[1])
        found.append(Line(label, sample_day.of(names[1], queue), options.get("yAxis") == "right"))
    return found


def by_distribution() -> list[Line]:
    """What a search over all distributions finds."""
    names = [name.removeprefix("PathsAccepted ") for name in sample_day.DAY if name.startswith("PathsAccepted ")]
    return [Line(name, sample_day.of("PathsAccepted", name)) for name in names]


def chart(drawn: list[Line], annotations: dict, width: int, height: int) -> list[str]:
    """The lines over the day, one colour for each, and the legend."""
    base = height - 30 - 14 * ((len(drawn) + 1) // 2)
    limits = [limit["value"] for limit in annotations.get("horizontal", [])]
    tops = {
        is_right: max([1.0, *(max(line.values) for line in drawn if line.is_right == is_right)])
        for is_right in (False, True)
    }
    tops[False] = max(tops[False], *limits, 1.0)
    inside = axes(tops[False], width, base)
    if any(line.is_right for line in drawn):
        inside.append(text(width - 10, TOP + 4, short(tops[True]), 10, "#666", anchor="end"))
    for limit in limits:
        y = height_of(limit, tops[False], base)
        inside.append(f'<path d="M{LEFT} {y:.0f}H{width - 12}" stroke="#d62728" stroke-dasharray="4 3"/>')
        inside.append(text(width - 14, y + 12, "alarm", 10, "#d62728", anchor="end"))
    for n, line in enumerate(drawn):
        step = (width - 12 - LEFT) / (len(line.values) - 1)
        points = " ".join(
            f"{LEFT + i * step:.0f},{height_of(value, tops[line.is_right], base):.0f}"
            for i, value in enumerate(line.values)
        )
        colour = COLOURS[n % len(COLOURS)]
        inside.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        inside.append(text(12 + n % 2 * (width // 2), base + 32 + n // 2 * 14, f"— {line.label}", 10, colour))
    return inside


def axes(top: float, width: int, base: int) -> list[str]:
    """The frame of a chart, with the hours."""
    inside = [f'<path d="M{LEFT} {TOP}V{base}H{width - 12}" fill="none" stroke="#999"/>']
    inside += [text(LEFT - 5, TOP + 4, short(top), 10, "#666", anchor="end")]
    inside += [text(LEFT - 5, base, "0", 10, "#666", anchor="end")]
    for hour in (0, 6, 12, 18, 24):
        x = LEFT + (width - 12 - LEFT) * hour / 24
        inside.append(text(x, base + 13, f"{hour}:00", 9, "#888", anchor="middle" if 0 < hour < 24 else "end"))
    return inside


def height_of(value: float, top: float, base: int) -> float:
    """Where a value is drawn."""
    return base - value / top * (base - TOP)


def short(value: float) -> str:
    """A number with few digits."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def text(
    x: float, y: float, words: str, size: float, colour: str = "#222", weight: str = "normal", anchor: str = "start"
) -> str:
    """Some words."""
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size:.3g}" fill="{colour}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{escape(words)}</text>'
    )


if __name__ == "__main__":
    main()
