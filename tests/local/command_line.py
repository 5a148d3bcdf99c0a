"""invalidatorctl, run as its users run it."""

import os
import subprocess

from emulator import Emulator
from template import TEMPLATE

PROGRAM = TEMPLATE.parent / "target/debug/invalidatorctl"


def run(emulator: Emulator, *arguments: str, others: dict[str, str] | None = None) -> str:
    """What it prints; it must succeed. The endpoints of other services than the emulator's are in the environment."""
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": emulator.endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        **(others or {}),
    }
    command = [str(PROGRAM), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout
