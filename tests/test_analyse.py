"""The step `analyse`, whole: every row with its attributes, facts that the page takes, stops and goes on."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from evollab.cli import main
from evollab.data.analyse import AnalyseOptions, AnalyseResult, analyse, estimate_cost
from evollab.data.attributes import ATTRIBUTES
from evollab.data.sample import SampleOptions, sample
from evollab.records import EvolError
from evollab.report.analysis import write_analysis
from evollab.report.analysis_facts import AnalysisFacts, read_facts
from tests import judge_models
from tests.running import Runner

TOPICS = ("boil an egg", "plant a pear tree", "sort a list of numbers", "read a map", "write a sonnet", "tune a guitar")
ENDS = ("in the mountains", "for a child", "within an hour", "on a small budget", "without any tools")


def lineages(path: Path, roots: int = 12, rounds: int = 2) -> str:
    """Rows as `evol evolve` leaves them: seeds, each followed by its children."""
    chance = random.Random(3)
    rows = []
    for root in range(roots):
        text = f"Explain how to {TOPICS[root % len(TOPICS)]}, case {root}, step 1."
        for number in range(rounds + 1):
            if number:
                text = text.replace(f"step {number}", f"step {number + 1}") + f" Do so {chance.choice(ENDS)}."
            rows.append(
                {"id": f"{root}-{number}", "root_id": f"{root}-0", "parent_id": None, "round": number,
                 "operation": "seed" if not number else "deepen", "domain": "general", "text": text, "input": "",
                 "response": " ".join(chance.choices("the way is long but you will find that it works well".split(), k=30))}
            )  # fmt: skip
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return str(path)


@pytest.fixture
def data(tmp_path: Path) -> str:
    return lineages(tmp_path / "rows.jsonl")


def done(data: str, out: Path, **options: Any) -> AnalyseResult:
    return asyncio.run(analyse(data, out, AnalyseOptions(**{"embed": "hashed", **options})))


def judged(runner: Runner, data: str, out: Path, **options: Any) -> AnalyseResult:
    runner._reply = judge_models.good
    return done(data, out, with_model="scripted:judge", **options)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (folder / "kept.jsonl").read_bytes().splitlines()]


def facts(folder: Path) -> AnalysisFacts:
    return read_facts(folder)


def test_without_a_model(data: str, tmp_path: Path) -> None:
    result = done(data, tmp_path / "a")
    found = rows(tmp_path / "a")
    before = [orjson.loads(line) for line in Path(data).read_bytes().splitlines()]
    assert [{name: row[name] for name in row if name != "attributes"} for row in found] == before
    assert all(row["attributes"].keys() >= {*ATTRIBUTES, "nn_similarity", "cluster"} for row in found)
    told = facts(tmp_path / "a")
    assert (told.rows, told.rejected) == (36, 0)
    assert told.groups is not None
    assert told.groups.names == ("seeds", "round 1", "round 2")
    assert told.groups.rows == (12, 12, 12)
    assert told.breadth is not None
    assert len(told.breadth.points.x) == 36
    assert told.duplicates is not None
    words = told.number("words")
    assert words is not None
    assert words.overall.n == 36
    assert result.state == "complete"
    assert "36 rows" in str(result)
    page = write_analysis(tmp_path / "a").read_text("utf-8")
    assert "round 2" in page


def test_done_once_and_refused_with_other_options(data: str, tmp_path: Path) -> None:
    done(data, tmp_path / "a")
    before = (tmp_path / "a" / "kept.jsonl").stat().st_mtime_ns
    again = done(data, tmp_path / "a")
    assert not again.fresh
    assert (tmp_path / "a" / "kept.jsonl").stat().st_mtime_ns == before
    with pytest.raises(EvolError, match=r"other settings: near was 0\.8, now 0\.5"):
        done(data, tmp_path / "a", near=0.5)


def test_with_a_judge(runner: Runner, data: str, tmp_path: Path) -> None:
    result = judged(runner, data, tmp_path / "a")
    assert result.state == "complete"
    found = rows(tmp_path / "a")
    for row in found:
        assert row["attributes"]["difficulty"] == row["round"] + 1, "all of a lineage are marked in one prompt"
        assert row["attributes"]["skills"] == ["Math", "Writing"]
    told = facts(tmp_path / "a")
    assert told.judge is not None
    assert told.judge.attributes["difficulty"].judged == 36
    assert told.calls == len(runner.asked)
    drawn = sample(str(tmp_path / "a"), tmp_path / "s", SampleOptions(by=("difficulty",), target="uniform", n=9))
    [table] = drawn.account["fields"]
    assert {line["value"]: line["drawn"] for line in table["values"]} == {"1": 3, "2": 3, "3": 3}
    assert "difficulty" in write_analysis(tmp_path / "a", samples=[tmp_path / "s"]).read_text("utf-8")


def test_the_same_bytes_at_any_concurrency_and_after_a_stop(runner: Runner, data: str, tmp_path: Path) -> None:
    judged(runner, data, tmp_path / "one", concurrency=1)
    asked = len(runner.asked)
    stopped = judged(runner, data, tmp_path / "two", concurrency=7, max_calls=11)
    assert (stopped.state, stopped.exit_code) == ("stopped", 0)
    assert "goes on" in str(stopped)
    assert len(rows(tmp_path / "two")) == 36, "what is known so far is there"
    whole = judged(runner, data, tmp_path / "two", concurrency=7)
    assert whole.state == "complete"
    assert len(runner.asked) == 2 * asked, "nothing is asked twice"
    assert (tmp_path / "one/kept.jsonl").read_bytes() == (tmp_path / "two/kept.jsonl").read_bytes()


def test_a_second_analysis_adds_to_the_first(runner: Runner, data: str, tmp_path: Path) -> None:
    judged(runner, data, tmp_path / "a", judge_what="quality")
    done(str(tmp_path / "a"), tmp_path / "b", attributes="language", embed="none", near=0)
    found = rows(tmp_path / "b")[5]["attributes"]
    assert {"quality", "language", "cluster"} <= found.keys()
    told = facts(tmp_path / "b")
    assert told.number("quality") is not None
    assert told.breadth is None
    assert told.duplicates is None


def test_duplicates_are_shown_with_what_stays(tmp_path: Path) -> None:
    texts = ["Explain how tides come about on a long flat coast.", "explain how tides come about on a long flat coast"]
    path = tmp_path / "d.jsonl"
    path.write_bytes(
        b"".join(orjson.dumps({"instruction": text, "output": "x"}) + b"\n" for text in [*texts, "Hi there"])
    )
    done(str(path), tmp_path / "a")
    told = facts(tmp_path / "a").duplicates
    assert told is not None
    assert {kind.name: kind.rows for kind in told.kinds} == {"exact": 1, "near": 0}
    assert told.examples[0].goes.text == texts[1]
    assert told.examples[0].goes.line == 2


def test_mistakes(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyse", data, "--attributes", "langauge", "--out", str(tmp_path / "a")]) == 2
    said = capsys.readouterr().err
    assert "no attribute is called 'langauge'" in said
    assert "did you mean language?" in said
    (tmp_path / "empty.jsonl").write_text("\n\n")
    assert main(["analyse", str(tmp_path / "empty.jsonl"), "--out", str(tmp_path / "b")]) == 2
    assert "no rows" in capsys.readouterr().err
    assert not (tmp_path / "b" / "kept.jsonl").exists()
    for arguments, says in (
        (["-"], "a pipe can be read once only"), ([data, "--near", "2"], "above 0, at most 1"),
        ([data, "--estimate"], "none is named"), ([data, "--embed", "nothing-like-it"], "hashed, minilm"),
    ):  # fmt: skip
        assert main(["analyse", *arguments, "--out", str(tmp_path / "c")]) == 2
        assert says in capsys.readouterr().err


def test_bad_rows_are_counted_and_kept_aside(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"instruction": "Say hello."}\n{"instruction": 5}\n{"instr\n{"instruction": "Say goodbye."}\n')
    result = done(str(path), tmp_path / "a")
    aside = [orjson.loads(line)["line"] for line in (tmp_path / "a" / "rejected.jsonl").read_bytes().splitlines()]
    assert sorted(aside) == [2, 3]
    assert facts(tmp_path / "a").rejected == 2
    assert "2 rows that could not be used" in str(result)
    with pytest.raises(EvolError, match=r":2: field"):
        done(str(path), tmp_path / "b", strict=True)


def test_the_estimate_asks_nothing(runner: Runner, data: str) -> None:
    told = asyncio.run(estimate_cost(data, AnalyseOptions(with_model="scripted:judge")))
    assert "nothing asked yet" in told
    assert runner.asked == []
