"""The command line as people use it, against a real server on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.server import Options, serving
from evollab.cli import main

ROOT = Path(__file__).parent.parent


def evol(*arguments: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "evollab.cli", *arguments], capture_output=True, text=True, timeout=120, check=False,
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), **env},
    )  # fmt: skip


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def test_the_whole_way(tmp_path: Path, seeds_file: Path) -> None:
    with serving(Options(equal_pct=10, leak_pct=5, sorry_pct=5)) as server:
        reach = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "sk-test-key-of-ours"}
        seeds = str(seeds_file)
        looked = evol("preview", seeds, "--model", "openai:mock", "--price", "1,2", folder=tmp_path, **reach)
        assert looked.returncode == 0, looked.stderr
        assert "all 52 seeds, judged by 5:" in looked.stdout
        assert "money   about $" in looked.stdout
        asked = server.stats()["requests"]
        done = evol("evolve", seeds, "--model", "openai:mock", "--price", "1,2", folder=tmp_path, **reach)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        assert "next: evol report runs/first" in done.stderr
        stats = server.stats()
        assert stats["paid_twice"] == 0, "the preview's replies are the run's too"
        assert asked > 0
    shown = evol("show", "runs/first", folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "no_gain" in shown.stdout
    rows = lines(tmp_path / "runs/first/1-evolve/instructions.jsonl")
    one = evol("show", "runs/first", "--row", rows[-1]["id"][:12], folder=tmp_path)
    assert one.returncode == 0, one.stderr
    told = evol("report", "runs/first", folder=tmp_path)
    assert told.returncode == 0, told.stderr
    page = (tmp_path / "runs/first/report.html").read_text("utf-8")
    assert rows[0]["id"] in page or "Sankey" in page or "<svg" in page
    for kind in ("messages", "alpaca", "sharegpt", "parquet"):
        out = evol("export", "runs/first", "--format", kind, "--n", "40", "--out", f"out-{kind}", folder=tmp_path)
        assert out.returncode == 0, out.stderr
        assert "40 of" in out.stdout
        assert (tmp_path / f"out-{kind}/README.md").read_text("utf-8").startswith("---\n")
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"sk-test-key-of-ours" not in everything


def test_qualify_finds_a_fit_model_and_a_run_follows_it(tmp_path: Path, seeds_file: Path) -> None:
    script = tmp_path / "fit.py"
    script.write_text(
        "from evollab.evolve.gain import EQUAL_PAIRS\n"
        "from tests.models import good, kind\n"
        "EQUAL = {frozenset(p) for p in EQUAL_PAIRS}\n"
        "def reply(body):\n"
        "    text = body['messages'][-1]['content']\n"
        "    if text.endswith('Difficulty:'):\n"
        "        return str(min(10, 1 + text.count(' ') // 30))\n"
        "    if kind(body) == 'judge':\n"
        "        pair = frozenset(part.split('\\n>>>')[0] for part in text.split('<<<\\n')[1:])\n"
        "        return 'Equal' if pair in EQUAL else 'Not Equal'\n"
        "    return good(body)\n"
        "def bad_judge(body):\n"
        "    return 'Not Equal' if kind(body) == 'judge' else reply(body)\n"
    )
    told = evol("qualify", str(seeds_file), "--model", "scripted:fit.py:reply", "--out", "a", folder=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "as an evolver: fit. 100% of 50 evolutions survive (paper shape)" in told.stdout
    assert "as a judge: fit. Both orders agree on 100%" in told.stdout
    assert "difficulty (1 to 10, judged)" in told.stdout
    told = evol("qualify", str(seeds_file), "--model", "scripted:fit.py:bad_judge", "--out", "b", folder=tmp_path)
    assert "as a judge: not fit" in told.stdout
    done = evol("evolve", str(seeds_file), "--model", "scripted:fit.py:bad_judge", "--rounds", "1", "--out", "b",
                folder=tmp_path)  # fmt: skip
    assert "it is not fit to judge" in done.stderr
    facts = json.loads((tmp_path / "b/1-evolve/step.json").read_text())
    assert facts["config"]["settled"]["judging"] == "rule"
    assert facts["notes"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["evolve", "nowhere.jsonl", "--model", "openai:m"], "nowhere.jsonl"),
        (["evolve", "nowhere.jsonl"], "no model given"),
        (["evolve", "x.jsonl", "--model", "m"], "PROVIDER:NAME"),
        (["evolve", "x.jsonl", "--model", "opnai:m"], "did you mean openai?"),
        (["evolve", "x.jsonl", "--model", "openai:m", "--domain", "generel"], "did you mean general?"),
        (["evolve", "x.jsonl", "--model", "openai:m", "--price", "1"], "IN,OUT"),
        (["evolve", "x.jsonl", "--model", "openai:m", "--extra-body", "a=b"], "not JSON"),
        (["show", "nowhere"], "nowhere"),
        (["report", "nowhere"], "nowhere"),
        (["export", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_told_with_the_mend(arguments: list[str], says: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"instruction": "Explain tides to a sailor."}\n')
    done = evol(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    for arguments in (["--version"], ["evolve", "--help"], ["export", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
    assert "--max-cost" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, evollab.cli; evollab.cli.parser_of(None); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"aiohttp", "duckdb", "rich", "jinja2", "uvloop", "sqlite3", "numpy"} & set(modules)


def test_bad_rows_are_kept_aside_or_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"instruction": "Explain tides to a sailor."}\n"text"\n{"instruction": ""}\n')
    common = ["evolve", "x.jsonl", "--model", "scripted:tests.models:good", "--rounds", "1"]
    done = evol(*common, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 bad rows in rejected.jsonl" in done.stderr
    rows = lines(tmp_path / "runs/first/1-evolve/rejected.jsonl")
    assert [row["line"] for row in rows] == [2, 3]
    strict = evol(*common, "--strict", "--out", "strict", folder=tmp_path)
    assert strict.returncode == 2
    assert "x.jsonl:2" in strict.stderr
    assert not (tmp_path / "strict/calls.db").exists(), "nothing was asked"
