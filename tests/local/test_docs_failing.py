"""Every block of the docs, and every command in the template's outputs, with each of its calls failing once."""

import os
from pathlib import Path

import pytest

import docs
import stack
from pipeline import TEMPLATE, Pipeline
from reader import AWS_CLI, Reader, with_definitions
from world import DOOMED_STACK, World, prepared

# What a note above a block says about it, if it is not run here.
REASONS = ("needs AWS: ", "long")
BLOCKS = [block for page in docs.PAGES for block in docs.blocks(page) if not block.note]

pytestmark = pytest.mark.skipif(not AWS_CLI.exists(), reason="needs the AWS CLI: make .venv/aws")


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_failing_call_shows_and_loses_nothing(block: docs.Block, running: Pipeline, tmp_path: Path) -> None:
    script = with_definitions(block.text)
    if "delete-stack" in script:
        script = script.replace("STACK=invalidator\n", f"STACK={DOOMED_STACK}\n")
    for name in ("events", "docs"):
        os.symlink(docs.ROOT / name, tmp_path / name)
    with prepared(running) as world, Reader(running, tmp_path) as reader:
        let_each_call_fail(world, reader, script)
        # What makes no call works on files alone, or only defines what the other blocks use.
        assert reader.calls or block.text.endswith("}\n") or "--distributions" in block.text


@pytest.mark.parametrize("source", ["S3", "SQS", "EventBridge"])
def test_a_failing_call_of_an_output_loses_nothing(source: str, running: Pipeline, tmp_path: Path) -> None:
    name = f"outputs-{source.lower()}"
    parameters = {"EventSource": source, "EventBridgeBuckets": "some-site" if source == "EventBridge" else ""}
    deployed = stack.create(running.emulator, stack.packaged(TEMPLATE), parameters, name)
    commands = [text for text in deployed.outputs.values() if text.startswith(("aws ", "invalidatorctl "))]
    assert commands
    with prepared(running) as world, Reader(running, tmp_path) as reader:
        for command in commands:
            let_each_call_fail(world, reader, command)


def let_each_call_fail(world: World, reader: Reader, script: str) -> None:
    """Run a script whole, then once for each of its calls, which is refused."""
    before = world.state()
    done = reader.run(script)
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    calls = reader.calls
    after = world.state()
    # Another run changes nothing more. It may fail, as where the stack is gone.
    reader.run(script)
    assert world.state() == after, script
    for refused_call in range(1, calls + 1):
        world.fill()
        assert world.state() == before
        done = reader.run(script, refused_call)
        state = world.state()
        # A command may do without a call, if it changes all that it should, and says what it could not do.
        is_done = state == after != before and "cannot be read" in done.stdout + done.stderr
        # A replay only warns: the function reads the mode too.
        is_replayed = " in SubmitQueue; " in done.stdout and "state/mode.json" in done.stderr
        # A deletion that fails is made again.
        is_repeated = state == after != before and "could not be deleted" in done.stderr
        assert done.returncode != 0 or is_done or is_replayed or is_repeated, (
            f"call {refused_call} of\n{script}\n{done.stdout}{done.stderr}"
        )
        for name, value in state.items():
            assert value in (before[name], after[name]), f"{name}, call {refused_call} of\n{script}"


def test_what_is_not_run_has_a_reason() -> None:
    for page in docs.PAGES:
        for block in docs.blocks(page):
            assert block.note is None or block.note.startswith(REASONS), str(block)
