"""A proxy on a loopback port that passes each request on unchanged, with its signature."""

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# Headers of a single connection, which a proxy does not pass on.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}


@dataclass(frozen=True)
class Request:
    """A request, whole."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """An answer, whole."""

    status: int
    headers: dict[str, str]
    body: bytes


class Proxy:
    """The server; `answer` gives the answer to a request. Use it in a `with` statement."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(answer))
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def forwarded(request: Request, upstream: str) -> Answer:
    """What the upstream says. The Host header stays: it is part of what the caller has signed."""
    connection = http.client.HTTPConnection(urlsplit(upstream).netloc)
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
    connection.request(request.method, request.path, request.body, headers)
    response = connection.getresponse()
    headers = {name: value for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP}
    answer = Answer(response.status, headers, response.read())
    connection.close()
    return answer


def handler_of(answer: Callable[[Request], Answer]) -> type[BaseHTTPRequestHandler]:
    """The handler of the server's requests."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body of an answer go in one packet: two would wait for each other's acknowledgement.
        wbufsize = -1

        def handle_call(self) -> None:
            given = answer(Request(self.command, self.path, dict(self.headers), self.body()))
            self.send_response_only(given.status)
            # An answer to HEAD has the length of what GET would bring, and no body.
            kept = {n: v for n, v in given.headers.items() if self.command == "HEAD" or n.lower() != "content-length"}
            for name, value in kept.items():
                self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(given.body)))
            self.end_headers()
            self.wfile.write(given.body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_call

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    return Handler
