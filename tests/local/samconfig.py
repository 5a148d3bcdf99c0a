"""samconfig.toml, as `sam deploy` uses it."""

import tomllib
from pathlib import Path

import template

FILE = template.TEMPLATE.parent / "samconfig.toml"


def load(path: Path = FILE) -> dict:
    """The settings of each command."""
    return {command: settings["parameters"] for command, settings in tomllib.loads(path.read_text())["default"].items()}


def overrides(settings: dict) -> dict[str, str]:
    """`parameter_overrides` of a command, by parameter."""
    return dict(pair.split("=", 1) for pair in settings["parameter_overrides"].split())


def guided(answers: dict[str, str]) -> dict[str, str]:
    """What `sam deploy --guided` deploys, and writes into samconfig.toml: every parameter, asked or not.

    Source: aws-sam-cli, samcli/commands/deploy/guided_context.py, prompt_parameters.
    """
    parameters = template.load()["Parameters"].items()
    defaults = {name: str(it["Default"]) for name, it in parameters if "Default" in it}
    return defaults | overrides(load()["deploy"]) | answers


def plain(saved: dict[str, str]) -> dict[str, str]:
    """What a plain `sam deploy` deploys: what is saved, as far as the template has such parameters.

    Source: aws-sam-cli, samcli/lib/deploy, merge_parameters.
    """
    return {name: value for name, value in saved.items() if name in template.load()["Parameters"]}
