"""What an IAM policy allows. Knows as much of IAM as the function's policy uses; anything else is an error."""

import re
from dataclasses import dataclass

from calls import Call


@dataclass(frozen=True)
class Grant:
    """An action on a pattern of resources, under conditions."""

    sid: str
    action: str
    resource: str
    conditions: tuple[tuple[str, str], ...]

    def allows(self, call: Call, context: dict[str, str]) -> bool:
        """Whether it allows the call."""
        return (
            self.action == call.action
            and matches(self.resource, call.resource)
            and all(context.get(key) == value for key, value in self.conditions)
        )


def grants(document: dict) -> list[Grant]:
    """A policy, as one grant for each action and resource."""
    return [
        Grant(statement["Sid"], action, resource, conditions(statement))
        for statement in document["Statement"]
        if checked(statement)
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]


def checked(statement: dict) -> bool:
    """Raise an error for anything that would be evaluated wrongly."""
    assert statement["Effect"] == "Allow"
    assert not set(statement) - {"Sid", "Effect", "Action", "Resource", "Condition"}
    assert set(statement.get("Condition", {})) <= {"StringEquals"}
    assert not any("*" in action for action in listed(statement["Action"]))
    return True


def conditions(statement: dict) -> tuple[tuple[str, str], ...]:
    """The conditions of a statement."""
    return tuple(statement.get("Condition", {}).get("StringEquals", {}).items())


def listed(value: str | list[str]) -> list[str]:
    """IAM accepts one value or a list."""
    return value if isinstance(value, list) else [value]


def matches(pattern: str, resource: str) -> bool:
    """Whether a resource matches: a star is any run of characters."""
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), resource) is not None
