"""invalidatorctl, run as its users run it."""

import os
import subprocess

from emulator import Emulator
from template import TEMPLATE

PROGRAM = TEMPLATE.parent / "target/debug/invalidatorctl"


def run(emulator: Emulator, *arguments: str, others: dict[str, str] | None = None) -> str:
    """What it prints; it must succeed."""
    done = call(emulator, *arguments, others=others)
    assert done.returncode == 0, f"{done.args}\n{done.stdout}{done.stderr}"
    return done.stdout


def call(emulator: Emulator, *arguments: str, others: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """What came of it."""
    process = start(emulator, *arguments, others=others)
    stdout, stderr = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def start(emulator: Emulator, *arguments: str, others: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """The running program. The endpoints of other services than the emulator's are in the environment."""
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": emulator.endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        **(others or {}),
    }
    return subprocess.Popen(
        [str(PROGRAM), *arguments],
        env=environment,
        cwd=emulator.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
