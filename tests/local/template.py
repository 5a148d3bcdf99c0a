"""template.yaml as data, with CloudFormation's short forms (`!Ref`) written out (`{"Ref": ..}`)."""

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import yaml

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"
# Cells in a row of a dashboard.
DASHBOARD_WIDTH = 24


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags."""


def short_form(loader: Loader, tag: str, node: yaml.Node) -> dict:
    """The long form of `!Tag value`."""
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}


Loader.add_multi_constructor("!", short_form)


def load(path: Path = TEMPLATE) -> dict:
    """The whole template."""
    return yaml.load(path.read_text(), Loader)


def dashboard(named: Callable[[str], str]) -> list[dict]:
    """The widgets of the dashboard as CloudWatch reads them, with `named` of a reference for each ${reference}.

    CloudWatch puts a widget without coordinates behind the one before, and takes a "." in a metric for what is in the
    same place of the metric above.
    """
    text, shared = load()["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    for name, value in shared.items():
        text = text.replace(f"${{{name}}}", value["Fn::Sub"])
    text = re.sub(r"\$\{(?!!)(.*?)\}", lambda match: named(match[1]), text).replace("${!", "${")
    widgets = json.loads(text)["widgets"]
    place(widgets)
    for widget in widgets:
        spell_out(widget["properties"].get("metrics", []))
    return widgets


def place(widgets: list[dict]) -> None:
    """Give each widget the coordinates that CloudWatch gives it."""
    x = y = below = 0
    for widget in widgets:
        widget.setdefault("height", 6)
        if x + widget["width"] > DASHBOARD_WIDTH:
            x, y = 0, below
        widget |= {"x": x, "y": y}
        x, below = x + widget["width"], max(below, y + widget["height"])


def spell_out(metrics: list[list]) -> None:
    """Replace each "." by what it stands for."""
    for above, metric in itertools.pairwise(metrics):
        metric[:] = [above[n] if part == "." else part for n, part in enumerate(metric)]
