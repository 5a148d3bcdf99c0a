"""What CloudFormation makes of a part of the template: references, conditions and functions, as far as it uses them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

PSEUDO_PARAMETERS = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackName": "invalidator",
    "AWS::URLSuffix": "amazonaws.com",
}
# What stands for a property that is left out.
NO_VALUE = object()


@dataclass(frozen=True)
class Scope:
    """A template, and what its parameters are set to."""

    template: dict
    parameters: Mapping[str, str] = field(default_factory=dict)
    pseudo_parameters: Mapping[str, str] = field(default_factory=lambda: PSEUDO_PARAMETERS)

    def resolve(self, node):
        """A part of the template, with every function replaced by its result."""
        if isinstance(node, list):
            return [value for value in map(self.resolve, node) if value is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name in ("Ref", "Condition") and isinstance(argument, str):
                return self.reference(argument) if name == "Ref" else self.condition(argument)
            if name.startswith("Fn::"):
                return FUNCTIONS[name](self, argument)
        resolved = {key: self.resolve(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not NO_VALUE}

    def reference(self, name: str):
        """What `Ref` gives."""
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self.pseudo_parameters:
            return self.pseudo_parameters[name]
        if name in self.template["Parameters"]:
            return self.parameter(name)
        return self.attribute(name, None)

    def parameter(self, name: str):
        """The value of a parameter: the one that is set, or the default."""
        declared = self.template["Parameters"][name]
        value = self.parameters[name] if name in self.parameters else declared["Default"]
        return value.split(",") if declared["Type"] == "CommaDelimitedList" else value

    def attribute(self, resource: str, name: str | None) -> str:
        """An attribute of a resource, as long as AWS's: CloudFormation adds the stack's name and 12 letters."""
        kind = self.template["Resources"].get(resource, {}).get("Type")
        physical = f"{self.pseudo_parameters['AWS::StackName']}-{resource}-1A2B3C4D5E6F"
        account = f"{self.pseudo_parameters['AWS::Region']}:{self.pseudo_parameters['AWS::AccountId']}"
        arn = f"arn:{self.pseudo_parameters['AWS::Partition']}"
        arns = {
            "AWS::SQS::Queue": f"{arn}:sqs:{account}:{physical[:80]}",
            "AWS::SNS::Topic": f"{arn}:sns:{account}:{physical}",
            "AWS::S3::Bucket": f"{arn}:s3:::{physical[:63].lower()}",
            "AWS::KMS::Key": f"{arn}:kms:{account}:key/1a2b3c4d-1a2b-1a2b-1a2b-1a2b3c4d5e6f",
            "AWS::Lambda::Function": f"{arn}:lambda:{account}:function:{physical[:64]}",
            "AWS::Logs::LogGroup": f"{arn}:logs:{account}:log-group:{physical}:*",
        }
        if kind == "AWS::SQS::Queue" and name is None:
            domain = self.pseudo_parameters["AWS::URLSuffix"]
            return f"https://sqs.{account.split(':')[0]}.{domain}/{account.split(':')[1]}/{physical[:80]}"
        if name == "Arn" or kind == "AWS::SNS::Topic":
            return arns.get(kind, f"{arn}:any:{account}:{physical}")
        return physical[:63].lower() if kind == "AWS::S3::Bucket" else physical[:80]

    def condition(self, name: str) -> bool:
        """Whether a condition holds."""
        return self.resolve(self.template["Conditions"][name])

    def substitute(self, argument) -> str:
        """`Fn::Sub`, with or without values of its own."""
        text, own = argument if isinstance(argument, list) else (argument, {})
        values = {name: self.resolve(value) for name, value in own.items()}

        def value(match: re.Match) -> str:
            name = match[1]
            if name in values:
                return str(values[name])
            resource, _, attribute = name.partition(".")
            return str(self.attribute(resource, attribute) if attribute else self.reference(name))

        return re.sub(r"\$\{(?!!)(.*?)\}", value, text).replace("${!", "${")

    def choose(self, argument: list):
        """`Fn::If`."""
        name, then, otherwise = argument
        return self.resolve(then if self.condition(name) else otherwise)

    def each(self, argument: list) -> list:
        """The resolved arguments of a function."""
        return [self.resolve(value) for value in argument]


def equals(scope: Scope, argument: list) -> bool:
    """`Fn::Equals`."""
    left, right = scope.each(argument)
    return left == right


def contains(scope: Scope, argument: list) -> bool:
    """`Fn::Contains`, of rules only."""
    values, value = scope.each(argument)
    return value in values


def split(scope: Scope, argument: list) -> list[str]:
    """`Fn::Split`."""
    delimiter, text = scope.each(argument)
    return text.split(delimiter)


def join(scope: Scope, argument: list) -> str:
    """`Fn::Join`."""
    delimiter, values = scope.each(argument)
    return delimiter.join(values)


def get_attribute(scope: Scope, argument) -> str:
    """`Fn::GetAtt`."""
    resource, name = argument.split(".", 1) if isinstance(argument, str) else argument
    return scope.attribute(resource, name)


def find_in_map(scope: Scope, argument: list):
    """`Fn::FindInMap`."""
    name, row, column = scope.each(argument)
    return scope.template["Mappings"][name][str(row)][column]


FUNCTIONS = {
    "Fn::And": lambda scope, argument: all(scope.each(argument)),
    "Fn::Contains": contains,
    "Fn::Equals": equals,
    "Fn::FindInMap": find_in_map,
    "Fn::GetAtt": get_attribute,
    "Fn::If": lambda scope, argument: scope.choose(argument),
    "Fn::Join": join,
    "Fn::Not": lambda scope, argument: not scope.resolve(argument[0]),
    "Fn::Or": lambda scope, argument: any(scope.each(argument)),
    "Fn::Split": split,
    "Fn::Sub": lambda scope, argument: scope.substitute(argument),
}
