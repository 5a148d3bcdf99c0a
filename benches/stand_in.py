"""AWS as far as the function and its peers need it, over plain HTTP: one server, the same for all of them.

It answers at once, or after a latency, keeps what was called and when, and hands out the messages it was given.
"""

import asyncio
import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

BUCKET = "example-site"
DISTRIBUTION = "E1WWWEXAMPLE01"
CLOUDFRONT = "http://cloudfront.amazonaws.com/doc/2020-05-31/"
CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"


@dataclass
class Call:
    """One call: what, when it came in, and of how many messages or paths."""

    name: str
    at: float
    count: int


@dataclass
class Request:
    """An HTTP request."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Answer = tuple[int, str, bytes]


class StandIn:
    """The server, in a thread of its own."""

    def __init__(self) -> None:
        self.latency = 0.0
        self.calls: list[Call] = []
        self.waiting: deque[str] = deque()
        self.received: dict[str, str] = {}
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        threading.Thread(target=self.run, args=(started,), daemon=True).start()
        started.wait()

    @property
    def endpoint(self) -> str:
        """For AWS_ENDPOINT_URL."""
        return f"http://127.0.0.1:{self.port}"

    def run(self, started: threading.Event) -> None:
        """Serve for ever."""
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0, limit=1 << 24))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self.loop.run_forever()

    def begin(self, latency: float = 0.0, messages: list[str] | None = None) -> None:
        """Forget what was called, and hand out these messages."""
        self.latency = latency
        self.calls = []
        self.waiting = deque(messages or [])
        self.received = {}

    def count(self, name: str) -> int:
        """How many messages or paths all calls of this name were of."""
        return sum(call.count for call in self.calls if call.name == name)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while request := await read(reader):
                at = time.perf_counter()
                name, count, answer = await self.answer(request)
                self.calls.append(Call(name, at, count))
                if self.latency:
                    await asyncio.sleep(max(0.0, self.latency - (time.perf_counter() - at)))
                status, kind, body = answer
                head = f"HTTP/1.1 {status} OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, request: Request) -> tuple[str, int, Answer]:
        """What was called, of how many, and the answer."""
        if operation := request.headers.get("x-amz-target"):
            return await self.sqs(operation.rpartition(".")[2], json.loads(request.body))
        path = urlsplit(request.target)
        if path.path.startswith("/2020-05-31/"):
            return cloudfront(request.method, path.path, request.body)
        if "tagging" in parse_qs(path.query, keep_blank_values=True):
            return "GetBucketTagging", 1, (200, "application/xml", TAGS)
        raise ValueError(f"the stand-in knows no {request.method} {request.target}")

    async def sqs(self, operation: str, body: dict) -> tuple[str, int, Answer]:
        """The operations of SQS."""
        operations: dict[str, Callable[[dict], tuple[int, dict]]] = {
            "SendMessage": lambda body: (1, sent("1", body)),
            "SendMessageBatch": lambda body: (
                len(body["Entries"]),
                {"Successful": [{"Id": entry["Id"]} | sent(entry["Id"], entry) for entry in body["Entries"]]},
            ),
            "DeleteMessageBatch": self.delete,
            "ChangeMessageVisibility": lambda _: (1, {}),
            "ChangeMessageVisibilityBatch": lambda body: (
                len(body["Entries"]),
                {"Successful": [{"Id": entry["Id"]} for entry in body["Entries"]]},
            ),
            "ReceiveMessage": self.receive,
        }
        if operation == "ReceiveMessage" and not self.waiting:
            await asyncio.sleep(float(body.get("WaitTimeSeconds", 0)))
        count, answer = operations[operation](body)
        return operation, count, (200, "application/x-amz-json-1.0", json.dumps(answer).encode())

    def receive(self, body: dict) -> tuple[int, dict]:
        """Hand out the next messages."""
        messages = []
        while self.waiting and len(messages) < body.get("MaxNumberOfMessages", 1):
            text = self.waiting.popleft()
            id_ = f"message-{len(self.received)}"
            self.received[id_] = text
            messages.append({"MessageId": id_, "ReceiptHandle": id_, "MD5OfBody": md5(text), "Body": text})
        return len(messages), {"Messages": messages} if messages else {}

    def delete(self, body: dict) -> tuple[int, dict]:
        """Forget messages for good."""
        for entry in body["Entries"]:
            del self.received[entry["ReceiptHandle"]]
        return len(body["Entries"]), {"Successful": [{"Id": entry["Id"]} for entry in body["Entries"]]}


async def read(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection, or None at its end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, target, headers, body)


def md5(text: str) -> str:
    """As SQS sends it, and SDKs check it."""
    return hashlib.md5(text.encode()).hexdigest()


def sent(id_: str, message: dict) -> dict:
    """What SQS answers of a message it took."""
    return {"MessageId": f"sent-{id_}", "MD5OfMessageBody": md5(message["MessageBody"])}


def xml(text: str) -> bytes:
    """A document."""
    return f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()


TAGS = xml(
    '<Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><TagSet>'
    "<Tag><Key>exceptionPaths</Key><Value>resources/upload:tmp</Value></Tag></TagSet></Tagging>"
)
EMPTY = "<Quantity>0</Quantity>"
ORIGINS = (
    f"<Origins><Quantity>1</Quantity><Items><Origin><Id>s3</Id><DomainName>{BUCKET}.s3.us-east-1.amazonaws.com"
    f"</DomainName><OriginPath></OriginPath><CustomHeaders>{EMPTY}</CustomHeaders><S3OriginConfig>"
    "<OriginAccessIdentity></OriginAccessIdentity></S3OriginConfig></Origin></Items></Origins>"
)
BEHAVIOR = (
    "<TargetOriginId>s3</TargetOriginId><ViewerProtocolPolicy>redirect-to-https</ViewerProtocolPolicy>"
    f"<CachePolicyId>{CACHING_OPTIMIZED}</CachePolicyId>"
)
BEHAVIORS = "".join(
    f"<CacheBehavior><PathPattern>{pattern}</PathPattern>{BEHAVIOR}</CacheBehavior>"
    for pattern in ("/api/*", "*.html", "/assets/*.css")
)
SETTINGS = (
    f"{ORIGINS}<DefaultCacheBehavior>{BEHAVIOR}</DefaultCacheBehavior>"
    f"<CacheBehaviors><Quantity>3</Quantity><Items>{BEHAVIORS}</Items></CacheBehaviors>"
    "<Comment></Comment><PriceClass>PriceClass_All</PriceClass><Enabled>true</Enabled>"
)
LIST = xml(
    f'<DistributionList xmlns="{CLOUDFRONT}"><Marker></Marker><MaxItems>100</MaxItems><IsTruncated>false</IsTruncated>'
    f"<Quantity>1</Quantity><Items><DistributionSummary><Id>{DISTRIBUTION}</Id><ARN>arn:aws:cloudfront::0:d</ARN>"
    "<ETag>E1</ETag><Status>Deployed</Status><LastModifiedTime>2026-11-21T00:00:00Z</LastModifiedTime>"
    f"<DomainName>d.cloudfront.net</DomainName><Aliases>{EMPTY}</Aliases>{SETTINGS}"
    "<ViewerCertificate></ViewerCertificate><Restrictions><GeoRestriction>"
    f"<RestrictionType>none</RestrictionType>{EMPTY}</GeoRestriction></Restrictions><WebACLId></WebACLId>"
    "<HttpVersion>http2</HttpVersion><IsIPV6Enabled>true</IsIPV6Enabled><Staging>false</Staging>"
    "</DistributionSummary></Items></DistributionList>"
)
CONFIG = xml(
    f'<DistributionConfig xmlns="{CLOUDFRONT}"><CallerReference>r</CallerReference>'
    f"<DefaultRootObject></DefaultRootObject>{SETTINGS}</DistributionConfig>"
)
CREATED = xml(
    f'<Invalidation xmlns="{CLOUDFRONT}"><Id>I1</Id><Status>InProgress</Status>'
    "<CreateTime>2026-11-21T00:00:00Z</CreateTime><InvalidationBatch><Paths><Quantity>0</Quantity></Paths>"
    "<CallerReference>r</CallerReference></InvalidationBatch></Invalidation>"
)


def cloudfront(method: str, path: str, body: bytes) -> tuple[str, int, Answer]:
    """The operations of CloudFront."""
    if method == "POST":
        return "CreateInvalidation", body.count(b"<Path>"), (201, "text/xml", CREATED)
    if path.endswith("/config"):
        return "GetDistributionConfig", 1, (200, "text/xml", CONFIG)
    return "ListDistributions", 1, (200, "text/xml", LIST)
