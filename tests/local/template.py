"""template.yaml as data, with CloudFormation's short forms (`!Ref`) written out (`{"Ref": ..}`)."""

from pathlib import Path

import yaml

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"


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
