"""`evol show`: true numbers, inert text, the same when piped as when it isn't."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from evollab.records import EvolError
from evollab.report.facts import collect
from evollab.report.figures import percent
from evollab.report.terminal import show
from tests.fake_run import write_run
from tests.test_report_page import HOSTILE, hostile_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "first", seeds=60, rounds=4, number=2)


def shown(run: Path, *, row: str | None = None, width: int = 120, terminal: bool = False) -> str:
    file = io.StringIO()
    show(
        run,
        row=row,
        console=Console(file=file, width=width, force_terminal=terminal, color_system="standard" if terminal else None),
    )
    return file.getvalue()


def test_the_numbers(run: Path) -> None:
    facts, text = collect(run), shown(run, width=200)
    assert f"{facts.rows:,} rows: {facts.seeds:,} seeds, {facts.kept:,} evolved of {facts.tried:,} tried" in text
    for cell in facts.cells:
        assert re.search(rf"  {cell.operation} +{cell.tried} +{cell.kept} +{percent(cell.kept / cell.tried)} ", text)
    for rule in facts.rules:
        assert f"{sum(cell.dropped.get(rule, 0) for cell in facts.cells)} {rule}: " in text
    assert facts.calls is not None
    for group in facts.calls.groups:
        assert re.search(rf"{group.purpose} +{group.model} +{group.calls:,} ", text)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_it_keeps_to_the_width(run: Path, width: int) -> None:
    facts = collect(run)
    for row in (None, facts.lineages[1].leaf.id):
        lines = shown(run, row=row, width=width).split("\n")
        assert all(len(line) <= width for line in lines)
    total = re.search(r"all rounds +(\d+)", shown(run, width=width))
    assert total
    assert int(total[1]) == facts.tried


def test_one_lineage_from_seed_to_leaf(run: Path) -> None:
    line = next(line for line in collect(run).lineages if line.dropped and len(line.line) > 2)
    text = shown(run, row=line.leaf.id[:10])
    assert text.lstrip().startswith(f"seed  {line.seed.id}")
    assert f"{line.leaf.id}  <- asked for" in text
    places = [text.index(row.id) for row in line.line]
    assert places == sorted(places)
    for drop in line.dropped:
        assert f"dropped: {drop.rule}: {drop.detail}" in text
    assert "{+" in text


def test_added_words_are_coloured_on_a_terminal(run: Path) -> None:
    line = collect(run).lineages[0]
    text = shown(run, row=line.leaf.id, terminal=True)
    assert "\x1b[1;32m" in text
    assert "{+" not in text


def test_model_text_does_not_act_on_the_terminal(tmp_path: Path) -> None:
    run = hostile_run(tmp_path)
    ids = [line.leaf.id for line in collect(run).lineages]
    texts = [shown(run), *(shown(run, row=name) for name in ids)]
    for text in texts:
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", text)
    coloured = shown(run, terminal=True)
    # Colours are all that may be left, and they are ours.
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", re.sub(r"\x1b\[[\d;]*m", "", coloured))
    assert "[bold]" in shown(write_run(tmp_path / "marked", seeds=2, rounds=1, changes={"notes": ["[bold]x[/bold]"]}))
    assert any("<script>alert" in text for text in texts)
    assert len(HOSTILE) > 10


def test_piped(run: Path) -> None:
    """Plain text on stdout, nothing on stderr, whatever the terminal's size or the wish for colour."""
    code = f"import pathlib; from evollab.report.terminal import show; show(pathlib.Path({str(run)!r}))"
    told = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env={**os.environ, **more})
        for more in ({"COLUMNS": "40"}, {"COLUMNS": "300", "TERM": "xterm-256color"})
    ]
    assert told[0].stdout == told[1].stdout
    assert told[0].stderr == b""
    assert b"\x1b" not in told[0].stdout
    assert max(len(line) for line in told[0].stdout.decode().split("\n")) <= 120


def test_a_run_with_holes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", seeds=3, rounds=1, calls=False)
    assert "There is no calls.db" in " ".join(shown(run).split())
    (run / "1-evolve/instructions.jsonl").unlink()
    (run / "1-evolve/dropped.jsonl").unlink()
    assert "0 rows" in shown(run)


def test_what_is_wrong_is_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(EvolError, match="not a run"):
        shown(tmp_path)
    with pytest.raises(EvolError, match="no row 'zzz'"):
        shown(run, row="zzz")
