"""Removes everything that a run of `make live` has made. May be run again, and continues where it stopped."""

from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

import stack
from live_account import Account, Journal, is_missing
from waiting import wait_until

STACK_MINUTES = 20
# CloudFront needs some minutes to disable a distribution everywhere.
DISTRIBUTION_MINUTES = 30


class Removal:
    """What is to be removed, and where."""

    def __init__(self, account: Account, journal: Journal, say: Callable[[str], None], poll_seconds: float) -> None:
        self.account = account
        self.journal = journal
        self.say = say
        self.poll_seconds = poll_seconds

    def run(self) -> bool:
        """Remove everything, whatever fails; False if something is left."""
        # The distribution takes longest, so it begins before all else and is over last.
        steps = [
            ("disable the distribution", self.disable_distribution),
            ("delete the stack", self.delete_stack),
            ("delete what outlives the stack", self.delete_retained),
            ("delete the queue of mails", lambda: self.delete_queue_named(self.journal.mailbox)),
            ("delete the bucket of the site", lambda: self.delete_bucket(self.journal.site)),
            ("delete the bucket of the code", lambda: self.delete_bucket(self.journal.code)),
            ("delete the distribution", self.delete_distribution),
        ]
        failed = [what for what, step in steps if not self.succeeds(what, step)]
        if not failed:
            self.journal.file.unlink(missing_ok=True)
        return not failed

    def succeeds(self, what: str, step: Callable[[], None]) -> bool:
        """Run a step, and say what goes wrong."""
        self.say(what)
        try:
            step()
        except (BotoCoreError, ClientError, LeftError) as error:
            self.say(f"failed to {what}: {error}")
            return False
        return True

    def distribution(self) -> str | None:
        """The id of the distribution. Its comment is the name of the run: an interrupt may have come before its id."""
        pages = self.account.client("cloudfront").get_paginator("list_distributions").paginate()
        found = [item for page in pages for item in page["DistributionList"].get("Items", [])]
        return next((item["Id"] for item in found if item["Comment"] == self.journal.name), None)

    def disable_distribution(self) -> None:
        """Begin to disable it."""
        cloudfront = self.account.client("cloudfront")
        found = self.distribution()
        if found:
            answer = cloudfront.get_distribution_config(Id=found)
            if answer["DistributionConfig"]["Enabled"]:
                config = answer["DistributionConfig"] | {"Enabled": False}
                cloudfront.update_distribution(Id=found, IfMatch=answer["ETag"], DistributionConfig=config)

    def delete_distribution(self) -> None:
        """Wait until it is disabled everywhere, and delete it."""
        cloudfront = self.account.client("cloudfront")
        found = self.distribution()
        if not found:
            return

        def is_deployed() -> bool:
            status = cloudfront.get_distribution(Id=found)["Distribution"]["Status"]
            if status != "Deployed":
                self.say(f"{found} is {status}: this takes some minutes")
            return status == "Deployed"

        self.wait(is_deployed, DISTRIBUTION_MINUTES, f"{found} is not disabled everywhere")
        etag = cloudfront.get_distribution(Id=found)["ETag"]
        cloudfront.delete_distribution(Id=found, IfMatch=etag)

    def delete_stack(self) -> None:
        """Delete it when nothing is being done to it; what it leaves is written down before."""
        cloudformation = self.account.client("cloudformation")
        if self.stack_status() is None:
            return
        if self.stack_status() != "DELETE_IN_PROGRESS":
            in_progress = "the stack is still being made"
            self.wait(lambda: not str(self.stack_status()).endswith("_IN_PROGRESS"), STACK_MINUTES, in_progress)
            resources = cloudformation.describe_stack_resources(StackName=self.journal.name)["StackResources"]
            self.journal.stack_resources = [
                [resource["ResourceType"], resource["PhysicalResourceId"]]
                for resource in resources
                if resource.get("PhysicalResourceId")
            ]
            self.journal.save()
            cloudformation.delete_stack(StackName=self.journal.name)
        is_settled = lambda: self.stack_status() in (None, "DELETE_FAILED")  # noqa: E731
        self.wait(is_settled, STACK_MINUTES, "the stack is still being deleted")
        if self.stack_status() == "DELETE_FAILED":
            raise LeftError(stack.first_failure(cloudformation, self.journal.name))

    def stack_status(self) -> str | None:
        """CloudFormation's word for the stack; None without one."""
        try:
            status = stack.status(self.account.client("cloudformation"), self.journal.name)
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return None if status == "DELETE_COMPLETE" else status

    def delete_retained(self) -> None:
        """Delete what the stack leaves: the queues of unfinished work, and the error bucket."""
        for kind, physical_id in self.journal.stack_resources:
            if kind == "AWS::SQS::Queue":
                self.delete_queue(physical_id)
            if kind == "AWS::S3::Bucket":
                self.delete_bucket(physical_id)

    def delete_queue_named(self, name: str) -> None:
        """Delete the queue of this name."""
        sqs = self.account.client("sqs")
        for url in sqs.list_queues(QueueNamePrefix=name).get("QueueUrls", []):
            self.delete_queue(url)

    def delete_queue(self, url: str) -> None:
        """Delete a queue, if it is there."""
        try:
            self.account.client("sqs").delete_queue(QueueUrl=url)
        except ClientError as error:
            if not is_missing(error):
                raise

    def delete_bucket(self, name: str) -> None:
        """Empty a bucket, of all versions, and delete it, if it is there."""
        s3 = self.account.client("s3")
        try:
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
                for item in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                    s3.delete_object(Bucket=name, Key=item["Key"], VersionId=item["VersionId"])
            s3.delete_bucket(Bucket=name)
        except ClientError as error:
            if not is_missing(error):
                raise

    def wait(self, condition: Callable[[], bool], minutes: int, otherwise: str) -> None:
        """Wait for a condition; raises an error if it does not come true."""
        if not wait_until(condition, minutes * 60, self.poll_seconds):
            raise LeftError(f"{otherwise} after {minutes} minutes")


class LeftError(Exception):
    """Something is left; the message says why."""
