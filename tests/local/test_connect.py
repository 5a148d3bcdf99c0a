"""`invalidatorctl connect` and `disconnect`: nothing of others is lost, whatever fails."""

import contextlib
import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import command_line
import playground
import sample_site
import stack
from pipeline import TEMPLATE, Pipeline
from proxy import Answer, Proxy, Request
from reader import AWS_CLI, Reader

BUCKET = "connected.site"
QUEUE = "others"
TAGS = {"team": "web", "exceptionPaths": "old", "exceptionPaths2": "older"}


@pytest.fixture
def bucket(running: Pipeline) -> str:
    """A bucket with settings of others: a rule with a filter, EventBridge, tags."""
    s3, sqs = running.emulator.client("s3"), running.emulator.client("sqs")
    s3.create_bucket(Bucket=BUCKET)
    url = sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    # S3 saves no rule whose destination it may not reach.
    allow = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    policy = {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [allow]})}
    sqs.set_queue_attributes(QueueUrl=url, Attributes=policy)
    rule = {
        "Id": "restores",
        "QueueArn": arn,
        "Events": ["s3:ObjectRestore:Completed"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "archive/"}]}},
    }
    configuration = {"QueueConfigurations": [rule], "EventBridgeConfiguration": {}}
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=configuration)
    tags = [{"Key": key, "Value": value} for key, value in TAGS.items()]
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": tags})
    return BUCKET


def settings(running: Pipeline) -> tuple[dict, dict[str, str], str]:
    """The notifications and the tags of the bucket, and the function's policy."""
    s3 = running.emulator.client("s3")
    notifications = s3.get_bucket_notification_configuration(Bucket=BUCKET)
    notifications.pop("ResponseMetadata")
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"]}
    name = running.stack.outputs["FunctionName"]
    policy = json.loads(running.emulator.client("lambda").get_policy(FunctionName=name)["Policy"])
    return notifications, tags, json.dumps(policy, sort_keys=True)


def connect(running: Pipeline, *arguments: str) -> dict:
    """Connect the bucket."""
    fixed = ("--stack", stack.NAME, "--yes", "--output", "json")
    return json.loads(command_line.run(running.emulator, "connect", BUCKET, *fixed, *arguments))


def disconnect(running: Pipeline) -> dict:
    """Disconnect it."""
    fixed = ("--stack", stack.NAME, "--yes", "--output", "json")
    return json.loads(command_line.run(running.emulator, "disconnect", BUCKET, *fixed))


def test_a_bucket_is_connected_and_given_back_as_it_was(running: Pipeline, bucket: str) -> None:
    before = settings(running)
    done = connect(running, "--exception-paths", "resources/upload tmp", "--index-document", "index.html")
    assert (done["v"], done["bucket"], done["outcome"]) == (1, bucket, "done")
    notifications, tags, policy = settings(running)
    (ours,) = notifications["LambdaFunctionConfigurations"]
    assert ours["LambdaFunctionArn"] == running.stack.outputs["FunctionArn"]
    assert sorted(ours["Events"]) == sorted(sample_site.EVENTS)
    assert {key: value for key, value in notifications.items() if key != "LambdaFunctionConfigurations"} == before[0]
    assert tags == {"team": "web", "exceptionPaths": "resources/upload tmp", "indexDocument": "index.html"}
    assert policy == before[2], "the template's statement is enough"

    # What was before can be put back by hand, too.
    error_bucket, _, key = done["saved"].removeprefix("s3://").partition("/")
    saved = json.loads(running.emulator.client("s3").get_object(Bucket=error_bucket, Key=key)["Body"].read())
    assert saved["notifications"] == before[0]
    assert {tag["Key"]: tag["Value"] for tag in saved["tags"]["TagSet"]} == before[1]

    assert connect(running)["outcome"] == "nothing"
    assert connect(running, "--exception-paths", "other")["outcome"] == "done"
    assert disconnect(running)["outcome"] == "done"
    assert settings(running) == before
    assert disconnect(running)["outcome"] == "nothing"


def test_a_rule_of_another_that_overlaps_is_left_alone(running: Pipeline, bucket: str) -> None:
    s3 = running.emulator.client("s3")
    configuration, *_ = settings(running)
    configuration["QueueConfigurations"][0]["Events"].append("s3:ObjectCreated:Put")
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)
    before = settings(running)
    refused = command_line.call(running.emulator, "connect", bucket, "--stack", stack.NAME, "--yes")
    assert refused.returncode == 1
    assert "(rule restores)" in refused.stderr
    assert "S3 allows one receiver" in refused.stderr
    assert settings(running) == before


def test_the_error_bucket_is_not_connected(running: Pipeline) -> None:
    bucket = running.stack.outputs["ErrorBucketName"]
    refused = command_line.call(running.emulator, "connect", bucket, "--stack", stack.NAME, "--yes")
    assert refused.returncode == 1
    assert "each write would bring another flush" in refused.stderr
    notifications = running.emulator.client("s3").get_bucket_notification_configuration(Bucket=bucket)
    assert "LambdaFunctionConfigurations" not in notifications


@pytest.mark.skipif(not AWS_CLI.exists(), reason="needs the AWS CLI: make .venv/aws")
def test_whichever_call_fails_it_can_be_run_again_and_undone(running: Pipeline, bucket: str, tmp_path: Path) -> None:
    before = settings(running)
    paths = "--exception-paths new"
    do = f"invalidatorctl connect {bucket} --stack {stack.NAME} {paths}"
    undo = f"invalidatorctl disconnect {bucket} --stack {stack.NAME}"
    with Reader(running, tmp_path) as reader:
        assert reader.run(do).returncode == 0
        after, calls = settings(running), reader.calls
        assert reader.run(undo).returncode == 0
        undoing = reader.calls
        assert settings(running) == before
        for refused in range(1, calls + 1):
            done = reader.run(do, refused)
            assert done.returncode != 0, f"call {refused}\n{done.stderr}"
            assert reader.run(do).returncode == 0
            assert settings(running) == after, refused
            if refused <= undoing:
                assert reader.run(undo, refused).returncode != 0, refused
            assert reader.run(undo).returncode == 0
            assert settings(running) == before, refused


def test_what_somebody_writes_meanwhile_is_not_overwritten(running: Pipeline, bucket: str) -> None:
    s3 = running.emulator.client("s3")
    reads = itertools.count(1)
    forward = playground.route(running)

    def answer(request: Request) -> Answer:
        # Just before it is read the second time, somebody else adds a rule.
        if request.method == "GET" and "notification" in request.path and next(reads) == 2:
            configuration, *_ = settings(running)
            more = configuration["QueueConfigurations"][0] | {"Id": "more", "Events": ["s3:ObjectTagging:Put"]}
            configuration["QueueConfigurations"].append(more)
            s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)
        return forward(request)

    with Proxy(answer) as proxy:
        refused = call_through(running, proxy)
    assert refused.returncode == 1
    assert "somebody has just changed the notifications" in refused.stderr
    ids = [rule["Id"] for rule in settings(running)[0]["QueueConfigurations"]]
    assert ids == ["restores", "more"]
    assert "LambdaFunctionConfigurations" not in settings(running)[0]
    assert connect(running)["outcome"] == "done"
    disconnect(running)


def test_a_notification_of_a_later_kind_is_not_lost(running: Pipeline, bucket: str) -> None:
    before = settings(running)
    forward = playground.route(running)

    def answer(request: Request) -> Answer:
        given = forward(request)
        if request.method == "GET" and "notification" in request.path:
            newer = b"<StreamConfiguration><Id>s</Id></StreamConfiguration></NotificationConfiguration>"
            body = given.body.replace(b"</NotificationConfiguration>", newer)
            headers = {name: value for name, value in given.headers.items() if name.lower() != "content-length"}
            return Answer(given.status, headers | {"Content-Length": str(len(body))}, body)
        return given

    with Proxy(answer) as proxy:
        refused = call_through(running, proxy)
    assert refused.returncode == 1
    assert "have StreamConfiguration, which this version does not know and would lose" in refused.stderr
    assert settings(running) == before


def call_through(running: Pipeline, proxy: Proxy) -> subprocess.CompletedProcess[str]:
    """Connect the bucket through a proxy."""
    arguments = ("connect", BUCKET, "--stack", stack.NAME, "--yes")
    return command_line.call(running.emulator, *arguments, others={"AWS_ENDPOINT_URL": proxy.endpoint})


@contextlib.contextmanager
def deployed(running: Pipeline, name: str, parameters: dict[str, str]) -> Iterator[stack.Stack]:
    """A stack of its own."""
    yield stack.create(running.emulator, stack.packaged(TEMPLATE), parameters, name)
    running.emulator.client("cloudformation").delete_stack(StackName=name)


def change(running: Pipeline, command: str, bucket: str, name: str) -> dict:
    """Connect or disconnect a bucket."""
    arguments = (command, bucket, "--stack", name, "--yes", "--output", "json")
    return json.loads(command_line.run(running.emulator, *arguments))


def test_event_bridge_is_turned_on_and_off_unless_others_use_it(running: Pipeline) -> None:
    name, bucket = "bridged", "bridged-site"
    s3, events = running.emulator.client("s3"), running.emulator.client("events")
    s3.create_bucket(Bucket=bucket)

    def is_on() -> bool:
        return "EventBridgeConfiguration" in s3.get_bucket_notification_configuration(Bucket=bucket)

    parameters = {"EventSource": "EventBridge", "EventBridgeBuckets": bucket}
    with deployed(running, name, parameters):
        assert change(running, "connect", bucket, name)["changes"] == ["+ notification: all events to EventBridge"]
        assert is_on()
        change(running, "disconnect", bucket, name)
        assert not is_on()
        # What somebody else has turned on stays on.
        s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
        assert change(running, "connect", bucket, name)["outcome"] == "nothing"
        assert change(running, "disconnect", bucket, name)["outcome"] == "nothing"
        assert is_on()
        # And what somebody else has come to use.
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
        change(running, "connect", bucket, name)
        pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [{"prefix": "bridged-"}]}}}
        events.put_rule(Name="others", EventPattern=json.dumps(pattern))
        try:
            change(running, "disconnect", bucket, name)
            assert is_on()
        finally:
            events.delete_rule(Name="others")
        refused = command_line.call(running.emulator, "connect", sample_site.SITE, "--stack", name, "--yes")
        assert refused.returncode == 1
        assert f'"ParameterValue":"{bucket},{sample_site.SITE}"' in refused.stderr


def test_s3_may_invoke_the_function_for_a_connected_bucket_only(running: Pipeline) -> None:
    name, bucket = "narrow", "wide.site"
    running.emulator.client("s3").create_bucket(Bucket=bucket)
    with deployed(running, name, {"S3Buckets": "narrow-*"}) as narrow:

        def statements() -> dict[str, dict]:
            function = narrow.outputs["FunctionName"]
            policy = json.loads(running.emulator.client("lambda").get_policy(FunctionName=function)["Policy"])
            return {it["Sid"]: it for it in policy["Statement"]}

        before = statements()
        change(running, "connect", bucket, name)
        (added,) = statements().keys() - before.keys()
        assert added == "invalidatorctl-connect-wide_site"
        assert f"arn:aws:s3:::{bucket}" in json.dumps(statements()[added])
        change(running, "disconnect", bucket, name)
        assert statements() == before
