"""`make live`: the pipeline in a real account, from the upload to the invalidation, and everything removed again.

live.py ZIP (or `--remove NAME`), with --prefix, --region, --architecture, --yes, and for an emulator --endpoint-url.
"""

import argparse
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

import alert_mails
import iam_gaps
import sample_site
import stack
from emulator import interrupt_when_told_to_end
from live_account import Account, Journal
from live_removal import Removal
from pipeline import ROOT, TEMPLATE
from waiting import wait_until

DEBOUNCE_SECONDS = 3
# Bucket names have at most 63 characters: the prefix, and "-invalidator-0123abcd-site". A stack's begins with a letter.
PREFIX = re.compile(r"[a-z][a-z0-9-]{1,35}")
MINUTES = 5
STACK_MINUTES = 15
# AWS limits how often one may ask.
POLL_SECONDS = 2.0
PACKAGE_KEY = "invalidator.zip"
COMMAND_LINE = ROOT / "target/debug/invalidatorctl"
# So long a change is watched that must not be invalidated: the debounce, and what a flush and a submit need.
KEPT_SECONDS = DEBOUNCE_SECONDS + 15
# No account has a distribution of this id, and the stack may touch only its own anyway.
FOREIGN_DISTRIBUTION = "E00000000FOREIGN"


class LiveError(Exception):
    """The pipeline did not do what it should; the message says what."""


def main() -> int:
    """Ask, run, remove. Exit status 0 only if all worked and nothing is left."""
    options = parsed()
    interrupt_when_told_to_end()
    if options.remove:
        return remove_earlier(options)
    account = Account(options.region, options.endpoint_url)
    name = f"{options.prefix}-invalidator-{secrets.token_hex(4)}"
    try:
        number = account.id()
        if not options.yes and not is_confirmed(account, name):
            return complain("nothing was made")
    except (BotoCoreError, ClientError) as error:
        return complain(f"AWS cannot be reached: {error}")
    except (EOFError, KeyboardInterrupt):
        return complain("nothing was made")
    journal = Journal(name, number, options.region, options.endpoint_url)
    journal.save()
    status = 1
    try:
        Run(account, journal, options).all()
        status = 0
    except (BotoCoreError, ClientError, LiveError, stack.DeployError) as error:
        complain(str(error))
    except KeyboardInterrupt:
        complain("interrupted")
    finally:
        left = remove(account, journal, options.poll_seconds)
    return status or left


def parsed() -> argparse.Namespace:
    """The options, checked."""
    parser = argparse.ArgumentParser(prog="make live")
    parser.add_argument("package", nargs="?", type=Path)
    parser.add_argument("--remove", metavar="NAME")
    parser.add_argument("--prefix", default="")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--architecture", default="arm64", choices=["arm64", "x86_64"])
    parser.add_argument("--endpoint-url")
    parser.add_argument("--poll-seconds", type=float, default=POLL_SECONDS)
    parser.add_argument("--yes", action="store_true")
    options = parser.parse_args()
    if not options.remove and not PREFIX.fullmatch(options.prefix):
        parser.error("BUCKET_PREFIX must be 2 to 36 lower-case letters, digits and hyphens, first a letter")
    if not options.remove and not (options.package and options.package.is_file()):
        parser.error(f"there is no package at {options.package}: build it with `make build`")
    return options


def is_confirmed(account: Account, name: str) -> bool:
    """Say what it does and costs, and ask."""
    print(f"""This deploys invalidator to the AWS account {account.id()} in {account.region}, to try it there:
  two buckets, a distribution, a queue and a stack, all called {name}-..
It touches no other bucket or distribution, takes about ten minutes, and removes everything again, also after Ctrl-C.
It costs less than 0.10 USD: three invalidation paths and some hundred calls.""")
    return input("Type yes to go on: ").strip() == "yes"


def remove_earlier(options: argparse.Namespace) -> int:
    """Remove what an earlier run has left, but only in its own account: in another one all of it would be missing."""
    try:
        journal = Journal.load(options.remove)
        account = Account(journal.region, journal.endpoint)
        number = account.id()
    except KeyError as error:
        return complain(error.args[0])
    except (BotoCoreError, ClientError) as error:
        return complain(f"AWS cannot be reached: {error}")
    if number != journal.account:
        return complain(
            f"{journal.name} is in account {journal.account}, and these credentials are of {number}: "
            "nothing was removed; choose the right AWS_PROFILE"
        )
    return remove(account, journal, options.poll_seconds)


def remove(account: Account, journal: Journal, poll_seconds: float) -> int:
    """Remove all that was made; nothing but a kill interrupts it."""
    for order in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(order, signal.SIG_IGN)
    say("removing everything; Ctrl-C is ignored meanwhile")
    if Removal(account, journal, say, poll_seconds).run():
        say("nothing is left")
        return 0
    return complain(f"something is left, see above. To try again: make live REMOVE={journal.name}")


class Run:
    """One run, step by step."""

    def __init__(self, account: Account, journal: Journal, options: argparse.Namespace) -> None:
        self.account = account
        self.journal = journal
        self.options = options
        self.distribution = ""
        self.outputs: dict[str, str] = {}
        # The path of the last change made while the stack was stopped.
        self.kept = ""

    def all(self) -> None:
        """Everything that is to be proved."""
        say(f"making the buckets and the distribution {self.journal.name}")
        self.make_buckets()
        self.make_distribution()
        say("deploying the stack: some minutes")
        self.deploy()
        sample_site.connect(self.account, self.journal.site, self.outputs["FunctionArn"])
        say("the stack is ready; uploading an object")
        self.expect_invalidation("index.html", "/index.html")
        say("asking for a distribution that the stack may not touch: a file and a mail must say so")
        self.expect_mail()
        say("the kill switch: stopped, nothing may be invalidated; live, and it must (two minutes)")
        self.try_kill_switch()
        say("OK: the pipeline works in this account")

    def make_buckets(self) -> None:
        """The site, with versions as AWS recommends, and the bucket that the stack is deployed from."""
        s3 = self.account.client("s3")
        place = {"CreateBucketConfiguration": {"LocationConstraint": self.account.region}}
        for bucket in (self.journal.site, self.journal.code):
            s3.create_bucket(Bucket=bucket, **(place if self.account.region != "us-east-1" else {}))
        s3.put_bucket_versioning(Bucket=self.journal.site, VersioningConfiguration={"Status": "Enabled"})
        s3.upload_file(str(self.options.package), self.journal.code, PACKAGE_KEY)

    def make_distribution(self) -> None:
        """A distribution with the site as its origin. Visitors are refused: what counts is the invalidation."""
        domain = f"{self.journal.site}.s3.{self.account.region}.amazonaws.com"
        origin = {"Id": "site", "DomainName": domain, "S3OriginConfig": {"OriginAccessIdentity": ""}}
        config = {
            "CallerReference": self.journal.name,
            "Comment": self.journal.name,
            "Enabled": True,
            "PriceClass": "PriceClass_100",
            "Origins": sample_site.items([origin]),
            "DefaultCacheBehavior": {
                "TargetOriginId": "site",
                "ViewerProtocolPolicy": "redirect-to-https",
                "CachePolicyId": sample_site.CACHING_OPTIMIZED,
            },
        }
        made = self.account.client("cloudfront").create_distribution(DistributionConfig=config)
        self.distribution = made["Distribution"]["Id"]

    def deploy(self) -> None:
        """The stack, which may touch nothing but what this run has made."""
        parameters = {
            "AdminEmail": "none",
            "Architecture": self.options.architecture,
            "DebounceSeconds": str(DEBOUNCE_SECONDS),
            "DistributionIds": self.distribution,
            "S3Buckets": self.journal.site,
        }
        package = f"s3://{self.journal.code}/{PACKAGE_KEY}"
        body = stack.packaged(TEMPLATE, package=package, for_emulator=bool(self.account.endpoint))
        self.account.client("s3").put_object(Bucket=self.journal.code, Key="template.json", Body=body.encode())
        address = self.account.endpoint or f"https://s3.{self.account.region}.amazonaws.com"
        cloudformation = self.account.client("cloudformation")
        cloudformation.create_stack(
            StackName=self.journal.name,
            TemplateURL=f"{address}/{self.journal.code}/template.json",
            **stack.settings(parameters),
        )
        deployed = stack.finished(
            cloudformation, self.journal.name, "CREATE_COMPLETE", STACK_MINUTES * 60, self.options.poll_seconds
        )
        self.outputs = deployed.outputs
        if self.account.endpoint:
            iam_gaps.bridge(self.account, deployed.resources["FunctionRole"])

    def expect_invalidation(self, key: str, path: str) -> None:
        """Change an object, and wait until CloudFront has its path."""
        self.upload(key)
        started = time.monotonic()
        self.wait(lambda: path in self.invalidated(), f"{path} was not invalidated")
        say(f"{path} is invalidated, {time.monotonic() - started:.0f} s after the upload")

    def upload(self, key: str) -> None:
        """Change an object."""
        self.account.client("s3").put_object(Bucket=self.journal.site, Key=key, Body=b"changed")

    def invalidated(self) -> set[str]:
        """All paths that CloudFront has accepted."""
        cloudfront = self.account.client("cloudfront")
        listed = cloudfront.list_invalidations(DistributionId=self.distribution)["InvalidationList"]
        ids = [item["Id"] for item in listed.get("Items", [])]
        answers = [cloudfront.get_invalidation(DistributionId=self.distribution, Id=it)["Invalidation"] for it in ids]
        return {path for answer in answers for path in answer["InvalidationBatch"]["Paths"]["Items"]}

    def expect_mail(self) -> None:
        """Let a path be rejected, and wait for the mail and the file that it names."""
        topic = self.outputs["AlertTopicArn"]
        mails = alert_mails.subscribe(self.account.client, topic, self.journal.mailbox)
        body = {"v": 1, "distribution": FOREIGN_DISTRIBUTION, "paths": ["/x"], "reason": "make live", "by": "make live"}
        self.account.client("sqs").send_message(
            QueueUrl=self.outputs["SubmitQueueUrl"],
            MessageGroupId=f"{FOREIGN_DISTRIBUTION}/paths",
            MessageDeduplicationId=self.journal.name,
            MessageBody=json.dumps(body),
        )
        received: list[str] = []

        def has_arrived() -> bool:
            received.extend(alert_mails.take(self.account.client, mails))
            return any(FOREIGN_DISTRIBUTION in mail for mail in received)

        self.wait(has_arrived, "no mail says that the path was rejected")
        files = (
            self.account.client("s3")
            .list_objects_v2(Bucket=self.outputs["ErrorBucketName"], Prefix="invalidation_error/")
            .get("Contents", [])
        )
        if not any(FOREIGN_DISTRIBUTION in file["Key"] for file in files):
            raise LiveError("there is a mail, but no file with the rejected path")

    def try_kill_switch(self) -> None:
        """Nothing may reach CloudFront while the stack is stopped, and what waited must when it is live again."""
        self.choose("stopped")
        # The function reads the mode once a minute, so the first uploads may still get through.
        self.wait(self.is_kept, "the kill switch does not keep a change from CloudFront")
        self.choose("live")
        self.wait(lambda: self.kept in self.invalidated(), "what waited was not invalidated")

    def choose(self, mode: str) -> None:
        """Choose the mode of the stack, as an operator would."""
        command = [COMMAND_LINE, "mode", mode, "--stack", self.journal.name, "--yes", "--region", self.account.region]
        if self.account.endpoint:
            command += ["--endpoint-url", self.account.endpoint]
        # As for our own clients: no endpoint but the one that was given.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_ENDPOINT_URL")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LiveError(f"invalidatorctl mode {mode}: {done.stderr.strip()}")

    def is_kept(self) -> bool:
        """Change an object, and see whether the change stays in the buffer."""
        key = f"while-stopped-{secrets.token_hex(2)}.html"
        self.kept = f"/{key}"
        self.upload(key)
        is_through = wait_until(lambda: self.kept in self.invalidated(), KEPT_SECONDS, self.options.poll_seconds)
        return not is_through and self.waiting(self.outputs["BufferQueueUrl"]) > 0

    def waiting(self, url: str) -> int:
        """How many messages of a queue can be received."""
        name = "ApproximateNumberOfMessages"
        answer = self.account.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def wait(self, condition, otherwise: str) -> None:
        """Wait for a condition; raises an error if it does not come true."""
        if not wait_until(condition, MINUTES * 60, self.options.poll_seconds):
            raise LiveError(f"{otherwise} within {MINUTES} minutes")


STARTED = time.monotonic()


def say(text: str) -> None:
    """Progress, with the time since the start."""
    print(f"{time.monotonic() - STARTED:5.0f} s  {text}", flush=True)


def complain(text: str) -> int:
    """One line on what is wrong, and the exit status that goes with it."""
    print(f"make live: {text}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
