"""The whole pipeline on the emulator: our template, the function's binary and the sample site, connected."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import iam_gaps
import observe
import sample_site
import stack
from cloudfront import CloudFront, Invalidation
from emulator import Emulator
from waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
WORK_FOLDER = ROOT / ".local"

WORK_QUEUES = ["IntakeQueueUrl", "BufferQueueUrl", "TickQueueUrl", "SubmitQueueUrl"]
DEAD_LETTER_QUEUES = [
    "BufferDeadLetterQueueUrl",
    "SubmitDeadLetterQueueUrl",
    "FailedEventsQueueUrl",
]

# Far more than the pipeline needs after the debounce, on a slow and busy machine.
PATIENCE_SECONDS = 60
# The function logs before it answers; only the emulator may be late.
LOG_PATIENCE_SECONDS = 5


@dataclass(frozen=True)
class Pipeline:
    """All that is running."""

    emulator: Emulator
    cloudfront: CloudFront
    stack: stack.Stack
    site: sample_site.Site
    debounce_seconds: int

    def connect(self) -> None:
        """Let the buckets send their events to the function."""
        for bucket in (sample_site.SITE, sample_site.INTERNAL):
            sample_site.connect(self.emulator, bucket, self.stack.outputs["FunctionArn"])

    def invoke(self, event: dict) -> dict:
        """Invoke the function and wait for its answer."""
        return self.emulator.client("lambda").invoke(
            FunctionName=self.stack.outputs["FunctionName"], Payload=json.dumps(event)
        )

    def invoke_with_test_event(self) -> dict:
        """Invoke the function with what S3 sends when a bucket is connected."""
        return self.invoke({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": sample_site.SITE})

    def restart_function(self) -> None:
        """Kill the function's processes, whatever they are doing, and with them their caches of the account."""
        for process in self.emulator.function_processes():
            os.kill(process, signal.SIGKILL)

    def forget_root_objects(self) -> None:
        """Let the next process read the default root objects from CloudFront, as if none had done it before."""
        self.emulator.client("s3").put_object(
            Bucket=self.stack.outputs["ErrorBucketName"],
            Key="state/ledger/default-root-objects.json",
            Body='{"v":1,"roots":{},"writes":[]}',
        )

    def decisions(self) -> list[observe.Decision]:
        """The function's decisions, from its log."""
        return observe.decisions(self.emulator, self.stack.outputs["LogGroupName"])

    def complaints(self) -> list[str]:
        """The warnings and errors the function has logged."""
        return observe.complaints(self.emulator, self.stack.outputs["LogGroupName"])

    def invalidations(self, distribution: str) -> list[Invalidation]:
        """What CloudFront accepted for the distribution of this name."""
        return self.cloudfront.invalidations(self.site.distributions[distribution])

    def invalidated_paths(self, distribution: str) -> set[str]:
        """The paths CloudFront accepted for the distribution of this name."""
        return {path for accepted in self.invalidations(distribution) for path in accepted.paths}

    def depth(self, queue: str) -> int:
        """How many messages are in the queue whose URL is this output of the stack."""
        return observe.queue_depth(self.emulator, self.stack.outputs[queue])

    def idle(self) -> bool:
        """Whether no work is left in the queues."""
        return all(self.depth(queue) == 0 for queue in WORK_QUEUES)

    def wait(self, condition) -> bool:
        """Wait for something that should follow the debounce soon."""
        return wait_until(condition, self.debounce_seconds + PATIENCE_SECONDS)

    def wait_for_sample(self) -> bool:
        """Wait until the sample site's changes have gone all the way, and the log has a decision for each."""
        return (
            self.wait(lambda: self.sample_invalidated() or self.given_up())
            and self.wait(self.idle)
            and wait_until(self.log_complete, LOG_PATIENCE_SECONDS)
        )

    def sample_invalidated(self) -> bool:
        """Whether everything that should be invalidated has been."""
        return all(sample_site.expected_paths(name) <= self.invalidated_paths(name) for name in self.site.distributions)

    def given_up(self) -> bool:
        """Whether a message has ended in a dead-letter queue."""
        return any(self.depth(queue) > 0 for queue in DEAD_LETTER_QUEUES)

    def log_complete(self) -> bool:
        """Whether the function has logged a decision for every change of the sample site."""
        decided = {(decision.bucket, decision.key, decision.kind) for decision in self.decisions()}
        complete = all((change.bucket, change.key, change.kind) in decided for change in sample_site.CHANGES)
        if not complete:
            # The emulator collects a function's log when an invocation ends. Lines that it missed, it collects
            # with the next one.
            self.invoke_with_test_event()
        return complete


@contextlib.contextmanager
def running(binary: Path, debounce_seconds: int, environment: dict[str, str] | None = None) -> Iterator[Pipeline]:
    """Start everything, and end it whatever happens."""
    with CloudFront() as cloudfront, Emulator(WORK_FOLDER, cloudfront.environment | (environment or {})) as emulator:
        # What is not about cost wants each path, whatever the day of the month.
        parameters = {"DebounceSeconds": str(debounce_seconds), "WithDashboard": "true", "CostMode": "exact"}
        deployed = stack.deploy(emulator, TEMPLATE, binary, parameters)
        iam_gaps.bridge(emulator, deployed.resources["FunctionRole"])
        site = sample_site.build(emulator, cloudfront)
        yield Pipeline(emulator, cloudfront, deployed, site, debounce_seconds)
