"""Programs of ours that a test runs as a user would: as a process of its own, to talk to and to interrupt."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from pipeline import ROOT
from waiting import wait_until


class Child:
    """A running program of tests/local. Use it in a `with` statement."""

    def __init__(self, program: str, *arguments: str, **environment: str) -> None:
        self.command = [sys.executable, ROOT / "tests/local" / program, *arguments]
        self.environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"} | environment
        self.lines: list[str] = []

    def __enter__(self) -> "Child":
        self.process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True)
        self.reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it and what it has started, should it not have ended by itself."""
        for process in [self.process.pid, *descendants(self.process.pid)] if self.process.poll() is None else []:
            os.kill(process, signal.SIGKILL)
        self.process.wait()

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return "".join(self.lines)

    def says(self, text: str, timeout: float) -> bool:
        """Wait until it prints a text; False if it ends or takes too long."""
        wait_until(lambda: text in self.output or self.process.poll() is not None, timeout)
        return text in self.output

    def ends(self, timeout: float) -> int:
        """Wait for its end; returns the exit status."""
        status = self.process.wait(timeout)
        self.reader.join(timeout)
        return status


def descendants(process: int) -> list[int]:
    """The ids of all processes that a process has started, directly or not (Linux)."""
    children = [int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if parent(stat) == process]
    return children + [grandchild for child in children for grandchild in descendants(child)]


def parent(stat: Path) -> int | None:
    """The parent of a process, given as its /proc/ID/stat."""
    try:
        return int(stat.read_text().rsplit(")", 1)[1].split()[1])
    except OSError:  # it has ended since we looked
        return None


def is_alive(process: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
