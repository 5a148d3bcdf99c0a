"""A backfill: its changes are held back, and afterwards become one wildcard. invalidatorctl pause and resume."""

import json

import command_line
import stack
from pipeline import Pipeline
from sample_site import SITE

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
