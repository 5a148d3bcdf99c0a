"""Lambda's side of a function's process: hands it events, and reads its processor clock when it answers."""

import asyncio
import time
from dataclasses import dataclass

from http_server import Request, Response

# What a function has, as the template says.
DEADLINE_SECONDS = 900
# Under valgrind all takes fifty times as long.
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Answered:
    """The moment of an answer."""

    # From the event's departure.
    seconds: float
    # Of the process, since its start.
    processor_seconds: float


class RuntimeApi:
    """The Runtime API of one process."""

    def __init__(self) -> None:
        self.pid = 0
        self.events: asyncio.Queue[bytes] = asyncio.Queue()
        self.answers: asyncio.Queue[tuple[str, bytes, float, float]] = asyncio.Queue()
        # Set while the process waits for an event.
        self.asked = asyncio.Event()
        self.handed_out = 0.0

    async def answer(self, request: Request) -> Response:
        """A call of the process."""
        if request.method == "GET":
            return await self.next_event()
        kind = request.target.rsplit("/", 1)[1]
        await self.answers.put((kind, request.body, time.perf_counter(), processor_seconds(self.pid)))
        return Response(b'{"status":"OK"}', 202, {"Content-Type": "application/json"})

    async def next_event(self) -> Response:
        """Wait for an event, and hand it out."""
        self.asked.set()
        event = await self.events.get()
        self.asked.clear()
        self.handed_out = time.perf_counter()
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + DEADLINE_SECONDS) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:f",
        }
        return Response(event, 200, headers)

    async def invoke(self, event: bytes) -> Answered:
        """Hand out an event, and wait until it is answered."""
        await self.events.put(event)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            kind, body, at, processor = await self.answers.get()
        if kind != "response":
            raise SystemExit(f"a function failed: {body.decode()}")
        return Answered(at - self.handed_out, processor)


def processor_seconds(pid: int) -> float:
    """The processor time of a process since its start.

    It is read from the process's own clock (clock_getcpuclockid): nanoseconds, in user and kernel mode, of all its
    threads, also those that have ended. /proc/stat counts in steps of 10 ms, a hundred times our cold start's size.
    """
    process_clock = (~pid << 3) | 2
    return time.clock_gettime(process_clock)
