"""What a documented command could lose or overwrite, to compare it before and after."""

import contextlib
import json
import uuid
from collections.abc import Iterator

from botocore.exceptions import ClientError

import sample_site
from pipeline import DEAD_LETTER_QUEUES, Pipeline
from reader import DOOMED_BUCKET, TOPIC

BUCKETS = [sample_site.SITE, "fresh-site"]
MAPPINGS = ["FlushMappingId", "SubmitMappingId"]
# The file that operate.md replays, by the names of this pipeline.
ERROR_FILE = "invalidation_error/20261121020304567891abcde01234_E2SAMPLEDOCS.txt"
ERROR_TEXT = "CloudFront Id [E2SAMPLEDOCS]\n(Set 1 Start)\n\n/replayed.html\n\n(Set 1 End)\n\n"
MODE_FILE = "state/mode.json"
RECORD = {
    "eventVersion": "2.1",
    "eventSource": "aws:s3",
    "awsRegion": "us-east-1",
    "eventTime": "2026-11-21T02:03:04.000Z",
    "eventName": "ObjectCreated:Put",
    "s3": {"bucket": {"name": sample_site.SITE}, "object": {"key": "kept.html", "sequencer": "0A"}},
}
# What the docs' commands find: changes, a set, and a failed event as Lambda keeps it, with what EventBridge sends.
DEAD_LETTERS = {
    "BufferDeadLetterQueueUrl": {
        "version": 1,
        "buckets": [{"bucket": sample_site.SITE, "created": [["put-back.html", None]], "deleted": []}],
    },
    "SubmitDeadLetterQueueUrl": {"v": 1, "distribution": "E2SAMPLEDOCS", "paths": ["/put-back.html"], "by": "test"},
    "FailedEventsQueueUrl": {
        "requestPayload": {"Records": [RECORD]},
        "responsePayload": {},
        "detail": {},
        "Records": [RECORD],
    },
}
# The stack that deploy.md deletes: it must not be the one that all other commands need.
DOOMED_STACK = "docs-uninstall"
DOOMED_TEMPLATE = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}


@contextlib.contextmanager
def prepared(running: Pipeline) -> Iterator["World"]:
    """The pipeline with something in each place, and afterwards as it was."""
    world = World(running)
    world.fill()
    try:
        yield world
    finally:
        world.leave_clean()


class World:
    """The pipeline's account."""

    def __init__(self, running: Pipeline) -> None:
        self.running = running
        self.client = running.emulator.client
        self.outputs = running.stack.outputs
        self.topic = self.client("sns").create_topic(Name=TOPIC)["TopicArn"]
        with contextlib.suppress(ClientError):
            self.client("s3").create_bucket(Bucket="fresh-site")
        self.settings = {bucket: (self.notifications(bucket), self.tags(bucket)) for bucket in BUCKETS}
        self.patience = {queue: self.visibility(queue) for queue in DEAD_LETTER_QUEUES}

    def state(self) -> dict[str, str]:
        """Everything that a command may change, by name."""
        found: dict[str, object] = {}
        for bucket in BUCKETS:
            found[f"notifications of {bucket}"] = self.notifications(bucket)
            found[f"tags of {bucket}"] = self.tags(bucket)
        for queue in DEAD_LETTER_QUEUES:
            found[queue] = self.running.depth(queue)
        for mapping in MAPPINGS:
            found[mapping] = self.is_enabled(mapping)
        found["error files"] = self.objects("invalidation_error/")
        found["mode"] = self.mode()
        found["subscriptions"] = self.subscribers()
        found["doomed stack"] = self.doomed_stack_exists()
        found["doomed bucket"] = self.doomed_bucket_exists()
        return {name: json.dumps(value, sort_keys=True, default=str) for name, value in found.items()}

    def fill(self) -> None:
        """Put something into each place, or put it back."""
        s3, sqs = self.client("s3"), self.client("sqs")
        for bucket, (notifications, tags) in self.settings.items():
            s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=notifications)
            if tags:
                s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
        s3.put_object(Bucket=self.outputs["ErrorBucketName"], Key=ERROR_FILE, Body=ERROR_TEXT.encode())
        for queue in DEAD_LETTER_QUEUES:
            url = self.outputs[queue]
            # What a failed command has received is visible to the next one.
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "0"})
            if self.running.depth(queue) == 0:
                fifo = (
                    {"MessageGroupId": "E2SAMPLEDOCS/paths", "MessageDeduplicationId": str(uuid.uuid4())}
                    if url.endswith(".fifo")
                    else {}
                )
                sqs.send_message(QueueUrl=url, MessageBody=json.dumps(DEAD_LETTERS[queue]), **fifo)
        for mapping in MAPPINGS:
            self.client("lambda").update_event_source_mapping(UUID=self.outputs[mapping], Enabled=True)
        self.forget_mode()
        self.unsubscribe()
        if not self.doomed_stack_exists():
            body = json.dumps(DOOMED_TEMPLATE)
            self.client("cloudformation").create_stack(StackName=DOOMED_STACK, TemplateBody=body)
        s3.create_bucket(Bucket=DOOMED_BUCKET)
        s3.put_bucket_versioning(Bucket=DOOMED_BUCKET, VersioningConfiguration={"Status": "Enabled"})
        s3.put_object(Bucket=DOOMED_BUCKET, Key=MODE_FILE, Body=b"{}")
        s3.delete_object(Bucket=DOOMED_BUCKET, Key=MODE_FILE)

    def leave_clean(self) -> None:
        """Take everything out again."""
        self.fill()
        for queue in DEAD_LETTER_QUEUES:
            url = self.outputs[queue]
            self.client("sqs").purge_queue(QueueUrl=url)
            self.client("sqs").set_queue_attributes(
                QueueUrl=url, Attributes={"VisibilityTimeout": self.patience[queue]}
            )
        # A command whose last call failed may have left changes without a tick, which would wait for a sweep.
        tick = {"MessageBody": "test", "MessageGroupId": "flush", "MessageDeduplicationId": str(uuid.uuid4())}
        self.client("sqs").send_message(QueueUrl=self.outputs["TickQueueUrl"], **tick)
        self.client("s3").delete_object(Bucket=self.outputs["ErrorBucketName"], Key=ERROR_FILE)
        self.client("cloudformation").delete_stack(StackName=DOOMED_STACK)

    def notifications(self, bucket: str) -> dict:
        """The whole configuration."""
        answer = self.client("s3").get_bucket_notification_configuration(Bucket=bucket)
        answer.pop("ResponseMetadata")
        for configuration in answer.get("LambdaFunctionConfigurations", []):
            configuration["Events"].sort()
        return answer

    def tags(self, bucket: str) -> list[dict]:
        """All tags."""
        try:
            found = self.client("s3").get_bucket_tagging(Bucket=bucket)["TagSet"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchTagSet":
                raise
            return []
        return sorted(found, key=lambda tag: tag["Key"])

    def is_enabled(self, mapping: str) -> bool:
        """Whether an event source mapping delivers."""
        state = self.client("lambda").get_event_source_mapping(UUID=self.outputs[mapping])["State"]
        return not state.startswith("Disabl")

    def objects(self, prefix: str) -> list[str]:
        """The files in the error bucket."""
        listed = self.client("s3").list_objects_v2(Bucket=self.outputs["ErrorBucketName"], Prefix=prefix)
        return [item["Key"] for item in listed.get("Contents", [])]

    def mode(self) -> str | None:
        """The mode that was chosen, if one was."""
        if not self.objects(MODE_FILE):
            return None
        answer = self.client("s3").get_object(Bucket=self.outputs["ErrorBucketName"], Key=MODE_FILE)
        return json.load(answer["Body"])["mode"]

    def forget_mode(self) -> None:
        """Nobody has ever chosen a mode, and the function has read none."""
        bucket = self.outputs["ErrorBucketName"]
        listed = self.client("s3").list_object_versions(Bucket=bucket, Prefix=MODE_FILE)
        versions = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
        for version in versions:
            self.client("s3").delete_object(Bucket=bucket, Key=MODE_FILE, VersionId=version["VersionId"])
        if versions:
            self.running.restart_function()

    def subscribers(self) -> list[str]:
        """Who receives what the other topic sends."""
        listed = self.client("sns").list_subscriptions_by_topic(TopicArn=self.topic)
        return [it["Endpoint"] for it in listed["Subscriptions"]]

    def unsubscribe(self) -> None:
        """Take back what the commands subscribe and allow."""
        for it in self.client("sns").list_subscriptions_by_topic(TopicArn=self.topic)["Subscriptions"]:
            self.client("sns").unsubscribe(SubscriptionArn=it["SubscriptionArn"])
        with contextlib.suppress(ClientError):
            self.client("lambda").remove_permission(FunctionName=self.outputs["FunctionName"], StatementId="my-topic")

    def doomed_stack_exists(self) -> bool:
        """Whether the stack is there that may be deleted."""
        with contextlib.suppress(ClientError):
            (found,) = self.client("cloudformation").describe_stacks(StackName=DOOMED_STACK)["Stacks"]
            return not found["StackStatus"].startswith("DELETE")
        return False

    def doomed_bucket_exists(self) -> bool:
        """Whether the bucket is there that may be deleted."""
        return DOOMED_BUCKET in {bucket["Name"] for bucket in self.client("s3").list_buckets()["Buckets"]}

    def visibility(self, queue: str) -> str:
        """After how many seconds a message of the queue comes back."""
        answer = self.client("sqs").get_queue_attributes(
            QueueUrl=self.outputs[queue], AttributeNames=["VisibilityTimeout"]
        )
        return answer["Attributes"]["VisibilityTimeout"]
