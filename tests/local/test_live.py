"""`make live` on the emulator: what it proves, and that nothing is left, whenever it is interrupted."""

import json
import os
import signal
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from children import Child
from emulator import ACCESS_KEY, REGION, SECRET_KEY, Emulator
from live_account import JOURNALS, Account
from package import write_zip
from pipeline import ROOT, WORK_FOLDER
from proxy import Answer, Proxy, Request, forwarded

# A run takes half a minute; the machine may be busy.
PATIENCE_SECONDS = 300
DISTRIBUTION = "/2020-05-31/distribution/"


class SlowCloudFront:
    """Before the emulator, whose distributions are changed at once: a change takes until it was asked for twice."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.questions_left = 0

    def answer(self, request: Request) -> Answer:
        """Pass a call on, unless CloudFront is still busy with the last change."""
        path = request.path.split("?")[0]
        if request.method == "DELETE" and path.startswith(DISTRIBUTION) and self.questions_left:
            return Answer(
                409, {}, b"<ErrorResponse><Error><Code>DistributionNotDisabled</Code></Error></ErrorResponse>"
            )
        given = forwarded(request, self.upstream)
        if request.method == "PUT" and path.startswith(DISTRIBUTION):
            self.questions_left = 2
        if request.method == "GET" and path.startswith(DISTRIBUTION) and path.count("/") == 3 and self.questions_left:
            self.questions_left -= 1
            body = given.body.replace(b"<Status>Deployed</Status>", b"<Status>InProgress</Status>")
            return Answer(given.status, given.headers, body)
        return given


@pytest.fixture(scope="module")
def account() -> Iterator[Emulator]:
    """An account of its own, which is empty."""
    with Emulator(WORK_FOLDER) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The function, as `make build` packs it."""
    binary = Path(os.environ.get("INVALIDATOR_BINARY", ROOT / "target/debug/invalidator"))
    file = tmp_path_factory.mktemp("live") / "invalidator.zip"
    write_zip(binary, file, zipfile.ZIP_STORED)
    return file


def live(account: Emulator, *arguments: object) -> Child:
    """`make live` with the emulator's credentials."""
    credentials = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    return Child("live.py", *map(str, arguments), "--poll-seconds", "0.2", **credentials)


def options(package: Path, endpoint: str) -> list[object]:
    """Those of a run that asks nothing."""
    return [package, "--prefix", "test", "--yes", "--endpoint-url", endpoint]


def inventory(account: Emulator) -> dict[str, list[str]]:
    """All that an account holds of what a run makes."""

    def listed(service: str, operation: str, items: str, name: str) -> list[str]:
        answer = getattr(account.client(service), operation)()
        return sorted(item if isinstance(item, str) else item[name] for item in answer.get(items, []))

    stacks = account.client("cloudformation").describe_stacks()["Stacks"]
    distributions = account.client("cloudfront").list_distributions()["DistributionList"]
    # Only what a stack made, which says how long logs are kept. The emulator makes a group again for an invocation
    # that ends after its stack is gone; on AWS the role may not make one.
    log_groups = account.client("logs").describe_log_groups()["logGroups"]
    return {
        "buckets": listed("s3", "list_buckets", "Buckets", "Name"),
        "queues": listed("sqs", "list_queues", "QueueUrls", ""),
        "topics": listed("sns", "list_topics", "Topics", "TopicArn"),
        "functions": listed("lambda", "list_functions", "Functions", "FunctionName"),
        "mappings": listed("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID"),
        "roles": listed("iam", "list_roles", "Roles", "RoleName"),
        "alarms": listed("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
        "schedules": listed("scheduler", "list_schedules", "Schedules", "Name"),
        "logs": sorted(group["logGroupName"] for group in log_groups if "retentionInDays" in group),
        "stacks": sorted(it["StackName"] for it in stacks if it["StackStatus"] != "DELETE_COMPLETE"),
        "distributions": sorted(item["Id"] for item in distributions.get("Items", [])),
    }


@pytest.fixture
def nothing_is_left(account: Emulator) -> Iterator[Callable[[], bool]]:
    """Whether the account holds what it held before, and no run is remembered."""
    before = inventory(account)
    journals = set(JOURNALS.glob("*"))

    def check() -> bool:
        assert inventory(account) == before
        return set(JOURNALS.glob("*")) == journals

    return check


def test_a_run_proves_the_pipeline_and_leaves_nothing(account: Emulator, package: Path, nothing_is_left) -> None:
    slow = SlowCloudFront(account.endpoint)
    with Proxy(slow.answer) as proxy, live(account, *options(package, proxy.endpoint)) as child:
        assert child.ends(PATIENCE_SECONDS) == 0, child.output
    for told in ("/index.html is invalidated", "OK: the pipeline works", "is InProgress", "nothing is left"):
        assert told in child.output
    assert nothing_is_left()


@pytest.mark.parametrize("moment", ["making the buckets", "deploying the stack", "the kill switch"])
def test_an_interrupt_leaves_nothing(moment: str, account: Emulator, package: Path, nothing_is_left) -> None:
    with live(account, *options(package, account.endpoint)) as child:
        assert child.says(moment, PATIENCE_SECONDS), child.output
        child.process.send_signal(signal.SIGINT)
        # People press it twice.
        assert child.says("Ctrl-C is ignored", PATIENCE_SECONDS), child.output
        child.process.send_signal(signal.SIGINT)
        assert child.ends(PATIENCE_SECONDS) == 1, child.output
    assert "interrupted" in child.output
    assert nothing_is_left()


def test_what_a_killed_run_made_is_removed_by_its_name(account: Emulator, package: Path, nothing_is_left) -> None:
    before = set(JOURNALS.glob("*"))
    with live(account, *options(package, account.endpoint)) as child:
        assert child.says("the stack is ready", PATIENCE_SECONDS), child.output
        child.process.kill()
    assert inventory(account)["logs"], "what a killed run made is seen"
    (journal,) = set(JOURNALS.glob("*")) - before
    assert json.loads(journal.read_text())["endpoint"] == account.endpoint
    with live(account, "--remove", journal.stem) as child:
        assert child.ends(PATIENCE_SECONDS) == 0, child.output
    assert nothing_is_left()


def test_what_cannot_be_removed_is_said_and_can_be_tried_again(
    account: Emulator, package: Path, nothing_is_left
) -> None:
    refused = Answer(403, {}, b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>")

    def answer(request: Request) -> Answer:
        is_deletion = request.method == "DELETE" and request.path.startswith(DISTRIBUTION)
        return refused if is_deletion else forwarded(request, account.endpoint)

    with Proxy(answer) as proxy:
        with live(account, *options(package, proxy.endpoint)) as child:
            assert child.says("deploying the stack", PATIENCE_SECONDS), child.output
            child.process.send_signal(signal.SIGTERM)
            assert child.ends(PATIENCE_SECONDS) == 1, child.output
        assert "failed to delete the distribution" in child.output
    name = child.output.split("make live REMOVE=")[1].split()[0]
    journal = JOURNALS / f"{name}.json"
    # The proxy is gone: as if the permission had been given meanwhile.
    journal.write_text(json.dumps(json.loads(journal.read_text()) | {"endpoint": account.endpoint}))
    with live(account, "--remove", name) as child:
        assert child.ends(PATIENCE_SECONDS) == 0, child.output
    assert nothing_is_left()


def test_nothing_is_forgotten_with_the_credentials_of_another_account(account: Emulator, nothing_is_left) -> None:
    journal = JOURNALS / "test-invalidator-elsewhere.json"
    JOURNALS.mkdir(parents=True, exist_ok=True)
    left = {"name": journal.stem, "account": "999999999999", "region": REGION, "endpoint": account.endpoint}
    journal.write_text(json.dumps(left))
    try:
        with live(account, "--remove", journal.stem) as child:
            assert child.ends(PATIENCE_SECONDS) == 1, child.output
        assert "is in account 999999999999" in child.output
        assert json.loads(journal.read_text()) == left
    finally:
        journal.unlink()
    assert nothing_is_left()


def test_a_name_of_no_run_is_answered_with_a_sentence(account: Emulator) -> None:
    with live(account, "--remove", "typo") as child:
        assert child.ends(PATIENCE_SECONDS) == 1
    assert "there is no run 'typo'" in child.output
    assert "Traceback" not in child.output


def test_an_endpoint_of_the_shell_is_not_that_of_a_real_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    assert Account(REGION).client("sts").meta.endpoint_url.endswith("amazonaws.com")
    assert Account(REGION, "http://127.0.0.1:8").client("sts").meta.endpoint_url == "http://127.0.0.1:8"


def test_it_makes_nothing_unless_it_is_told_yes(account: Emulator, package: Path, nothing_is_left) -> None:
    with live(account, package, "--prefix", "test", "--endpoint-url", account.endpoint) as child:
        assert child.ends(PATIENCE_SECONDS) == 1
    assert "It costs less than" in child.output
    assert "nothing was made" in child.output
    assert nothing_is_left()


@pytest.mark.parametrize("prefix", ["", "Big", "under_score", "1st", "x" * 37])
def test_a_bad_prefix_is_refused(prefix: str, account: Emulator, package: Path) -> None:
    with live(account, package, "--yes", "--prefix", prefix, "--endpoint-url", account.endpoint) as child:
        assert child.ends(PATIENCE_SECONDS) == 2
    assert "PREFIX" in child.output


def test_without_credentials_it_says_so(account: Emulator, package: Path, nothing_is_left) -> None:
    with pytest.raises(ClientError):
        account.client("cloudformation").describe_stacks(StackName="nothing")
    with live(account, package, "--prefix", "test", "--endpoint-url", "http://127.0.0.1:9") as child:
        assert child.ends(PATIENCE_SECONDS) == 1
    assert "AWS cannot be reached" in child.output
    assert nothing_is_left()
