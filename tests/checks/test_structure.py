"""The structure of the code: imports go one way, and the core depends on no AWS crate."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import template

ROOT = template.TEMPLATE.parent
CRATES = {
    "core": ROOT / "core/src",
    "function": ROOT / "src",
    "ctl": ROOT / "ctl/src",
    "strict-cloudfront": ROOT / "strict-cloudfront/src",
}
USE = re.compile(r"^\s*(?:pub(?:\([a-z]+\))? )?use ([^;]*);|\b((?:crate|super)::[a-z_:]+)", re.M)


def modules(folder: Path) -> dict[tuple[str, ...], Path]:
    """The modules of a crate's library, by their path."""
    files = {}
    for file in sorted(folder.rglob("*.rs")):
        parts = file.relative_to(folder).with_suffix("").parts
        if parts[0] in ("bin", "main"):
            continue
        files[() if parts == ("lib",) else parts] = file
    return files


def imported(text: str) -> Iterator[list[str]]:
    """The paths that a file's code names, without its tests and comments; groups in braces one by one."""
    code = re.sub(r"//.*", "", text.split("#[cfg(test)]")[0])
    for match in USE.finditer(code):
        path = re.sub(r"\s+", "", match.group(1) or match.group(2))
        head, brace, group = path.partition("{")
        for name in group.rstrip("}").split(",") if brace else [""]:
            yield [part for part in (head + name).split("::") if part]


def imports(folder: Path) -> dict[tuple[str, ...], set[tuple[str, ...]]]:
    """Which module imports which."""
    known = modules(folder)
    found = {}
    for module, file in known.items():
        found[module] = set()
        for path in imported(file.read_text()):
            base = list(module)
            # A path begins with the crate's root, a parent, or a child module; otherwise with another crate.
            if not path or (path[0] not in ("crate", "super", "self") and (*module, path[0]) not in known):
                continue
            while path and path[0] in ("crate", "super", "self"):
                base = {"crate": [], "super": base[:-1], "self": base}[path[0]]
                path = path[1:]
            target = tuple(base)
            for part in path:
                if (*target, part) in known:
                    target += (part,)
            if target != module:
                found[module].add(target)
    # A library's root only declares the modules.
    found.pop((), None)
    return {module: targets - {()} for module, targets in found.items()}


def circle(graph: dict[tuple[str, ...], set[tuple[str, ...]]]) -> list[tuple[str, ...]]:
    """A circle of modules, if there is one."""
    done: set[tuple[str, ...]] = set()

    def visit(module: tuple[str, ...], path: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return []
        for target in sorted(graph.get(module, ())):
            if found := visit(target, [*path, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(graph) if (found := visit(module, []))), [])


@pytest.mark.parametrize("crate", CRATES)
def test_no_files_import_each_other_in_a_circle(crate: str) -> None:
    found = circle(imports(CRATES[crate]))
    assert not found, " -> ".join("::".join(module) for module in found)


def test_what_decides_depends_on_no_aws_crate_and_no_runtime() -> None:
    command = ["cargo", "tree", "--locked", "--package", "invalidator-core", "--edges", "normal", "--prefix", "none"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    crates = {line.split()[0] for line in printed.splitlines() if line}
    assert not [crate for crate in crates if crate.startswith(("aws", "tokio", "hyper"))]


@pytest.mark.parametrize("mutant", sorted((ROOT / "tests/mutants").glob("*.patch")), ids=lambda path: path.stem)
def test_each_mutant_applies_to_the_code_it_breaks(mutant: Path) -> None:
    # As tests/mutants/run.sh applies it, which also compiles it and takes minutes.
    command = ["patch", "--dry-run", "--strip=1", "--fuzz=3", "--directory", str(ROOT), "--input", str(mutant)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"the code it breaks has changed, write it anew:\n{done.stdout}{done.stderr}"
