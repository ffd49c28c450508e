"""Judgements made elsewhere, and calibration: a judge against people's verdicts. On the published files where they
are at hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from evollab.data.files import read_rows
from evollab.data.formats import BadFields
from evollab.data.rows import Row
from evollab.evals.judging.calibrate import calibrate
from evollab.evals.judging.pairs import Pairs, read_pairs, read_verdicts, winner
from evollab.evals.judging.parse import read_rating
from evollab.evals.judging.published import category, mark_of
from evollab.evals.judging.run import JudgeOptions, JudgeResult, judge
from evollab.evals.options import EvalOptions
from evollab.evals.run import evaluate
from evollab.evals.tasks import alpacaeval, evol_testset, mtbench, vicuna80
from evollab.llm.budget import Price
from evollab.llm.providers import scripted as provider
from evollab.llm.scripted import Scripted
from evollab.llm.session import Connection, ModelOptions
from evollab.records import EvolError
from tests import judges
from tests.judges import Judge

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
PUBLISHED = SHARED / "published"
real = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published judgements are not here")


# Rows made elsewhere


def test_mt_bench_ids_and_marks() -> None:
    assert [category(str(number)) for number in (81, 100, 101, 160)] == [
        "writing", "roleplay", "reasoning", "humanities",
    ]  # fmt: skip
    assert [category(name) for name in ("80", "161", "x", "")] == [""] * 4
    assert [mark_of(value) for value in (7, "8.5", 10.0)] == [(7, ""), (8.5, ""), (10, "")]
    assert [mark_of(value) for value in (-1, None, "-1")] == [(None, "unparsed")] * 3
    dirt: list[Any] = [0, 11, "garbage", True, []]
    assert [mark_of(value)[1] for value in dirt] == ["not a mark"] * 5


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return str(path)


def result(out: Path, task: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / task / "result.json").read_text())
    return found


def evaluated(task: str, file: str, folder: Path, **more: Any) -> dict[str, Any]:
    asyncio.run(evaluate(None, [task], folder / "out", EvalOptions(outputs=file, **more)))
    return result(folder / "out", task)


def test_judgements_of_several_models_with_dirt(tmp_path: Path) -> None:
    def row(question: object, model: str, turn: object, score: object) -> dict[str, Any]:
        said = f"It is so. Rating: [[{score}]]"
        return {
            "question_id": question,
            "model": model,
            "turn": turn,
            "score": score,
            "judge": ["j", "p"],
            "judgment": said,
        }

    rows = [
        row(81, "a", 1, 8), row(81, "a", 2, 6), row("81", "b", 1, "5"), row(81.0, "b", "2", 5.0), row(111, "a", 1, -1),
        row(111, "a", 2, 4), row(111, "a", 2, 2), row(111, "b", 1, None), row(111, "b", 2, "garbage"),
        row(111, "b", 9.5, 3), {"question_id": None, "score": 3, "model": "a", "turn": 1},
    ]  # fmt: skip
    found = evaluated("mtbench", write(tmp_path / "rows.jsonl", rows), tmp_path, benchmarks=str(tmp_path))
    values = {one["name"]: one["value"] for one in found["metrics"]}
    assert values["score"] == pytest.approx((8 + 6 + 5 + 5 + 4 + 2) / 6)
    assert values["a: score"] == 5
    assert values["a: turn 1"] == 8
    assert values["b: score"] == 5
    assert found["failures"] == {"not a mark": 1, "unparsed": 2}
    assert len(found["outputs"]["rejected"]) == 2
    assert found["groups"]["category"]["writing"]["value"] == 6
    assert found["groups"]["category"]["math"]["value"] == 3


def test_annotations_with_dirt(tmp_path: Path) -> None:
    preferences = [2, 1, 2.0, 1.5, 0, None, -1, "garbage"] + [1.9, 1.1] * 4
    rows = [
        {"instruction": f"Q{at}", "output_1": "short", "output_2": "long " * (at % 5 + 1), "preference": value,
         "generator_1": "base", "generator_2": "model", "dataset": "x"} for at, value in enumerate(preferences)
    ]  # fmt: skip
    found = evaluated("alpacaeval", write(tmp_path / "rows.jsonl", rows), tmp_path, benchmarks=str(tmp_path))
    assert found["value"] == pytest.approx(100 * (1 + 0 + 1 + 0.5 + 0.5 + 4) / 13)
    assert found["failures"] == {"no preference": 1, "not a preference": 2}
    assert found["metrics"][1]["name"] == "length-controlled, minimal"


def test_a_table_of_difficulties_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"instruction": f"Q{at}", "output_1": "a" * (at % 7), "output_2": "b" * (at % 5), "preference": 1 + at % 2,
         "generator_2": "model"} for at in range(40)
    ]  # fmt: skip
    write(tmp_path / "alpacaeval.jsonl", [{"instruction": f"Q{at}", "dataset": "x"} for at in range(40)])
    file = write(tmp_path / "rows.jsonl", rows)
    table = tmp_path / "table.csv"
    table.write_text("index,instruction_difficulty\n" + "".join(f"{at},{at % 3 - 1}.5\n" for at in range(40)))
    monkeypatch.setenv("EVOLLAB_ALPACAEVAL_DIFFICULTY", str(table))
    found = evaluated("alpacaeval", file, tmp_path, benchmarks=str(tmp_path))
    assert found["metrics"][1]["name"] == "length-controlled, difficulty"
    assert found["metrics"][1]["facts"]["difficulties"] == "table.csv"
    table.write_text("place,hardness\n1,2\n")
    with pytest.raises(EvolError, match=r"no row gives an instruction's difficulty"):
        evaluated("alpacaeval", file, tmp_path / "again", benchmarks=str(tmp_path))


def test_only_some_categories_of_mt_bench_have_references() -> None:
    def gold(category: str) -> Any:
        row = {"question_id": 1, "category": category, "turns": ["Q"], "reference": ["right"]}
        return mtbench.question(Row(1, row)).gold

    assert gold("math") == {"reference": ["right"]}
    assert gold("extraction") is None


def test_every_judged_task_reads_its_rows() -> None:
    asked: dict[Any, dict[str, Any]] = {
        mtbench: {"question_id": 81, "category": "writing", "turns": ["One?", "Two?"]},
        vicuna80: {"question_id": 1, "category": "generic", "text": "One?"},
        evol_testset: {"idx": 1, "Skill": "Math", "Difficulty": 3, "Instruction": "One?"},
        alpacaeval: {"instruction": "One?", "dataset": "koala"},
    }
    for task, row in asked.items():
        question = task.TRIAL.question(Row(1, row))
        assert question is not None
        assert question.turns[0] == "One?"
        assert set(task.TRIAL.groups) & set(question.facts)
        assert task.TRIAL.needs_judge


@real
@pytest.mark.parametrize(
    ("file", "rate", "controlled"),
    [
        ("ae1__vicuna-13b", 70.43478260869566, 50.30), ("ae2__vicuna-13b", 5.831103184496894, 14.09),
        ("ae2__gemma-2b-it", 3.4019714381366457, 6.64),
    ],
)  # fmt: skip
def test_published_win_rates_are_equal_to_the_last_digit(
    file: str, rate: float, controlled: float, tmp_path: Path
) -> None:
    (tmp_path / "alpacaeval.jsonl.xz").symlink_to(SHARED / "alpaca_eval_805_gpt4_1106_preview.jsonl.xz")
    found = evaluated("alpacaeval", str(PUBLISHED / f"{file}.jsonl.xz"), tmp_path, benchmarks=str(tmp_path))
    assert found["value"] == rate
    assert (found["n"], found["failures"]) == (805, {})
    assert found["metrics"][1]["name"] == "length-controlled, minimal"
    assert found["metrics"][1]["value"] == pytest.approx(controlled, abs=0.01)


@real
def test_published_mt_bench_marks(tmp_path: Path) -> None:
    file = str(PUBLISHED / "routellm_gpt4_single.jsonl.xz")
    found = evaluated("mtbench", file, tmp_path, benchmarks=str(tmp_path))
    values = {one["name"]: round(one["value"], 4) for one in found["metrics"]}
    assert values["martian: score"] == 8.3125
    assert values["unify: score"] == 8.7579
    assert (values["martian: turn 1"], values["martian: turn 2"]) == (8.4, 8.225)
    assert found["failures"] == {"unparsed": 1}
    for row in read_rows(file, reject=lambda rejected: None):
        assert read_rating(row.fields["judgment"]) == mark_of(row.fields["score"])[0], "read from the text itself"


# Pairs that people judged


def test_labels_of_each_code() -> None:
    assert [winner(value, "llmbar") for value in (1, "2", 2.0)] == ["first", "second", "second"]
    assert [winner(value, "autoj") for value in (0, 1, 2)] == ["first", "second", "tie"]
    assert [winner(value, "pandalm") for value in (0, "Tie", "1")] == ["tie", "tie", "first"]
    dirt: list[Any] = [3, None, "garbage", True, [], 1.5]
    for value in dirt:
        with pytest.raises(BadFields, match="expected"):
            winner(value, "pandalm")


def test_pairs_of_every_form(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"input": "Q", "output_1": "a", "output_2": "b", "label": 2, "subset": "Natural"},
        {"prompt": "Q", "response 1": "a", "response 2": "b", "label": 0, "scenario": "chat"},
        {"idx": 7, "instruction": "Q", "input": "M", "response1": True, "response2": "b", "annotator1": 0,
         "annotator2": 0, "annotator3": 1},
        {"idx": 8, "instruction": "Q", "input": "", "response1": "a", "response2": "b", "annotator1": 0,
         "annotator2": 2, "annotator3": 1},
        {"instruction": "Q", "first": "a", "second": "b", "label": "tie"},
        {"instruction": "Q", "first": "a", "second": "b", "label": "??"},
        {"instruction": "Q"},
    ]  # fmt: skip
    found = read_pairs(write(tmp_path / "pairs.jsonl", rows))
    assert [pair.label for pair in found.pairs] == ["second", "first", "tie", "tie"]
    assert (found.undecided, len(found.rejected)) == (1, 2)
    assert found.pairs[2].id == "7"
    assert found.pairs[2].match.turns == ("Q\n\nM",)
    assert found.pairs[2].match.first == ("True",)
    with pytest.raises(EvolError, match="no row of it is a pair"):
        read_pairs(write(tmp_path / "none.jsonl", rows[-1:]))


def labelled(*rows: tuple[str, str, str]) -> list[dict[str, Any]]:
    return [{"instruction": f"Q{at}", "first": a, "second": b, "label": label} for at, (a, b, label) in enumerate(rows)]


PAIRS = labelled(
    ("worth 5", "worth 3 and longer", "first"), ("worth 2 and longer", "worth 9", "second"),
    ("worth 4", "worth 3, longer", "first"), ("worth 1", "worth 6, longer", "second"), ("worth 2", "worth 2", "tie"),
)  # fmt: skip


def calibrated(reply: judges.Reply, tmp_path: Path) -> Any:
    pairs = read_pairs(write(tmp_path / "pairs.jsonl", PAIRS))
    return asyncio.run(calibrate(Judge(reply), "scripted:judge", pairs))


def test_a_fair_judge_agrees(tmp_path: Path) -> None:
    found = calibrated(judges.fair, tmp_path)
    assert (found.agreement.value, found.kappa, found.games.value) == (100, 1, 100)
    assert (found.bias.shown_first.value, found.bias.consistent.value, found.length_bias) == (50, 100, 0)
    assert "agrees with people on 100.0 %" in str(found)


def test_a_judge_of_places_is_told_by_its_calibration(tmp_path: Path) -> None:
    found = calibrated(judges.first, tmp_path)
    assert found.agreement.value == 20, "ties alone: right on the tie"
    assert found.games.value == 40, "one order of each decided pair is right"
    assert found.kappa == 0
    assert (found.bias.shown_first.value, found.bias.consistent.value) == (100, 0)


def test_a_judge_of_lengths_is_told_by_its_calibration(tmp_path: Path) -> None:
    found = calibrated(judges.longer, tmp_path)
    assert (found.longer.value, found.longer_judge.value, found.length_bias) == (25, 100, 75)
    assert "+75.0 points" in str(found)


def test_a_judge_that_talks_garbage_has_no_figures(tmp_path: Path) -> None:
    found = calibrated(judges.garbage, tmp_path)
    assert (found.agreement.value, found.kappa, found.bias.unparsed) == (None, None, 5)
    assert "5 replies unparsed" in str(found)
    json.dumps(found.told())


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fair judge behind scripted:fair; the prompts it was asked."""
    asked: list[str] = []

    @contextlib.asynccontextmanager
    async def connect(name: str, options: ModelOptions) -> AsyncIterator[Connection]:
        def reply(body: dict[str, Any]) -> Any:
            prompt = str(body["messages"][-1]["content"])
            if "@@" not in prompt:
                return f"worth {len(prompt) % 9 + 1}"
            asked.append(prompt)
            shown = judges.parts(prompt)
            if "answer A" not in shown:
                return "Fine.\n[[8]]"
            return judges.marks(shown) if "[[5]] [[6]]" in prompt else judges.fair(shown)

        yield Connection(f"scripted:{name}", name, Scripted(reply, name), Price(1.0, 2.0))

    monkeypatch.setattr(provider, "connect", connect)
    return asked


def test_evol_judge_asks_once_and_writes(tmp_path: Path, scripted: list[str]) -> None:
    file = write(tmp_path / "pairs.jsonl", PAIRS)

    def call() -> JudgeResult:
        return asyncio.run(judge("scripted:fair", [file], tmp_path / "out", JudgeOptions()))

    first = call()
    assert (len(scripted), first.exit_code) == (9, 0), "equal answers are the same prompt in both orders"
    written = (tmp_path / "out" / "calibration.json").read_bytes()
    assert orjson.loads(written)["sets"][0]["kappa"] == 1
    assert str(call()) == str(first)
    assert len(scripted) == 9, "kept replies"
    assert (tmp_path / "out" / "calibration.json").read_bytes() == written
    some = asyncio.run(judge("scripted:fair", [file], tmp_path / "out", JudgeOptions(limit=2, json=True)))
    assert json.loads(str(some))["pairs"] == 2


@pytest.mark.parametrize(
    ("model", "verdicts", "files", "says"),
    [
        (None, None, ["x"], "neither is given"), ("scripted:fair", "v", ["x"], "not both"),
        ("scripted:fair", None, [], "no file is named"),
    ],
)  # fmt: skip
def test_mistakes_are_told(model: str | None, verdicts: str | None, files: list[str], says: str) -> None:
    with pytest.raises(EvolError, match=says):
        asyncio.run(judge(model, files, Path("out"), JudgeOptions(verdicts=verdicts)))


def test_verdicts_made_elsewhere(tmp_path: Path) -> None:
    rows = [
        {"idx": at, "instruction": "Q", "input": "", "response1": "a", "response2": "bb", "annotator1": at % 3}
        for at in range(6)
    ]
    verdicts = [{"idx": at, "gpt_result": ("Tie", "1", "2", "garbage", "2", None)[at]} for at in range(6)]
    said, lost = read_verdicts(write(tmp_path / "verdicts.jsonl", verdicts))
    assert said == {"0": "tie", "1": "first", "2": "second", "4": "second"}
    assert lost == {"3": "garbage", "5": "None"}
    options = JudgeOptions(verdicts=str(tmp_path / "verdicts.jsonl"))
    (found,) = asyncio.run(judge(None, [write(tmp_path / "pairs.jsonl", rows)], None, options)).sets
    assert (found.pairs, found.agreement.value) == (4, 75)
    assert found.dirt == {"garbage": 1, "None": 1}


@real
def test_pandalm_against_people() -> None:
    options = JudgeOptions(verdicts=str(PUBLISHED / "pandalm_gpt35_pred.jsonl.xz"))
    (found,) = asyncio.run(judge(None, [str(SHARED / "pandalm_testset_v1.jsonl.xz")], None, options)).sets
    assert (found.pairs, found.dirt, found.undecided, found.unreadable) == (520, {"garbage": 15}, 0, 0)
    assert found.agreement.value is not None
    assert round(found.agreement.value, 2) == 71.35
    assert found.kappa is not None
    assert round(found.kappa, 3) == 0.487


@real
@pytest.mark.parametrize(
    ("file", "count"), [("llmbar_419", 196), ("pandalm_testset_v1", 535), ("autoj_pairwise_1392", 705)]
)
def test_real_pairs_are_read_whole(file: str, count: int) -> None:
    found: Pairs = read_pairs(str(SHARED / f"{file}.jsonl.xz"))
    assert (len(found.pairs) + found.undecided, len(found.rejected)) == (count, 0)


# Whole evaluations


def test_all_four_benchmarks_with_a_scripted_model_and_judge(tmp_path: Path, scripted: list[str]) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "mtbench.jsonl", [{"question_id": at, "turns": ["One?", "Two?"]} for at in (81, 82, 111, 112)])
    write(folder / "vicuna80.jsonl", [{"question_id": at, "category": "x", "text": "Q" * at} for at in range(1, 5)])
    write(folder / "evol_testset.jsonl", [
        {"idx": at, "Skill": "Math", "Difficulty": at * 2, "Instruction": "Do" * at} for at in range(1, 6)
    ])  # fmt: skip
    write(folder / "alpacaeval.jsonl", [{"instruction": "A" * at, "dataset": "koala"} for at in range(1, 12)])
    references: list[tuple[str, list[dict[str, Any]]]] = [
        ("vicuna80", [{"question_id": at, "output": "worth 4"} for at in range(1, 5)]),
        ("evol_testset", [{"idx": at, "output": "worth 4"} for at in range(1, 6)]),
        ("alpacaeval", [{"instruction": "A" * at, "output": "worth 4"} for at in range(1, 12)]),
    ]
    options = EvalOptions(
        benchmarks=str(folder), judge="scripted:gpt-4", name="gpt-2",
        reference=tuple(f"{name}={write(tmp_path / f'{name}.jsonl', rows)}" for name, rows in references),
    )  # fmt: skip
    names = ["mtbench", "vicuna80", "evol_testset", "alpacaeval"]
    done = asyncio.run(evaluate("scripted:m", names, tmp_path / "out", options))
    assert done.state == "complete"
    found = {name: result(tmp_path / "out", name) for name in names}
    assert (found["mtbench"]["value"], found["mtbench"]["unit"]) == (8, "points")
    assert found["mtbench"]["groups"]["category"]["writing"]["value"] == 8
    ratio = sum((at % 9) + 1 for at in range(1, 5)) / 16
    assert found["vicuna80"]["value"] == pytest.approx(100 * ratio)
    assert found["evol_testset"]["unit"] == "ratio"
    assert set(found["evol_testset"]["groups"]) == {"level", "skill"}
    wins = sum(1.0 if at % 9 + 1 > 4 else 0.5 if at % 9 + 1 == 4 else 0.0 for at in range(1, 12))
    assert found["alpacaeval"]["value"] == pytest.approx(100 * wins / 11)
    assert all("of one family (OpenAI)" in " ".join(one["notes"]) for one in found.values())
    assert found["alpacaeval"]["tools"]["judge"]["won by the answer shown first, %"] == 50
