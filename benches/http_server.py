"""The little HTTP/1.1 that the stand-in and the Runtime API need: connections are kept, bodies have a length."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

LARGEST_HEAD = 1 << 20


@dataclass(frozen=True)
class Request:
    """What came in."""

    method: str
    target: str
    # By their names in lower case.
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Response:
    """What goes out."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def text(self) -> bytes:
        """As it goes over the wire, in one piece: two would wait for each other's acknowledgement."""
        headers = self.headers | {"Content-Length": str(len(self.body))}
        lines = [f"HTTP/1.1 {self.status} -", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


@asynccontextmanager
async def serving(answer: Callable[[Request], Awaitable[Response]]) -> AsyncIterator[str]:
    """A server; the host and port it is at."""

    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())
        try:
            while request := await read(reader):
                response = await answer(request)
                writer.write(response.text())
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # a process that is ended breaks its connections off
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=LARGEST_HEAD)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for connection in connections:
            connection.cancel()  # it may wait for an event that never comes
        await asyncio.gather(*connections)


async def read(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection, or None at its end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding"):
        return Request(method, target, headers, await chunks(reader))
    return Request(method, target, headers, await reader.readexactly(int(headers.get("content-length", 0))))


async def chunks(reader: asyncio.StreamReader) -> bytes:
    """A body of unknown length."""
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body
