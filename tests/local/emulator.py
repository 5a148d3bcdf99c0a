"""A local AWS: starts ministack on a free loopback port and ends it with all it has started.

It runs with IAM enforced, so that the policies of template.yaml are tried too, and with an environment of its own:
nothing of the user's AWS settings gets in, and nothing can reach a real account.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import boto3
from botocore.client import BaseClient
from botocore.config import Config

from waiting import wait_until

REGION = "us-east-1"
# The emulator's root credentials.
ACCESS_KEY = SECRET_KEY = "test"
START_TIMEOUT = 30
# Another program may take the port between our looking and the emulator's listening.
START_ATTEMPTS = 3


class EmulatorError(Exception):
    """The emulator does not start; the message contains its last output."""


class Emulator:
    """A ministack process and the folder it works in. Use it in a `with` statement."""

    def __init__(self, folder: Path, function_environment: dict[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
        self.log = folder / "emulator.log"
        # Variables for the function in addition to the template's.
        self.function_environment = function_environment or {}
        self.process: subprocess.Popen[bytes] | None = None
        self.endpoint = ""
        self.clients: dict[str, BaseClient] = {}

    def __enter__(self) -> "Emulator":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the emulator and wait until it answers."""
        for _ in range(START_ATTEMPTS):
            port = free_port()
            self.endpoint = f"http://127.0.0.1:{port}"
            self.process = self.spawn(port)
            if wait_until(self.settled, START_TIMEOUT) and self.process.poll() is None:
                return
            self.end_processes()
        raise EmulatorError(f"the emulator does not start: {last_line(self.log)} ({self.log})")

    def spawn(self, port: int) -> subprocess.Popen[bytes]:
        """Start the process in a group of its own, so that its functions can be ended with it."""
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "ministack"],
                env=self.environment(port),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def environment(self, port: int) -> dict[str, str]:
        """The environment of the emulator, and of the function in it."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "S3_DATA_DIR": str(self.folder / "s3"),
            "STATE_DIR": str(self.folder / "state"),
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "AUTH": "true",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            # The emulator passes this on to the function, which finds its AWS by it.
            "AWS_ENDPOINT_URL": self.endpoint,
            **self.function_environment,
        }

    def settled(self) -> bool:
        """Whether the emulator answers, or has ended."""
        return self.healthy() or self.process.poll() is not None

    def healthy(self) -> bool:
        """Whether the emulator answers."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.endpoint}/_ministack/health", timeout=1):
                return True
        except OSError:
            return False

    def function_processes(self) -> list[int]:
        """The ids of the function's processes, which are in the emulator's group (Linux)."""
        return [
            int(stat.parent.name)
            for stat in Path("/proc").glob("[0-9]*/stat")
            if is_bootstrap_of_group(stat, self.process.pid)
        ]

    def stop(self) -> None:
        """End the emulator and its functions, and remove what they have written."""
        self.end_processes()
        shutil.rmtree(self.folder, ignore_errors=True)

    def end_processes(self) -> None:
        """Kill the process group. The emulator's state is thrown away, so it need not shut down properly."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def client(self, service: str) -> BaseClient:
        """A boto3 client that can reach nothing but this emulator."""
        if service not in self.clients:  # making one takes longer than most calls
            session = boto3.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
            self.clients[service] = session.client(service, endpoint_url=self.endpoint, config=Config(proxies={}))
        return self.clients[service]


def free_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_bootstrap_of_group(stat: Path, group: int) -> bool:
    """Whether a process, given as its /proc/ID/stat, runs our `bootstrap` in the process group."""
    try:
        head, tail = stat.read_text().rsplit(")", 1)
    except OSError:  # it has ended since we looked
        return False
    state, _parent, its_group = tail.split()[:3]
    return head.endswith("(bootstrap") and int(its_group) == group and state != "Z"


def last_line(file: Path) -> str:
    """The last thing a log says."""
    lines = file.read_text(errors="replace").split("\n") if file.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it says nothing")


def forget_user_settings() -> None:
    """Take the user's AWS settings out of this process, before boto3 reads them."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


def interrupt_when_told_to_end() -> None:
    """Treat being terminated like Ctrl-C, so that what was started is ended too.

    Ctrl-C as well: a shell's background jobs begin with it ignored.
    """
    for order in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(order, signal.default_int_handler)
