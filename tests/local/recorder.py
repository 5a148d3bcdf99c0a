"""A proxy before the emulator's services, which records the function's calls.

All calls pass through unchanged, including their signatures.
"""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import calls

# Headers of a single connection, which a proxy does not pass on.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
SERVICES = ("s3", "sns", "sqs")


class Recorder:
    """The proxy: a server for each service. Use it in a `with` statement."""

    def __init__(self) -> None:
        self.upstream = ""
        # What the function has called.
        self.calls: set[calls.Call] = set()
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

    def __enter__(self) -> "Recorder":
        for server in self.servers.values():
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers.values():
            server.shutdown()
            server.server_close()


def handler_of(recorder: Recorder, service: str) -> type[BaseHTTPRequestHandler]:
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
            recorder.calls.add(calls.read(service, self.command, self.path, dict(self.headers), body))
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

        def forward(self, body: bytes) -> None:
            """Let the emulator answer. The Host header stays: it is part of what the caller has signed."""
            connection = http.client.HTTPConnection(urlsplit(recorder.upstream).netloc)
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
