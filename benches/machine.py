"""What the figures were measured on, and with."""

import importlib.metadata
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from function import PEERS
from programs import NODE


def described() -> str:
    """A table of it."""
    lines = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": f"{os.cpu_count()} cores of {processor()}",
        "system": f"Linux {platform.release()}, {platform.freedesktop_os_release()['PRETTY_NAME']}",
        "Rust": first_line("rustc", "--version"),
        "Python": f"{platform.python_version()}, boto3 {importlib.metadata.version('boto3')}",
        "Node": f"{first_line(NODE, '--version')}, AWS SDK {node_sdk()}",
        "valgrind": first_line("valgrind", "--version"),
    }
    return "".join(f"| {name} | {value} |\n" for name, value in {"": "", "---": "---", **lines}.items())


def processor() -> str:
    """Its name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def node_sdk() -> str:
    """The pinned version."""
    return json.loads((PEERS / "node" / "package.json").read_text())["dependencies"]["@aws-sdk/client-sqs"]


def first_line(*command: str) -> str:
    """What a program says of itself."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0]
