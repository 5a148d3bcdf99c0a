"""The account of `make live`, and what was made in it so far, which is kept in a file until it is removed."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import boto3
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError

from pipeline import WORK_FOLDER

JOURNALS = WORK_FOLDER / "live"


@dataclass
class Account:
    """An account in a region: a real one, or with an endpoint an emulator's."""

    region: str
    endpoint: str | None = None
    clients: dict[str, BaseClient] = field(default_factory=dict)

    def client(self, service: str) -> BaseClient:
        """A client with the user's own credentials."""
        if service not in self.clients:
            # What belongs to a real account may not be asked of an emulator that the user's shell still names.
            is_real = self.endpoint is None
            retries = {"mode": "standard", "total_max_attempts": 8}
            config = Config(retries=retries, ignore_configured_endpoint_urls=is_real)
            session = boto3.Session(region_name=self.region)
            self.clients[service] = session.client(service, endpoint_url=self.endpoint, config=config)
        return self.clients[service]

    def id(self) -> str:
        """The number of the account."""
        return self.client("sts").get_caller_identity()["Account"]


@dataclass
class Journal:
    """The names of what a run makes, each written down before it is made."""

    name: str
    # The number of the account.
    account: str
    region: str
    endpoint: str | None = None
    # What outlives the stack: type and physical id of its resources.
    stack_resources: list[list[str]] = field(default_factory=list)

    @property
    def site(self) -> str:
        """The bucket whose changes are invalidated."""
        return f"{self.name}-site"

    @property
    def code(self) -> str:
        """The bucket that the stack is deployed from."""
        return f"{self.name}-code"

    @property
    def mailbox(self) -> str:
        """The queue that receives the admin's mails."""
        return f"{self.name}-mailbox"

    @property
    def file(self) -> Path:
        """Where it is kept."""
        return JOURNALS / f"{self.name}.json"

    def save(self) -> None:
        """Write it down."""
        JOURNALS.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.__dict__))

    @classmethod
    def load(cls, name: str) -> "Journal":
        """That of an earlier run; raises a KeyError that names all there are."""
        names = sorted(file.stem for file in JOURNALS.glob("*.json"))
        if name not in names:
            raise KeyError(f"there is no run {name!r} in .local/live; there are: {', '.join(names) or 'none'}")
        return cls(**json.loads((JOURNALS / f"{name}.json").read_text()))


def is_missing(error: ClientError) -> bool:
    """Whether a call failed because its object does not exist."""
    code = error.response["Error"]["Code"]
    return error.response["ResponseMetadata"]["HTTPStatusCode"] == 404 or code in (
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchBucket",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    )
