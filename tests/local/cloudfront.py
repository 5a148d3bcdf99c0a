"""CloudFront, as the tests and `make local` know it: the program `strict-cloudfront`.

The emulator has a CloudFront too, but it accepts what the real one refuses, and fails no call.
"""

import json
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[2] / "target/debug/strict-cloudfront"
ENVIRONMENT = "AWS_ENDPOINT_URL_CLOUDFRONT"


@dataclass(frozen=True)
class Invalidation:
    """An invalidation that was accepted."""

    id: str
    status: str
    paths: tuple[str, ...]


class CloudFront:
    """The running program. Use it in a `with` statement."""

    def __enter__(self) -> "CloudFront":
        # In a group of its own: Ctrl-C is for us, and we end it.
        self.process = subprocess.Popen(
            [PROGRAM], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            self.endpoint = self.process.stdout.readline().strip()
        except BaseException:
            self.process.kill()
            raise
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def environment(self) -> dict[str, str]:
        """By which the function finds it."""
        return {ENVIRONMENT: self.endpoint}

    def add(self, *distributions: dict, policies: tuple[dict, ...] = (), tenants: tuple[dict, ...] = ()) -> None:
        """Add what an account holds, in the words of the AWS CLI."""
        account = {
            "DistributionList": {"Items": distributions},
            "CachePolicyList": {"Items": [{"Type": "custom", "CachePolicy": policy} for policy in policies]},
            "DistributionTenantList": tenants,
        }
        self.control("POST", "account", account)

    def fail(self, fault: str, operation: str, target: str | None = None) -> None:
        """Let an operation fail, on one distribution or on all, until it is healed."""
        self.control("POST", "faults", {"fault": fault, "operation": operation, "target": target})

    def heal(self) -> None:
        """Let nothing fail."""
        self.control("DELETE", "faults")

    def calls(self) -> list[dict]:
        """All calls so far, refused and unanswered ones too."""
        return self.control("GET", "calls")

    def add_earlier(self, distribution: str, reference: str, *paths: str, minutes_ago: int = 10) -> None:
        """Let a distribution have accepted an invalidation of somebody else."""
        earlier = {"seconds_ago": minutes_ago * 60, "caller_reference": reference, "paths": paths}
        self.control("POST", f"invalidations/{distribution}", earlier)

    def invalidations(self, distribution: str) -> list[Invalidation]:
        """What a distribution accepted, oldest first."""
        accepted = self.control("GET", f"invalidations/{distribution}")
        return [Invalidation(it["id"], it["status"], tuple(it["paths"])) for it in accepted]

    def control(self, method: str, path: str, body: object = None):
        """A request of the program's control interface."""
        request = urllib.request.Request(f"{self.endpoint}/_stand_in/{path}", json.dumps(body).encode(), method=method)
        with self.opener.open(request, timeout=10) as answer:
            return json.load(answer)
