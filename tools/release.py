"""A release: the package for each processor, the checksums, and where they come from.

A command, for `make release`: `release.py check` before the packages are built, `release.py write BUILT FOLDER` after.
Needs nothing but Python and the tools that built the packages.

The statement of provenance has the form of in-toto and SLSA. Nobody signs it: it says what was built, from what and by
which tools, so that anybody can build the same and compare.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROCESSORS = {"arm64": "aarch64-unknown-linux-gnu", "x86_64": "x86_64-unknown-linux-gnu"}
# What pins all that is built, and all that builds it.
PINS = ["Cargo.lock", "rust-toolchain.toml", "tests/local/requirements-lambda.txt"]
TOOLS = [("rustc", "--version"), ("cargo", "--version"), ("cargo", "lambda", "--version"), ("python-zig", "version")]

Run = Callable[..., str]


@dataclass(frozen=True)
class Package:
    """A package of a release."""

    file: Path
    # Of the binary in it. That of the zip also depends on the zlib of the Python that packed it.
    bootstrap: str

    @property
    def sha256(self) -> str:
        """The checksum of the zip."""
        return sha256(self.file.read_bytes())


def main() -> None:
    """Check, or write; complaints go to standard error."""
    if sys.argv[1:] == ["check"]:
        complaints = list(check(run))
        for complaint in complaints:
            print(f"make: {complaint}", file=sys.stderr)
        sys.exit(bool(complaints))
    _, _, built, folder = sys.argv
    for file in write(Path(built), Path(folder), run):
        print(file)


def check(run: Run) -> list[str]:
    """Why no release can be built here and now."""
    complaints = []
    if changed := run("git", "status", "--porcelain").split("\n")[0]:
        complaints.append(f"a release is built from a commit, and this is not committed: {changed.strip()}")
    pinned = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    used = run("rustc", "--version")
    if used.split()[1:2] != [pinned]:
        complaints.append(f"a release is built by Rust {pinned}, and this is {used.strip()}")
    installed = run("rustup", "target", "list", "--installed").split()
    complaints += [
        f"Rust cannot build for {processor}: run 'rustup target add {target}'"
        for processor, target in PROCESSORS.items()
        if target not in installed
    ]
    return complaints


def write(built: Path, folder: Path, run: Run) -> list[Path]:
    """Write a release into an empty folder: the packages as they were built, checksums, provenance, notes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    packages = []
    for processor in PROCESSORS:
        file = folder / f"invalidator-{version}-{processor}.zip"
        shutil.copyfile(built / processor / "invalidator" / "bootstrap.zip", file)
        packages.append(Package(file, sha256(zipfile.ZipFile(file).read("bootstrap"))))
    commit = run("git", "rev-parse", "HEAD").strip()
    statement = provenance(packages, commit, [run(*tool).strip() for tool in TOOLS])
    texts = {
        "SHA256SUMS": "".join(f"{package.sha256}  {package.file.name}\n" for package in packages),
        "provenance.json": json.dumps(statement, indent=2) + "\n",
        "notes.md": notes(version, packages, commit),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [package.file for package in packages] + [folder / name for name in texts]


def provenance(packages: list[Package], commit: str, tools: list[str]) -> dict[str, object]:
    """What was built, from what, and by which tools."""
    files = [(package.file.name, package.sha256) for package in packages]
    files += [(f"{package.file.name}/bootstrap", package.bootstrap) for package in packages]
    pins = [{"uri": pin, "digest": {"sha256": sha256((ROOT / pin).read_bytes())}} for pin in PINS]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": checksum}} for name, checksum in files],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:invalidator:make-release:1",
                "externalParameters": {"command": "make release"},
                "internalParameters": {"tools": tools},
                "resolvedDependencies": [{"uri": "git:HEAD", "digest": {"gitCommit": commit}}, *pins],
            },
            "runDetails": {"builder": {"id": "urn:invalidator:unsigned"}},
        },
    }


def notes(version: str, packages: list[Package], commit: str) -> str:
    """The release notes: what changed, and how to tell that a package is the one that is meant."""
    rows = "".join(f"| {package.file.name} | `{package.sha256}` | `{package.bootstrap}` |\n" for package in packages)
    return (
        f"# invalidator {version}\n\n{changes(version)}\n\n## Packages\n\n"
        f"Built from commit `{commit}` by `make release`. "
        'docs/deploy.md, "Verify a release", says how to check them, and how to build the same.\n\n'
        f"| package | SHA-256 | SHA-256 of the binary in it |\n|---|---|---|\n{rows}"
    )


def changes(version: str) -> str:
    """The section of the changelog about a version."""
    text = (ROOT / "CHANGELOG.md").read_text()
    section = re.search(rf"^## {re.escape(version)}\b[^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if not section:
        raise SystemExit(f"make: CHANGELOG.md has no section about {version}")
    return section[1].strip()


def sha256(content: bytes) -> str:
    """The checksum, as `sha256sum` prints it."""
    return hashlib.sha256(content).hexdigest()


def run(*command: str) -> str:
    """What a command prints. A command that fails ends the release."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"make: `{' '.join(command)}` failed: {getattr(error, 'stderr', None) or error}") from error


if __name__ == "__main__":
    main()
