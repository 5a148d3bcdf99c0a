"""The supply chain: all that is installed or linked is pinned, by a hash where there is one, and nothing is installed
outside this folder without being asked for."""

import json
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import docs

ROOT = docs.ROOT
CARGO_HOME = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[a-z0-9, -]+\])?==(?P<version>[A-Za-z0-9.!+_-]+)")


def tracked(*patterns: str) -> list[Path]:
    """The files of the repository whose names match, as git knows them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(ROOT / line for line in printed.splitlines() if (ROOT / line).exists())


LISTS = tracked("*requirements*.in")
LOCKS = tracked("*requirements*.txt")


def lines_of(file: Path) -> Iterator[str]:
    """The lines of a file, with continuations joined, without comments and blank lines."""
    for line in file.read_text().replace("\\\n", " ").splitlines():
        if text := re.sub(r"(^|\s)#.*", "", line).strip():
            yield text


def locked(file: Path) -> set[tuple[str, str]]:
    """The packages that a lock pins, with their versions."""
    return {(match["name"].lower(), match["version"]) for line in lines_of(file) if (match := REQUIREMENT.match(line))}


def test_each_list_of_packages_has_its_lock() -> None:
    assert LISTS
    assert {file.with_suffix(".txt") for file in LISTS} == set(LOCKS)


@pytest.mark.parametrize("file", LOCKS, ids=lambda file: str(file.relative_to(ROOT)))
def test_each_python_package_is_pinned_with_hashes(file: Path) -> None:
    lines = list(lines_of(file))
    assert lines
    for line in lines:
        requirement, *hashes = line.split("--hash=")
        name, _, marker = requirement.partition(";")
        assert REQUIREMENT.fullmatch(name.strip()), line
        assert not re.search(r"(^|\s)-", marker), line
        assert hashes, line
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", text.strip()) for text in hashes), line


@pytest.mark.parametrize("file", LISTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_each_lock_holds_what_its_list_asks_for(file: Path) -> None:
    wanted = [line for line in lines_of(file) if not line.startswith("-c ")]
    asked = [REQUIREMENT.fullmatch(line) for line in wanted]
    assert all(asked), wanted
    assert {(match["name"].lower(), match["version"]) for match in asked} <= locked(file.with_suffix(".txt"))


def test_what_is_installed_into_the_same_environment_agrees() -> None:
    for first, second in [
        ("tests/local/requirements.txt", "tests/local/requirements-checks.txt"),
        ("benches/peers/boto3/requirements.txt", "benches/peers/boto3/requirements-runtime.txt"),
    ]:
        pinned, also = (dict(locked(ROOT / file)) for file in (first, second))
        assert {name: also[name] for name in pinned if name in also} == {
            name: version for name, version in pinned.items() if name in also
        }


def commands() -> Iterator[tuple[str, str]]:
    """Each command of the Makefile and of the scripts, with where it stands. What is only printed is none."""
    makefile = ROOT / "Makefile"
    variables = {}
    for line in makefile.read_text().replace("\\\n", " ").splitlines():
        if match := re.match(r"([A-Z_]+) *[:?]?= *(.*)", line):
            variables[match[1]] = match[2]
    for file in [makefile, *tracked(".ci/*", "*.sh", ".github/workflows/*")]:
        for line in lines_of(file):
            text = re.sub(r"\$\(([A-Z_]+)\)", lambda match: variables.get(match[1], match[0]), line)
            for part in re.split(r"&&|\|\||[;{}]", text):
                if not re.match(r"\s*@?(echo|printf)\b", part):
                    yield f"{file.relative_to(ROOT)}: {line}", part.strip().lstrip("@")


COMMANDS = list(commands())


def test_python_packages_are_installed_by_hash_and_never_built() -> None:
    installs = [(where, command) for where, command in COMMANDS if re.search(r"\bpip install\b", command)]
    assert len(installs) >= 5
    for where, command in installs:
        assert {"--require-hashes", "--only-binary"} <= set(shlex.split(command, comments=True)), where


def test_node_packages_are_installed_by_hash_and_run_no_scripts() -> None:
    installs = [(where, command) for where, command in COMMANDS if re.search(r"\bnpm (ci|install|i)\b", command)]
    assert installs
    for where, command in installs:
        assert "npm ci " in command, where
        assert "--ignore-scripts" in command, where
    locks = tracked("*package-lock.json")
    assert locks
    for lock in locks:
        packages = json.loads(lock.read_text())["packages"]
        unhashed = [
            name
            for name, package in packages.items()
            if name and not package.get("integrity", "").startswith("sha512-")
        ]
        assert not unhashed, lock


def test_cargo_takes_the_versions_of_the_lock() -> None:
    resolving = r"\bcargo (\+\w+ )?(build|check|test|run|bench|clippy|doc|tree|deny|nextest run|lambda build)\b"
    found = [(where, command) for where, command in COMMANDS if re.search(resolving, command)]
    assert len(found) >= 10
    for where, command in found:
        assert "--locked" in command or "--version" in command, where


def test_make_installs_nothing_outside_this_folder() -> None:
    system = (
        "sudo|apt|apt-get|brew|dnf|yum|apk|pipx|curl|wget|npm install|cargo install|rustup (toolchain|target|component)"
    )
    found = [where for where, command in COMMANDS if re.search(rf"\b({system})\b", command)]
    assert {where.split(":")[0] for where in found} <= {".ci/run"}, found


def test_ci_installs_only_on_a_machine_of_ci() -> None:
    text = (ROOT / ".ci/run").read_text()
    outside = re.sub(r'^if \[ "\$\{CI:-\}" = true \].*?^fi$', "", text, flags=re.MULTILINE | re.DOTALL)
    assert outside != text
    assert "install -y" in text
    assert "install -y" not in outside


def test_rust_is_pinned_to_a_release() -> None:
    toolchain = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", toolchain["channel"])


def test_each_crate_comes_from_the_registry_by_its_hash() -> None:
    for lock in tracked("*Cargo.lock"):
        for package in tomllib.loads(lock.read_text())["package"]:
            if "source" in package:
                assert package["source"].startswith("registry+"), package
                assert re.fullmatch(r"[0-9a-f]{64}", package["checksum"]), package


def test_the_age_of_the_root_certificates_is_that_of_their_crate() -> None:
    """The date stands in the source, and is that of the registry, which cargo may have kept."""
    source = (ROOT / "core/src/tls_roots.rs").read_text()
    version = re.search(r'const VERSION: &str = "([^"]+)"', source)[1]
    published = "-".join(re.search(r"const PUBLISHED: Date = date!\((\d+) - (\d+) - (\d+)\)", source).groups())
    packages = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    assert [package["version"] for package in packages if package["name"] == "webpki-roots"] == [version]
    for file in CARGO_HOME.glob("registry/index/*/.cache/we/bp/webpki-roots"):
        for entry in re.findall(rb"\{[^\0]*\}", file.read_bytes()):
            crate = json.loads(entry)
            if crate["vers"] == version and "pubtime" in crate:
                assert crate["pubtime"][:10] == published


def test_actions_are_pinned_by_commit() -> None:
    for file in tracked(".github/workflows/*"):
        for action in re.findall(r"uses: *(\S+)", file.read_text()):
            assert re.search(r"@[0-9a-f]{40}$", action), f"{file.name}: {action}"
