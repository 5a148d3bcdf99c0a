"""Measures the built function against the emulator: `make figures`.

It plays Lambda's Runtime API for the function's process: hands it a first S3 event and then warm ones, and says what
each took, how much memory the process ever had, and (with valgrind) how many instructions the first one cost.
"""

import http.server
import json
import os
import queue
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from emulator import Emulator

ROOT = Path(__file__).resolve().parent.parent

WARM_EVENTS = 50
BUFFERED_CHANGES = 200_000
# Under valgrind a start takes some seconds.
TIMEOUT = 120
Figures = dict[str, str]
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class RuntimeApi:
    """Lambda's side: the function asks for the next event here, and answers."""

    def __init__(self) -> None:
        self.events: queue.Queue[bytes] = queue.Queue()
        self.answers: queue.Queue[tuple[str, bytes, float]] = queue.Queue()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a function that is ended breaks its connection off
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
                self.send_header(
                    "Lambda-Runtime-Aws-Request-Id",
                    "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
                )
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + 300) * 1000)))
                self.send_header(
                    "Lambda-Runtime-Invoked-Function-Arn",
                    "arn:aws:lambda:us-east-1:0:function:f",
                )
                self.send_header("Content-Length", str(len(event)))
                self.end_headers()
                self.wfile.write(event)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                api.answers.put((self.path.rsplit("/", 1)[1], body, time.perf_counter()))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def invoke(self, event: bytes) -> float:
        """Hand out an event; the seconds until its answer."""
        start = time.perf_counter()
        self.events.put(event)
        kind, body, end = self.answers.get(timeout=TIMEOUT)
        if kind != "response":
            raise SystemExit(f"the function failed: {body.decode()}")
        return end - start


def settings(emulator: Emulator, api: RuntimeApi) -> dict[str, str]:
    """The function's environment; what it names is made on the emulator."""
    sqs = emulator.client("sqs")
    fifo = {"FifoQueue": "true", "DelaySeconds": "900"}
    emulator.client("s3").create_bucket(Bucket="example-site")
    return {
        "PATH": os.environ["PATH"],
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "AWS_LAMBDA_FUNCTION_NAME": "invalidator",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_LOG_GROUP_NAME": "g",
        "AWS_LAMBDA_LOG_STREAM_NAME": "s",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL": emulator.endpoint,
        "BUFFER_QUEUE_URL": sqs.create_queue(QueueName="buffer")["QueueUrl"],
        "TICK_QUEUE_URL": sqs.create_queue(QueueName="tick.fifo", Attributes=fifo)["QueueUrl"],
        "RETRY_QUEUE_URL": sqs.create_queue(QueueName="retry.fifo", Attributes=fifo)["QueueUrl"],
        "ERROR_BUCKET": "errors",
        "TOPIC_ARN": "arn:aws:sns:us-east-1:000000000000:alerts",
    }


def start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the function."""
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the function."""
    process.terminate()
    process.wait()


def peak_kilobytes(process: subprocess.Popen[bytes]) -> int:
    """The most memory the process has had."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def processor_seconds(process: subprocess.Popen[bytes]) -> float:
    """The processor time it has had."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def instructions(binary: Path, environment: dict[str, str], event: bytes, out: Path) -> int:
    """Instructions from the start of the process to its first answer."""
    api = RuntimeApi()
    environment = environment | {"AWS_LAMBDA_RUNTIME_API": api.address}
    process = start(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", str(binary)],
        environment,
    )
    api.invoke(event)
    stop(process)
    line = next(line for line in out.read_text().splitlines() if line.startswith(("summary:", "totals:")))
    return int(line.split()[1])


def buffer_changes(emulator: Emulator, queue_url: str) -> None:
    """Fill the buffer, in messages as the function packs them: 64 KiB."""
    keys = [f"images/2026/11/21/photo-{n:08}.jpg" for n in range(BUFFERED_CHANGES)]
    per_message = 60_000 // len(json.dumps([keys[0], 1_795_226_584_567]))
    for n in range(0, len(keys), per_message):
        created = [[key, 1_795_226_584_567] for key in keys[n : n + per_message]]
        body = {"version": 1, "buckets": [{"bucket": "example-site", "created": created, "deleted": []}]}
        emulator.client("sqs").send_message(QueueUrl=queue_url, MessageBody=json.dumps(body, separators=(",", ":")))


def create_distribution(emulator: Emulator) -> str:
    """A distribution that serves the bucket."""
    origin = {
        "Id": "site",
        "DomainName": "example-site.s3.us-east-1.amazonaws.com",
        "S3OriginConfig": {"OriginAccessIdentity": ""},
    }
    behavior = {
        "TargetOriginId": "site",
        "ViewerProtocolPolicy": "redirect-to-https",
        "CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6",
    }
    config = {
        "CallerReference": "figures",
        "Comment": "",
        "Enabled": True,
        "Origins": {"Quantity": 1, "Items": [origin]},
        "DefaultCacheBehavior": behavior,
    }
    answer = emulator.client("cloudfront").create_distribution(DistributionConfig=config)
    return answer["Distribution"]["Id"]


def invalidated_paths(emulator: Emulator, distribution: str) -> int:
    """How many paths CloudFront has taken."""
    cloudfront = emulator.client("cloudfront")
    pages = cloudfront.get_paginator("list_invalidations").paginate(DistributionId=distribution)
    ids = [item["Id"] for page in pages for item in page["InvalidationList"].get("Items", [])]
    batches = [cloudfront.get_invalidation(DistributionId=distribution, Id=id_) for id_ in ids]
    return sum(batch["Invalidation"]["InvalidationBatch"]["Paths"]["Quantity"] for batch in batches)


def first_and_warm(binary: Path, environment: dict[str, str], api: RuntimeApi, event: bytes) -> Figures:
    """A first event and further ones."""
    begun = time.perf_counter()
    process = start([str(binary)], environment)
    api.invoke(event)
    first = time.perf_counter() - begun
    first_memory, first_processor = peak_kilobytes(process), processor_seconds(process)
    warm = [api.invoke(event) for _ in range(WARM_EVENTS)]
    warm_processor = (processor_seconds(process) - first_processor) / WARM_EVENTS
    figures = {
        "first event, from the start of the process": f"{first * 1000:.1f} ms",
        "  processor time": f"{first_processor * 1000:.0f} ms (in steps of {1000 // TICKS_PER_SECOND})",
        "  peak memory": f"{first_memory:,} KiB",
        "warm event, median": f"{statistics.median(warm) * 1000:.2f} ms",
        "  processor time, mean": f"{warm_processor * 1000:.2f} ms",
        "  peak memory, all events": f"{peak_kilobytes(process):,} KiB",
    }
    stop(process)
    return figures


def large_flush(binary: Path, environment: dict[str, str]) -> Figures:
    """A flush of as many changes as one takes."""
    api = RuntimeApi()
    process = start([str(binary)], environment | {"AWS_LAMBDA_RUNTIME_API": api.address})
    tick = {
        "messageId": "tick",
        "receiptHandle": "none",
        "body": "window-1",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:tick.fifo",
    }
    seconds = api.invoke(json.dumps({"Records": [tick]}).encode())
    figures = {
        f"flush of {BUFFERED_CHANGES:,} changes": f"{seconds:.1f} s",
        "  processor time of it": f"{processor_seconds(process):.2f} s",
        "  peak memory of it": f"{peak_kilobytes(process):,} KiB",
    }
    stop(process)
    return figures


def main() -> None:
    """Print the figures of a binary."""
    binary = Path(sys.argv[1]).resolve()
    event = (ROOT / "events" / "s3-put.json").read_bytes()
    with Emulator(ROOT / ".local") as emulator:
        api = RuntimeApi()
        environment = settings(emulator, api)
        figures = {"binary": f"{binary.stat().st_size:,} bytes"}
        figures |= first_and_warm(binary, environment, api, event)
        count = instructions(binary, environment, event, emulator.folder / "callgrind.out")
        figures["instructions to the first answer"] = f"{count:,}"
        distribution = create_distribution(emulator)
        buffer_changes(emulator, environment["BUFFER_QUEUE_URL"])
        figures |= large_flush(binary, environment)
        figures["  paths CloudFront has taken"] = f"{invalidated_paths(emulator, distribution):,}"
    for name, figure in figures.items():
        print(f"{name:<45} {figure}")


if __name__ == "__main__":
    main()
