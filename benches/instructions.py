"""Instructions, counted by callgrind: the same on a busy machine, and nearly the same on another."""

import subprocess
from pathlib import Path

from function import OUT, Program, running
from programs import CORE
from stand_in import StandIn


def under_callgrind(command: list[str], out: Path) -> list[str]:
    """The command that counts the instructions of another."""
    return ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *command]


def counted(out: Path) -> int:
    """What was counted."""
    line = next(line for line in out.read_text().splitlines() if line.startswith(("summary:", "totals:")))
    return int(line.split()[1])


async def of_events(program: Program, stand_in: StandIn, event: bytes, times: int) -> int:
    """From the start of a program until it asks for the event after so many."""
    name = f"callgrind.{program.name}"
    out = OUT / f"{name}.{times}-events"
    stand_in.begin()
    counting = Program(name, under_callgrind(program.command, out), program.environment, program.folder)
    async with running(counting, stand_in) as function:
        await function.invoke(event, times)
        await function.idle()
    return counted(out)


def of_core(*arguments: str) -> int:
    """Of one repeat of a command of bench-core: what a second repeat adds."""
    out = OUT / f"callgrind.{arguments[0]}"
    once, twice = (of_process([str(CORE), *arguments, repeats], out) for repeats in "12")
    return twice - once


def of_process(command: list[str], out: Path) -> int:
    """From its start to its end."""
    done = subprocess.run(
        under_callgrind(command, out), env={"LANG": "C.UTF-8"}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return counted(out)
