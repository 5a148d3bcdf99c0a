"""A backfill: its changes are held back, and afterwards become one wildcard. invalidatorctl pause and resume."""

import json
from pathlib import Path

import pytest

import command_line
import docs
import stack
from pipeline import Pipeline
from reader import AWS_CLI, Reader, with_definitions
from sample_site import SITE
from waiting import wait_until

UPLOADS = 40


def test_what_is_paused_is_held_back_and_becomes_one_wildcard(running: Pipeline) -> None:
    s3, others = running.emulator.client("s3"), running.cloudfront.environment
    place = f"{SITE}/backfill/"

    def run(*arguments: str) -> str:
        return command_line.run(running.emulator, *arguments, "--stack", stack.NAME, others=others)

    def held() -> int:
        told = json.loads(run("pause", "list", "--output", "json"))
        return sum(pause["held"]["changes"] for pause in told["pauses"])

    print(run("pause", place, "--why", "backfill", "--yes"))
    # It has read the list of pauses less than a minute ago.
    running.restart_function()
    for number in range(UPLOADS):
        s3.put_object(Bucket=SITE, Key=f"backfill/{number}.html", Body=b"new")
    s3.put_object(Bucket=SITE, Key="not-paused.html", Body=b"new")
    assert running.wait(lambda: "/not-paused.html" in running.invalidated_paths("www"))
    assert running.wait(lambda: held() == UPLOADS)
    assert not any(path.startswith("/backfill/") for path in running.invalidated_paths("www"))
    waited = command_line.call(running.emulator, "wait", "--bucket", SITE, "--stack", stack.NAME, others=others)
    assert waited.returncode == 1, waited
    assert f"s3://{place} is paused since" in waited.stdout

    print(run("resume", place, "--collapse", "--reason", "backfill of 2026", "--yes"))
    assert running.wait(lambda: "/backfill/*" in running.invalidated_paths("www"))
    assert not any(path.startswith("/backfill/") and path != "/backfill/*" for path in running.invalidated_paths("www"))
    assert run("pause") == "nothing is paused\n"


@pytest.mark.skipif(not AWS_CLI.exists(), reason="needs the AWS CLI: make .venv/aws")
def test_what_waits_while_the_stack_is_stopped_becomes_wildcards(running: Pipeline, tmp_path: Path) -> None:
    """The commands of docs/operate.md, "Wildcards in place of what waits", in their order."""
    text = (docs.ROOT / "docs/operate.md").read_text()
    chapter = text[text.index("### Wildcards in place of what waits") :]
    pause, resume = [match.group("text") for match in docs.BLOCK.finditer(chapter)][:2]
    s3, sqs = running.emulator.client("s3"), running.emulator.client("sqs")
    with Reader(running, tmp_path) as reader:

        def run(script: str) -> str:
            done = reader.run("set -euo pipefail\n" + with_definitions(script).replace("my-site", SITE))
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        def held() -> int:
            told = json.loads(run('invalidatorctl pause list --stack "$STACK" --output json'))
            return sum(pause["held"]["changes"] for pause in told["pauses"])

        assert running.wait(running.idle)
        run('invalidatorctl mode stopped --stack "$STACK"')
        running.restart_function()
        try:
            for number in range(UPLOADS):
                s3.put_object(Bucket=SITE, Key=f"waits/{number}.html", Body=b"new")
            assert running.wait(lambda: running.depth("BufferQueueUrl") == UPLOADS)
            run(pause)
        finally:
            run('invalidatorctl mode live --stack "$STACK"')
            # Each environment knows the pause.
            running.restart_function()
        # The tick of a flush that was killed stays hidden for 160 s.
        assert wait_until(lambda: held() == UPLOADS, 240)
        assert not any(path.startswith("/waits/") for path in running.invalidated_paths("www"))
        assert running.depth("BufferQueueUrl") == 0, "nothing was purged, and nothing is left"
        run(resume)
        assert running.wait(lambda: "/waits/*" in running.invalidated_paths("www"))
        paths = running.invalidated_paths("www")
        assert not any(path.startswith("/waits/") and path != "/waits/*" for path in paths)
        assert run('invalidatorctl pause list --stack "$STACK"') == "nothing is paused\n"
    # A tick that came back from an environment that is gone.
    sqs.purge_queue(QueueUrl=running.stack.outputs["TickQueueUrl"])
