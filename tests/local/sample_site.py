"""A small site on two distributions, and the changes that are made to it.

CHANGES is the heart: each row is a change and the invalidation paths that must come of it.
"""

import re
from dataclasses import dataclass
from typing import Literal

from cloudfront import CloudFront
from emulator import REGION

SITE = "sample-site"
# A bucket that no distribution serves.
INTERNAL = "sample-internal"

# A tag value cannot hold a comma, so paths are separated by a space or a colon.
EXCEPTION_TAGS = {"exceptionPaths": "resources/upload /drafts/", "exceptionPaths2": "tmp:cache"}

EVENTS = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleExpiration:*"]

CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"


@dataclass(frozen=True)
class Change:
    """A change to an object, and the paths it must invalidate on each distribution."""

    action: Literal["put", "delete"]
    key: str
    www: tuple[str, ...] = ()
    docs: tuple[str, ...] = ()
    bucket: str = SITE
    excepted: bool = False

    @property
    def kind(self) -> str:
        """The function's word for this kind of change."""
        return "created" if self.action == "put" else "deleted"

    def paths(self, distribution: str) -> tuple[str, ...]:
        """The paths it must invalidate on the distribution of this name."""
        return {"www": self.www, "docs": self.docs}[distribution]


# What is there before the function is connected.
BEFORE = ["index.html", "img/logo.png", "api/old.json", "docs/old page.html", "resources/upload/photo 0.jpg"]

CHANGES = [
    # The default root object is also what visitors see at "/".
    Change("put", "index.html", www=("/index.html", "/")),
    # Keys need not be ASCII, and CloudFront wants them encoded in its own way.
    Change("put", "about us+100%.html", www=("/about%20us%2B100%25.html",)),
    Change("put", "소개/회사.html", www=("/%EC%86%8C%EA%B0%9C/%ED%9A%8C%EC%82%AC.html",)),
    # Under /img/ query strings are in the cache key, so all variants must be invalidated. Two changes make one path.
    Change("put", "img/logo.png", www=("/img/logo.png*",)),
    Change("put", "img/logo.png", www=("/img/logo.png*",)),
    # Nothing under /api/ is cached, but the error page of a deleted object may be.
    Change("put", "api/status.json"),
    Change("delete", "api/old.json", www=("/api/old.json",)),
    # The second distribution serves the folder docs as its root.
    Change("put", "docs/guide.html", www=("/docs/guide.html",), docs=("/guide.html",)),
    Change("delete", "docs/old page.html", www=("/docs/old%20page.html",), docs=("/old%20page.html",)),
    # ... but asks another origin for /live/.
    Change("put", "docs/live/scores.json", www=("/docs/live/scores.json",)),
    # Uploads under an exception path are ignored; deletions count.
    Change("put", "resources/upload/photo 1.jpg", excepted=True),
    Change("delete", "resources/upload/photo 0.jpg", www=("/resources/upload/photo%200.jpg",)),
    Change("put", "drafts/next.html", excepted=True),
    Change("put", "cache/page.html", excepted=True),
    # resources/upload is a folder, not the beginning of a name.
    Change("put", "resources/uploads.html", www=("/resources/uploads.html",)),
    # No distribution has this bucket as an origin.
    Change("put", "2026/figures.csv", bucket=INTERNAL),
]


def expected_paths(distribution: str) -> set[str]:
    """What must be invalidated on a distribution, all changes taken together."""
    return {path for change in CHANGES for path in change.paths(distribution)}


@dataclass(frozen=True)
class Site:
    """The site as it stands: the id of each distribution by its name."""

    distributions: dict[str, str]

    def name_of(self, distribution_id: str) -> str:
        """The name of a distribution."""
        return next(name for name, its_id in self.distributions.items() if its_id == distribution_id)


def build(emulator, cloudfront: CloudFront) -> Site:
    """Make the buckets, with what is in them before, and the distributions."""
    s3 = emulator.client("s3")
    s3.create_bucket(Bucket=INTERNAL)
    s3.create_bucket(Bucket=SITE)
    tags = [{"Key": key, "Value": legal_tag_value(value)} for key, value in EXCEPTION_TAGS.items()]
    s3.put_bucket_tagging(Bucket=SITE, Tagging={"TagSet": tags})
    # Somebody else's setting, which connecting the function must leave alone.
    s3.put_bucket_notification_configuration(Bucket=SITE, NotificationConfiguration={"EventBridgeConfiguration": {}})
    for key in BEFORE:
        s3.put_object(Bucket=SITE, Key=key, Body=b"before")
    cloudfront.add(www(), docs())
    return Site({"www": www()["Id"], "docs": docs()["Id"]})


def legal_tag_value(value: str) -> str:
    """Return the value if S3 would accept it. The emulator is not as strict."""
    if not re.fullmatch(r"[\w\s.:/=+@-]{0,256}", value):
        raise ValueError(f"S3 accepts no tag value like {value!r}")
    return value


def connect(emulator, bucket: str, function_arn: str) -> None:
    """Send a bucket's events to the function.

    A bucket has one notification configuration and a put replaces it whole: read, merge, write.
    """
    s3 = emulator.client("s3")
    configuration = s3.get_bucket_notification_configuration(Bucket=bucket)
    configuration.pop("ResponseMetadata")
    configuration.setdefault("LambdaFunctionConfigurations", []).append(
        {"Id": "invalidator", "LambdaFunctionArn": function_arn, "Events": EVENTS}
    )
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)


def publish(emulator) -> None:
    """Make the changes."""
    s3 = emulator.client("s3")
    for change in CHANGES:
        apply(s3, change)


def apply(s3, change: Change) -> None:
    """Make one change."""
    if change.action == "put":
        s3.put_object(Bucket=change.bucket, Key=change.key, Body=b"after")
    else:
        s3.delete_object(Bucket=change.bucket, Key=change.key)


def www() -> dict:
    """The whole bucket, with three kinds of caching: by policy, none, and by query string."""
    return {
        "Id": "E1SAMPLEWWW",
        "Enabled": True,
        "DefaultRootObject": "index.html",
        "Origins": items([origin("bucket", f"{SITE}.s3.{REGION}.amazonaws.com")]),
        "DefaultCacheBehavior": behavior("bucket", CachePolicyId=CACHING_OPTIMIZED),
        "CacheBehaviors": items(
            [
                behavior("bucket", PathPattern="/api/*", CachePolicyId=CACHING_DISABLED),
                behavior("bucket", PathPattern="/img/*", **legacy_caching(query_string=True)),
            ]
        ),
    }


def docs() -> dict:
    """A folder of the bucket, and another origin for /live/."""
    return {
        "Id": "E2SAMPLEDOCS",
        "Enabled": True,
        "Origins": items([origin("folder", f"{SITE}.s3.amazonaws.com", "/docs"), origin("live", "live.example.com")]),
        "DefaultCacheBehavior": behavior("folder", **legacy_caching(query_string=False)),
        "CacheBehaviors": items([behavior("live", PathPattern="/live/*", CachePolicyId=CACHING_OPTIMIZED)]),
    }


def items(members: list[dict]) -> dict:
    """A list in the format of the CloudFront API."""
    return {"Quantity": len(members), "Items": members}


def origin(name: str, domain: str, path: str = "") -> dict:
    """A bucket, a folder of it, or a web server."""
    return {"Id": name, "DomainName": domain, "OriginPath": path}


def behavior(target: str, **settings: object) -> dict:
    """A cache behavior that asks this origin."""
    return {"TargetOriginId": target, **settings}


def legacy_caching(query_string: bool) -> dict:
    """Legacy caching settings on the behavior itself."""
    return {
        "ForwardedValues": {"QueryString": query_string},
        "MinTTL": 0,
        "DefaultTTL": 600,
        "MaxTTL": 3600,
    }
