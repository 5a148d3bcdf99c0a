"""Adapts policies where the emulator's IAM uses names of actions that AWS does not have.

On AWS, `sqs:SendMessage` allows SendMessageBatch too, and so on; the emulator wants `sqs:SendMessageBatch`. The
function's role gets the emulator's actions on exactly the resources that the template allows, so that the template's
own policy still decides.
"""

import json

BATCH_ACTIONS = {
    "sqs:SendMessage": "sqs:SendMessageBatch",
    "sqs:DeleteMessage": "sqs:DeleteMessageBatch",
    "sqs:ChangeMessageVisibility": "sqs:ChangeMessageVisibilityBatch",
}


def bridge(emulator, role: str) -> None:
    """Allow the role's actions on single messages for batches, too."""
    iam = emulator.client("iam")
    statements = [
        statement
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
        for statement in iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]
    ]
    granted = [batched(s) for s in statements if batch_actions(s)]
    document = {"Version": "2012-10-17", "Statement": granted}
    iam.put_role_policy(RoleName=role, PolicyName="emulator-gaps", PolicyDocument=json.dumps(document))


def batched(statement: dict) -> dict:
    """The statement, for batches."""
    return {"Effect": "Allow", "Action": batch_actions(statement), "Resource": statement["Resource"]}


def batch_actions(statement: dict) -> list[str]:
    """What the emulator calls the actions of a statement when they come in batches."""
    return [BATCH_ACTIONS[action] for action in actions(statement) if action in BATCH_ACTIONS]


def actions(statement: dict) -> list[str]:
    """IAM accepts one value or a list."""
    return statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
