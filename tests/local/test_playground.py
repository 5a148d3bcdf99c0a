"""`make local KEEP=1`, used as it says: its commands work in another terminal, and nothing is left when it ends."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import playground
from children import Child, descendants, is_alive
from pipeline import ROOT, WORK_FOLDER
from waiting import wait_until

# The emulator, the deployment, the sample site, all on a busy machine.
PATIENCE_SECONDS = 180
COMMAND_LINE = ROOT / "target/debug/invalidatorctl"

pytestmark = [
    pytest.mark.skipif(not (ROOT / ".venv/aws/bin/aws").exists(), reason="needs the AWS CLI: make .venv/aws"),
    pytest.mark.skipif(not os.path.isdir("/proc"), reason="finds the processes in /proc"),
]


@pytest.fixture(scope="module")
def kept() -> Iterator[Child]:
    """The playground, up."""
    binary = os.environ.get("INVALIDATOR_BINARY", str(ROOT / "target/debug/invalidator"))
    with Child("run.py", binary, KEEP="1", DEBOUNCE_SECONDS="3") as child:
        assert child.says("The kill switch", PATIENCE_SECONDS), child.output
        yield child


def settings_of(kept: Child) -> Path:
    """The file that it tells to read."""
    return ROOT / re.search(r"^  \. (\S+)$", kept.output, re.MULTILINE)[1]


def in_second_terminal(kept: Child, command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command where a user would."""
    script = f". {settings_of(kept)}\ncd {folder}\n{command}"
    # Nothing of ours but what the settings bring.
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_printed_commands_work(kept: Child, tmp_path: Path) -> None:
    for wanted in ("invalidatorctl --endpoint-url", 'connect=$(out ConnectBucket) && eval "$connect"'):
        (command,) = [line.strip() for line in kept.output.split("\n") if wanted in line]
        done = in_second_terminal(kept, command.replace("events/", f"{ROOT}/events/"), tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        if "plan" in command:
            assert f"invalidation of {playground.PRACTICE_DISTRIBUTION} with 1 paths" in done.stdout
    upload = "echo hello | aws s3 cp - s3://$BUCKET/hello.html"
    assert in_second_terminal(kept, upload, tmp_path).returncode == 0
    listed = f"aws cloudfront list-invalidations --distribution-id {playground.PRACTICE_DISTRIBUTION} --output text"
    assert wait_until(
        lambda: "INVALIDATION" in in_second_terminal(kept, listed, tmp_path).stdout.upper(), PATIENCE_SECONDS
    )


def test_a_refused_path_is_replayed_by_the_command_of_the_mail(kept: Child, tmp_path: Path) -> None:
    refused = "refuse E1SAMPLEWWW && echo refused | aws s3 cp - s3://sample-site/refused.html"
    assert in_second_terminal(kept, refused, tmp_path).returncode == 0
    assert kept.says("invalidatorctl replay", PATIENCE_SECONDS), kept.output
    command = re.findall(r"^invalidatorctl .*replay .*$", kept.output, re.MULTILINE)[-1]
    done = in_second_terminal(kept, f"accept\n{command} --yes", tmp_path)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    accepted = 'curl -fsS "$AWS_ENDPOINT_URL/_stand_in/invalidations/E1SAMPLEWWW"'
    assert wait_until(lambda: "/refused.html" in in_second_terminal(kept, accepted, tmp_path).stdout, PATIENCE_SECONDS)


@pytest.mark.parametrize("order", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_it_is_interrupted_while_it_starts(order: signal.Signals) -> None:
    binary = os.environ.get("INVALIDATOR_BINARY", str(ROOT / "target/debug/invalidator"))
    with Child("run.py", binary, KEEP="1", DEBOUNCE_SECONDS="3") as child:
        assert wait_until(lambda: len(descendants(child.process.pid)) == 2, PATIENCE_SECONDS), child.output
        started = descendants(child.process.pid)
        child.process.send_signal(order)
        assert child.ends(PATIENCE_SECONDS) != 0
    assert not [process for process in started if is_alive(process)]


def test_nothing_is_left_when_it_ends(kept: Child) -> None:
    started = descendants(kept.process.pid)
    settings = settings_of(kept)
    assert settings.exists()
    names = {Path(f"/proc/{process}/comm").read_text().strip() for process in started}
    assert {"strict-cloudfro", "bootstrap"} <= names
    before = set(WORK_FOLDER.glob("run-*"))
    kept.process.send_signal(signal.SIGINT)
    assert kept.ends(PATIENCE_SECONDS) == 0, kept.output
    assert not [process for process in started if is_alive(process)]
    assert not settings.exists()
    assert len(set(WORK_FOLDER.glob("run-*"))) == len(before) - 1
