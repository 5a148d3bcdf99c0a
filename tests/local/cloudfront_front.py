"""CloudFront as it is when it has a bad day: a proxy before the emulator's, which never has one.

The emulator accepts every invalidation at once. The tests need one that is refused, in the words of CloudFront, and
one that takes long enough for the function to die meanwhile. All else goes through untouched, signatures included.
"""

import http.client
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

CREATE_INVALIDATION = re.compile(r"/2020-05-31/distribution/([^/]+)/invalidation/?")
# A connection's own business, which a proxy does not pass on.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
REFUSAL = """<?xml version="1.0"?>
<ErrorResponse xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/">
  <Error><Type>Sender</Type><Code>AccessDenied</Code><Message>You may not.</Message></Error>
  <RequestId>00000000-0000-0000-0000-000000000000</RequestId>
</ErrorResponse>"""


class CloudFrontFront:
    """The proxy, and how it is to treat a distribution's invalidations. Use it in a `with` statement."""

    def __init__(self) -> None:
        self.upstream = ""
        self.refused: set[str] = set()
        self.held: set[str] = set()
        # Set when an invalidation of a held distribution has arrived; it is never answered.
        self.holding = threading.Event()
        self.closing = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(self))
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        """Where the function finds it."""
        return f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "CloudFrontFront":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def hold(self) -> None:
        """Keep a caller waiting until everything ends."""
        self.holding.set()
        self.closing.wait()


def handler_of(front: CloudFrontFront) -> type[BaseHTTPRequestHandler]:
    """The request handler of this proxy."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.forward(b"")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            match = CREATE_INVALIDATION.fullmatch(urlsplit(self.path).path)
            distribution = match.group(1) if match else ""
            if distribution in front.held:
                front.hold()
            elif distribution in front.refused:
                self.answer(403, {"Content-Type": "text/xml"}, REFUSAL.encode())
            else:
                self.forward(body)

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
            """Say nothing."""

    return Handler
