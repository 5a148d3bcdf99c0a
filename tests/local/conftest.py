"""The pipeline the tests share: started once, with the sample site's changes made and done."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipeline
import sample_site
from emulator import forget_user_settings, interrupt_when_told_to_end
from recorder import Recorder

# The shortest there is: the tests need not wait longer.
DEBOUNCE_SECONDS = 3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of the sample site's changes first, because the other files make changes of their own."""
    items.sort(key=lambda item: item.path.name != "test_pipeline.py")


@pytest.fixture(scope="session")
def recorder() -> Iterator[Recorder]:
    """What the function takes for S3, SNS and SQS."""
    with Recorder() as started:
        yield started


@pytest.fixture(scope="session")
def running(recorder: Recorder) -> Iterator[pipeline.Pipeline]:
    """Everything deployed and connected, all changes of the sample site made, none in flight."""
    forget_user_settings()
    interrupt_when_told_to_end()
    binary = Path(os.environ.get("INVALIDATOR_BINARY", pipeline.ROOT / "target/debug/invalidator"))
    with pipeline.running(binary, DEBOUNCE_SECONDS, recorder.environment) as started:
        recorder.upstream = started.emulator.endpoint
        started.connect()
        sample_site.publish(started.emulator)
        assert started.wait_for_sample(), f"not done in time; the function logged {started.complaints()}"
        yield started


@pytest.fixture(autouse=True)
def left_clean(running: pipeline.Pipeline) -> Iterator[None]:
    """After each test no message is left anywhere: nothing is lost, nothing is given up."""
    yield
    assert running.wait(running.idle), "work is left in the queues"
    left = {queue: running.depth(queue) for queue in pipeline.DEAD_LETTER_QUEUES}
    assert not any(left.values()), f"messages were given up: {left}"
