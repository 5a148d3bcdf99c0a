"""The pipeline from end to end: our template, the compiled function, S3 events in, invalidations out."""

import json
import os
import shlex
from pathlib import Path

import pytest

import alert_mails
import command_line
import sample_site
import stack
from emulator import REGION
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


SERVED = [change for change in dict.fromkeys(CHANGES) if change.bucket == SITE]


@pytest.mark.parametrize("change", SERVED, ids=lambda change: f"{change.action} {change.key}")
def test_why_tells_the_paths_and_what_the_function_made_of_them(running: Pipeline, change: Change) -> None:
    asked = ["why", "--stack", stack.NAME, f"s3://{change.bucket}/{change.key}", "--output", "json"]
    answer = json.loads(command_line.run(running.emulator, *asked, others=running.cloudfront.environment))
    # The settings of the function are known.
    assert not [note for note in answer["notes"] if "settings" in note]
    (told,) = answer["objects"]
    history = told["history"]
    paths = {
        named["distribution"]: {path["path"] for path in way[outcome_of(change)].get("invalidate", [])}
        for way in told["served"]
        for named in way["distributions"]
    }
    for name, distribution_id in running.site.distributions.items():
        assert paths.get(distribution_id, set()) == set(change.paths(name))
        logged = [line for line in history["log"]["lines"] if line.get("distribution") == distribution_id]
        assert {path for line in logged for path in line.get("paths", "").split()} == set(change.paths(name))
        cleared = [
            it
            for looked in history["invalidations"]
            for it in looked["cleared"]
            if looked["target"]["distribution"] == distribution_id
        ]
        assert bool(cleared) or not change.paths(name)
    assert ("excepted" in [line["decision"] for line in history["log"]["lines"]]) == change.excepted


def outcome_of(change: Change) -> str:
    """What `why` calls this kind of change."""
    return "upload" if change.action == "put" else "deletion"


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
    bucket = running.stack.outputs["ErrorBucketName"]
    mail = mail_of_refused(running, "docs/refused.html")

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
    assert mail["Message"].split("\n")[:3] == [f"bucket : {bucket}", "", key]
    assert f"invalidatorctl replay --region {REGION} --bucket {bucket} " in mail["Message"]
    # Trouble with one distribution does not affect another.
    assert running.wait(lambda: "/docs/refused.html" in running.invalidated_paths("www"))
    assert "/refused.html" not in running.invalidated_paths("docs")


def test_one_command_leads_from_the_mail_to_completed(running: Pipeline, tmp_path: Path) -> None:
    mail = mail_of_refused(running, "docs/mailed.html")
    (command,) = [line for line in mail["Message"].split("\n") if line.startswith("invalidatorctl ")]
    # The admin has the mail, the program and a profile; another profile and another region are exported.
    profiles = tmp_path / "credentials"
    profiles.write_text(
        "[admin]\naws_access_key_id = test\naws_secret_access_key = test\n"
        "[other]\naws_access_key_id = 999999999999\naws_secret_access_key = other\n"
    )
    exported = {
        "AWS_PROFILE": "other",
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "999999999999",
        "AWS_SHARED_CREDENTIALS_FILE": str(profiles),
        "AWS_CONFIG_FILE": os.devnull,
        **running.cloudfront.environment,
    }
    arguments = [*shlex.split(command)[1:], "--profile", "admin", "--complete", "--yes"]
    shown = command_line.run(running.emulator, *arguments, others=exported)
    assert "1 path accepted, 0 rejected, 0 without an answer; 1 of 1 invalidation done at all edges" in shown
    assert "/mailed.html" in running.invalidated_paths("docs")


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="finds the function's processes in /proc")
def test_what_a_dying_submit_had_in_hand_is_submitted_again(running: Pipeline) -> None:
    queues = ("SubmitQueueUrl",)
    patience = {queue: visibility_timeout(running, queue) for queue in queues}
    for queue in queues:
        set_visibility_timeout(running, queue, "2")
    running.cloudfront.fail("Hang", "CreateInvalidation", running.site.distributions["www"])
    try:
        put(running, "survivor.html")
        assert running.wait(lambda: is_kept_waiting(running)), "no submit has called CloudFront"
        running.restart_function()
        running.cloudfront.heal()
        assert running.wait(lambda: "/survivor.html" in running.invalidated_paths("www"))
        assert running.wait(running.idle)
    finally:
        running.cloudfront.heal()
        for queue in queues:
            set_visibility_timeout(running, queue, patience[queue])


def is_kept_waiting(running: Pipeline) -> bool:
    """Whether CloudFront has not answered a call."""
    return any(call["status"] is None for call in running.cloudfront.calls())


def mail_of_refused(running: Pipeline, key: str) -> dict:
    """Put an object whose path CloudFront refuses at one distribution; returns the mail about it."""
    topic = running.stack.outputs["AlertTopicArn"]
    mailbox = f"mailbox-of-{key}".replace("/", "-").replace(".", "-")
    mails = alert_mails.subscribe(running.emulator.client, topic, mailbox)
    # Another test may have begun the same incident, and its mail was sent.
    bucket = running.stack.outputs["ErrorBucketName"]
    running.emulator.client("s3").delete_object(Bucket=bucket, Key="state/incidents/open.json")
    running.cloudfront.fail("AccessDenied", "CreateInvalidation", running.site.distributions["docs"])
    try:
        put(running, key)
        return json.loads(take_message(running, mails))
    finally:
        running.cloudfront.heal()


def decisions_on(running: Pipeline, change: Change) -> list:
    """The function's decisions for a change; there must be at least one."""
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
    messages: list[str] = []

    def arrived() -> bool:
        messages.extend(alert_mails.take(running.emulator.client, queue_url))
        return bool(messages)

    assert running.wait(arrived), f"no message in {queue_url}; the function logged {running.complaints()}"
    return messages[0]


def error_files(running: Pipeline) -> list[str]:
    """The keys in the error bucket, oldest first: they begin with the time."""
    bucket = running.stack.outputs["ErrorBucketName"]
    listed = running.emulator.client("s3").list_objects_v2(Bucket=bucket, Prefix="invalidation_error/")
    return sorted(item["Key"] for item in listed.get("Contents", []))


def error_file(running: Pipeline, key: str) -> str:
    """The text of an error file."""
    bucket = running.stack.outputs["ErrorBucketName"]
    return running.emulator.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()


def visibility_timeout(running: Pipeline, queue: str) -> str:
    """After how many seconds a message comes back if its receiver has died."""
    answer = running.emulator.client("sqs").get_queue_attributes(
        QueueUrl=running.stack.outputs[queue], AttributeNames=["VisibilityTimeout"]
    )
    return answer["Attributes"]["VisibilityTimeout"]


def set_visibility_timeout(running: Pipeline, queue: str, seconds: str) -> None:
    """Change after how many seconds such a message comes back."""
    running.emulator.client("sqs").set_queue_attributes(
        QueueUrl=running.stack.outputs[queue], Attributes={"VisibilityTimeout": seconds}
    )
