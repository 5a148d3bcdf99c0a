"""Deploys template.yaml through CloudFormation, as `sam deploy` would."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import template
from emulator import Emulator
from package import write_zip
from waiting import POLL_SECONDS, wait_until

NAME = "invalidator-local"
PACKAGE_BUCKET = "deployment-packages"
PACKAGE_KEY = "invalidator.zip"
DEPLOY_TIMEOUT = 120
# The id of the statement that denies HTTP, in every policy.
TLS_STATEMENT = "OnlyWithTls"
# What has no default, as a person must decide.
DECIDED = {"AdminEmail": "none"}


class DeployError(Exception):
    """The stack cannot be deployed; the message says which resource failed, and why."""


@dataclass(frozen=True)
class Stack:
    """A deployed stack: its outputs, and the physical ids of its resources by logical id."""

    outputs: dict[str, str]
    resources: dict[str, str]


def deploy(
    emulator: Emulator, template_file: Path, binary: Path, parameters: dict[str, str], name: str = NAME
) -> Stack:
    """Upload the function, create the stack and wait for it."""
    upload_package(emulator, binary)
    return create(emulator, packaged(template_file), parameters, name)


def create(emulator: Emulator, body: str, parameters: dict[str, str], name: str) -> Stack:
    """Create the stack and wait for it."""
    cloudformation = emulator.client("cloudformation")
    cloudformation.create_stack(StackName=name, TemplateURL=uploaded(emulator, name, body), **settings(parameters))
    return finished(cloudformation, name, "CREATE_COMPLETE")


def update(emulator: Emulator, template_file: Path, parameters: dict[str, str], name: str = NAME) -> Stack:
    """Deploy the stack again, with other parameters."""
    cloudformation = emulator.client("cloudformation")
    url = uploaded(emulator, name, packaged(template_file))
    cloudformation.update_stack(StackName=name, TemplateURL=url, **settings(parameters))
    return finished(cloudformation, name, "UPDATE_COMPLETE")


def uploaded(emulator: Emulator, name: str, body: str) -> str:
    """Put a template into a bucket, as `sam deploy` does: it may be longer than a request's body. Returns its URL."""
    key = f"{name}.template"
    emulator.client("s3").put_object(Bucket=PACKAGE_BUCKET, Key=key, Body=body.encode())
    return f"{emulator.endpoint}/{PACKAGE_BUCKET}/{key}"


def settings(parameters: dict[str, str]) -> dict:
    """The common arguments of creating and updating a stack."""
    parameters = DECIDED | parameters
    return {
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    }


def finished(
    cloudformation, name: str, success: str, timeout: float = DEPLOY_TIMEOUT, interval: float = POLL_SECONDS
) -> Stack:
    """Wait for the stack."""
    wait_until(lambda: not status(cloudformation, name).endswith("_IN_PROGRESS"), timeout, interval)
    if status(cloudformation, name) != success:
        raise DeployError(f"the stack {name} cannot be deployed: {first_failure(cloudformation, name)}")
    return describe(cloudformation, name)


def upload_package(emulator: Emulator, binary: Path) -> None:
    """Put the zipped binary where the stack will look for it."""
    package = emulator.folder / PACKAGE_KEY
    # Not compressed: a debug binary is large, and it stays on this machine.
    write_zip(binary, package, zipfile.ZIP_STORED)
    s3 = emulator.client("s3")
    s3.create_bucket(Bucket=PACKAGE_BUCKET)
    s3.upload_file(str(package), PACKAGE_BUCKET, PACKAGE_KEY)
    package.unlink()


def packaged(
    template_file: Path,
    only_with_tls: bool = False,
    package: str = f"s3://{PACKAGE_BUCKET}/{PACKAGE_KEY}",
    for_emulator: bool = True,
) -> str:
    """The template as it is, except that the code comes from the bucket, and for what the emulator does not know.

    Left as it is (`only_with_tls`), it can be deployed but not used: the emulator speaks HTTP, which is denied.
    """
    body = template.load(template_file)
    body["Resources"]["Function"]["Properties"]["CodeUri"] = package
    if for_emulator:
        without_metric_math(body)
        with_sessions(body)
    if for_emulator and not only_with_tls:
        without_tls(body)
    return json.dumps(body)


def without_tls(body: dict) -> None:
    """Remove the statements that deny HTTP, and the policies that do nothing else."""
    for name, resource in list(body["Resources"].items()):
        document = resource.get("Properties", {}).get("PolicyDocument")
        if document:
            document["Statement"] = [s for s in document["Statement"] if s.get("Sid") != TLS_STATEMENT]
            if not document["Statement"]:
                del body["Resources"][name]


def with_sessions(body: dict) -> None:
    """To the emulator `aws:PrincipalArn` is the ARN of a role's session. To AWS it is the role's."""
    session = {"Fn::Sub": "arn:aws:sts::${AWS::AccountId}:assumed-role/${FunctionRole}/*"}
    statements = body["Resources"]["ErrorBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    for _, statement, _ in (it["Fn::If"] for it in statements if "Fn::If" in it):
        statement["Condition"]["ArnNotLike"]["aws:PrincipalArn"].append(session)


def without_metric_math(body: dict) -> None:
    """The emulator refuses an alarm on an expression: it gets one on the metric that is put in.

    `tests/checks` and cfn-lint look at the alarm as it is.
    """
    for resource in body["Resources"].values():
        metrics = resource.get("Properties", {}).get("Metrics") if is_alarm(resource) else None
        if metrics:
            measured = next(metric["MetricStat"] for metric in metrics if "MetricStat" in metric)
            del resource["Properties"]["Metrics"]
            resource["Properties"] |= measured["Metric"]
            resource["Properties"] |= {"ExtendedStatistic": measured["Stat"], "Period": measured["Period"]}


def is_alarm(resource: dict) -> bool:
    """Whether a resource is an alarm."""
    return resource["Type"] == "AWS::CloudWatch::Alarm"


def status(cloudformation, name: str) -> str:
    """CloudFormation's description of the stack."""
    return cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]


def first_failure(cloudformation, name: str) -> str:
    """The stack's first failure; the later ones only follow from it."""
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    failures = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
    if not failures:
        return f"it is {status(cloudformation, name)}, and no resource has failed"
    # Newest first, as CloudFormation lists them.
    first = failures[-1]
    return f"{first['LogicalResourceId']}: {first.get('ResourceStatusReason', 'no reason given')}"


def describe(cloudformation, name: str) -> Stack:
    """Read the outputs and the resources of the stack."""
    stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    return Stack(
        outputs={output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]},
        resources={resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources},
    )
