"""Lambda's side: hands events to a process, and says what it cost."""

import http.server
import os
import queue
import subprocess
import threading
import time
from pathlib import Path

TIMEOUT = 300
"""Seconds for an answer: under valgrind a start takes some."""

DEADLINE = 900
"""Seconds a function has, as the template says."""


class RuntimeApi:
    """The function asks for the next event here, and answers."""

    def __init__(self) -> None:
        self.events: queue.Queue[bytes] = queue.Queue()
        self.answers: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a process that is ended breaks its connection off
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """For AWS_LAMBDA_RUNTIME_API."""
        return f"127.0.0.1:{self.server.server_port}"

    def handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        """The requests of a function."""
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet: two would wait for each other's acknowledgement

            def do_GET(self) -> None:
                event = api.events.get()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + DEADLINE) * 1000)))
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:0:function:f")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(event)))
                self.end_headers()
                self.wfile.write(event)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                api.answers.put((self.path.rsplit("/", 1)[1], body))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class Process:
    """A function's process, from its start to its end."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.api = RuntimeApi()
        environment = environment | {"AWS_LAMBDA_RUNTIME_API": self.api.address}
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def invoke(self, event: bytes) -> float:
        """Hand out an event; the seconds until its answer."""
        start = time.perf_counter()
        self.api.events.put(event)
        kind, body = self.api.answers.get(timeout=TIMEOUT)
        if kind != "response":
            raise SystemExit(f"{self.process.args}: {body.decode()}")
        return time.perf_counter() - start

    def processor_seconds(self) -> float:
        """The processor time of all its threads, in nanosecond steps; /proc/stat has steps of 10 ms."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def peak_kibibytes(self) -> int:
        """The most memory it has had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))

    def end(self) -> float:
        """End it; the processor time of its whole life, in seconds."""
        self.process.terminate()
        _, _, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = 0
        self.api.server.shutdown()
        self.api.server.server_close()
        return usage.ru_utime + usage.ru_stime
