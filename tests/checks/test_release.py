"""What `make release` writes around the packages, and that a package of the same binary is the same."""

import json
import os
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

import docs
import package
import release

VERSION = tomllib.loads((docs.ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
RUST = tomllib.loads((docs.ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def says(**answers: str) -> release.Run:
    """A machine on which commands print this, by their first word."""
    usual = {
        "git": "",
        "rustc": f"rustc {RUST} (abc 2026-01-01)\n",
        "rustup": "\n".join(release.PROCESSORS.values()),
    }
    return lambda program, *_: (usual | answers).get(program, f"{program} 1.2.3\n")


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """Packages of both processors, as `make build` leaves them."""
    for processor in release.PROCESSORS:
        folder = tmp_path / "lambda" / processor / "invalidator"
        folder.mkdir(parents=True)
        (folder / "bootstrap").write_bytes(processor.encode() * 1_000)
        package.write_zip(folder / "bootstrap", folder / "bootstrap.zip")
    return tmp_path / "lambda"


def test_a_package_of_the_same_binary_is_the_same_byte_by_byte(tmp_path: Path) -> None:
    zips = []
    for number in range(2):
        binary = tmp_path / str(number) / "bootstrap"
        binary.parent.mkdir()
        binary.write_bytes(b"binary" * 10_000)
        binary.chmod(0o700 if number else 0o644)
        os.utime(binary, (number * 1_000_000_000,) * 2)
        package.write_zip(binary, tmp_path / f"{number}.zip")
        zips.append((tmp_path / f"{number}.zip").read_bytes())
    assert zips[0] == zips[1]


def test_the_checksums_are_those_that_sha256sum_expects(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dist"
    release.write(built, folder, says(git=COMMIT))
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    checked = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert checked == "".join(f"invalidator-{VERSION}-{processor}.zip: OK\n" for processor in release.PROCESSORS)
    (folder / f"invalidator-{VERSION}-arm64.zip").write_bytes(b"another")
    assert subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 1


def test_the_provenance_names_each_package_the_commit_the_pins_and_the_tools(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dist"
    release.write(built, folder, says(git=COMMIT))
    statement = json.loads((folder / "provenance.json").read_text())
    digests = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    expected = {}
    for processor in release.PROCESSORS:
        file = folder / f"invalidator-{VERSION}-{processor}.zip"
        expected[file.name] = release.sha256(file.read_bytes())
        expected[f"{file.name}/bootstrap"] = release.sha256(zipfile.ZipFile(file).read("bootstrap"))
    assert digests == expected
    definition = statement["predicate"]["buildDefinition"]
    sources = {source["uri"]: source["digest"] for source in definition["resolvedDependencies"]}
    assert sources.pop("git:HEAD") == {"gitCommit": COMMIT}
    assert sources == {pin: {"sha256": release.sha256((docs.ROOT / pin).read_bytes())} for pin in release.PINS}
    assert len(definition["internalParameters"]["tools"]) == len(release.TOOLS)
    # Whoever reads only the notes sees the same.
    notes = (folder / "notes.md").read_text()
    assert all(checksum in notes for checksum in [COMMIT, *expected.values()])
    assert release.changes(VERSION) in notes


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({}, []),
        (
            {"git": " M src/main.rs\n?? x\n"},
            ["a release is built from a commit, and this is not committed: M src/main.rs"],
        ),
        (
            {"rustc": "rustc 1.94.1 (abc 2026-01-01)\n"},
            [f"a release is built by Rust {RUST}, and this is rustc 1.94.1"],
        ),
        (
            {"rustup": "x86_64-unknown-linux-gnu\n"},
            ["Rust cannot build for arm64: run 'rustup target add aarch64-unknown-linux-gnu'"],
        ),
    ],
)
def test_a_release_is_only_built_from_a_commit_by_the_pinned_tools(
    answers: dict[str, str], expected: list[str]
) -> None:
    complaints = release.check(says(**answers))
    assert len(complaints) == len(expected)
    assert all(complaint.startswith(text) for complaint, text in zip(complaints, expected, strict=True))


def test_a_version_without_changes_is_no_release() -> None:
    with pytest.raises(SystemExit, match=r"no section about 9\.9\.9"):
        release.changes("9.9.9")
