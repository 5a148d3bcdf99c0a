"""A proxy before the emulator's services: it records the function's calls, and makes CloudFront fail on demand.

The emulator accepts every invalidation at once. The tests need one that is rejected with CloudFront's own error, one
that CloudFront delays, and one that takes so long that the function dies meanwhile. All other calls pass through
unchanged, including their signatures.
"""

import http.client
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import calls

CREATE_INVALIDATION = re.compile(r"/2020-05-31/distribution/([^/]+)/invalidation/?")
# Headers of a single connection, which a proxy does not pass on.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
SERVICES = ("cloudfront", "s3", "sns", "sqs")
ERROR = """<?xml version="1.0"?>
<ErrorResponse xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/">
  <Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>
  <RequestId>00000000-0000-0000-0000-000000000000</RequestId>
</ErrorResponse>"""
REFUSED = (403, ERROR.format(code="AccessDenied", message="You may not."))
READ_ONE = "cloudfront:GetDistributionConfig"
UNREADABLE = (403, ERROR.format(code="AccessDenied", message="You may not read."))
UNLISTABLE = (403, ERROR.format(code="AccessDenied", message="You may not list."))


class CloudFrontFront:
    """The proxy: a server for each service, and the faults of each distribution. Use it in a `with` statement."""

    def __init__(self) -> None:
        self.upstream = ""
        self.refused: set[str] = set()
        self.held: set[str] = set()
        # Those whose configuration cannot be read.
        self.unreadable: set[str] = set()
        # Whether the distributions cannot be listed.
        self.unlistable = False
        # What the function has called.
        self.calls: set[calls.Call] = set()
        # Set when an invalidation of a held distribution has arrived; it is never answered.
        self.holding = threading.Event()
        self.closing = threading.Event()
        self.servers = {
            service: ThreadingHTTPServer(("127.0.0.1", 0), handler_of(self, service)) for service in SERVICES
        }

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the function finds the proxy."""
        return {
            f"AWS_ENDPOINT_URL_{service.upper()}": f"http://127.0.0.1:{server.server_port}"
            for service, server in self.servers.items()
        }

    def __enter__(self) -> "CloudFrontFront":
        for server in self.servers.values():
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        for server in self.servers.values():
            server.shutdown()
            server.server_close()

    def hold(self) -> None:
        """Keep a caller waiting until everything ends."""
        self.holding.set()
        self.closing.wait()


def handler_of(front: CloudFrontFront, service: str) -> type[BaseHTTPRequestHandler]:
    """The request handler of a service."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body of an answer go in one packet: two would wait for each other's acknowledgement.
        wbufsize = -1

        def do_GET(self) -> None:
            self.handle_call()

        def do_PUT(self) -> None:
            self.handle_call()

        def do_POST(self) -> None:
            self.handle_call()

        def handle_call(self) -> None:
            body = self.body()
            call = calls.read(service, self.command, self.path, dict(self.headers), body)
            front.calls.add(call)
            match = CREATE_INVALIDATION.fullmatch(urlsplit(self.path).path) if self.command == "POST" else None
            distribution = match.group(1) if match else ""
            if distribution in front.held:
                front.hold()
            elif distribution in front.refused:
                self.fail(*REFUSED)
            elif any(call.action == READ_ONE and call.resource.endswith(f"/{it}") for it in front.unreadable):
                self.fail(*UNREADABLE)
            elif front.unlistable and call.action == "cloudfront:ListDistributions":
                self.fail(*UNLISTABLE)
            else:
                self.forward(body)

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def fail(self, status: int, text: str) -> None:
            self.answer(status, {"Content-Type": "text/xml"}, text.encode())

        def forward(self, body: bytes) -> None:
            """Let the emulator answer. The Host header stays: it is part of what the caller has signed."""
            connection = http.client.HTTPConnection(urlsplit(front.upstream).netloc)
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            headers = {name: value for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP}
            self.answer(response.status, headers, response.read())
            connection.close()

        def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            """Answer the function."""
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    return Handler
