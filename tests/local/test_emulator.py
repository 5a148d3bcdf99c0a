"""The emulator's S3 behaves as AWS's where the tests of the pipeline rely on it. docs/development.md lists it."""

import json
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from pipeline import Pipeline
from waiting import wait_until

BUCKET = "emulated-site"


@pytest.fixture
def queue(running: Pipeline) -> Iterator[str]:
    """The URL of a queue that may receive events of a new bucket. Its ARN ends with its name."""
    sqs, s3 = running.emulator.client("sqs"), running.emulator.client("s3")
    url = sqs.create_queue(QueueName="emulated-events")["QueueUrl"]
    allow = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [allow | {"Resource": arn(running, url)}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    s3.create_bucket(Bucket=BUCKET)
    yield url
    for version in s3.list_object_versions(Bucket=BUCKET).get("Versions", []):
        s3.delete_object(Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"])
    s3.delete_bucket(Bucket=BUCKET)
    sqs.delete_queue(QueueUrl=url)


def arn(running: Pipeline, url: str) -> str:
    """The ARN of a queue."""
    sqs = running.emulator.client("sqs")
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def connect(running: Pipeline, url: str) -> None:
    """Send the bucket's events to the queue."""
    configuration = {"QueueArn": arn(running, url), "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
    running.emulator.client("s3").put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [configuration]}
    )


def received(running: Pipeline, url: str, count: int) -> list[dict]:
    """So many events, in the order in which they came."""
    sqs = running.emulator.client("sqs")
    events: list[dict] = []

    def all_here() -> bool:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            events.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(events) >= count

    assert wait_until(all_here, 10), events
    return events


def test_s3_sends_a_test_event_and_form_encoded_keys(queue: str, running: Pipeline) -> None:
    s3 = running.emulator.client("s3")
    connect(running, queue)
    s3.put_object(Bucket=BUCKET, Key="a b+c/한.html", Body=b"1")
    s3.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "a b+c/한.html"})
    s3.delete_object(Bucket=BUCKET, Key="copy")
    s3.delete_object(Bucket=BUCKET, Key="a b+c/한.html")
    events = received(running, queue, 5)
    (connected,) = [event for event in events if "Records" not in event]
    assert connected["Event"] == "s3:TestEvent"
    records = [record for event in events for record in event.get("Records", [])]
    assert sorted((record["eventName"], record["s3"]["object"]["key"]) for record in records) == [
        ("ObjectCreated:Copy", "copy"),
        ("ObjectCreated:Put", "a+b%2Bc/%ED%95%9C.html"),
        ("ObjectRemoved:Delete", "a+b%2Bc/%ED%95%9C.html"),
        ("ObjectRemoved:Delete", "copy"),
    ]
    assert all(record["s3"]["object"]["sequencer"] for record in records)


def test_a_put_of_notifications_replaces_them_all(queue: str, running: Pipeline) -> None:
    s3 = running.emulator.client("s3")
    connect(running, queue)
    assert "QueueConfigurations" in s3.get_bucket_notification_configuration(Bucket=BUCKET)
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}})
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket=BUCKET)


def test_an_untagged_bucket_has_no_tag_set(queue: str, running: Pipeline) -> None:
    del queue
    with pytest.raises(ClientError, match="NoSuchTagSet"):
        running.emulator.client("s3").get_bucket_tagging(Bucket=BUCKET)
