"""The check of `make build` for the tools it needs."""

import re
import tomllib

import pytest

import docs
import versions

RUST, CARGO_LAMBDA, SAM = versions.TOOLS


@pytest.mark.parametrize(
    ("tool", "printed", "expected"),
    [
        (RUST, "rustc 1.94.1 (abc 2026-03-01)\n", None),
        (RUST, "rustc 1.100.0-nightly (abc 2026-10-01)\n", None),
        (RUST, "rustc 1.93.9 (abc 2026-01-01)\n", "Rust is 1.93.9, which is too old: install 1.94.1 or later"),
        (RUST, None, "Rust is missing: install 1.94.1 or later, https://rustup.rs"),
        (CARGO_LAMBDA, "cargo-lambda 1.9.2 (67129fc 2026-08-21Z)\n", None),
        (CARGO_LAMBDA, None, "cargo-lambda is missing: install 1.9 or later, 'make .venv/lambda'"),
        (SAM, "SAM CLI, version 1.156.0\n", None),
        (SAM, "SAM CLI, version 1.155.9\n", "SAM is 1.155.9, which is too old: install 1.156 or later"),
        (SAM, None, "note: SAM is missing, which only deploying needs: 1.156 or later"),
        (SAM, "hello\n", "SAM does not tell its version: `sam --version` printed `hello`"),
    ],
)
def test_a_missing_or_old_tool_is_named_with_what_to_install(
    tool: versions.Tool, printed: str | None, expected: str | None
) -> None:
    complaint = versions.check(tool, lambda _: printed)
    assert complaint is expected is None or complaint.startswith(expected)


def test_rust_is_the_one_that_cargo_demands() -> None:
    manifest = tomllib.loads((docs.ROOT / "Cargo.toml").read_text())
    assert ".".join(map(str, RUST.least)) == manifest["workspace"]["package"]["rust-version"]


def test_the_readme_names_the_same_versions() -> None:
    text = (docs.ROOT / "README.md").read_text()
    for tool in versions.TOOLS:
        least = ".".join(map(str, tool.least))
        assert re.search(rf"\b{tool.name}(\]\([^)]*\))? {re.escape(least)} or later", text), tool.name
