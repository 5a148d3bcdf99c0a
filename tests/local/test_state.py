"""Who may change what is under state/ of the error bucket, and what the bucket keeps of it."""

import json
from collections.abc import Callable, Iterator

import boto3
import pytest
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError

import iam_gaps
import stack
from calls import ACCOUNT
from emulator import REGION
from pipeline import TEMPLATE, Pipeline

NAME = "owned"
MODE = "state/mode.json"
INCIDENTS = "state/incidents/open.json"
ERROR_FILE = "invalidation_error/1_E1.txt"
ANYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def owned(running: Pipeline) -> Iterator[stack.Stack]:
    """A stack with an operator, `ada`. Whoever the account's IAM allows everything is `bob`."""
    parameters = {"OperatorArn": f"arn:aws:iam::{ACCOUNT}:user/a*a", "DebounceSeconds": "3"}
    deployed = stack.create(running.emulator, stack.packaged(TEMPLATE), parameters, NAME)
    iam_gaps.bridge(running.emulator, deployed.resources["FunctionRole"])
    yield deployed
    running.emulator.client("cloudformation").delete_stack(StackName=NAME)


@pytest.fixture(scope="module")
def clients(running: Pipeline) -> dict[str, BaseClient]:
    """S3 as different users call it."""
    return {name: s3_of(running, name) for name in ("ada", "bob")}


def s3_of(running: Pipeline, user: str) -> BaseClient:
    """A client with the keys of a new user."""
    iam = running.emulator.client("iam")
    iam.create_user(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="all", PolicyDocument=json.dumps(ANYTHING))
    key = iam.create_access_key(UserName=user)["AccessKey"]
    session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=REGION)
    return session.client("s3", endpoint_url=running.emulator.endpoint, config=Config(proxies={}))


def is_allowed(call: Callable[[], object]) -> bool:
    """Whether IAM lets a call through."""
    try:
        call()
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":
            raise
        return False
    return True


@pytest.mark.parametrize("key", [MODE, INCIDENTS, ERROR_FILE])
@pytest.mark.parametrize("user", ["ada", "bob"])
def test_only_the_operator_writes_and_deletes_under_state(
    user: str, key: str, owned: stack.Stack, clients: dict[str, BaseClient], running: Pipeline
) -> None:
    bucket = owned.outputs["ErrorBucketName"]
    version = running.emulator.client("s3").put_object(Bucket=bucket, Key=key, Body=b"{}")["VersionId"]
    s3 = clients[user]
    expected = user == "ada" or not key.startswith("state/")
    place = {"Bucket": bucket, "Key": key}
    for call in (
        lambda: s3.put_object(**place, Body=b"{}"),
        lambda: s3.copy_object(**place, CopySource=place),
        lambda: s3.create_multipart_upload(**place),
        lambda: s3.delete_object(**place),
        lambda: s3.delete_object(**place, VersionId=version),
    ):
        assert is_allowed(call) == expected
    assert is_allowed(lambda: s3.list_object_versions(Bucket=bucket))


def test_whoever_may_edit_the_policy_is_not_locked_out(
    owned: stack.Stack, clients: dict[str, BaseClient], running: Pipeline
) -> None:
    bucket, bob = owned.outputs["ErrorBucketName"], clients["bob"]
    policy = bob.get_bucket_policy(Bucket=bucket)["Policy"]
    running.emulator.client("s3").put_object(Bucket=bucket, Key=MODE, Body=b"{}")
    bob.delete_bucket_policy(Bucket=bucket)
    try:
        bob.delete_object(Bucket=bucket, Key=MODE)
    finally:
        bob.put_bucket_policy(Bucket=bucket, Policy=policy)
    assert not is_allowed(lambda: bob.put_object(Bucket=bucket, Key=MODE, Body=b"{}"))
    forget(running, bucket, MODE)


def test_the_function_keeps_its_state_beside_the_operator(owned: stack.Stack, running: Pipeline) -> None:
    bucket, s3 = owned.outputs["ErrorBucketName"], running.emulator.client("s3")
    for key in (MODE, INCIDENTS):
        forget(running, bucket, key)
    running.emulator.client("sqs").send_message(
        QueueUrl=owned.outputs["SubmitQueueUrl"], MessageBody="hello", MessageGroupId="g", MessageDeduplicationId="1"
    )
    assert running.wait(lambda: s3.list_objects_v2(Bucket=bucket, Prefix=INCIDENTS)["KeyCount"] == 1)


def forget(running: Pipeline, bucket: str, key: str) -> None:
    """Delete all versions of an object, as if it had never been."""
    s3 = running.emulator.client("s3")
    listed = s3.list_object_versions(Bucket=bucket, Prefix=key)
    for version in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]:
        s3.delete_object(Bucket=bucket, Key=key, VersionId=version["VersionId"])
