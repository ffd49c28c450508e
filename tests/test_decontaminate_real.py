"""Decontamination on real benchmarks, training sets and reworded test items, where they are at hand."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from bench.reworded import Rows, by_words, gather, near
from evollab.data.decontaminate_options import SIMILAR
from evollab.data.embed import embedder
from evollab.data.embedders import minilm
from evollab.evals.contamination import ContaminationOptions, decontaminate
from evollab.evals.sources import read_benchmarks, task_names, wanted

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no folder of real data sets at {DATA}")
ITEMS = {
    "alpacaeval": 805, "arc_challenge": 579, "arc_easy": 2376, "bbh": 6511, "evol_testset": 111, "gsm8k": 665,
    "humaneval": 82, "humaneval_plus": 82, "ifeval": 277, "math": 2493, "math500": 258, "mbpp": 267, "mbpp_plus": 202,
    "mmlu": 7054, "mtbench": 80, "truthfulqa": 404, "vicuna80": 80, "winogrande": 1267,
}  # fmt: skip
"""Of most sets the folder holds a part."""


def test_every_copy_is_read_whole() -> None:
    names = [name for name in task_names() if name not in ("hellaswag", "multiarith")]
    found = read_benchmarks(wanted(names), str(DATA), missing="stop").found
    assert {name: len(one.items) for name, one in found.items()} == ITEMS
    assert not any(one.unreadable for one in found.values())
    for name, one in found.items():
        assert all(item.question.strip() for item in one.items), name
        assert len({item.id for item in one.items}) == len(one.items), name


def removed(out: Path) -> list[tuple[int, str, str, str]]:
    rows = [json.loads(line) for line in (out / "removed.jsonl").read_bytes().splitlines()]
    return [(row["line"], row["reason"], row["benchmark"], row["item"]) for row in rows]


def test_a_training_set_and_its_own_test_set(tmp_path: Path) -> None:
    """Three of 7,473 rows are a test item but for the figures; the test set in full is found in full."""
    options = ContaminationOptions(against=("gsm8k",), benchmarks=str(DATA), embed="none")
    asyncio.run(decontaminate(str(DATA / "gsm8k_train.jsonl.xz"), tmp_path / "train", options))
    assert [row[1:] for row in removed(tmp_path / "train")] == [
        ("covered", "gsm8k", "333"), ("covered", "gsm8k", "319"), ("covered", "gsm8k", "319"),
    ]  # fmt: skip
    asyncio.run(decontaminate(str(DATA / "gsm8k_socratic_test.jsonl.xz"), tmp_path / "test", options))
    assert [(line, item) for line, _, _, item in removed(tmp_path / "test")] == [
        (number, str(number)) for number in range(1, 666)
    ]


def test_every_test_set_is_found_in_itself(tmp_path: Path) -> None:
    for name, file, column in (
        ("humaneval", "HumanEval.jsonl.xz", "prompt"), ("math", "math500.jsonl.xz", "problem"),
        ("mtbench", "mt_bench_question.jsonl", ""), ("ifeval", "ifeval_input_data_541.jsonl", "prompt"),
        ("alpacaeval", "alpaca_eval_805_text_davinci_003.jsonl.xz", "instruction"),
    ):  # fmt: skip
        data = str(DATA / file)
        if not column:
            rows = [json.loads(line) for line in (DATA / file).read_bytes().splitlines()]
            told = [{"messages": [{"role": "user", "content": turn} for turn in row["turns"]]} for row in rows]
            data = str(tmp_path / "talks.jsonl")
            Path(data).write_text("".join(json.dumps(row) + "\n" for row in told))
        mapping = (f"instruction={column}",) if column else ()
        options = ContaminationOptions(against=(name,), benchmarks=str(DATA), embed="none", map=mapping)
        result = asyncio.run(decontaminate(data, tmp_path / name, options))
        kept = result.account["kept"]
        # One item of MT-Bench has twelve words in its first turn and five in its second.
        assert kept == (1 if name == "mtbench" else 0), name


@pytest.fixture(scope="module")
def rows() -> Rows:
    return gather(DATA, 2000)


def recall(rows: Rows, caught: dict[int, set[int]], name: str) -> float:
    numbers = dict(rows.sets)[name]
    return sum(rows.own[row] in caught.get(row, ()) for row in numbers) / len(numbers)


def test_the_reworded_rows_are_put_beside_their_items(rows: Rows) -> None:
    assert {name: len(numbers) for name, numbers in rows.sets} == {
        "gsm8k": 662, "code: python": 72, "code: js": 78, "code: c": 77, "abstract_algebra": 46,
        "high_school_us_history": 101, "sociology": 94, "gsm8k_train": 2000, "code_alpaca_new": 2000,
    }  # fmt: skip


def test_n_grams_see_no_rewording(rows: Rows) -> None:
    caught = by_words(rows)
    assert recall(rows, caught, "gsm8k") < 0.02
    training = [row for name, numbers in rows.sets[-2:] for row in numbers if name]
    assert sum(bool(caught.get(row)) for row in training) <= 5


def test_the_wording_alone_finds_almost_half(rows: Rows) -> None:
    caught: dict[int, set[int]] = {}
    for pair in near(rows, "hashed"):
        if pair.similarity >= SIMILAR[embedder("hashed").meaning]:
            caught.setdefault(pair.row, set()).add(pair.item)
    assert recall(rows, caught, "gsm8k") > 0.4
    assert recall(rows, caught, "code: js") > 0.3
    training = [row for _, numbers in rows.sets[-2:] for row in numbers]
    assert sum(bool(caught.get(row)) for row in training) < 0.01 * len(training)


@pytest.mark.skipif(bool(minilm.missing()), reason="MiniLM is not installed")
def test_the_meaning_finds_nearly_all(rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    few = Rows(rows.items[:25], [], [], [])
    for name, most in (("gsm8k", 60), ("gsm8k_train", 20)):
        numbers = dict(rows.sets)[name][:most]
        chosen = [row for row in numbers if rows.own[row] is None or (rows.own[row] or 0) < len(few.items)]
        few.add(name, [rows.texts[row] for row in chosen], [rows.own[row] for row in chosen])
    caught: dict[int, set[int]] = {}
    for pair in near(few, "minilm"):
        if pair.similarity >= SIMILAR[True]:
            caught.setdefault(pair.row, set()).add(pair.item)
    assert recall(few, caught, "gsm8k") > 0.9
    assert sum(bool(caught.get(row)) for row in few.sets[1][1]) <= 1
