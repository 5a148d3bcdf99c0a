"""Which paths of a distribution become stale when objects of a bucket change."""

import fnmatch
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import quote

CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
# What CloudFront wants to see as it is.
UNENCODED = "/!$&()*,:;=@"


class Behavior(NamedTuple):
    """A cache behavior, ready to match."""

    match: Callable[[str], object]
    # Whether it invalidates what was uploaded, and what was deleted.
    invalidates: tuple[bool, bool]


class Change(NamedTuple):
    """A changed object, as a viewer sees it."""

    path: str
    encoded: str
    deleted: bool


def change(key: str, deleted: bool = False) -> Change:
    """The change of an object."""
    return Change(f"/{key}", quote(f"/{key}", safe=UNENCODED), deleted)


def behaviors(distribution: dict, bucket: str) -> list[Behavior]:
    """The behaviors of a distribution, the default one last, or none if it does not serve the bucket."""
    domain = f"{bucket}.s3."
    origins = {origin["Id"] for origin in distribution["Origins"]["Items"] if origin["DomainName"].startswith(domain)}
    if not origins or not distribution["Enabled"]:
        return []

    def behavior(settings: dict, pattern: str) -> Behavior:
        serves = settings["TargetOriginId"] in origins
        caches = settings["CachePolicyId"] != CACHING_DISABLED
        # Unlike fnmatch.fnmatch, this is case-sensitive everywhere, and compiled once.
        match = re.compile(fnmatch.translate(pattern)).match
        return Behavior(match, (serves and caches, serves))

    ordered = distribution.get("CacheBehaviors", {}).get("Items", [])
    patterns = [(settings, "/" + settings["PathPattern"].removeprefix("/")) for settings in ordered]
    return [behavior(*each) for each in [*patterns, (distribution["DefaultCacheBehavior"], "*")]]


def stale_paths(behaviors: list[Behavior], changes: Iterable[Change]) -> list[str]:
    """The first behavior that matches decides."""
    paths = []
    for path, encoded, deleted in changes:
        for match, invalidates in behaviors:
            if match(path):
                if invalidates[deleted]:
                    paths.append(encoded)
                break
    return paths
