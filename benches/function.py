"""A function's process, from its start to its end."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from http_server import serving
from runtime_api import Answered, RuntimeApi
from stand_in import BUCKET, StandIn

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "target" / "bench"
PEERS = ROOT / "benches" / "peers"


@dataclass(frozen=True)
class Program:
    """Something that answers events."""

    name: str
    command: list[str]
    # What it needs beside what all have.
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path = ROOT


class Function:
    """A running program."""

    def __init__(self, process: subprocess.Popen[bytes], api: RuntimeApi) -> None:
        self.process = process
        self.api = api

    async def invoke(self, event: bytes, times: int = 1) -> Answered:
        """Hand out an event so many times, one after another; the last answer."""
        for _ in range(times - 1):
            await self.api.invoke(event)
        return await self.api.invoke(event)

    async def idle(self) -> None:
        """Wait until it asks for the next event."""
        await self.api.asked.wait()

    def peak_bytes(self) -> int:
        """The most memory it ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024


@asynccontextmanager
async def running(program: Program, stand_in: StandIn) -> AsyncIterator[Function]:
    """Start a program against the stand-in."""
    api = RuntimeApi()
    OUT.mkdir(parents=True, exist_ok=True)
    log = OUT / f"{program.name}.log"
    async with serving(api.answer) as address:
        environment = environment_of(stand_in, address) | program.environment
        with log.open("wb") as file:
            # close_fds=False: the child begins with its exec, not with closing files one by one.
            process = subprocess.Popen(
                program.command,
                env=environment,
                cwd=program.folder,
                stdout=subprocess.DEVNULL,
                stderr=file,
                close_fds=False,
            )
        api.pid = process.pid
        try:
            yield Function(process, api)
        except TimeoutError:
            raise SystemExit(f"{program.name} does not answer, see {log}") from None
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def environment_of(stand_in: StandIn, runtime_api: str) -> dict[str, str]:
    """The same for all programs and in every run: the instructions of a start depend on it."""
    return {
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
        "AWS_LAMBDA_FUNCTION_NAME": "invalidator",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_LOG_GROUP_NAME": "g",
        "AWS_LAMBDA_LOG_STREAM_NAME": "s",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        "AWS_ENDPOINT_URL": stand_in.endpoint,
        "BUFFER_QUEUE_URL": f"{stand_in.endpoint}/123456789012/buffer",
        "TICK_QUEUE_URL": f"{stand_in.endpoint}/123456789012/tick.fifo",
        "SUBMIT_QUEUE_URL": f"{stand_in.endpoint}/123456789012/submit.fifo",
        "ERROR_BUCKET": f"{BUCKET}-errors",
        "TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:alerts",
        # So long that all events of a run fall into one window or two.
        "DEBOUNCE_SECONDS": "300",
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
    }
