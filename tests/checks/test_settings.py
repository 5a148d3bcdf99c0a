"""The parameters of template.yaml: bad input stops the deployment with a sentence, good input fits AWS's limits."""

import json
import re

import pytest

import template
from intrinsics import PSEUDO_PARAMETERS, Scope

TEMPLATE = template.load()
PARAMETERS = TEMPLATE["Parameters"]
DECIDED = {"AdminEmail": "none"}
# IAM quotas: the characters in all inline policies of a role, white space not counted.
POLICY_CHARACTERS = 10_240
# Lambda quotas: all environment variables together, names and values.
ENVIRONMENT_BYTES = 4_096
# EventBridge quotas: an event pattern.
PATTERN_CHARACTERS = 2_048
# As long as CloudFormation allows a stack's name to be.
LONGEST = PSEUDO_PARAMETERS | {
    "AWS::StackName": "s" * 128,
    "AWS::Partition": "aws-us-gov",
    "AWS::Region": "ap-southeast-2",
}


def complaints(settings: dict[str, str]) -> list[str]:
    """What CloudFormation says to these parameters, before it touches anything."""
    settings = DECIDED | settings
    return [
        *(PARAMETERS[name]["ConstraintDescription"] for name, value in settings.items() if not is_allowed(name, value)),
        *broken_rules(Scope(TEMPLATE, settings)),
    ]


def is_allowed(name: str, value: str) -> bool:
    """Whether a parameter may have this value. (`AllowedPattern` is about the whole value.)"""
    declared = PARAMETERS[name]
    if declared["Type"] == "Number":
        return value in map(str, declared["AllowedValues"])
    return (
        len(value) <= declared.get("MaxLength", 4_096)
        and re.fullmatch(declared.get("AllowedPattern", "(?s).*"), value) is not None
        and value in declared.get("AllowedValues", [value])
    )


def broken_rules(scope: Scope) -> list[str]:
    """The descriptions of the rules that do not hold."""
    return [
        assertion["AssertDescription"]
        for rule in TEMPLATE["Rules"].values()
        if scope.resolve(rule["RuleCondition"])
        for assertion in rule["Assertions"]
        if not scope.resolve(assertion["Assert"])
    ]


def ids(count: int, first: str = "E") -> str:
    """A list of ids as long as AWS makes them."""
    return ",".join(first + f"{n:013d}" for n in range(count))


def tenants(count: int) -> str:
    """A list of ids of tenants, after that of their distribution."""
    return ",".join(["E2QWRUHAPOMQZL", *(f"dt_{n:027d}" for n in range(count))])


BUCKETS = ",".join(f"site-{n}.example.com" for n in range(60))
GOOD = [
    {},
    {"AdminEmail": "web+alerts@example.com"},
    {"DebounceSeconds": "3"},
    {"DebounceSeconds": "300"},
    {"DistributionIds": ids(80)},
    {"DistributionIds": tenants(47)},
    {"EventSource": "EventBridge", "EventBridgeBuckets": BUCKETS},
    {"OriginBuckets": "alias=bucket,alias2=bucket2"},
    {"CostMode": "frugal", "MonthlyPathBudget": "0"},
    {"MonthlyPathBudget": "100000000"},
    {"SpendingLimitPerHour": "0.01", "SpendingLimitPerMonth": "999999.99"},
    {"ForecastAlarm": "0"},
    {"LookBeforePaying": "false"},
    {"CompareBuckets": "site-a,site-b.example.com"},
    {"HarmlessFunctions": "add-headers,arn:aws:lambda:us-east-1:123456789012:function:headers:7"},
    {"OnCallTopicArn": "arn:aws-cn:sns:cn-north-1:123456789012:on-call"},
    {"AlertKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/1a2b3c4d-1a2b-1a2b-1a2b-1a2b3c4d5e6f"},
    {"OperatorArn": "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/*/AWSReservedSSO_Web_*"},
    {"LogLevel": "warn,invalidator::flush=info"},
]
BAD = [
    ("AdminEmail", ""),
    ("AdminEmail", "nobody"),
    ("AdminEmail", "a@example.com,b@example.com"),
    ("DebounceSeconds", "2"),
    ("DebounceSeconds", "301"),
    ("DebounceSeconds", "ten"),
    ("DistributionIds", "E1, E2"),
    ("DistributionIds", "e1abc"),
    ("DistributionIds", "E1,e2abc"),
    ("DistributionIds", "dt_1a2b"),
    ("DistributionIds", "arn:aws:cloudfront::123456789012:distribution/E1"),
    ("DistributionIds", ids(101)),
    ("DistributionIds", ",".join("E" for _ in range(81))),
    ("EventBridgeBuckets", "Site"),
    ("EventBridgeBuckets", BUCKETS + ",one-more"),
    ("EventBridgeBuckets", ",".join(["b" * 63] * 30)),
    ("S3Buckets", "s3://site"),
    ("OriginBuckets", "alias"),
    ("OriginBuckets", ",".join(f"alias{n}=bucket{n}" for n in range(80))),
    ("MonthlyPathBudget", "-1"),
    ("MonthlyPathBudget", "100000001"),
    ("MonthlyPathBudget", "a thousand"),
    ("SpendingLimitPerHour", "0"),
    ("SpendingLimitPerHour", "0.00"),
    ("SpendingLimitPerHour", "0.005"),
    ("SpendingLimitPerMonth", "50 USD"),
    ("SpendingLimitPerMonth", "1000000"),
    ("ForecastAlarm", "10 USD"),
    ("CompareBuckets", "site-*"),
    ("CompareBuckets", "site-a, site-b"),
    ("CompareBuckets", ",".join(["b" * 63] * 5)),
    ("HarmlessFunctions", "add headers"),
    ("HarmlessFunctions", "f" * 251),
    ("OnCallTopicArn", "on-call"),
    ("AlertKeyArn", "alias/aws/sns"),
    ("OperatorArn", "web-operator"),
    ("OperatorArn", "arn:aws:sts::123456789012:assumed-role/web-operator/ada"),
    ("OperatorArn", "arn:aws:iam::*:root"),
    ("LogLevel", "info " * 3),
    ("LogLevel", "i" * 201),
]
REPRESENTATIVE = [pytest.param(settings, id=", ".join(settings) or "defaults") for settings in GOOD]


@pytest.mark.parametrize("settings", REPRESENTATIVE)
def test_good_settings_are_deployed(settings: dict[str, str]) -> None:
    assert not complaints(settings)


@pytest.mark.parametrize(("name", "value"), BAD, ids=[f"{name}={value[:40]}" for name, value in BAD])
def test_a_bad_setting_stops_the_deployment_and_says_what_it_must_be(name: str, value: str) -> None:
    (complaint,) = complaints({name: value})
    assert complaint.startswith("must be ")


def test_rules_on_several_settings_stop_the_deployment() -> None:
    (complaint,) = complaints({"EventSource": "EventBridge"})
    assert "EventBridgeBuckets" in complaint


def test_every_setting_that_takes_any_text_is_limited_and_says_so() -> None:
    for name, declared in PARAMETERS.items():
        if "AllowedValues" not in declared:
            assert declared["ConstraintDescription"].startswith("must be "), name
            assert "AllowedPattern" in declared, name


@pytest.mark.parametrize("distributions", [ids(80), tenants(47), ",".join(["E" * 17] + ["E" * 18] * 78)], ids=len)
def test_the_longest_lists_fit_into_the_policy_and_the_environment(distributions: str) -> None:
    settings = DECIDED | {
        "DistributionIds": distributions,
        "OriginBuckets": f"{'a' * 300}={'b' * 399}",
        "MonthlyPathBudget": "100000000",
        "SpendingLimitPerHour": "999999.99",
        "SpendingLimitPerMonth": "999999.99",
        # The shorter a name is, the more ARNs there are.
        "CompareBuckets": ",".join(["b" * 3] * 75),
        "HarmlessFunctions": "f" * 250,
        "AlertKeyArn": "arn:aws-us-gov:kms:ap-southeast-2:123456789012:key/1a2b3c4d-1a2b-1a2b-1a2b-1a2b3c4d5e6f",
        "LogLevel": "i" * 200,
        "EventSource": "EventBridge",
        "EventBridgeBuckets": BUCKETS,
    }
    assert not complaints(settings)
    scope = Scope(TEMPLATE, settings, LONGEST)
    policies = scope.resolve(TEMPLATE["Resources"]["FunctionRole"]["Properties"]["Policies"])
    written = sum(len(json.dumps(policy["PolicyDocument"], separators=(",", ":"))) for policy in policies)
    assert written <= POLICY_CHARACTERS
    variables = scope.resolve(TEMPLATE["Resources"]["Function"]["Properties"]["Environment"]["Variables"])
    assert sum(len(name) + len(str(value)) for name, value in variables.items()) <= ENVIRONMENT_BYTES


def test_the_longest_list_of_buckets_fits_into_a_rule() -> None:
    pattern = TEMPLATE["Resources"]["BucketEventsRule"]["Properties"]["EventPattern"]
    longest = ",".join(["b" * 26] * 59 + ["b" * 7])
    assert len(longest) == PARAMETERS["EventBridgeBuckets"]["MaxLength"]
    assert is_allowed("EventBridgeBuckets", longest)
    written = Scope(TEMPLATE, DECIDED | {"EventBridgeBuckets": longest}).resolve(pattern)
    assert len(json.dumps(written, separators=(",", ":"))) <= PATTERN_CHARACTERS


def test_no_setting_replaces_what_holds_data() -> None:
    """What waits stays where it is: CloudFormation replaces a queue or a bucket for these properties only."""
    replacing = {"QueueName", "FifoQueue", "BucketName"}
    for name, resource in TEMPLATE["Resources"].items():
        if resource["Type"] in ("AWS::SQS::Queue", "AWS::S3::Bucket"):
            fixed = {key: value for key, value in resource["Properties"].items() if key in replacing}
            assert all(value is True for value in fixed.values()), name
            assert "Condition" not in resource, name
            assert resource.get("UpdateReplacePolicy") == "Retain" or name == "TickQueue"
