"""AWS as far as the function and its peers need it, over plain HTTP: one server, the same for all of them.

It answers at once or after a latency, hands out the messages it was given, and keeps what was called and when.
"""

import asyncio
import hashlib
import html
import json
import re
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import cloudfront_answers as cloudfront
from http_server import Request, Response, serving

BUCKET = "example-site"
JSON = {"Content-Type": "application/x-amz-json-1.0"}
XML = {"Content-Type": "text/xml"}
TAGS = b"""<?xml version="1.0" encoding="UTF-8"?>
<Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><TagSet>\
<Tag><Key>exceptionPaths</Key><Value>resources/upload:tmp</Value></Tag></TagSet></Tagging>"""
PATH = re.compile(rb"<Path>([^<]*)</Path>")


@dataclass(frozen=True)
class Call:
    """One call."""

    name: str
    body: bytes
    came: float
    answered: float
    # Messages handed out.
    received: int = 0


class StandIn:
    """The server. Its figures start anew with `begin`."""

    def __init__(self, endpoint: str = "") -> None:
        self.endpoint = endpoint
        self.begin()

    def begin(self, latency: float = 0.0, bodies: list[str] | None = None) -> None:
        """Forget what was called, and hand out messages with these bodies."""
        self.latency = latency
        self.calls: list[Call] = []
        # Made before the clock runs: what is handed out is as AWS writes it, checksum included.
        self.waiting = deque(message(number, body) for number, body in enumerate(bodies or []))
        self.undeleted = {f"handle-{number}" for number in range(len(self.waiting))}

    @property
    def names(self) -> Counter[str]:
        """How often each operation was called."""
        return Counter(call.name for call in self.calls)

    def bodies_of(self, name: str) -> list[bytes]:
        """The request bodies of an operation."""
        return [call.body for call in self.calls if call.name == name]

    def paths(self) -> list[str]:
        """The paths of all invalidations."""
        return [
            html.unescape(path.decode()) for body in self.bodies_of("CreateInvalidation") for path in PATH.findall(body)
        ]

    def sent_messages(self) -> list[str]:
        """The bodies of all messages sent in batches."""
        return [entry["MessageBody"] for entry in self.sent_entries()]

    def sent_entries(self) -> list[dict]:
        """All messages sent in batches."""
        batches = map(json.loads, self.bodies_of("SendMessageBatch"))
        return [entry for batch in batches for entry in batch["Entries"]]

    async def answer(self, request: Request) -> Response:
        """Answer a call, and note it."""
        came, waiting = time.perf_counter(), len(self.waiting)
        if target := request.headers.get("x-amz-target"):
            name, response = await self.sqs(target.rpartition(".")[2], json.loads(request.body))
        else:
            name, response = other(request)
        received = waiting - len(self.waiting)
        if self.latency:
            await asyncio.sleep(came + self.latency - time.perf_counter())
        self.calls.append(Call(name, request.body, came, time.perf_counter(), received))
        return response

    async def sqs(self, operation: str, body: dict) -> tuple[str, Response]:
        """An operation of SQS."""
        entries = body.get("Entries", [])
        match operation:
            case "SendMessage":
                answer = taken(body)
            case "SendMessageBatch":
                answer = {"Successful": [{"Id": entry["Id"]} | taken(entry) for entry in entries]}
            case "ReceiveMessage":
                return operation, await self.receive(body)
            case "DeleteMessageBatch":
                for entry in entries:
                    # What the function was invoked with is not the buffer's.
                    self.undeleted.discard(entry["ReceiptHandle"])
                answer = {"Successful": [{"Id": entry["Id"]} for entry in entries]}
            case "ChangeMessageVisibility":
                answer = {}
            case "ChangeMessageVisibilityBatch":
                answer = {"Successful": [{"Id": entry["Id"]} for entry in entries]}
            case _:
                raise ValueError(f"the stand-in knows no {operation}")
        return operation, Response(json.dumps(answer).encode(), 200, JSON)

    async def receive(self, body: dict) -> Response:
        """Hand out the next messages. A long poll that finds nothing waits."""
        if not self.waiting:
            await asyncio.sleep(body.get("WaitTimeSeconds", 0))
            return Response(b"{}", 200, JSON)
        messages = [self.waiting.popleft() for _ in range(min(len(self.waiting), body["MaxNumberOfMessages"]))]
        return Response(b'{"Messages":[' + b",".join(messages) + b"]}", 200, JSON)


@asynccontextmanager
async def standing_in() -> AsyncIterator[StandIn]:
    """A stand-in that serves."""
    stand_in = StandIn()
    async with serving(stand_in.answer) as address:
        stand_in.endpoint = f"http://{address}"
        yield stand_in


def other(request: Request) -> tuple[str, Response]:
    """The operations of S3, SNS and CloudFront."""
    url = urlsplit(request.target)
    if url.path.startswith(cloudfront.VERSION):
        name, status, body = cloudfront.answer(request.method, url.path.removeprefix(cloudfront.VERSION))
        return name, Response(body, status, XML | {"ETag": "E1"})
    if "tagging" in parse_qs(url.query, keep_blank_values=True):
        return "GetBucketTagging", Response(TAGS, 200, {"Content-Type": "application/xml"})
    if b"Action=Publish" in request.body:
        return "Publish", Response(b"<PublishResponse/>", 200, XML)
    raise ValueError(f"the stand-in knows no {request.method} {request.target}")


def message(number: int, body: str) -> bytes:
    """A message as ReceiveMessage has it."""
    names = {"MessageId": f"message-{number}", "ReceiptHandle": f"handle-{number}", "MD5OfBody": md5(body)}
    return json.dumps(names | {"Body": body}).encode()


def taken(sent: dict) -> dict[str, str]:
    """What SQS answers of a message it took."""
    return {"MessageId": "0", "MD5OfMessageBody": md5(sent["MessageBody"])}


def md5(text: str) -> str:
    """The checksum that SDKs check."""
    return hashlib.md5(text.encode()).hexdigest()
