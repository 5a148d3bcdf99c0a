"""Rules of template.yaml that no linter knows."""

import itertools
import json
import re
from pathlib import Path

import cfnlint
import pytest
from samcli.yamlhelper import yaml_dump, yaml_parse

import docs
import template
from intrinsics import Scope

ROOT = template.TEMPLATE.parent
TEXT = template.TEMPLATE.read_text()
WHOLE = template.load()
RESOURCES = WHOLE["Resources"]
OPERATE = (ROOT / "docs/operate.md").read_text()
TAG = {"Key": "invalidator", "Value": {"Ref": "AWS::StackName"}}


def of_type(kind: str) -> dict[str, dict]:
    """The resources of a type, by logical id."""
    return {name: resource for name, resource in RESOURCES.items() if resource["Type"] == kind}


QUEUES = of_type("AWS::SQS::Queue")
ALARMS = of_type("AWS::CloudWatch::Alarm")
WORK_QUEUES = ["IntakeQueue", "BufferQueue", "TickQueue", "SubmitQueue"]
DEAD_LETTER_QUEUES = [name for name in QUEUES if name not in WORK_QUEUES]
CONFIG = (ROOT / "src/config.rs").read_text()
SIMULATION = (ROOT / "tests/simulation/lambda.rs").read_text()
RETRY = (ROOT / "core/src/retry.rs").read_text()


def each(names) -> pytest.MarkDecorator:
    """A test for each of them."""
    return pytest.mark.parametrize("name", sorted(names))


def is_taggable(kind: str) -> bool:
    """Whether CloudFormation tags resources of a type, by the schemas that cfn-lint brings."""
    schemas = Path(cfnlint.__file__).parent / "data/schemas"
    digest = json.loads((schemas / "providers/us-east-1.json").read_text()).get(kind)
    schema = json.loads((schemas / f"resources/{digest}.json").read_text()) if digest else {}
    return schema.get("tagging", {}).get("taggable", False)


@each(name for name, resource in RESOURCES.items() if is_taggable(resource["Type"]))
def test_what_can_be_tagged_has_the_tag(name: str) -> None:
    assert TAG in RESOURCES[name]["Properties"]["Tags"]


def test_the_function_and_what_sam_makes_of_it_has_the_tag() -> None:
    function = RESOURCES["Function"]["Properties"]
    assert function["Tags"] == {"invalidator": {"Ref": "AWS::StackName"}}
    assert function["PropagateTags"] is True


def denies_http(policy: dict) -> bool:
    """Whether a resource's policy denies calls without TLS to everybody."""
    return any(
        statement.get("Effect") == "Deny"
        and statement["Principal"] == "*"
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    )


def test_every_queue_bucket_and_topic_takes_calls_with_tls_only() -> None:
    policies = {
        "AWS::SQS::Queue": ("AWS::SQS::QueuePolicy", lambda p: p["Queues"]),
        "AWS::S3::Bucket": ("AWS::S3::BucketPolicy", lambda p: [p["Bucket"]]),
        "AWS::SNS::Topic": ("AWS::SNS::TopicPolicy", lambda p: p["Topics"]),
    }
    for kind, (policy_kind, targets) in policies.items():
        covered = [
            target["Ref"]
            for policy in of_type(policy_kind).values()
            if denies_http(policy)
            for target in targets(policy["Properties"])
        ]
        assert sorted(covered) == sorted(of_type(kind))


def test_a_policy_of_several_queues_names_none_of_them() -> None:
    # SQS: "Policy statement must apply to a single resource", which "*" is in a queue's own policy.
    for policy in of_type("AWS::SQS::QueuePolicy").values():
        first, *others = policy["Properties"]["Queues"]
        own = "*" if others else {"Fn::GetAtt": [first["Ref"], "Arn"]}
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            statement = statement.get("Fn::If", [None, statement])[1]
            assert statement["Resource"] == own


@each(QUEUES)
def test_queues_are_encrypted(name: str) -> None:
    assert QUEUES[name]["Properties"]["SqsManagedSseEnabled"] is True


@each(name for name in WORK_QUEUES if name != "TickQueue")
def test_every_queue_of_work_has_a_dead_letter_queue_that_keeps_14_days(name: str) -> None:
    queue = QUEUES[name]["Properties"]
    target = queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
    dead_letters = QUEUES[target]["Properties"]
    assert dead_letters["MessageRetentionPeriod"] == 1_209_600
    assert dead_letters.get("FifoQueue") == queue.get("FifoQueue")


def seconds_in_code(constant: str) -> int:
    """A duration that core/src/retry.rs relies on."""
    return int(re.search(rf"const {constant}: Duration = Duration::from_secs\((\d+)\)", RETRY)[1])


def test_the_sweep_follows_the_debounce() -> None:
    parameter = WHOLE["Parameters"]["DebounceSeconds"]
    minutes = {int(debounce): row["Minutes"] for debounce, row in WHOLE["Mappings"]["Debounce"].items()}
    assert list(minutes) == parameter["AllowedValues"]
    assert (min(minutes), max(minutes)) == range_in_code("DEBOUNCE_SECONDS")
    for debounce, sweep in minutes.items():
        # A sweep starts flushes before their time, so it comes much less often than a tick ..
        assert sweep * 60 >= min(5 * debounce, 720)
        # .. and a change left behind is flushed before the alarm, even if one sweep is lost.
        assert debounce + 2 * sweep * 60 < 1800


def test_the_window_of_the_intake_is_taken_out_of_the_debounce() -> None:
    delays = {int(debounce): int(row["Delay"]) for debounce, row in WHOLE["Mappings"]["Debounce"].items()}
    window = RESOURCES["Intake"]["Properties"]["MaximumBatchingWindowInSeconds"]
    shortest, _ = range_in_code("DEBOUNCE_SECONDS")
    assert delays == {debounce: max(debounce - window, shortest) for debounce in delays}


@pytest.mark.parametrize(("source", "seconds"), [("S3", 10), ("EventBridge", 10), ("SQS", 7)])
def test_ticks_are_delayed_by_what_the_function_takes_for_the_debounce(source: str, seconds: int) -> None:
    scope = Scope(WHOLE, {"EventSource": source})
    variables = RESOURCES["Function"]["Properties"]["Environment"]["Variables"]
    assert int(scope.resolve(variables["DEBOUNCE_SECONDS"])) == seconds
    assert int(scope.resolve(QUEUES["TickQueue"]["Properties"]["DelaySeconds"])) == seconds


@pytest.mark.parametrize("source", WHOLE["Parameters"]["EventSource"]["AllowedValues"])
def test_the_intake_is_read_and_s3_permitted_as_the_source_wants_it(source: str) -> None:
    scope = Scope(WHOLE, {"EventSource": source})
    sids = json.dumps(scope.resolve(RESOURCES["FunctionRole"]["Properties"]["Policies"]))
    assert scope.condition(RESOURCES["Intake"]["Condition"]) is ("TakeIn" in sids) is (source == "SQS")
    # A bucket that was connected before the source was changed loses no event.
    for resource in ("S3InvokePermission", "IntakeQueue", "IntakeQueuePolicy"):
        assert "Condition" not in RESOURCES[resource], resource
    for resource in ("BucketEventsRule", "EventBridgeInvokePermission"):
        watched = Scope(WHOLE, {"EventSource": source, "EventBridgeBuckets": "site-a"})
        assert watched.condition(RESOURCES[resource]["Condition"])
        assert not scope.condition(RESOURCES[resource]["Condition"])
    (_, allow) = scope.resolve(RESOURCES["IntakeQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"])
    assert allow["Principal"] == {"Service": "s3.amazonaws.com"}
    assert allow["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"},
    }


def test_a_batch_of_the_intake_fits_into_an_invocation() -> None:
    # Lambda quotas: 6 MB. The longest key, of 1,024 bytes of which each is escaped, and the rest of an event and of a
    # message around it.
    longest = 3 * 1_024 + 2_048
    assert RESOURCES["Intake"]["Properties"]["BatchSize"] * longest < 6_000_000


def range_in_code(variable: str) -> tuple[int, int]:
    """The numbers that src/config.rs accepts for a variable."""
    low, high = re.search(rf'"{variable}", \d+, (\d+)\.\.=(\d+)', CONFIG).groups()
    return int(low), int(high)


def test_submits_leave_room_for_events_and_a_flush_in_a_new_account() -> None:
    concurrency_of_a_new_account = 10
    mappings = RESOURCES["Function"]["Properties"]["Events"].values()
    scaling = [mapping["Properties"].get("ScalingConfig") for mapping in mappings]
    # The mapping of ticks has no limit: all ticks are in one message group.
    of_submits = sum(limit["MaximumConcurrency"] for limit in scaling if limit)
    assert of_submits + 1 < concurrency_of_a_new_account
    assert f"SUBMITS_AT_ONCE: usize = {mapping_of('SubmitQueue')['ScalingConfig']['MaximumConcurrency']};" in SIMULATION


def mapping_of(queue: str) -> dict:
    """The event source mapping of a queue."""
    mappings = RESOURCES["Function"]["Properties"]["Events"].values()
    (mapping,) = [it["Properties"] for it in mappings if it["Properties"]["Queue"] == {"Fn::GetAtt": [queue, "Arn"]}]
    return mapping


def test_the_function_has_the_time_that_the_code_counts_on() -> None:
    assert RESOURCES["Function"]["Properties"]["Timeout"] == seconds_in_code("FUNCTION_TIMEOUT")


@each(WORK_QUEUES)
def test_messages_come_back_when_the_code_expects_them(name: str) -> None:
    queue = QUEUES[name]["Properties"]
    assert queue["VisibilityTimeout"] == seconds_in_code("VISIBILITY_TIMEOUT") > seconds_in_code("FUNCTION_TIMEOUT")
    # What cannot be read from IntakeQueue is to be known soon, and can be replayed.
    expected = 10 if name == "IntakeQueue" else 1000
    assert queue.get("RedrivePolicy", {"maxReceiveCount": 1000})["maxReceiveCount"] == expected


@each([*DEAD_LETTER_QUEUES, "ErrorBucket", *of_type("AWS::SQS::QueuePolicy"), *of_type("AWS::S3::BucketPolicy")])
def test_what_could_not_be_done_outlives_the_stack(name: str) -> None:
    assert RESOURCES[name]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert RESOURCES[name]["UpdateReplacePolicy"] == "Retain"


@each(
    ["state/mode.json", "state/ledger/ledger.json", "invalidation_error/1_E1.txt", "invalidation_error_done/1_E1.txt"]
)
def test_the_error_bucket_keeps_state_for_good_and_bounds_what_is_older(name: str) -> None:
    bucket = RESOURCES["ErrorBucket"]["Properties"]
    # Without versions a deleted mode could not be told from one that nobody has chosen.
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = [rule for rule in bucket["LifecycleConfiguration"]["Rules"] if name.startswith(rule["Prefix"])]
    assert rule["Status"] == "Enabled"
    if name.startswith("state/"):
        assert not [setting for setting in rule if setting.startswith("Expir")]
        assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 7, "NewerNoncurrentVersions": 100}
    else:
        assert rule["ExpirationInDays"] == 365
        assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}


@each(DEAD_LETTER_QUEUES)
def test_any_message_in_a_dead_letter_queue_is_an_alarm(name: str) -> None:
    dimension = {"Name": "QueueName", "Value": {"Fn::GetAtt": [name, "QueueName"]}}
    watched = [(alarm["Properties"], metric) for alarm in ALARMS.values() for metric in metrics_of(alarm)]
    ((alarm, metric),) = [pair for pair in watched if dimension in pair[1]["Dimensions"]]
    assert metric["MetricName"] == "ApproximateNumberOfMessagesVisible"
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    assert alarm["Threshold"] == 0


@each(ALARMS)
def test_an_alarm_goes_to_both_topics_and_is_explained(name: str) -> None:
    alarm = ALARMS[name]["Properties"]
    topics = [{"Ref": "AlertTopic"}, {"Fn::If": ["HasOnCallTopic", {"Ref": "OnCallTopicArn"}, {"Ref": "AWS::NoValue"}]}]
    assert alarm["AlarmActions"] == topics
    assert alarm["AlarmDescription"].endswith(f"See docs/operate.md#{name.lower()}.")
    assert f"\n### {name}\n" in OPERATE


@each(ALARMS)
def test_an_alarm_sends_no_mail_when_the_stack_is_made(name: str) -> None:
    # A new alarm passes from INSUFFICIENT_DATA to OK.
    assert not {"OKActions", "InsufficientDataActions"} & set(ALARMS[name]["Properties"])


@each(ALARMS)
def test_an_alarm_has_no_name_of_its_own_so_that_the_topic_knows_it(name: str) -> None:
    # The topic's policy admits alarms that are called STACK-*, as CloudFormation calls them.
    assert "AlarmName" not in ALARMS[name]["Properties"]


def test_the_template_can_be_sent_without_a_bucket() -> None:
    # As Terraform's `template_body` (CloudFormation quotas: template body), which docs/terraform.md makes of what `sam
    # package` writes. `jsonencode` escapes some characters for HTML.
    packaged = yaml_parse(yaml_dump(yaml_parse(TEXT)))
    body = json.dumps(packaged, separators=(",", ":"))
    escaped = sum(body.count(character) for character in "<>&")
    assert len(body.encode()) + escaped * (len("\\u003c") - 1) < 51_200


def dashboard() -> list[dict]:
    """The dashboard's widgets, with any value for what is substituted."""
    return template.dashboard(lambda _: "x")


def metric_names(widget: dict) -> set[str]:
    """The function's own metrics in a widget."""
    rows = widget["properties"].get("metrics", [])
    expressions = " ".join(row[0].get("expression", "") for row in rows if isinstance(row[0], dict))
    searched = re.findall(r'MetricName="(\w+)"', expressions)
    return {row[1] for row in rows if row[0] == "Invalidator"} | set(searched)


# A free dashboard has 50 metrics (test_costs.py). These say more about something that is shown, or have an alarm.
NOT_SHOWN = {
    "KeysPaused",
    "MessagesReleased",
    "SpendingLimitNear",
    "SpentThisHour",
    "WholeDistributionByCollapse",
    "WholeDistributionByTrust",
}


def test_the_dashboard_shows_the_metrics_that_are_emitted() -> None:
    shown = set().union(*(metric_names(widget) for widget in dashboard()))
    assert not shown & NOT_SHOWN
    assert shown | NOT_SHOWN == docs.emitted_metrics()


def test_the_dashboard_shows_every_alarm() -> None:
    (widget,) = [w for w in template.dashboard(lambda reference: reference) if w["type"] == "alarm"]
    assert sorted(widget["properties"]["alarms"]) == sorted(f"{name}.Arn" for name in ALARMS)


def test_alarms_watch_metrics_that_are_emitted() -> None:
    for alarm in ALARMS.values():
        own = [metric["MetricName"] for metric in metrics_of(alarm) if metric["Namespace"] == "Invalidator"]
        assert set(own) <= docs.emitted_metrics()


def metrics_of(alarm: dict) -> list[dict]:
    """The metrics that an alarm watches, by itself or in an expression."""
    properties = alarm["Properties"]
    stats = [metric["MetricStat"]["Metric"] for metric in properties.get("Metrics", []) if "MetricStat" in metric]
    return stats or [properties]


def test_there_are_few_alarms() -> None:
    # Each is a mail that somebody must understand.
    assert len(ALARMS) <= 15


@each(ALARMS)
def test_an_alarm_takes_a_metric_that_is_not_emitted_for_zero(name: str) -> None:
    # The function emits only what happened. The heartbeat fills in zeros by itself.
    expected = "ignore" if name == "NoFlushFinished" else "notBreaching"
    assert ALARMS[name]["Properties"]["TreatMissingData"] == expected


def test_the_heartbeat_is_missed_within_half_an_hour_and_never_before_the_first_sweep() -> None:
    alarm = ALARMS["NoFlushFinished"]["Properties"]
    beats, *stats = alarm["Metrics"]
    # What did not come is 0, and below the threshold, while TickQueue has data: not before there is a stack.
    assert beats["Expression"] == "FILL(finished, 0) + 0 * ticks"
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)
    (period,) = {stat["MetricStat"]["Period"] for stat in stats}
    # After the last beat, up to one period more until all that is looked at is empty.
    assert (alarm["EvaluationPeriods"] + 1) * period <= 1_800
    assert "DatapointsToAlarm" not in alarm, "all of them"


def test_widgets_do_not_overlap() -> None:
    taken = set()
    for widget in dashboard():
        cells = {
            (x, y)
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        }
        assert cells
        assert not taken & cells
        assert widget["x"] + widget["width"] <= 24
        taken |= cells


def test_a_star_for_a_resource_has_its_reason_beside_it() -> None:
    statements = re.split(r"\n +- Sid: ", TEXT)[1:]
    stars = [statement for statement in statements if re.search(r'Resource: ("\*"|.*:::\*)', statement)]
    assert len(stars) == 5
    for statement in stars:
        assert re.search(r"# .{10,}", statement), statement


def test_a_suppressed_check_has_its_reason() -> None:
    lines = (ROOT / ".checkov.yaml").read_text().split("\n")
    for above, line in itertools.pairwise(lines):
        assert not line.startswith("  - ") or above.startswith("  # "), line


def test_every_parameter_has_a_description_and_a_default_unless_a_person_must_decide() -> None:
    parameters = WHOLE["Parameters"]
    assert [name for name, parameter in parameters.items() if "Default" not in parameter] == ["AdminEmail"]
    assert all(parameter["Description"] for parameter in parameters.values())


def test_scheduler_may_only_send_what_a_schedule_is_for() -> None:
    sends = {"SweepRole": "TickQueue", "ScheduledJobRole": "SubmitQueue"}
    roles = of_type("AWS::IAM::Role")
    assert set(roles) == {"FunctionRole", *sends}
    for name, queue in sends.items():
        role = roles[name]["Properties"]
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
        # Of this account, and of one schedule group.
        assert set(trust["Condition"]["StringEquals"]) == {"aws:SourceAccount", "aws:SourceArn"}
        ((allowed,),) = (policy["PolicyDocument"]["Statement"] for policy in role["Policies"])
        assert allowed["Action"] == "sqs:SendMessage"
        assert allowed["Resource"] == [{"Fn::GetAtt": [it, "Arn"]} for it in (queue, "FailedEventsQueue")]
