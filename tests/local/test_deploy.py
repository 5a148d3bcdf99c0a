"""Deploys the template with other parameters, and unchanged."""

import json
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

import command_line
import iam_gaps
import observe
import samconfig
import sample_site
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
    # A bucket that was connected before the source was changed loses no event.
    assert "S3InvokePermission" in deployed.resources
    assert "EventBridgeConfiguration" in deployed.outputs["ConnectBucket"]
    (target,) = running.emulator.client("events").list_targets_by_rule(
        Rule=deployed.resources["BucketEventsRule"].rsplit("/", 1)[-1]
    )["Targets"]
    assert target["DeadLetterConfig"]["Arn"].endswith(name_of(deployed, "FailedEventsQueue"))

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


def test_a_queue_as_the_source(running: Pipeline) -> None:
    name, bucket, distribution = "by-queue", "queued-site", "E6QUEUED"
    serve(running, bucket, distribution)
    parameters = {"EventSource": "SQS", "S3Buckets": "queued-*", "DebounceSeconds": "6", "CostMode": "exact"}
    deployed = stack.create(running.emulator, stack.packaged(TEMPLATE), parameters, name)
    iam_gaps.bridge(running.emulator, deployed.resources["FunctionRole"])
    # It was connected before the source was changed: connecting it again moves it.
    sample_site.connect(running.emulator, bucket, deployed.outputs["FunctionArn"])
    command_line.run(running.emulator, "connect", bucket, "--stack", name, "--yes")
    notifications = running.emulator.client("s3").get_bucket_notification_configuration(Bucket=bucket)
    assert not notifications.get("LambdaFunctionConfigurations")
    (rule,) = notifications["QueueConfigurations"]
    assert rule["QueueArn"].endswith(f":{name_of(deployed, 'IntakeQueue')}")
    refused = command_line.call(running.emulator, "connect", sample_site.SITE, "--stack", name, "--yes")
    assert refused.returncode == 1
    assert "IntakeQueue takes events of queued-* only" in refused.stderr

    change(running, bucket, "queued.html")
    command_line.run(running.emulator, "wait", "--stack", name, "--bucket", bucket)
    assert paths_of(running, distribution) == {"/queued.html"}

    checked = command_line.call(
        running.emulator,
        *("check", "--stack", name, "--only", bucket, "--output", "json"),
        others=running.cloudfront.environment,
    )
    report = json.loads(checked.stdout)
    assert not [it for it in report["findings"] if it["subject"] in (f"bucket {bucket}", "the queues")]
    assert f"all its changes come to the function by the queue {rule['QueueArn']}" in json.dumps(report["well"])
    fails_and_is_replayed(running, deployed, name, lambda: change(running, bucket, "kept.html"))
    assert running.wait(lambda: paths_of(running, distribution) == {"/queued.html", "/kept.html"})
    running.emulator.client("cloudformation").delete_stack(StackName=name)


def fails_and_is_replayed(running: Pipeline, deployed: stack.Stack, name: str, upload: Callable[[], None]) -> None:
    """An event that the function cannot buffer is moved to FailedEventsQueue, as S3 wrote it, and given back."""
    iam, sqs = running.emulator.client("iam"), running.emulator.client("sqs")
    intake, failed = deployed.outputs["IntakeQueueUrl"], deployed.outputs["FailedEventsQueueUrl"]
    # Half an hour is too long for a test.
    names = {"QueueUrl": intake, "AttributeNames": ["RedrivePolicy"]}
    policy = json.loads(sqs.get_queue_attributes(**names)["Attributes"]["RedrivePolicy"])
    policy["maxReceiveCount"] = 2
    attributes = {"VisibilityTimeout": "2", "RedrivePolicy": json.dumps(policy)}
    sqs.set_queue_attributes(QueueUrl=intake, Attributes=attributes)
    deny = {"Effect": "Deny", "Action": ["sqs:SendMessage", "sqs:SendMessageBatch"], "Resource": "*"}
    fault = {"RoleName": deployed.resources["FunctionRole"], "PolicyName": "fault"}
    iam.put_role_policy(**fault, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    upload()
    assert running.wait(lambda: observe.queue_depth(running.emulator, failed) == 1)
    iam.delete_role_policy(**fault)
    replayed = command_line.run(running.emulator, "replay", "--stack", name, "--events", "--yes")
    assert "FailedEventsQueue: 1 message put back" in replayed


def name_of(deployed: stack.Stack, queue: str) -> str:
    """The name of a queue of a stack."""
    return deployed.resources[queue].rsplit("/", 1)[-1]


def test_no_deployment_changes_the_mode(running: Pipeline) -> None:
    name, bucket = "sequence", "sequence-site"
    serve(running, bucket, "E5SEQUENCE")
    # Guided: a dry run, which SAM saves.
    saved = samconfig.guided({"AdminEmail": "none", "InitialMode": "dry-run", "DebounceSeconds": "3"})
    deployed = stack.create(running.emulator, stack.packaged(TEMPLATE), saved, name)
    iam_gaps.bridge(running.emulator, deployed.resources["FunctionRole"])
    sample_site.connect(running.emulator, bucket, deployed.outputs["FunctionArn"])
    assert "nobody has chosen a mode: it is dry-run" in command_line.run(running.emulator, "mode", "--stack", name)
    change(running, bucket, "planned.html")
    log = deployed.outputs["LogGroupName"]
    assert running.wait(
        lambda: "planned.html" in {decision.key for decision in observe.decisions(running.emulator, log)}
    )

    choose(running, name, "live")
    deploy_again(running, name, saved, "60")
    change(running, bucket, "live.html")
    assert running.wait(lambda: paths_of(running, "E5SEQUENCE") == {"/live.html"})

    choose(running, name, "stopped")
    deploy_again(running, name, saved, "90")
    change(running, bucket, "kept.html")
    buffer, tick = deployed.outputs["BufferQueueUrl"], deployed.outputs["TickQueueUrl"]
    assert running.wait(lambda: observe.queue_depth(running.emulator, buffer) == 1)
    # The flush that the change asked for has run, and returned its tick.
    assert running.wait(lambda: in_flight(running, tick) == 1)
    assert observe.queue_depth(running.emulator, buffer) == 1
    assert paths_of(running, "E5SEQUENCE") == {"/live.html"}
    running.emulator.client("cloudformation").delete_stack(StackName=name)


def deploy_again(running: Pipeline, name: str, saved: dict[str, str], days: str) -> None:
    """A plain `sam deploy` of what was saved. It changes one thing, as CloudFormation refuses to change none."""
    stack.update(running.emulator, TEMPLATE, samconfig.plain(saved | {"LogRetentionDays": days}), name)


def choose(running: Pipeline, name: str, mode: str) -> None:
    """Choose the mode of a stack, and forget the one that the function has read."""
    command_line.run(running.emulator, "mode", mode, "--stack", name, "--yes")
    running.restart_function()


def serve(running: Pipeline, bucket: str, distribution: str) -> None:
    """Make a bucket, and a distribution that serves it."""
    running.emulator.client("s3").create_bucket(Bucket=bucket)
    running.cloudfront.add(
        {
            "Id": distribution,
            "Enabled": True,
            "Origins": sample_site.items([sample_site.origin("bucket", f"{bucket}.s3.amazonaws.com")]),
            "DefaultCacheBehavior": sample_site.behavior("bucket", CachePolicyId=sample_site.CACHING_OPTIMIZED),
        }
    )


def change(running: Pipeline, bucket: str, key: str) -> None:
    """Change an object."""
    running.emulator.client("s3").put_object(Bucket=bucket, Key=key, Body=b"changed")


def paths_of(running: Pipeline, distribution: str) -> set[str]:
    """The paths that were invalidated on a distribution."""
    return {path for accepted in running.cloudfront.invalidations(distribution) for path in accepted.paths}


def in_flight(running: Pipeline, url: str) -> int:
    """How many messages of a queue were received and are hidden."""
    name = "ApproximateNumberOfMessagesNotVisible"
    answer = running.emulator.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])
    return int(answer["Attributes"][name])


def test_the_dashboard_is_made(running: Pipeline) -> None:
    name = running.stack.resources["Dashboard"]
    body = running.emulator.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"]
    assert len(json.loads(body)["widgets"]) > 15
