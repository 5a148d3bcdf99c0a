"""Deploys the template with other parameters, and unchanged."""

import json

import pytest
from botocore.exceptions import ClientError

import iam_gaps
import stack
from calls import ACCOUNT, Call
from emulator import REGION
from pipeline import TEMPLATE, Pipeline
from recorder import Recorder

EVENT_SITE = "event-site"


def test_only_tls_gets_through_where_nothing_is_taken_out_of_the_template(running: Pipeline) -> None:
    # The emulator speaks HTTP, so the unchanged template must deny every call.
    body = stack.packaged(TEMPLATE, only_with_tls=True)
    strict = stack.create(running.emulator, body, {}, "strict")
    doors = {
        "sqs": [
            ("get_queue_attributes", {"QueueUrl": url}) for name, url in strict.outputs.items() if "QueueUrl" in name
        ],
        "sns": [("publish", {"TopicArn": strict.outputs["AlertTopicArn"], "Message": "plain"})],
    }
    assert len(doors["sqs"]) == 7
    for service, calls in doors.items():
        for operation, arguments in calls:
            with pytest.raises(ClientError, match=r"(?i)denied|authoriz"):
                getattr(running.emulator.client(service), operation)(**arguments)
    # The emulator lets the account's root into any bucket; AWS does not, where a policy denies it.
    answer = running.emulator.client("s3").get_bucket_policy(Bucket=strict.outputs["ErrorBucketName"])
    (statement,) = json.loads(answer["Policy"])["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_eventbridge_as_the_source(running: Pipeline, recorder: Recorder) -> None:
    parameters = {"EventSource": "EventBridge", "EventBridgeBuckets": f"{EVENT_SITE},other-site"}
    deployed = stack.create(running.emulator, stack.packaged(TEMPLATE), parameters, "by-eventbridge")
    iam_gaps.bridge(running.emulator, deployed.resources["FunctionRole"])
    assert "S3InvokePermission" not in deployed.resources
    assert "EventBridgeConfiguration" in deployed.outputs["ConnectBucket"]
    (target,) = running.emulator.client("events").list_targets_by_rule(
        Rule=deployed.resources["BucketEventsRule"].rsplit("/", 1)[-1]
    )["Targets"]
    assert target["DeadLetterConfig"]["Arn"].endswith(name_of(deployed, "UndeliveredQueue"))

    s3 = running.emulator.client("s3")
    for bucket in (EVENT_SITE, "unlisted-site"):
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
        s3.put_object(Bucket=bucket, Key="index.html", Body=b"new")
    buffered = Call("sqs:SendMessage", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name_of(deployed, 'BufferQueue')}")
    assert running.wait(lambda: buffered in recorder.calls)
    assert Call("s3:GetBucketTagging", "arn:aws:s3:::unlisted-site") not in recorder.calls


def name_of(deployed: stack.Stack, queue: str) -> str:
    """The name of a queue of a stack."""
    return deployed.resources[queue].rsplit("/", 1)[-1]


def test_submit_false_switches_off_all_that_calls_cloudfront(running: Pipeline) -> None:
    stack.create(running.emulator, stack.packaged(TEMPLATE), {}, "switched-off")
    deployed = stack.update(running.emulator, TEMPLATE, {"Submit": "false"}, "switched-off")
    for output in ("FlushMappingId", "SubmitMappingId"):
        mapping = running.emulator.client("lambda").get_event_source_mapping(UUID=deployed.outputs[output])
        assert mapping["State"] in ("Disabled", "Disabling")


def test_the_dashboard_is_made(running: Pipeline) -> None:
    name = running.stack.resources["Dashboard"]
    body = running.emulator.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"]
    assert len(json.loads(body)["widgets"]) > 15
