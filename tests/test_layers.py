"""The house keeps its order: imports go downwards only, files stay small and are named for what they do."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "evollab"
FLOORS = (
    ("records", "rng", "plugs", "runs", "words", "chat", "inert", "owntemplate", "pieces"),
    ("llm",),
    ("data",),
    ("sandbox",),
    ("evals",),
    ("evolve",),
    ("train",),
    ("serve",),
    ("report",),
    ("flags", "verbs", "cli"),
)
"""From the ground up. A part may import its own floor and those below."""
GROUND = {
    "records": set[str](),
    "rng": set[str](),
    "words": set[str](),
    "inert": set[str](),
    "plugs": {"records"},
    "runs": {"records"},
    "pieces": {"records"},
    "owntemplate": {"records", "pieces"},
    "chat": {"records", "pieces", "owntemplate"},
}
"""On the ground floor the order is stricter: what each may import."""
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
FORBIDDEN_NAMES = ("util", "utils", "helper", "helpers", "common", "base", "manager", "factory", "misc")
MOST_LINES = 900
MOST_LINES_CLI = 400
HEAVY = {
    "accelerate", "aiohttp", "datasets", "deepspeed", "duckdb", "gguf", "huggingface_hub", "jinja2",
    "langdetect", "lm_eval", "math_verify", "numpy", "peft", "punkt", "sympy",
    "py3langid", "rich", "sklearn", "sqlite3", "tokenizers", "torch", "transformers", "trl", "uvloop", "xllamacpp",
}  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """The part of the house that a file belongs to; "" for evollab/__init__.py."""
    first = path.relative_to(PACKAGE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def imported(tree: ast.AST, path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it, whole names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downwards(path: Path) -> None:
    own = part(path)
    if not own:
        assert not [name for name in imported(ast.parse(path.read_text("utf-8")), path) if "evollab" in name]
        return
    assert own in LEVEL, f"{own} has no floor: give it one in FLOORS, and say why in docs/architecture.md"
    for name in imported(ast.parse(path.read_text("utf-8")), path):
        if not name.startswith("evollab."):
            continue
        other = name.split(".")[1]
        if other == "__version__":
            continue
        assert other in LEVEL, f"{path}: imports {name}"
        if own in GROUND:
            assert other in GROUND[own] | {own}, f"{path}: imports {name}; it may import {GROUND[own] or 'nothing'}"
        else:
            assert LEVEL[other] <= LEVEL[own], f"{path}: {own} imports {name}, which stands above it"


def test_a_wrong_import_is_noticed() -> None:
    tree = ast.parse("def f():\n    from evollab.evolve import step\n    import evollab.report.page\n")
    assert list(imported(tree, PACKAGE)) == ["evollab.evolve.step", "evollab.report.page"]
    assert LEVEL["evolve"] > LEVEL["llm"]


def test_no_circles_within_a_part() -> None:
    """Imports at the top of files make no circle, so that any file can be imported first."""
    names = {".".join(("evollab", *p.relative_to(PACKAGE).with_suffix("").parts)): p for p in FILES}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    needs: dict[str, set[str]] = {}
    for name, path in names.items():
        body = ast.Module(
            [node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.Import | ast.ImportFrom)],
            [],
        )
        needs[name] = {other for full in imported(body, path) for other in (full, full.rpartition(".")[0])} & set(names)
        needs[name] -= {name, "evollab"}
    done: set[str] = set()
    while ready := {name for name in names if name not in done and needs[name] <= done}:
        done |= ready
    assert done == set(names), f"a circle among {sorted(set(names) - done)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_small_and_named(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES
    assert path.parent.name not in FORBIDDEN_NAMES
    lines = path.read_text("utf-8").count("\n")
    assert lines <= (MOST_LINES_CLI if path.name == "cli.py" else MOST_LINES)
    assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), "says nothing about itself"


def modules_after(code: str) -> set[str]:
    out = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"], capture_output=True, text=True, check=True,
        cwd=ROOT,
    ).stdout  # fmt: skip
    return set(out.split())


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import evollab.cli", set[str]()),
        ("import evollab.cli; evollab.cli.parser_of('evolve')", {"aiohttp", "sqlite3"}),
        ("import evollab.cli; evollab.cli.parser_of('export')", set[str]()),
        ("import evollab.evolve.step", {"aiohttp", "sqlite3"}),
        ("import evollab.data.export", set[str]()),
        ("import evollab.report.page", {"jinja2", "sqlite3", "aiohttp"}),
        ("import evollab.report.terminal", {"rich", "sqlite3", "aiohttp"}),
    ],
)
def test_heavy_things_are_imported_only_when_needed(code: str, allowed: set[str]) -> None:
    assert HEAVY & modules_after(code) <= allowed


def test_nothing_is_suppressed_without_a_reason() -> None:
    """`type: ignore` names what it ignores; `noqa` names a rule."""
    for path in FILES:
        for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
            place = f"{path.relative_to(ROOT)}:{number}"
            if "type: ignore" in line:
                assert "type: ignore[" in line, place
            if "# noqa" in line:
                assert "# noqa: " in line, place
