"""The AWS calls the function makes, as IAM sees them: an action on a resource."""

import json
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from emulator import REGION

ACCOUNT = "000000000000"
NOT_FOUND = 404
DISTRIBUTION = f"arn:aws:cloudfront::{ACCOUNT}:distribution/"
TENANT = f"arn:aws:cloudfront::{ACCOUNT}:distribution-tenant/"


@dataclass(frozen=True)
class Call:
    """The input of IAM's decision."""

    action: str
    resource: str


def read(service: str, method: str, target: str, headers: dict[str, str], body: bytes) -> Call:
    """The call in an HTTP request."""
    return {"sqs": sqs, "sns": sns, "s3": s3}[service](
        method, urlsplit(target), {name.lower(): value for name, value in headers.items()}, body
    )


def sqs(_method: str, _url, headers: dict[str, str], body: bytes) -> Call:
    """SQS: JSON; the action for one message allows a batch, too."""
    action = headers["x-amz-target"].split(".")[1].removesuffix("Batch")
    queue = json.loads(body)["QueueUrl"].rsplit("/", 1)[1]
    return Call(f"sqs:{action}", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}")


def sns(_method: str, _url, _headers: dict[str, str], body: bytes) -> Call:
    """SNS: a form."""
    form = parse_qs(body.decode())
    return Call(f"sns:{form['Action'][0]}", form["TopicArn"][0])


# The actions of S3 that are no calls of the same name (Service Authorization Reference), by what the query names.
OF_BUCKET = {
    "tagging": "GetBucketTagging",
    "versioning": "GetBucketVersioning",
    "ownershipControls": "GetBucketOwnershipControls",
    "versions": "ListBucketVersions",
    "list-type": "ListBucket",
}


def s3(method: str, url, _headers: dict[str, str], _body: bytes) -> Call:
    """S3: the path is the object, the query is the operation on it."""
    bucket, _, key = unquote(url.path).lstrip("/").partition("/")
    asked = parse_qs(url.query, keep_blank_values=True)
    if method == "GET" and not key:
        named = [action for name, action in OF_BUCKET.items() if name in asked]
        if named:
            return Call(f"s3:{named[0]}", f"arn:aws:s3:::{bucket}")
    of_version = "Version" if "versionId" in asked else ""
    if method in ("GET", "HEAD") and key and "tagging" in asked:
        return Call(f"s3:GetObject{of_version}Tagging", f"arn:aws:s3:::{bucket}/{key}")
    if method in ("GET", "HEAD") and key:
        return Call(f"s3:GetObject{of_version}", f"arn:aws:s3:::{bucket}/{key}")
    if method == "PUT" and key:
        return Call("s3:PutObject", f"arn:aws:s3:::{bucket}/{key}")
    return Call(f"s3:{method} {url.path}?{url.query}", f"arn:aws:s3:::{bucket}")


def of_cloudfront(call: dict) -> Call:
    """A call of CloudFront, as the stand-in tells of it.

    To list has no resource, unless it is what a distribution has (Service Authorization Reference).
    """
    operation, target = call["operation"], call["target"]
    if operation.startswith("List") and not operation.startswith("ListInvalidations"):
        return Call(f"cloudfront:{operation}", "*")
    return Call(f"cloudfront:{operation}", (TENANT if "Tenant" in operation else DISTRIBUTION) + target)
