"""The pipeline from end to end: our template, the compiled function, S3 events in, invalidations out."""

import json
import os
import signal

import pytest

import sample_site
from pipeline import Pipeline
from sample_site import CHANGES, SITE, Change

EVERY_CHANGE = pytest.mark.parametrize(
    "change", dict.fromkeys(CHANGES), ids=lambda change: f"{change.action} {change.key}"
)


@pytest.mark.parametrize("distribution", ["www", "docs"])
def test_exactly_the_expected_paths_are_invalidated(running: Pipeline, distribution: str) -> None:
    assert running.invalidated_paths(distribution) == sample_site.expected_paths(distribution)


@pytest.mark.parametrize("distribution", ["www", "docs"])
def test_no_path_is_paid_for_twice_in_one_invalidation(running: Pipeline, distribution: str) -> None:
    for record in running.invalidations(distribution):
        assert len(record.paths) == len(set(record.paths))


@EVERY_CHANGE
def test_every_decision_has_a_reason(running: Pipeline, change: Change) -> None:
    for decision in decisions_on(running, change):
        assert decision.reason


@EVERY_CHANGE
def test_the_log_names_the_paths_of_a_change(running: Pipeline, change: Change) -> None:
    for name, distribution_id in running.site.distributions.items():
        logged = {
            path
            for decision in decisions_on(running, change)
            if decision.distribution == distribution_id
            for path in decision.paths
        }
        assert logged == set(change.paths(name))


@EVERY_CHANGE
def test_only_new_objects_under_an_exception_path_are_excepted(running: Pipeline, change: Change) -> None:
    verdicts = {decision.decision for decision in decisions_on(running, change)}
    assert ("excepted" in verdicts) == change.excepted
    assert not change.excepted or verdicts == {"excepted"}


def test_an_object_that_no_distribution_serves_is_seen_as_such(running: Pipeline) -> None:
    change = next(change for change in CHANGES if change.bucket == sample_site.INTERNAL)
    assert {decision.decision for decision in decisions_on(running, change)} == {"unmatched"}


def test_the_test_event_of_s3_is_a_success(running: Pipeline) -> None:
    answer = running.invoke_with_test_event()
    assert answer["StatusCode"] == 200
    assert "FunctionError" not in answer


def test_an_unknown_event_is_an_error_that_says_so(running: Pipeline) -> None:
    answer = running.invoke({"hello": "world"})
    assert "FunctionError" in answer
    assert json.loads(answer["Payload"].read())["errorMessage"]


def test_connecting_a_bucket_keeps_its_other_notifications(running: Pipeline) -> None:
    s3 = running.emulator.client("s3")
    configuration = s3.get_bucket_notification_configuration(Bucket=SITE)
    assert "EventBridgeConfiguration" in configuration
    assert [c["Id"] for c in configuration["LambdaFunctionConfigurations"]] == ["invalidator"]


def test_an_event_the_function_cannot_read_is_kept_whole(running: Pipeline) -> None:
    event = {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {}}]}
    running.emulator.client("lambda").invoke(
        FunctionName=running.stack.outputs["FunctionName"], InvocationType="Event", Payload=json.dumps(event)
    )
    kept = json.loads(take_message(running, running.stack.outputs["FailedEventsQueueUrl"]))
    assert kept["requestPayload"] == event


def test_paths_that_cloudfront_refuses_are_filed_and_mailed(running: Pipeline) -> None:
    docs = running.site.distributions["docs"]
    mailbox = subscribe_mailbox(running)
    deny_invalidations_of(running, docs)
    try:
        put(running, "docs/refused.html")
        mail = json.loads(take_message(running, mailbox))
    finally:
        allow_invalidations(running)

    key = error_files(running)[-1]
    assert key.startswith("invalidation_error/")
    assert key.endswith(f"_{docs}.txt")
    assert error_file(running, key).split("\n") == [
        f"CloudFront Id [{docs}]",
        "(Set 1 Start)",
        "",
        "/refused.html",
        "",
        "(Set 1 End)",
        "",
        "",
    ]
    assert mail["Subject"] == "[Error] CloudFront Invalidation"
    bucket = running.stack.outputs["ErrorBucketName"]
    assert mail["Message"].split("\n")[:3] == [f"bucket : {bucket}", "", key]
    # One distribution's trouble is not another's.
    assert running.wait(lambda: "/docs/refused.html" in running.invalidated_paths("www"))
    assert "/refused.html" not in running.invalidated_paths("docs")


def test_a_flush_that_dies_is_done_again(running: Pipeline) -> None:
    if not os.path.isdir("/proc"):
        pytest.skip("finds the function's processes in /proc")
    patience = tick_visibility(running)
    set_tick_visibility(running, "2")
    try:
        put(running, "survivor.html")
        assert running.wait(lambda: running.depth("BufferQueueUrl") > 0)
        freeze_function(running)
        assert running.wait(lambda: flush_has_begun(running))
        kill_function(running)
        assert running.wait(lambda: "/survivor.html" in running.invalidated_paths("www"))
        assert running.wait(running.idle)
    finally:
        kill_function(running)
        set_tick_visibility(running, patience)


def decisions_on(running: Pipeline, change: Change) -> list:
    """What the function decided on a change; at least something."""
    found = [
        decision
        for decision in running.decisions()
        if (decision.bucket, decision.key, decision.kind) == (change.bucket, change.key, change.kind)
    ]
    assert found, "the function says nothing about it"
    return found


def put(running: Pipeline, key: str) -> None:
    """Change an object of the site."""
    running.emulator.client("s3").put_object(Bucket=SITE, Key=key, Body=b"changed")


def take_message(running: Pipeline, queue_url: str) -> str:
    """Wait for a message, and take it out of the queue."""
    sqs = running.emulator.client("sqs")
    messages: list[dict] = []

    def arrived() -> bool:
        messages.extend(sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=1).get("Messages", []))
        return bool(messages)

    assert running.wait(arrived), f"no message in {queue_url}; the function logged {running.complaints()}"
    sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=messages[0]["ReceiptHandle"])
    return messages[0]["Body"]


def subscribe_mailbox(running: Pipeline) -> str:
    """A queue that gets what the admin would get by mail."""
    sqs = running.emulator.client("sqs")
    url = sqs.create_queue(QueueName="mailbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = running.stack.outputs["AlertTopicArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
            }
        ],
    }
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    running.emulator.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return url


def deny_invalidations_of(running: Pipeline, distribution_id: str) -> None:
    """Let CloudFront refuse every invalidation of a distribution, as a service control policy might."""
    statement = {
        "Effect": "Deny",
        "Action": "cloudfront:CreateInvalidation",
        "Resource": f"arn:aws:cloudfront::*:distribution/{distribution_id}",
    }
    running.emulator.client("iam").put_role_policy(
        RoleName=running.stack.resources["FunctionRole"],
        PolicyName="deny",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )


def allow_invalidations(running: Pipeline) -> None:
    """Take the denial back."""
    running.emulator.client("iam").delete_role_policy(
        RoleName=running.stack.resources["FunctionRole"], PolicyName="deny"
    )


def error_files(running: Pipeline) -> list[str]:
    """The keys in the error bucket, oldest first: they begin with the time."""
    bucket = running.stack.outputs["ErrorBucketName"]
    listed = running.emulator.client("s3").list_objects_v2(Bucket=bucket)
    return sorted(item["Key"] for item in listed.get("Contents", []))


def error_file(running: Pipeline, key: str) -> str:
    """The text of an error file."""
    bucket = running.stack.outputs["ErrorBucketName"]
    return running.emulator.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()


def tick_visibility(running: Pipeline) -> str:
    """After how many seconds a tick comes back whose flush has died."""
    answer = running.emulator.client("sqs").get_queue_attributes(
        QueueUrl=running.stack.outputs["TickQueueUrl"], AttributeNames=["VisibilityTimeout"]
    )
    return answer["Attributes"]["VisibilityTimeout"]


def set_tick_visibility(running: Pipeline, seconds: str) -> None:
    """Let such a tick come back sooner, or later."""
    running.emulator.client("sqs").set_queue_attributes(
        QueueUrl=running.stack.outputs["TickQueueUrl"], Attributes={"VisibilityTimeout": seconds}
    )


def flush_has_begun(running: Pipeline) -> bool:
    """Whether the tick is in the hands of a flush."""
    in_flight = "ApproximateNumberOfMessagesNotVisible"
    answer = running.emulator.client("sqs").get_queue_attributes(
        QueueUrl=running.stack.outputs["TickQueueUrl"], AttributeNames=[in_flight]
    )
    return int(answer["Attributes"][in_flight]) > 0


def freeze_function(running: Pipeline) -> None:
    """Stop the function's processes where they are."""
    for process in running.emulator.function_processes():
        os.kill(process, signal.SIGSTOP)


def kill_function(running: Pipeline) -> None:
    """End the function's processes, frozen or not."""
    for process in running.emulator.function_processes():
        os.kill(process, signal.SIGKILL)
