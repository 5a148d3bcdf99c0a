"""The fixtures in events/published/sam are what the pinned SAM CLI generates.

`sam local generate-event` is what many try a function with. UPDATE=1 writes the fixtures.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import template

FIXTURES = template.TEMPLATE.parent / "events/published/sam"
SAM = Path(sys.executable).with_name("sam")
# Each fixture and what it was generated with.
GENERATED = {
    "cloudfront": "cloudfront modify-response-header",
    "cloudwatch-logs": "cloudwatch logs",
    "cloudwatch-scheduled": "cloudwatch scheduled-event",
    "dynamodb": "dynamodb update",
    "s3-batch": "s3 batch-invocation",
    "s3-delete": "s3 delete",
    "s3-put": "s3 put",
    "s3-put-special-key": "s3 put --key 'a b+c/한.html'",
    "sns": "sns notification",
    "sqs": "sqs receive-message",
}


def generated(arguments: str) -> str:
    """Return what SAM prints, indented by our own rules."""
    command = [str(SAM), "local", "generate-event", *shlex.split(arguments)]
    environment = os.environ | {"SAM_CLI_TELEMETRY": "0"}
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return json.dumps(json.loads(printed), indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("name", GENERATED)
def test_a_fixture_is_what_sam_generates(name: str) -> None:
    file = FIXTURES / f"{name}.json"
    text = generated(GENERATED[name])
    if os.environ.get("UPDATE"):
        file.write_text(text)
    assert file.read_text() == text


def test_every_fixture_is_generated() -> None:
    assert sorted(file.stem for file in FIXTURES.glob("*.json")) == sorted(GENERATED)
