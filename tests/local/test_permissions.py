"""Least privilege: compares the function's policy, rendered from the template, with the calls it makes."""

import itertools
import json
from collections.abc import Iterator

import pytest

import command_line
import observe
import policy
import sample_site
import stack
import template
from calls import ACCOUNT, DISTRIBUTION, TENANT, Call, of_cloudfront
from emulator import REGION
from intrinsics import PSEUDO_PARAMETERS, Scope
from pipeline import PATIENCE_SECONDS, TEMPLATE, Pipeline
from recorder import Recorder
from waiting import wait_until

# Conditions that hold for the function's calls, and would not for others.
CONTEXT = {"aws:ResourceAccount": ACCOUNT, "kms:ViaService": f"sns.{REGION}.amazonaws.com"}

# A bucket that opted in to looking before paying, its distribution, and where the function keeps what it trusts.
OPTED_IN, TRUSTED, LEDGER = "opted-in-site", "E5TRUSTED", "state/ledger/ledger.json"

# A key for the alert topic, which a stack may be given.
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1a2b3c4d-0000-1111-2222-333344445555"

# Calls that AWS makes with the function's role, which are not in its code. Sources: Lambda Developer Guide, "Using
# Lambda with Amazon SQS" (permissions), "Retaining records" (destinations) and "Sending logs".
BY_AWS = {
    "sqs:ReceiveMessage": ["TickQueue", "SubmitQueue"],
    "sqs:DeleteMessage": ["TickQueue", "SubmitQueue"],
    "sqs:GetQueueAttributes": ["TickQueue", "SubmitQueue"],
    "sqs:SendMessage": ["FailedEventsQueue"],
    "logs:CreateLogStream": ["FunctionLogs"],
    "logs:PutLogEvents": ["FunctionLogs"],
}


@pytest.fixture(scope="module")
def recorded(running: Pipeline, recorder: Recorder) -> set[Call]:
    """All calls of the function: the sample site's, and the rare ones, provoked here."""
    try:
        provoke_rare_calls(running, recorder)
    finally:
        # Else the tests that follow would wait for a CloudFront that never answers.
        running.cloudfront.heal()
    # Other tests have stacks of their own.
    others = (
        ":by-eventbridge-",
        ":by-queue-",
        ":sequence-",
        ":alarms-",
        ":strict-",
        ":owned-",
        ":outputs-",
        ":limited-",
    )
    return {call for call in called(running, recorder) if not any(name in call.resource for name in others)}


def provoke_rare_calls(running: Pipeline, recorder: Recorder) -> None:
    """Let CloudFront refuse, hide its list, and hide a distribution, one after another."""
    www, cloudfront = running.site.distributions["www"], running.cloudfront
    serve_with_custom_policy(running)
    serve_by_tenant(running)
    look_before_paying(running)
    # Refused for good: a file and a mail.
    cloudfront.fail("AccessDenied", "CreateInvalidation", www)
    put(running, "refused-once.html")
    assert running.wait(lambda: has_called(running, recorder, "sns:Publish"))
    cloudfront.heal()
    # A name that needs a wildcard: its ration is noted for the other environments.
    rations = f"arn:aws:s3:::{running.stack.outputs['ErrorBucketName']}/state/rations.json"
    put(running, "~rationed.html")
    assert running.wait(lambda: Call("s3:PutObject", rations) in called(running, recorder))
    # A pause: what it holds back is written. The tick of a flush that is killed would come back for five minutes, and
    # whoever waits below would wait for that.
    assert running.wait(running.idle)
    paused = [f"{sample_site.SITE}/paused-once", "--stack", stack.NAME, "--yes"]
    command_line.run(running.emulator, "pause", *paused, others=cloudfront.environment)
    running.restart_function()
    put(running, "paused-once.html")
    held = f"arn:aws:s3:::{running.stack.outputs['ErrorBucketName']}/state/held/"
    assert running.wait(lambda: any(call.resource.startswith(held) for call in called(running, recorder)))
    command_line.run(running.emulator, "resume", *paused, others=cloudfront.environment)
    # Somebody waits: what the fence has met is written.
    waited = ["wait", "--stack", stack.NAME, "--bucket", sample_site.SITE, "--since", "2100-01-01T00:00:00Z"]
    command_line.run(running.emulator, *waited)
    # Distributions that cannot be listed: ticks come back later, and so do sets, wherever they wait.
    assert running.wait(running.idle)
    cloudfront.fail("AccessDenied", "ListDistributions")
    running.restart_function()
    put(running, "unlisted.html")
    enqueue(running, "SubmitQueueUrl", {"v": 1, "distribution": www, "paths": ["/by-hand.html"]})
    for queue in ("TickQueue", "SubmitQueue"):
        hidden = Call("sqs:ChangeMessageVisibility", arn(running, queue))
        assert running.wait(lambda hidden=hidden: hidden in recorder.calls), queue
    cloudfront.heal()
    # One distribution that cannot be read: its changes go back into the buffer.
    cloudfront.fail("AccessDenied", "GetDistributionConfig", www)
    running.forget_root_objects()
    running.restart_function()
    put(running, "unread.html")
    buffer = arn(running, "BufferQueue")
    recorder.calls.discard(Call("sqs:SendMessage", buffer))
    assert running.wait(lambda: Call("sqs:SendMessage", buffer) in recorder.calls)
    cloudfront.heal()
    for_tenant = "cloudfront:CreateInvalidationForDistributionTenant"
    tenant_served = running.wait(lambda: has_called(running, recorder, for_tenant))
    assert tenant_served, "\n".join(line[:600] for line in running.complaints()[-6:])
    # Waiting messages come back within minutes; the test does not wait for that.
    forget_what_waits(running)


def forget_what_waits(running: Pipeline) -> None:
    """Empty the queues, and wait until the function works as usual again.

    The function is killed first: a flush that has met errors puts messages back. An ingest that is killed with it is
    invoked again, but its tick may have been sent and purged, and SQS drops a second one of the same window. So later
    changes are made until one of them is done: their ticks bring the killed one's change along.
    """
    running.restart_function()
    for queue in ("BufferQueueUrl", "TickQueueUrl", "SubmitQueueUrl"):
        running.emulator.client("sqs").purge_queue(QueueUrl=running.stack.outputs[queue])
    later = (f"later-{number}.html" for number in itertools.count())

    def one_is_done() -> bool:
        done = any(path.startswith("/later-") for path in running.invalidated_paths("www"))
        if not done:
            put(running, next(later))
        return done

    assert wait_until(one_is_done, running.debounce_seconds + PATIENCE_SECONDS, interval=running.debounce_seconds)


@pytest.fixture(scope="module")
def granted(running: Pipeline) -> list[policy.Grant]:
    """The policy, as CloudFormation renders it from the template."""
    return rendered(running, running.stack)


def test_every_call_is_allowed(recorded: set[Call], granted: list[policy.Grant]) -> None:
    denied = [call for call in recorded if not any(grant.allows(call, CONTEXT) for grant in granted)]
    assert not denied


def test_every_allowed_action_is_used_on_every_resource(
    running: Pipeline, recorded: set[Call], granted: list[policy.Grant]
) -> None:
    used = recorded | by_aws(running)
    unused = [grant for grant in granted if not any(grant.allows(call, CONTEXT) for call in used)]
    assert not unused


@pytest.mark.parametrize(
    "call",
    [
        Call("cloudfront:CreateInvalidation", "arn:aws:cloudfront::111111111111:distribution/E1"),
        Call("cloudfront:DeleteDistribution", f"arn:aws:cloudfront::{ACCOUNT}:distribution/E1"),
        Call("s3:GetObject", "arn:aws:s3:::sample-site/index.html"),
        Call("s3:GetObjectVersion", "arn:aws:s3:::another-site/index.html"),
        Call("s3:PutObject", "arn:aws:s3:::sample-site/index.html"),
        Call("s3:PutBucketTagging", "arn:aws:s3:::sample-site"),
        Call("sqs:SendMessage", f"arn:aws:sqs:{REGION}:{ACCOUNT}:another"),
        Call("sqs:PurgeQueue", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{stack.NAME}-BufferQueue"),
        Call("sns:Publish", f"arn:aws:sns:{REGION}:{ACCOUNT}:another"),
        Call("iam:PassRole", "*"),
    ],
    ids=str,
)
def test_what_it_does_not_need_is_denied(call: Call, granted: list[policy.Grant]) -> None:
    assert not any(grant.allows(call, CONTEXT) for grant in granted)


def test_tags_of_other_accounts_buckets_are_denied(granted: list[policy.Grant]) -> None:
    call = Call("s3:GetBucketTagging", "arn:aws:s3:::of-somebody-else")
    assert not any(grant.allows(call, CONTEXT | {"aws:ResourceAccount": "111111111111"}) for grant in granted)


def test_permissions_follow_the_list_of_distributions(running: Pipeline) -> None:
    parameters = {
        "DistributionIds": "E1LISTED,E2LISTED,dt_1",
        "AlertKeyArn": KEY,
        "LookBeforePaying": "false",
        "CompareBuckets": "site-a,site-b",
    }
    limited = stack.create(running.emulator, stack.packaged(TEMPLATE), parameters, "limited")
    granted = rendered(running, limited)
    expected = {
        Call("cloudfront:CreateInvalidation", DISTRIBUTION + "E1LISTED"): True,
        Call("cloudfront:CreateInvalidation", DISTRIBUTION + "E2LISTED"): True,
        Call("cloudfront:CreateInvalidation", DISTRIBUTION + "E3OTHER"): False,
        Call("cloudfront:GetDistributionConfig", DISTRIBUTION + "E3OTHER"): False,
        Call("cloudfront:CreateInvalidationForDistributionTenant", TENANT + "dt_1"): True,
        Call("cloudfront:CreateInvalidationForDistributionTenant", TENANT + "dt_2"): False,
        Call("cloudfront:GetDistributionTenant", TENANT + "dt_2"): False,
        Call("cloudfront:ListInvalidations", DISTRIBUTION + "E1LISTED"): True,
        Call("cloudfront:ListInvalidations", DISTRIBUTION + "E3OTHER"): False,
        Call("s3:ListBucketVersions", "arn:aws:s3:::site-a"): False,
        Call("s3:GetObjectVersion", "arn:aws:s3:::site-a/index.html"): True,
        Call("s3:GetObjectVersionTagging", "arn:aws:s3:::site-b/index.html"): True,
        Call("s3:GetObjectVersion", "arn:aws:s3:::site-c/index.html"): False,
        Call("s3:GetObject", "arn:aws:s3:::site-a/index.html"): False,
        Call("kms:Decrypt", KEY): True,
        Call("kms:Decrypt", KEY[:-1]): False,
    }
    assert {call: any(grant.allows(call, CONTEXT) for grant in granted) for call in expected} == expected


def test_the_canary_may_do_what_it_does(running: Pipeline, recorder: Recorder) -> None:
    canary = template.load(TEMPLATE.parent / "canary.yaml")
    (role,) = canary["Resources"]["CanaryRole"]["Properties"]["Policies"]
    outputs = running.stack.outputs
    settings = {"Stack": stack.NAME, "Buckets": sample_site.SITE}
    settings |= {name: outputs[name] for name in ("FunctionName", "ErrorBucketName", "AlertTopicArn")}
    scope = Scope(canary, settings, PSEUDO_PARAMETERS | {"AWS::AccountId": ACCOUNT, "AWS::Region": REGION})
    granted = policy.grants(scope.resolve(role["PolicyDocument"]))
    assert running.wait(running.idle)
    before, listed = set(recorder.calls), len(running.cloudfront.calls())
    recorder.calls.clear()
    others = recorder.environment | running.cloudfront.environment
    # No edge answers here, but all that it asks AWS for comes before.
    arguments = ["--bucket", sample_site.SITE, "--stack", stack.NAME, "--since", "1d", "--edge", "http://127.0.0.1:1"]
    command_line.call(running.emulator, "verify", *arguments, others=others)
    done = recorder.calls | {of_cloudfront(call) for call in running.cloudfront.calls()[listed:]}
    recorder.calls |= before
    assert {call.action for call in done} >= {"s3:ListBucket", "s3:GetObject", "cloudfront:ListDistributions"}
    assert not [call for call in done if not any(grant.allows(call, CONTEXT) for grant in granted)]


def rendered(running: Pipeline, deployed: stack.Stack) -> list[policy.Grant]:
    """The policy of a stack's function."""
    iam = running.emulator.client("iam")
    answer = iam.get_role_policy(RoleName=deployed.resources["FunctionRole"], PolicyName="invalidator")
    document = answer["PolicyDocument"]
    return policy.grants(document if isinstance(document, dict) else json.loads(document))


def by_aws(running: Pipeline) -> set[Call]:
    """The calls that AWS makes with the role, on this stack's resources."""
    return {
        Call(action, "*" if resource == "*" else arn(running, resource))
        for action, resources in BY_AWS.items()
        for resource in resources
    }


def arn(running: Pipeline, logical_id: str) -> str:
    """The ARN of a resource of the stack."""
    its_id = running.stack.resources[logical_id]
    if logical_id.endswith("Queue"):
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{its_id.rsplit('/', 1)[-1]}"
    if logical_id == "FunctionLogs":
        return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{its_id}:log-stream:any"
    raise AssertionError(logical_id)


def called(running: Pipeline, recorder: Recorder) -> set[Call]:
    """All that the function has called."""
    return recorder.calls | {of_cloudfront(call) for call in running.cloudfront.calls()}


def has_called(running: Pipeline, recorder: Recorder, action: str) -> bool:
    """Whether the function has done this."""
    return any(call.action == action for call in called(running, recorder))


def put(running: Pipeline, key: str, bucket: str = sample_site.SITE) -> None:
    """Change an object of the site."""
    running.emulator.client("s3").put_object(Bucket=bucket, Key=key, Body=b"changed")


def enqueue(running: Pipeline, queue: str, message: dict) -> None:
    """Put a set of paths into a queue."""
    body = json.dumps(message)
    running.emulator.client("sqs").send_message(
        QueueUrl=running.stack.outputs[queue], MessageBody=body, MessageGroupId="test", MessageDeduplicationId=body[:80]
    )


def look_before_paying(running: Pipeline) -> None:
    """Let a bucket opt in, and its distribution be trusted: then the function looks at versions, and skips an upload.

    It also counts what others have ordered.
    """
    assert running.wait(running.idle)
    s3 = running.emulator.client("s3")
    s3.create_bucket(Bucket=OPTED_IN, ObjectOwnership="BucketOwnerEnforced")
    s3.put_bucket_versioning(Bucket=OPTED_IN, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_tagging(Bucket=OPTED_IN, Tagging={"TagSet": [{"Key": "invalidate", "Value": "changed"}]})
    # Errors that outlive an invalidation would be a reason not to skip.
    errors = [{"ErrorCode": code, "ErrorCachingMinTTL": 1} for code in (403, 404, 500, 501, 502, 503, 504)]
    running.cloudfront.add(
        {
            "Id": TRUSTED,
            "Enabled": True,
            "Origins": sample_site.items([sample_site.origin("bucket", f"{OPTED_IN}.s3.amazonaws.com")]),
            "DefaultCacheBehavior": sample_site.behavior("bucket", CachePolicyId=sample_site.CACHING_OPTIMIZED),
            "CustomErrorResponses": sample_site.items(errors),
        }
    )
    running.cloudfront.add_earlier(TRUSTED, "release 7", "/a", "/b")
    sample_site.connect(running.emulator, OPTED_IN, running.stack.outputs["FunctionArn"])
    running.restart_function()
    put(running, "first.html", OPTED_IN)
    assert running.wait(lambda: ledger(running).get("targets", {}).get(TRUSTED))
    # It is asked for trust when all was calm for ten minutes.
    assert running.wait(running.idle)
    put_ledger_back(running, seconds=700)
    running.restart_function()
    put(running, "second.html", OPTED_IN)
    assert running.wait(lambda: "trusted" in ledger(running)["targets"][TRUSTED])
    put(running, "third.html", OPTED_IN)
    assert running.wait(lambda: "the first upload of this key" in str(list(running_lines(running))))
    assert running.wait(running.idle)
    accepted = [path for it in running.cloudfront.invalidations(TRUSTED) for path in it.paths]
    assert "/*" in accepted
    assert "/third.html" not in accepted


def ledger(running: Pipeline) -> dict:
    """The ledger."""
    s3 = running.emulator.client("s3")
    try:
        answer = s3.get_object(Bucket=running.stack.outputs["ErrorBucketName"], Key=LEDGER)
    except s3.exceptions.NoSuchKey:
        return {}
    return json.load(answer["Body"])


def put_ledger_back(running: Pipeline, seconds: int) -> None:
    """Let what the ledger says of the opted-in bucket's distribution be so old, and nothing of others be counted."""
    changed = ledger(running)
    changed["targets"][TRUSTED]["lost"]["since"] -= seconds
    changed["others_until"] = {}
    running.emulator.client("s3").put_object(
        Bucket=running.stack.outputs["ErrorBucketName"], Key=LEDGER, Body=json.dumps(changed)
    )


def running_lines(running: Pipeline) -> Iterator[dict]:
    """The function's log, which the emulator collects with the next invocation."""
    running.invoke_with_test_event()
    return observe.log_lines(running.emulator, running.stack.outputs["LogGroupName"])


def serve_with_custom_policy(running: Pipeline) -> None:
    """A distribution with a cache policy of the account's own."""
    settings = {"Name": "own", "MinTTL": 0, "DefaultTTL": 60, "MaxTTL": 3600}
    running.cloudfront.add(
        {
            "Id": "E3OWNPOLICY",
            "Enabled": True,
            "Origins": sample_site.items(
                [sample_site.origin("bucket", f"{sample_site.SITE}.s3.amazonaws.com", "/own")]
            ),
            "DefaultCacheBehavior": sample_site.behavior("bucket", CachePolicyId="own"),
        },
        policies=({"Id": "own", "CachePolicyConfig": settings},),
    )


def serve_by_tenant(running: Pipeline) -> None:
    """A multi-tenant distribution, with a tenant who fills its placeholder with the whole bucket."""
    running.cloudfront.add(
        {
            "Id": "E4TENANTS",
            "Enabled": True,
            "ConnectionMode": "tenant-only",
            "Origins": sample_site.items([sample_site.origin("bucket", "{{site}}.s3.amazonaws.com")]),
            "DefaultCacheBehavior": sample_site.behavior("bucket", CachePolicyId=sample_site.CACHING_OPTIMIZED),
        },
        tenants=(
            {
                "Id": "dt_acme",
                "DistributionId": "E4TENANTS",
                "Enabled": True,
                "Parameters": [{"Name": "site", "Value": sample_site.SITE}],
            },
        ),
    )
