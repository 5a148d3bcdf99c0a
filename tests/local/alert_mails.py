"""A queue that receives what the alert topic sends, as the admin's mailbox would."""

import json


def subscribe(client, topic: str, name: str) -> str:
    """Make the queue and subscribe it to the topic; returns the queue's URL. `client` gives a service's client."""
    sqs = client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy(arn, topic))})
    client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return url


def policy(queue: str, topic: str) -> dict:
    """Lets the topic send to the queue."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": queue,
                "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
            }
        ],
    }


def take(client, url: str, wait_seconds: int = 1) -> list[str]:
    """The bodies of the messages that have arrived; they are taken out of the queue."""
    sqs = client("sqs")
    messages = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=wait_seconds).get("Messages", [])
    for message in messages:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return [message["Body"] for message in messages]
