"""`invalidatorctl check`: a healthy stack has no findings, and each planted fault is found."""

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import command_line
import iam_gaps
import sample_site
import stack
from cloudfront import CloudFront
from emulator import REGION, Emulator
from pipeline import TEMPLATE, Pipeline
from waiting import wait_until

NAME = "checked"
SITE = "checked-site"
# With a dot, as names of old have it.
OTHER = "checked.other"


@dataclass
class Checked:
    """A stack of its own, with a bucket, and a distribution in a CloudFront of its own."""

    emulator: Emulator
    cloudfront: CloudFront
    stack: stack.Stack

    def check(self, *arguments: str) -> tuple[int, dict]:
        """What it found."""
        done = command_line.call(
            self.emulator,
            "check",
            "--stack",
            NAME,
            "--output",
            "json",
            *arguments,
            others=self.cloudfront.environment,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def checked(running: Pipeline) -> Iterator[Checked]:
    """The stack, healthy."""
    emulator = running.emulator
    parameters = {"AdminEmail": "ada@example.org", "DebounceSeconds": "10"}
    deployed = stack.create(emulator, stack.packaged(TEMPLATE), parameters, NAME)
    iam_gaps.bridge(emulator, deployed.resources["FunctionRole"])
    # The emulator leaves it out of a stack.
    sqs = emulator.client("sqs")
    failed = sqs.get_queue_attributes(QueueUrl=deployed.outputs["FailedEventsQueueUrl"], AttributeNames=["QueueArn"])
    emulator.client("lambda").put_function_event_invoke_config(
        FunctionName=deployed.outputs["FunctionName"],
        MaximumRetryAttempts=2,
        DestinationConfig={"OnFailure": {"Destination": failed["Attributes"]["QueueArn"]}},
    )
    emulator.client("s3").create_bucket(Bucket=SITE)
    sample_site.connect(emulator, SITE, deployed.outputs["FunctionArn"])
    with CloudFront() as cloudfront:
        cloudfront.add(distribution())
        yield Checked(emulator, cloudfront, deployed)
    emulator.client("cloudformation").delete_stack(StackName=NAME)


def distribution(**settings: object) -> dict:
    """One that serves the bucket."""
    return {
        "Id": "E1CHECKED",
        "Enabled": True,
        "Origins": items([origin("bucket", SITE)]),
        "DefaultCacheBehavior": behavior("bucket"),
        **settings,
    }


def origin(name: str, bucket: str) -> dict:
    """A bucket as an origin."""
    return {"Id": name, "DomainName": f"{bucket}.s3.{REGION}.amazonaws.com", "OriginPath": ""}


def behavior(target: str, **settings: object) -> dict:
    """One that caches."""
    return {"TargetOriginId": target, "CachePolicyId": sample_site.CACHING_OPTIMIZED, **settings}


def items(values: list) -> dict:
    """As CloudFront writes lists."""
    return {"Quantity": len(values), "Items": values}


def test_a_healthy_stack_has_no_findings(checked: Checked) -> None:
    status, report = checked.check("--only", SITE)
    # The emulator's alarms look at no dimensions: this one counts the errors of the functions of all tests.
    found = [it for it in report["findings"] if "FunctionErrors" not in it["what"]]
    assert found == [], json.dumps(found, indent=2)
    assert (status, report["v"]) == (1 if report["findings"] else 0, 1)
    assert {it["subject"] for it in report["well"]} >= {
        "the stack",
        "the function",
        "the function's role",
        "the queues",
        "mails and alarms",
        f"bucket {SITE}",
        "distribution E1CHECKED (de1checked.cloudfront.net)",
    }


# Each fault with the rule that finds it. All are planted at once, so that none hides another.
def plant(checked: Checked) -> dict[str, str]:
    """Plant them. Returns the subjects by rule."""
    outputs, resources = checked.stack.outputs, checked.stack.resources
    client = checked.emulator.client
    s3, sqs, function = client("s3"), client("sqs"), {"FunctionName": outputs["FunctionName"]}

    # Buckets: one that is not connected, one that sends a part, one that sends only some keys, one without need.
    for bucket in (OTHER, "partly-site", "filtered-site", "unserved-site"):
        s3.create_bucket(Bucket=bucket)
    rule = {"Id": "invalidator", "LambdaFunctionArn": outputs["FunctionArn"]}
    created = rule | {"Events": ["s3:ObjectCreated:*"]}
    filtered = rule | {
        "Events": sample_site.EVENTS,
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "docs/"}]}},
    }
    for bucket, configuration in (("partly-site", created), ("filtered-site", filtered)):
        s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"LambdaFunctionConfigurations": [configuration]}
        )
    sample_site.connect(checked.emulator, "unserved-site", outputs["FunctionArn"])
    tags = {"exceptionpaths": "tmp", "exceptionPaths": "nothing-there", "invalidate": "changed"}
    tags = [{"Key": key, "Value": value} for key, value in tags.items()]
    s3.put_bucket_tagging(Bucket=SITE, Tagging={"TagSet": tags})

    # The function, its role and its queues.
    deny = {"Effect": "Deny", "Action": "cloudfront:CreateInvalidation", "Resource": "*"}
    client("iam").put_role_policy(
        RoleName=resources["FunctionRole"],
        PolicyName="fault",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [deny]}),
    )
    client("lambda").update_function_configuration(**function, Timeout=30, MemorySize=128)
    client("lambda").delete_function_event_invoke_config(**function)
    client("lambda").update_event_source_mapping(UUID=outputs["SubmitMappingId"], Enabled=False)
    for queue, attributes in {
        "BufferQueueUrl": {"RedrivePolicy": ""},
        "TickQueueUrl": {"DelaySeconds": "0"},
        "SubmitQueueUrl": {"VisibilityTimeout": "20"},
        "FailedEventsQueueUrl": {"MessageRetentionPeriod": "86400"},
    }.items():
        sqs.set_queue_attributes(QueueUrl=outputs[queue], Attributes=attributes)
    sqs.send_message(QueueUrl=outputs["FailedEventsQueueUrl"], MessageBody="{}")

    # What waits for a person, and who would hear of it.
    error_bucket = outputs["ErrorBucketName"]
    s3.put_object(Bucket=error_bucket, Key="invalidation_error/1_E1.txt", Body=b"paths")
    command_line.run(checked.emulator, "mode", "dry-run", "--stack", NAME, "--yes")
    sns = client("sns")
    for subscription in sns.list_subscriptions_by_topic(TopicArn=outputs["AlertTopicArn"])["Subscriptions"]:
        sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    client("cloudwatch").set_alarm_state(
        AlarmName=resources["PathsRejected"], StateValue="ALARM", StateReason="a fault"
    )

    # CloudFront.
    checked.cloudfront.add(*faulty_distributions())
    checked.cloudfront.add_earlier("E1CHECKED", "cli-1732154584-123456", "/*")
    www, other, stack_ = "distribution E1CHECKED (www.example.org)", f"bucket {OTHER}", "the stack"
    return {
        "bucket-not-connected": other,
        "events-missing": "bucket partly-site",
        "lifecycle-events-missing": "bucket partly-site",
        "filter-hides-keys": "bucket filtered-site",
        "served-by-none": "bucket unserved-site",
        "tag-ineffective": f"bucket {SITE}",
        "exception-path-empty": f"bucket {SITE}",
        "nothing-is-skipped": f"bucket {SITE}",
        "not-permitted": "the function's role",
        "function-timeout": "the function",
        "function-memory": "the function",
        "failed-events-lost": "the function",
        "mapping-disabled": "the function",
        "redrive": "the queues",
        "tick-delay": "the queues",
        "visibility-timeout": "the queues",
        "retention": "the queues",
        "dead-letters": "the queues",
        "rejected-paths": stack_,
        "not-live": stack_,
        "samconfig-differs": stack_,
        "no-subscription": "mails and alarms",
        "alarm-on": "mails and alarms",
        "never-cached": www,
        "query-strings": www,
        "function-may-rewrite": www,
        "error-cached-long": www,
        "error-page-clears-all": www,
        "another-tool": www,
        "failover-on-missing": "distribution E2GROUP (de2group.cloudfront.net)",
        "directory-bucket": "distribution E3ODD (de3odd.cloudfront.net)",
        "access-point-unknown": "distribution E3ODD (de3odd.cloudfront.net)",
        "not-our-bucket": "bucket somebody-elses",
        "no-tenants": "distribution E4TENANTS (-)",
    }


def faulty_distributions() -> list[dict]:
    """The distribution of the bucket with all that costs, and three odd ones."""
    rewrite = {"FunctionARN": "arn:aws:cloudfront::123456789012:function/rewrite", "EventType": "viewer-request"}
    legacy = {"TargetOriginId": "bucket", "ForwardedValues": {"QueryString": True}, "MinTTL": 0, "MaxTTL": 60}
    www = distribution(
        Aliases=items(["www.example.org"]),
        DefaultCacheBehavior=behavior("bucket", FunctionAssociations=items([rewrite])),
        CacheBehaviors=items(
            [
                behavior("bucket", PathPattern="/api/*", CachePolicyId=sample_site.CACHING_DISABLED),
                legacy | {"PathPattern": "/img/*"},
            ]
        ),
        CustomErrorResponses=items([{"ErrorCode": 404, "ResponsePagePath": "/index.html", "ErrorCachingMinTTL": 300}]),
    )
    members = items([{"OriginId": "first"}, {"OriginId": "second"}])
    group = distribution(
        Id="E2GROUP",
        Origins=items([origin("first", "filtered-site"), origin("second", OTHER), origin("third", "partly-site")]),
        OriginGroups=items([{"Id": "both", "Members": members}]),
        DefaultCacheBehavior=behavior("both"),
        CacheBehaviors=items([behavior("third", PathPattern="/partly/*")]),
    )
    odd = [
        origin("express", "fast--use1-az4--x-s3")
        | {"DomainName": f"fast--use1-az4--x-s3.s3express-use1-az4.{REGION}.amazonaws.com"},
        origin("point", "ap-abc-s3alias"),
        origin("gone", "somebody-elses"),
    ]
    strange = distribution(Id="E3ODD", Origins=items(odd), DefaultCacheBehavior=behavior("gone"))
    tenants = distribution(Id="E4TENANTS", ConnectionMode="tenant-only")
    return [www, group, strange, tenants]


def test_each_planted_fault_is_found(checked: Checked) -> None:
    planted = plant(checked)
    samconfig = checked.emulator.folder / "samconfig.toml"
    samconfig.write_text(
        f'[default.deploy.parameters]\nstack_name = "{NAME}"\nparameter_overrides = "DebounceSeconds=30"\n'
    )
    status, report = checked.check()
    found = {(it["rule"], it["subject"]) for it in report["findings"]}
    missed = {pair for pair in planted.items() if pair not in found}
    assert not missed, json.dumps(report["findings"], indent=2)
    assert status == 1
    assert report["problems"] + report["warnings"] + report["notes"] == len(report["findings"])
    for finding in report["findings"]:
        assert finding["what"], finding
        assert finding["why"], finding
        assert finding["fix"] or finding["severity"] == "note" or finding["rule"] in WITHOUT_COMMAND, finding
        # It is pasted elsewhere, where another stack may have the same name.
        for fix in finding["fix"]:
            commands = [part.split()[0] for part in fix.split("&&")]
            assert " --region " in fix or not {"aws", "sam", "invalidatorctl"} & set(commands), finding
            own = fix.startswith("invalidatorctl") and not fix.startswith("invalidatorctl bill")
            assert f" --stack {NAME}" in fix or not own, finding


# What no command fixes.
WITHOUT_COMMAND = {"not-our-bucket"}


def test_a_probe_shows_how_long_an_invalidation_takes(running: Pipeline) -> None:
    arguments = ("check", "--stack", stack.NAME, "--probe", sample_site.SITE, "--yes", "--output", "json")
    done = command_line.call(running.emulator, *arguments, others=running.cloudfront.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert (report["v"], report["outcome"]) == (1, "complete")
    assert [it["step"] for it in report["steps"]] == ["uploaded", "accepted", "complete", "deleted"]
    assert f"/{report['key']}" in running.invalidated_paths("www")
    assert not probes(running)


def test_what_changes_something_asks_on_a_terminal_and_does_nothing_without_a_yes(running: Pipeline) -> None:
    site, of_stack = sample_site.SITE, ("--stack", stack.NAME)
    s3 = running.emulator.client("s3")
    before = s3.get_bucket_tagging(Bucket=site)["TagSet"]
    for arguments, question in [
        (("check", *of_stack, "--probe", site), "probe it? [y/N]"),
        (("connect", site, *of_stack, "--exception-paths", "asked"), f"connect {site}? [y/N]"),
        (("disconnect", site, *of_stack), f"disconnect {site}? [y/N]"),
    ]:
        status, seen = command_line.answer(
            running.emulator, *arguments, question=question, reply="n\n", others=running.cloudfront.environment
        )
        assert status == 1, seen
        assert seen.startswith("account 000000000000"), seen
    assert not probes(running)
    assert s3.get_bucket_tagging(Bucket=site)["TagSet"] == before


def test_a_probe_finds_a_folder_that_is_served(running: Pipeline) -> None:
    running.emulator.client("s3").create_bucket(Bucket="folder-site")
    folder = distribution(Id="E5FOLDER", Origins=items([origin("bucket", "folder-site") | {"OriginPath": "/web"}]))
    arguments = ("check", "--stack", stack.NAME, "--probe", "folder-site", "--timeout", "1", "--yes")
    with CloudFront() as cloudfront:
        cloudfront.add(folder)
        done = command_line.call(running.emulator, *arguments, others=cloudfront.environment)
    # The bucket is not connected.
    assert done.returncode == 1
    assert "uploads s3://folder-site/web/.invalidator-probe/" in done.stderr
    assert "no complete invalidation was seen within 1 s" in done.stderr
    left = running.emulator.client("s3").list_objects_v2(Bucket="folder-site")
    assert not left.get("Contents")


def test_a_probe_that_is_interrupted_deletes_its_object(running: Pipeline) -> None:
    # Nothing is accepted, so it waits.
    running.cloudfront.fail("ServiceUnavailable", "CreateInvalidation")
    try:
        arguments = ["check", "--stack", stack.NAME, "--probe", sample_site.SITE, "--yes"]
        waiting = command_line.start(running.emulator, *arguments, others=running.cloudfront.environment)
        assert wait_until(lambda: probes(running), 30)
        waiting.send_signal(signal.SIGINT)
        output, told = waiting.communicate(timeout=30)
    finally:
        running.cloudfront.heal()
    assert waiting.returncode == 1
    assert "interrupted" in told
    assert "deleted the object" in output
    assert not probes(running)


def test_a_probe_leaves_an_object_of_somebody_else_alone(running: Pipeline) -> None:
    arguments = ("check", "--stack", stack.NAME, "--probe", sample_site.SITE, "--probe-key", "index.html", "--yes")
    done = command_line.call(running.emulator, *arguments, others=running.cloudfront.environment)
    assert done.returncode == 1
    assert "already: name another key" in done.stderr
    s3 = running.emulator.client("s3")
    assert s3.get_object(Bucket=sample_site.SITE, Key="index.html")["Body"].read() == b"after"


def probes(running: Pipeline) -> list[str]:
    """What probes have left in the bucket."""
    s3 = running.emulator.client("s3")
    listed = s3.list_objects_v2(Bucket=sample_site.SITE, Prefix=".invalidator-probe/")
    return [it["Key"] for it in listed.get("Contents", [])]
