"""The policies of template.yaml and canary.yaml, as CloudFormation renders them, checked by an IAM linter."""

import json

import parliament
import pytest
from parliament.finding import Finding

import template
from intrinsics import Scope

TEMPLATE = template.load()
CANARY = template.load(template.TEMPLATE.parent / "canary.yaml")
SETTINGS = [
    {"EventSource": "EventBridge"},
    {
        "EventSource": "EventBridge",
        "DistributionIds": "E2QWRUHAPOMQZL,EDFDVBD632BHDS",
        "OperatorArn": "arn:aws:iam::123456789012:role/web-operator",
        "CompareBuckets": "site-a,site-b",
    },
    {"LookBeforePaying": "false"},
    {"EventSource": "SQS", "S3Buckets": "site-*"},
]
# What the linter finds, and need not: its list of actions is older than multi-tenant distributions.
UNKNOWN_TO_THE_LINTER = {
    "cloudfront:ListDistributionTenants",
    "cloudfront:GetDistributionTenant",
    "cloudfront:CreateInvalidationForDistributionTenant",
}


def policies() -> list[tuple[str, dict]]:
    """All policies of roles and resources by a name. (The linter reads no trust policies.)"""
    properties = {name: resource.get("Properties", {}) for name, resource in TEMPLATE["Resources"].items()}
    return [
        *((name, own["PolicyDocument"]) for name, of in properties.items() for own in of.get("Policies", [])),
        *((name, of["PolicyDocument"]) for name, of in properties.items() if "PolicyDocument" in of),
    ]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize(("name", "policy"), policies(), ids=[name for name, _ in policies()])
def test_the_linter_finds_nothing(name: str, policy: dict, settings: dict[str, str]) -> None:
    rendered = Scope(TEMPLATE, settings).resolve(policy)
    analyzed = parliament.analyze_policy_string(
        json.dumps(rendered), ignore_private_auditors=True, include_community_auditors=True
    )
    findings = [finding for finding in analyzed.findings if not is_known(finding)]
    assert not findings, findings


@pytest.mark.parametrize("role", ["CanaryRole", "CanaryScheduleRole"])
def test_the_linter_finds_nothing_in_the_canary(role: str) -> None:
    settings = {
        "Buckets": "site-a,site-b",
        "FunctionName": "invalidator-Function-1a2b",
        "ErrorBucketName": "invalidator-errorbucket-1a2b",
        "AlertTopicArn": "arn:aws:sns:eu-west-1:123456789012:invalidator-AlertTopic",
    }
    (policy,) = CANARY["Resources"][role]["Properties"]["Policies"]
    rendered = Scope(CANARY, settings).resolve(policy["PolicyDocument"])
    analyzed = parliament.analyze_policy_string(
        json.dumps(rendered), ignore_private_auditors=True, include_community_auditors=True
    )
    findings = [finding for finding in analyzed.findings if not is_known(finding)]
    assert not findings, findings


def is_known(finding: Finding) -> bool:
    """Whether the linter knows less than AWS."""
    return finding.issue == "UNKNOWN_ACTION" and finding.location["string"] in UNKNOWN_TO_THE_LINTER


def test_the_linter_is_at_work() -> None:
    statement = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::bucket"}
    analyzed = parliament.analyze_policy_string(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    assert [finding.issue for finding in analyzed.findings] == ["RESOURCE_MISMATCH"]
