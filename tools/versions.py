"""Checks the versions of the tools that build and deploy the function, and says what is missing. Installs nothing.

A command: `versions.py`. Needs nothing but Python. `make .venv/lambda` installs the cargo-lambda that is pinned.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

Version = tuple[int, ...]


@dataclass(frozen=True)
class Tool:
    """A tool, the least version of it that works, and where to get it."""

    name: str
    command: tuple[str, ...]
    least: Version
    install: str
    # Whether `make build` works without it.
    only_to_deploy: bool = False


TOOLS = [
    # As `rust-version` in Cargo.toml.
    Tool("Rust", ("rustc", "--version"), (1, 94, 1), "https://rustup.rs"),
    Tool(
        "cargo-lambda",
        ("cargo", "lambda", "--version"),
        (1, 9),
        "'make .venv/lambda' (half a gigabyte, in this folder), or https://www.cargo-lambda.info",
    ),
    # Earlier ones build Rust with --beta-features only.
    Tool("SAM", ("sam", "--version"), (1, 156), "https://docs.aws.amazon.com/serverless-application-model", True),
]


def main() -> None:
    """Print what is wrong; exit with 1 if the function cannot be built, or SAM is too old to deploy it."""
    complaints = [complaint for tool in TOOLS if (complaint := check(tool, output_of))]
    for complaint in complaints:
        print(f"make: {complaint}", file=sys.stderr)
    sys.exit(any(complaint for complaint in complaints if not complaint.startswith("note: ")))


def check(tool: Tool, run: Callable[[tuple[str, ...]], str | None]) -> str | None:
    """A sentence about what is wrong with a tool."""
    least = ".".join(map(str, tool.least))
    printed = run(tool.command)
    if printed is None and tool.only_to_deploy:
        return f"note: {tool.name} is missing, which only deploying needs: {least} or later, {tool.install}"
    if printed is None:
        return f"{tool.name} is missing: install {least} or later, {tool.install}"
    found = re.search(r"\d+(?:\.\d+)+", printed)
    if not found:
        return f"{tool.name} does not tell its version: `{' '.join(tool.command)}` printed `{printed.strip()}`"
    if tuple(map(int, found[0].split("."))) < tool.least:
        return f"{tool.name} is {found[0]}, which is too old: install {least} or later, {tool.install}"
    return None


def output_of(command: tuple[str, ...]) -> str | None:
    """What a command prints, or None if there is no such command."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


if __name__ == "__main__":
    main()
