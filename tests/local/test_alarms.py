"""Causes what can go wrong, and looks which alarm that raises and what the admin reads.

Each row of "what went wrong" in the README has a test here. An alarm looks at several minutes; what is observed here
once counts as if it went on.
"""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

import alarms
import alert_mails
import iam_gaps
import observe
import sample_site
import stack
from alarms import Metrics, Series
from pipeline import ROOT, TEMPLATE, Pipeline
from waiting import wait_until

NAME = "alarms"
# A day and more ago.
LONG_AGO = "2026-11-21T02:03:04.000Z"
PATIENCE_SECONDS = 60
FREE_PATHS = 1_000
STOPPED = b'{"v":1,"mode":"stopped","since":"2026-11-21T02:03:04Z","by":"ada","why":""}'


@dataclass(frozen=True)
class Watched:
    """A stack of its own, whose queues may end full, and its admin's mails."""

    running: Pipeline
    stack: stack.Stack
    mails: str

    def client(self, service: str):
        """A client of the emulator."""
        return self.running.emulator.client(service)

    @property
    def www(self) -> str:
        """The distribution that serves the sample site."""
        return self.running.site.distributions["www"]

    def invoke(self, event: dict) -> dict:
        """Invoke the function, and wait for its answer."""
        return self.client("lambda").invoke(FunctionName=self.stack.outputs["FunctionName"], Payload=json.dumps(event))

    def change(self, key: str) -> None:
        """Let S3 tell of a change."""
        self.invoke(created(key))

    def tick(self) -> None:
        """Start a flush."""
        self.send("TickQueueUrl", f"tick {time.time()}", "flush")

    def send(self, queue: str, body: str, group: str | None = None) -> None:
        """Send a message to a queue."""
        fifo = {"MessageGroupId": group, "MessageDeduplicationId": body[:80]} if group else {}
        self.client("sqs").send_message(QueueUrl=self.stack.outputs[queue], MessageBody=body, **fifo)

    def send_set(self, since: int) -> None:
        """Put a set of paths into SubmitQueue that has waited since then."""
        body = {"v": 1, "distribution": self.www, "paths": ["/waits.html"], "first_sent": since}
        self.send("SubmitQueueUrl", json.dumps(body), f"{self.www}/paths")

    def complaints(self, text: str) -> list[dict]:
        """The warnings and errors in the log that have this text, which the admin finds there."""
        lines = [line for line in self.lines() if line.get("level") in ("WARN", "ERROR")]
        return [line for line in lines if text in json.dumps(line)]

    def started_by_hand(self) -> str:
        """What the function logs when it is started with its variables, and ends at once.

        The emulator does not collect the log of a function that cannot start; Lambda does.
        """
        function = self.stack.outputs["FunctionName"]
        configuration = self.client("lambda").get_function_configuration(FunctionName=function)
        done = subprocess.run(
            [os.environ.get("INVALIDATOR_BINARY", ROOT / "target/debug/invalidator")],
            env=configuration["Environment"]["Variables"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 1
        return done.stdout

    def error_files(self) -> int:
        """How many files are in the error bucket."""
        bucket = self.stack.outputs["ErrorBucketName"]
        return self.client("s3").list_objects_v2(Bucket=bucket, Prefix="invalidation_error/")["KeyCount"]

    def lines(self) -> list[dict]:
        """The function's log. The emulator collects it with the next invocation."""
        with contextlib.suppress(ClientError):  # while it is not started
            self.invoke({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": sample_site.SITE})
        return list(observe.log_lines(self.running.emulator, self.stack.outputs["LogGroupName"]))

    def metrics(self, **of_lambda: float) -> Metrics:
        """What CloudWatch has: of the log's lines, of the queues, and of Lambda."""
        metrics = Metrics()
        periods = range(alarms.longest())
        alarms.emitted(self.lines(), periods, metrics)
        for period in periods:
            for name, value in of_lambda.items():
                metrics.add(Series("AWS/Lambda", name, "Function"), value, period)
            for name, url in self.stack.outputs.items():
                if name.endswith("QueueUrl"):
                    queue = Series("AWS/SQS", "ApproximateNumberOfMessagesVisible", name.removesuffix("Url"))
                    metrics.add(queue, self.visible(url), period)
        return metrics

    def visible(self, url: str) -> int:
        """How many messages can be received from a queue."""
        name = "ApproximateNumberOfMessages"
        answer = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def raises(self, alarm: str, repeat: Callable[[], None] = lambda: None, **of_lambda: float) -> bool:
        """Whether an alarm is raised, at last, while something is repeated."""

        def is_raised() -> bool:
            repeat()
            return alarms.state(alarm, self.metrics(**of_lambda)) == "ALARM"

        return wait_until(is_raised, PATIENCE_SECONDS)

    def mail(self) -> str:
        """The next mail."""
        found: list[str] = []
        assert wait_until(lambda: found.extend(alert_mails.take(self.client, self.mails)) or found, PATIENCE_SECONDS)
        return found[0]

    def set_variable(self, **variables: str) -> None:
        """Change variables of the function, as somebody might in the console."""
        function = self.stack.outputs["FunctionName"]
        client = self.client("lambda")
        now = client.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
        client.update_function_configuration(FunctionName=function, Environment={"Variables": now | variables})


def hours_ago(hours: int) -> int:
    """A time, in milliseconds since 1970."""
    return int((time.time() - hours * 3_600) * 1_000)


def created(key: str) -> dict:
    """An event of S3."""
    s3 = {"bucket": {"name": sample_site.SITE}, "object": {"key": key, "sequencer": "0A"}}
    record = {"eventSource": "aws:s3", "eventTime": LONG_AGO, "eventName": "ObjectCreated:Put", "s3": s3}
    return {"Records": [record | {"eventVersion": "2.1", "awsRegion": "us-east-1"}]}


@pytest.fixture
def watched(running: Pipeline) -> Iterator[Watched]:
    """The stack, new for each test, and removed."""
    emulator = running.emulator
    deployed = stack.create(emulator, stack.packaged(TEMPLATE), {"DebounceSeconds": "3"}, NAME)
    iam_gaps.bridge(emulator, deployed.resources["FunctionRole"])
    mails = alert_mails.subscribe(emulator.client, deployed.outputs["AlertTopicArn"], f"{NAME}-mails")
    try:
        yield Watched(running, deployed, mails)
    finally:
        running.cloudfront.heal()
        emulator.client("sqs").delete_queue(QueueUrl=mails)
        emulator.client("cloudformation").delete_stack(StackName=NAME)


def test_cloudfront_rejects_paths(watched: Watched) -> None:
    watched.running.cloudfront.fail("AccessDenied", "CreateInvalidation", watched.www)
    watched.change("rejected.html")
    mail = watched.mail()
    assert "AccessDenied" in mail
    assert "invalidatorctl replay" in mail
    assert watched.raises("PathsRejected")


def test_a_mail_cannot_be_sent(watched: Watched) -> None:
    watched.running.cloudfront.fail("AccessDenied", "CreateInvalidation", watched.www)
    watched.client("sns").delete_topic(TopicArn=watched.stack.outputs["AlertTopicArn"])
    watched.change("unheard.html")
    assert watched.raises("MailNotSent")
    assert watched.error_files() == 1


def test_changes_arrive_late(watched: Watched) -> None:
    watched.change("late.html")
    assert watched.raises("ChangesArriveLate")


def test_cloudfront_is_busy(watched: Watched) -> None:
    watched.running.cloudfront.fail("TooManyInvalidationsInProgress", "CreateInvalidation", watched.www)
    # It tries again until 20 s are left.
    watched.client("lambda").update_function_configuration(
        FunctionName=watched.stack.outputs["FunctionName"], Timeout=23
    )
    watched.send_set(hours_ago(1))
    assert watched.raises("ChangesWaitTooLong")
    assert watched.complaints("TooManyInvalidationsInProgress")


def test_distributions_cannot_be_listed(watched: Watched) -> None:
    watched.running.cloudfront.fail("AccessDenied", "ListDistributions")
    watched.tick()
    assert watched.raises("NoFlushFinished")
    watched.send_set(hours_ago(1))
    assert watched.raises("ChangesWaitTooLong")
    assert watched.complaints("ListDistributions")


def test_one_distribution_cannot_be_read(watched: Watched) -> None:
    watched.running.cloudfront.fail("AccessDenied", "GetDistributionConfig", watched.www)
    watched.running.forget_root_objects()
    scope = {"targets": [watched.www], "first_seen": hours_ago(1), "attempts": 1}
    changes = {"bucket": sample_site.SITE, "created": [["unread.html", hours_ago(1)]], "deleted": []}
    watched.send("BufferQueueUrl", json.dumps({"version": 2, "scope": scope, "buckets": [changes]}))
    watched.tick()
    assert watched.raises("ChangesWaitTooLong")
    assert watched.complaints("GetDistributionConfig")


def test_a_message_of_submitqueue_cannot_be_read(watched: Watched) -> None:
    watched.send("SubmitQueueUrl", "hello", "any")
    assert "UnreadableMessage" in watched.mail()
    assert watched.error_files() == 1


def test_an_event_cannot_be_read_or_buffered(watched: Watched) -> None:
    event = {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}]}
    watched.client("lambda").invoke(
        FunctionName=watched.stack.outputs["FunctionName"], InvocationType="Event", Payload=json.dumps(event)
    )
    assert watched.raises("EventsFailed")


def test_a_buffered_message_cannot_be_read(watched: Watched) -> None:
    watched.send("BufferQueueUrl", "hello")
    watched.tick()
    assert "a message of BufferQueue cannot be read" in watched.mail()
    assert watched.error_files() == 1


def test_the_function_dies_on_a_set(watched: Watched) -> None:
    dead_after_one_receive(watched, "SubmitQueue")
    watched.set_variable(DEBOUNCE_SECONDS="2")
    watched.send_set(hours_ago(0))
    assert watched.raises("DeadLetters")


def test_a_setting_is_invalid(watched: Watched) -> None:
    watched.set_variable(DEBOUNCE_SECONDS="2")
    assert "FunctionError" in watched.invoke(created("any.html"))
    assert watched.raises("FunctionErrors", Errors=1)
    (line,) = [json.loads(line) for line in watched.started_by_hand().splitlines()]
    assert "the environment variable DEBOUNCE_SECONDS is `2`, it must be" in line["error"]


def test_a_state_object_was_deleted_or_cannot_be_read(watched: Watched) -> None:
    bucket = watched.stack.outputs["ErrorBucketName"]
    s3 = watched.client("s3")
    s3.put_object(Bucket=bucket, Key="state/mode.json", Body=STOPPED)
    s3.delete_object(Bucket=bucket, Key="state/mode.json")
    watched.tick()
    assert watched.raises("StateUnreadable")
    assert watched.raises("NoFlushFinished")
    assert watched.complaints("state/mode.json: it was deleted. What to do: write it again with `invalidatorctl mode`.")
    s3.put_object(Bucket=bucket, Key="state/mode.json", Body=b"\xff")
    watched.tick()
    assert wait_until(lambda: watched.complaints("state/mode.json: it is not UTF-8."), PATIENCE_SECONDS)


def test_the_function_is_not_started(watched: Watched) -> None:
    """Its concurrency is used up, its mapping is disabled, or its schedule is gone: no tick arrives."""
    function = watched.stack.outputs["FunctionName"]
    watched.client("lambda").put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    watched.tick()
    assert watched.raises("NoFlushFinished")


def test_a_wildcard_would_be_wider_than_allowed(watched: Watched) -> None:
    watched.set_variable(MIN_WILDCARD_DEPTH="1")
    watched.change("~wide.html")
    assert "WildcardTooWide" in watched.mail()
    assert watched.error_files() == 1
    assert watched.raises("PathsRejected")


def test_names_with_or_keep_needing_wildcards(watched: Watched) -> None:
    assert watched.raises("NamesNeedWildcards", repeat=lambda: watched.change(f"~{time.time()}.html"))
    assert watched.complaints("all that begins with") or watched.complaints("the whole distribution")
    assert watched.complaints("it waits, because names in this bucket needed wildcards a moment ago")
    # With the function's own permissions.
    watched.client("s3").head_object(Bucket=watched.stack.outputs["ErrorBucketName"], Key="state/rations.json")
    assert not watched.complaints("the rations of wildcards cannot be kept")


def test_all_uploads_are_ignored(watched: Watched) -> None:
    watched.change("tmp/ignored.html")
    assert watched.raises("UploadsIgnored")


def test_half_of_a_spending_limit_is_spent(watched: Watched) -> None:
    watched.set_variable(SPENDING_LIMIT_PER_MONTH="2")
    ordered(watched, FREE_PATHS + 210)
    watched.change("half.html")
    assert watched.raises("SpendingLimitNear")


def test_a_spending_limit_is_reached(watched: Watched) -> None:
    watched.set_variable(SPENDING_LIMIT_PER_MONTH="0.05")
    ordered(watched, FREE_PATHS + 10)
    watched.change("held.html")
    assert watched.raises("SpendingLimitReached")
    assert watched.complaints("changes wait: the spending limit is reached")
    assert watched.complaints("the spending limit of 0.05 USD for this month")


def test_the_month_becomes_expensive(watched: Watched) -> None:
    ordered(watched, FREE_PATHS + 2_100)
    watched.change("expensive.html")
    assert watched.raises("ForecastHigh")


def ordered(watched: Watched, paths: int) -> None:
    """Let the ledger say that so many paths were ordered this month, none of them in this hour."""
    now = datetime.now(UTC)
    ledger = {"v": 1, "month": now.year * 12 + now.month - 1, "reserved": paths, "hour": 0, "this_hour": 0}
    bucket = watched.stack.outputs["ErrorBucketName"]
    watched.client("s3").put_object(Bucket=bucket, Key="state/ledger/ledger.json", Body=json.dumps(ledger))


def test_the_stack_is_stopped_or_in_a_dry_run(watched: Watched) -> None:
    watched.set_variable(INITIAL_MODE="dry-run")
    watched.tick()
    assert watched.raises("NotLive")


def dead_after_one_receive(watched: Watched, queue: str) -> None:
    """Let messages come back at once, and go to the dead-letter queue after one receive instead of a thousand."""
    url = watched.stack.outputs[f"{queue}Url"]
    sqs = watched.client("sqs")
    policy = json.loads(
        sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]["RedrivePolicy"]
    )
    settings = {"RedrivePolicy": json.dumps(policy | {"maxReceiveCount": 1}), "VisibilityTimeout": "0"}
    sqs.set_queue_attributes(QueueUrl=url, Attributes=settings)
