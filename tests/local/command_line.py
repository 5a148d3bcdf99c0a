"""invalidatorctl, run as its users run it."""

import contextlib
import os
import pty
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


def answer(
    emulator: Emulator, *arguments: str, question: str, reply: str, others: dict[str, str] | None = None
) -> tuple[int, str]:
    """Its exit status, and all that it shows on a terminal, where it asks a question and gets this reply."""
    own, its = pty.openpty()
    process = start(emulator, *arguments, others=others, terminal=its)
    os.close(its)
    seen = ""
    with os.fdopen(own, "r+b", buffering=0) as terminal:
        # Reading fails when the process has closed its side.
        with contextlib.suppress(OSError):
            while text := terminal.read(1000):
                had_asked = question in seen
                seen += text.decode(errors="replace")
                if question in seen and not had_asked:
                    terminal.write(reply.encode())
        status = process.wait(timeout=60)
    assert question in seen, seen
    return status, seen


def start(
    emulator: Emulator, *arguments: str, others: dict[str, str] | None = None, terminal: int | None = None
) -> subprocess.Popen[str]:
    """The running program, on a terminal if one is given.

    The endpoints of other services than the emulator's are in the environment.
    """
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
        stdin=subprocess.DEVNULL if terminal is None else terminal,
        stdout=subprocess.PIPE if terminal is None else terminal,
        stderr=subprocess.PIPE if terminal is None else terminal,
        text=True,
    )
