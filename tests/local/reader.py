"""A reader of the docs, who pastes blocks of commands into a shell that does not stop at an error by itself."""

import os
import subprocess
import threading
from pathlib import Path

import docs
import playground
import sample_site
import stack
from pipeline import Pipeline
from proxy import Answer, Proxy, Request

AWS_CLI = docs.ROOT / ".venv/aws/bin/aws"
COMMAND_LINE = docs.ROOT / "target/debug/invalidatorctl"
TOPIC = "site-changes"
# The bucket that deploy.md deletes: it must not be the one that all other commands need.
DOOMED_BUCKET = "docs-uninstall-errors"
# Names in the docs, and what they are here.
NAMES = {
    "STACK=invalidator\n": f"STACK={stack.NAME}\n",
    "=my-site\n": f"={sample_site.SITE}\n",
    "=invalidator-errorbucket-1a2b3c\n": f"={DOOMED_BUCKET}\n",
    "E2QWRUHAPOMQZL": "E2SAMPLEDOCS",
    "E3EXAMPLENEWS": "E1SAMPLEWWW",
    f"arn:aws:sns:eu-west-1:123456789012:{TOPIC}": f"arn:aws:sns:us-east-1:000000000000:{TOPIC}",
}
# The definitions at the top of a page, which a reader runs first.
DEFINITIONS = next(docs.blocks(docs.ROOT / "docs/operate.md")).text
REFUSED = Answer(403, {}, b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>")


class Reader:
    """Runs blocks against the pipeline, through a proxy that may refuse one call."""

    def __init__(self, running: Pipeline, folder: Path) -> None:
        self.folder = folder
        self.forward = playground.route(running)
        self.lock = threading.Lock()
        self.calls = self.refused_call = 0
        self.proxy = Proxy(self.answer)

    def __enter__(self) -> "Reader":
        self.proxy.__enter__()
        # Version 1 of the AWS CLI accepts SQS's endpoint in no other way.
        self.command("aws", f'exec {AWS_CLI} --endpoint-url {self.proxy.endpoint} "$@"')
        # Nobody is there to answer its question.
        asks = 'case "$1" in replay|mode|connect|disconnect|invalidate|pause|resume) set -- "$@" --yes;; esac'
        self.command("invalidatorctl", f'{asks}\nexec {COMMAND_LINE} "$@"')
        return self

    def __exit__(self, *_: object) -> None:
        self.proxy.__exit__()

    def command(self, name: str, text: str) -> None:
        """Make a command that the blocks find."""
        file = self.folder / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    def answer(self, request: Request) -> Answer:
        """Refuse a call, or pass it on."""
        with self.lock:
            self.calls += 1
            is_refused = self.calls == self.refused_call
        return REFUSED if is_refused else self.forward(request)

    def run(self, script: str, refused_call: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a script; of its calls, that with this number (from 1) is refused."""
        for name, here in NAMES.items():
            script = script.replace(name, here)
        self.calls, self.refused_call = 0, refused_call
        environment = {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "AWS_ENDPOINT_URL": self.proxy.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "DEBOUNCE_SECONDS": "5",
            "BUCKET": sample_site.SITE,
        }
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )


def with_definitions(text: str) -> str:
    """A block, with the definitions of its page before it."""
    return text if "out() {" in text else DEFINITIONS + text
