"""Deploys template.yaml through CloudFormation, as `sam deploy` would."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

from emulator import Emulator
from package import write_zip
from waiting import wait_until

NAME = "invalidator-local"
PACKAGE_BUCKET = "deployment-packages"
PACKAGE_KEY = "invalidator.zip"
# The one line of template.yaml that `sam package` would rewrite.
LOCAL_CODE = "CodeUri: ."
UPLOADED_CODE = f"CodeUri: s3://{PACKAGE_BUCKET}/{PACKAGE_KEY}"
DEPLOY_TIMEOUT = 120


class DeployError(Exception):
    """The stack cannot be deployed; the message says which resource failed, and why."""


@dataclass(frozen=True)
class Stack:
    """A deployed stack: its outputs, and the physical ids of its resources by logical id."""

    outputs: dict[str, str]
    resources: dict[str, str]


def deploy(emulator: Emulator, template: Path, binary: Path, parameters: dict[str, str]) -> Stack:
    """Upload the function, create the stack and wait for it."""
    upload_package(emulator, binary)
    cloudformation = emulator.client("cloudformation")
    cloudformation.create_stack(
        StackName=NAME,
        TemplateBody=packaged(template),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    wait_until(lambda: not status(cloudformation).endswith("_IN_PROGRESS"), DEPLOY_TIMEOUT)
    if status(cloudformation) != "CREATE_COMPLETE":
        raise DeployError(f"{template.name} cannot be deployed: {first_failure(cloudformation)}")
    return describe(cloudformation)


def upload_package(emulator: Emulator, binary: Path) -> None:
    """Put the zipped binary where the stack will look for it."""
    package = emulator.folder / PACKAGE_KEY
    # Not compressed: a debug binary is large, and it only goes next door.
    write_zip(binary, package, zipfile.ZIP_STORED)
    s3 = emulator.client("s3")
    s3.create_bucket(Bucket=PACKAGE_BUCKET)
    s3.upload_file(str(package), PACKAGE_BUCKET, PACKAGE_KEY)
    package.unlink()


def packaged(template: Path) -> str:
    """The template as it is, except that the code comes from the bucket."""
    text = template.read_text()
    if text.count(LOCAL_CODE) != 1:
        raise DeployError(f"{template.name} should say `{LOCAL_CODE}` once")
    return text.replace(LOCAL_CODE, UPLOADED_CODE)


def status(cloudformation) -> str:
    """What CloudFormation says of the stack."""
    return cloudformation.describe_stacks(StackName=NAME)["Stacks"][0]["StackStatus"]


def first_failure(cloudformation) -> str:
    """The stack's first event that tells of a failure: the later ones only follow from it."""
    events = cloudformation.describe_stack_events(StackName=NAME)["StackEvents"]
    failures = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
    if not failures:
        return f"it is {status(cloudformation)} after {DEPLOY_TIMEOUT} s"
    # Newest first, as CloudFormation lists them.
    first = failures[-1]
    return f"{first['LogicalResourceId']}: {first.get('ResourceStatusReason', 'no reason given')}"


def describe(cloudformation) -> Stack:
    """Read the outputs and the resources of the stack."""
    stack = cloudformation.describe_stacks(StackName=NAME)["Stacks"][0]
    resources = cloudformation.describe_stack_resources(StackName=NAME)["StackResources"]
    return Stack(
        outputs={output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]},
        resources={resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources},
    )
