"""Draws docs/dashboard.svg: the dashboard of template.yaml, with the metrics of a local run.

The layout, the titles and the metrics are the template's. The numbers are those that the function logged on the
emulator (embedded metric format); metrics of AWS's own (queues, Lambda) and the alarms' states do not exist there, and
are drawn empty. It is not a picture of CloudWatch's console.
"""

import sys
from pathlib import Path
from xml.sax.saxutils import escape

import observe
import pipeline
import sample_site
import template
from emulator import forget_user_settings, interrupt_when_told_to_end

UNIT = 40  # a cell of the dashboard's grid, in pixels
COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728"]


def main() -> None:
    """Run the sample site through the function named first, and write the picture named second."""
    forget_user_settings()
    interrupt_when_told_to_end()
    with pipeline.running(Path(sys.argv[1]).resolve(), 3) as running:
        running.connect()
        sample_site.publish(running.emulator)
        running.wait_for_sample()
        lines = list(observe.log_lines(running.emulator, running.stack.outputs["LogGroupName"]))
        Path(sys.argv[2]).write_text(picture(widgets(), values(lines)))


def widgets() -> list[dict]:
    """The widgets of the dashboard, with the name of what is substituted in place of it."""
    return template.dashboard(lambda reference: reference.removeprefix("AWS::"))


def values(lines: list[dict]) -> dict[str, list[float]]:
    """The values of each metric of the whole function, in the order in which they were logged."""
    found: dict[str, list[float]] = {}
    for line in lines:
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            if directive["Dimensions"] == [["FunctionName"]]:
                for metric in directive["Metrics"]:
                    value = line[metric["Name"]]
                    found.setdefault(metric["Name"], []).extend(value if isinstance(value, list) else [value])
    return found


def picture(all_widgets: list[dict], measured: dict[str, list[float]]) -> str:
    """The whole picture."""
    height = max(widget["y"] + widget["height"] for widget in all_widgets)
    drawn = "\n".join(draw(widget, measured) for widget in all_widgets)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {24 * UNIT} {height * UNIT}" font-family="sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#f2f3f3"/>\n{drawn}\n</svg>\n'
    )


def draw(widget: dict, measured: dict[str, list[float]]) -> str:
    """One widget: its frame, its title and what is in it."""
    x, y = widget["x"] * UNIT + 4, widget["y"] * UNIT + 4
    width, height = widget["width"] * UNIT - 8, widget["height"] * UNIT - 8
    properties = widget["properties"]
    rows = [row for row in properties.get("metrics", []) if isinstance(row[0], str)]
    title, *rest = properties.get("markdown", properties.get("title", "")).lstrip("# ").split("\n")
    inside = [text(12, 22, title, 13, weight="bold"), *(text(12, 44, line, 11) for line in rest)]
    if widget["type"] == "alarm":
        names = [name.removesuffix(".Arn") for name in properties["alarms"]]
        inside += [text(12 + n % 6 * 155, 50 + n // 6 * 26, name, 11) for n, name in enumerate(names)]
    if widget["type"] == "metric":
        inside += chart(rows, measured, width, height)
    if widget["type"] == "log":
        inside.append(text(12, 50, "the function's warnings and errors", 11, "#888"))
    frame = f'<rect width="{width}" height="{height}" rx="4" fill="white" stroke="#ccc"/>'
    return f'<g transform="translate({x},{y})">{frame}{"".join(inside)}</g>'


def chart(rows: list[list], measured: dict[str, list[float]], width: int, height: int) -> list[str]:
    """Bars of the values of each metric, one colour per metric, and the legend."""
    series = [(row[1], measured.get(row[1], []) if row[0] == "Invalidator" else []) for row in rows]
    top = max((value for _, points in series for value in points), default=0) or 1
    count = max((len(points) for _, points in series), default=0)
    area, base = width - 60, height - 62
    inside = [f'<path d="M40 36V{base}H{width - 12}" fill="none" stroke="#999"/>']
    if count:
        inside += [text(8, 44, f"{top:g}", 10, "#666"), text(8, base, "0", 10, "#666")]
    else:
        inside.append(text(60, base // 2 + 20, "not measured on the emulator", 11, "#888"))
    slot = area / max(count, 1)
    bar = max(min(slot / (len(series) + 1), 14), 1)
    for n, (_, points) in enumerate(series):
        for i, value in enumerate(points):
            tall = value / top * (base - 40)
            left = 42 + i * slot + n * bar
            colour = COLOURS[n % len(COLOURS)]
            inside.append(
                f'<rect x="{left:.0f}" y="{base - tall:.0f}" width="{bar:.0f}" height="{tall:.0f}" fill="{colour}"/>'
            )
    for n, row in enumerate(rows):
        label = row[-1].get("label", row[1]) if isinstance(row[-1], dict) else row[1]
        at = (12 + n % 2 * (width // 2), height - 38 + n // 2 * 14)
        inside.append(text(*at, label, 10, COLOURS[n % len(COLOURS)]))
    return inside


def text(x: int, y: int, words: str, size: int, colour: str = "#222", weight: str = "normal") -> str:
    """Some words."""
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" font-weight="{weight}">{escape(words)}</text>'


if __name__ == "__main__":
    main()
