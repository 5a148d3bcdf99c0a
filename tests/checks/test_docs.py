"""Checks the docs: commands, links, parameters, policy statements. Nothing is run here.

What can be run is run against the emulator, by tests/local/test_docs.py.
"""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

import docs
import template

TEXTS = {page: page.read_text() for page in docs.PAGES}
BLOCKS = [block for page in docs.PAGES for block in docs.blocks(page)]
SESSION = botocore.session.get_session()
# Commands of the AWS CLI that make more than one call.
CUSTOM = {("cloudformation", "deploy"), ("s3", "cp"), ("s3", "ls"), ("s3", "rm"), ("s3", "sync")}
# Options of the CLI that the service does not have, or calls by another name.
OWN_OPTIONS = {"create-invalidation": {"paths"}, "subscribe": {"notification-endpoint"}}
GLOBAL_OPTIONS = {"query", "output", "region", "profile"}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def aws_commands(text: str) -> list[list[str]]:
    """The calls of the AWS CLI in a block: service, operation, options."""
    joined = text.replace("\\\n", " ")
    found = []
    for match in re.finditer(r"\baws (?P<service>[a-z0-9]+) (?P<operation>[a-z0-9-]+)(?P<rest>[^\n]*)", joined):
        options = re.findall(r"(?<=\s)--([a-z][a-z-]+)", match.group("rest").split(" | ")[0])
        found.append([match.group("service"), match.group("operation"), *options])
    return found


ALL_AWS = sorted({tuple(command) for block in BLOCKS for command in aws_commands(block.text)})


@pytest.mark.parametrize("command", ALL_AWS, ids=" ".join)
def test_the_aws_cli_has_this_command(command: tuple[str, ...]) -> None:
    service, operation, *options = command
    if (service, operation) in CUSTOM:
        return
    model = SESSION.get_service_model("s3" if service == "s3api" else service)
    names = {xform_name(name, "-"): name for name in model.operation_names}
    shape = model.operation_model(names[operation]).input_shape
    members = {xform_name(member, "-") for member in (shape.members if shape else {})}
    known = members | {f"no-{member}" for member in members} | GLOBAL_OPTIONS
    assert set(options) <= known | OWN_OPTIONS.get(operation, set())


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_is_shell(block: docs.Block) -> None:
    checked = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def statements(text: str) -> list[str]:
    """The commands of a block that a shell runs one after the other: what `&&` or `|` join is one."""
    text = re.sub(r"(^|\s)#[^\n]*", r"\1", text)
    text = re.sub(r"\\\n\s*|(?<=&&)\s*\n\s*|(?<=\|)\s*\n\s*|\s*\n\s*(?=\|)", " ", text)
    return [line.rstrip() for line in text.split("\n") if line.strip()]


def goes_on_after_a_failure(text: str) -> bool:
    """Whether a block, pasted into a shell, goes on where one of its commands has failed."""
    lines = statements(text)
    # What cannot fail: plain values, and functions that nobody has called yet.
    while lines and re.fullmatch(r"[A-Za-z_]+=[^$`(]*|\w+\(\) \{.*\}", lines[0]):
        del lines[0]
    if not lines:
        return False
    if lines[0] == "(":
        is_guarded = lines[1].strip() == "set -euo pipefail" and lines[-1] == ")"
        return not is_guarded or ")" in lines[1:-1]
    # Without pipefail, only the last command of a pipe counts.
    if len(lines) == 1:
        return bool(re.search(r"[^|]\|[^|]|;", re.sub(r"'[^']*'|\"[^\"]*\"", "", lines[0])))
    # Choices, each by itself: the same command with other arguments, or a list of `make`'s targets.
    commands = {tuple(line.split()[:2]) for line in lines}
    return len(commands) > 1 and not all(line.split()[0] == "make" for line in lines)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_ends_at_the_first_failure(block: docs.Block) -> None:
    assert not goes_on_after_a_failure(block.text), block.text


def test_blocks_that_go_on_after_a_failure_are_found() -> None:
    for text in (
        "sam build\nsam deploy\n",
        "git pull &&\nsam build\nsam deploy\n",
        'since=$(date)\naws s3 sync . "s3://$BUCKET"\n',
        "(\n  aws s3 ls\n  aws sqs list-queues\n)\n",
        "(\n  set -eu\n  aws s3 ls\n)\n",
        "(\n  set -euo pipefail\n  aws s3 ls\n)\naws s3 ls\n",
        "aws logs filter-log-events | jq .\n",
        "make release; ls\n",
        "STACK=x\naws s3 ls\naws sqs list-queues\n",
    ):
        assert goes_on_after_a_failure(text), text
    for text in (
        "STACK=x\nout() { aws s3 ls; }\n",
        "BUCKET=x\naws s3 ls\n",
        "sam build && sam deploy\n",
        "a=$(aws s3 ls) && \\\n  echo $a\n",
        "invalidatorctl why a\ninvalidatorctl why b  # another\n",
        "make local  # this\nmake test\n",
        "X=x\n(\n  set -euo pipefail\n  aws s3 ls | jq '.a | .b'\n)\n",
        "jq '.a | .b' x.json\n",
    ):
        assert not goes_on_after_a_failure(text), text


def test_every_make_target_in_the_docs_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (docs.ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for block in BLOCKS for name in re.findall(r"^make ([a-z-]+)", block.text, re.MULTILINE)}
    named |= {name for text in TEXTS.values() for name in re.findall(r"`make ([a-z-]+)`", text)}
    assert named
    assert named <= targets


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", docs.PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(TEXTS[page]):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_files_named_in_contributing_exist() -> None:
    named = re.findall(r"`([\w./-]+(?:\.(?:rs|py|json|md|dict|yaml)|/))`", TEXTS[docs.ROOT / "CONTRIBUTING.md"])
    assert named
    # The row of the benchmarks names them within their folder.
    assert not [name for name in named if not any((docs.ROOT / base / name).exists() for base in ("", "benches"))]


def habits() -> list[str]:
    """The tests that docs/development.md names for what AWS does: one parameter a row."""
    text = (docs.ROOT / "docs/development.md").read_text()
    chapter = text[text.index("## AWS's habits") :].split("\n## ")[0]
    return [row for row in chapter.split("\n") if row.startswith("| ") and "| test of" not in row]


def existing_tests() -> set[str]:
    """The names of all tests, those of Python without their `test_`."""
    listed = subprocess.run(
        ["git", "ls-files", "*.rs", "tests/*.py"], cwd=docs.ROOT, capture_output=True, text=True, check=True
    )
    names = set()
    for file in listed.stdout.split():
        text = (docs.ROOT / file).read_text()
        names |= set(re.findall(r"#\[(?:tokio::)?test\](?:\s*#\[[^\n]*\])*\s*(?:async )?fn (\w+)", text))
        names |= set(re.findall(r"^def test_(\w+)", text, re.MULTILINE))
    return names


def test_every_habit_of_aws_is_tested_on_a_stand_in_and_on_the_product() -> None:
    rows = habits()
    assert len(rows) > 40
    cells = [re.findall(r"`(\w+)`", cell) for row in rows for cell in row.split("|")[2:4]]
    assert all(cells), "a cell names no test"
    named = {name for cell in cells for name in cell}
    assert sorted(named - existing_tests()) == []


def test_what_stops_a_threat_is_tested() -> None:
    text = (docs.ROOT / "docs/security.md").read_text()
    chapter = text[text.index("## What could go wrong") :].split("\n## ")[0]
    rows = [row.split("|")[1:-1] for row in chapter.split("\n") if row.startswith("| ")]
    assert len(rows) > 15
    assert all(len(cells) == 4 for cells in rows)
    named = {name for *_, stops in rows for name in re.findall(r"`((?:[a-z0-9]+_){3,}[a-z0-9]+)`", stops)}
    assert len(named) > 15
    assert sorted({name.removeprefix("test_") for name in named} - existing_tests()) == []


def test_deploy_tells_every_parameter_and_its_default() -> None:
    parameters = template.load()["Parameters"]
    assert sorted(docs.table("docs/deploy.md", "| parameter |")) == sorted(parameters)
    text = (docs.ROOT / "docs/deploy.md").read_text()
    for name, parameter in parameters.items():
        default = str(parameter.get("Default", "you decide"))
        row = next(line for line in text.split("\n") if line.startswith(f"| `{name}` |"))
        assert not default or default in row.split("|")[2], row


def test_security_explains_every_statement_with_its_actions() -> None:
    role = template.load()["Resources"]["FunctionRole"]["Properties"]
    statements = [
        statement.get("Fn::If", [None, statement])[1]
        for statement in role["Policies"][0]["PolicyDocument"]["Statement"]
    ]
    assert docs.table("docs/security.md", "| statement |") == [statement["Sid"] for statement in statements]
    text = (docs.ROOT / "docs/security.md").read_text()
    for statement in statements:
        row = next(line for line in text.split("\n") if line.startswith(f"| `{statement['Sid']}` |"))
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert all(action.split(":")[1] in row for action in actions), row


def test_samples_named_in_the_docs_exist() -> None:
    for block in BLOCKS:
        for word in shlex.split(block.text.replace("\\\n", " "), comments=True):
            if word.startswith("events/"):
                assert (docs.ROOT / word).exists(), word


def test_the_picture_of_the_dashboard_can_be_drawn_with_a_line_for_each_metric(tmp_path: Path) -> None:
    drawing = [sys.executable, docs.ROOT / "docs/draw_dashboard.py", tmp_path / "dashboard.svg"]
    drawn = subprocess.run(drawing, capture_output=True, text=True, check=False)
    assert drawn.returncode == 0, drawn.stderr
    widgets = template.dashboard(lambda reference: reference)
    metrics = sum(len(widget["properties"].get("metrics", [])) for widget in widgets)
    # The search by distribution draws more than one line.
    assert (tmp_path / "dashboard.svg").read_text().count("<polyline") > metrics > 30


def test_json_samples_are_json() -> None:
    for text in TEXTS.values():
        for sample in re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            json.loads(sample)
