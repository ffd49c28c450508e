"""Real data sets, where they are at hand."""

from __future__ import annotations

import csv
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from evollab.data.export import ExportOptions, export
from evollab.data.files import read_conversations, read_seeds
from evollab.records import EvolError, Instruction, Rejected

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no folder of real data sets at {DATA}")


def read(name: str, **options: Any) -> tuple[list[Instruction], list[Rejected]]:
    aside: list[Rejected] = []
    return list(read_seeds(str(DATA / name), reject=aside.append, **options)), aside


def test_all_of_alpaca() -> None:
    seeds, aside = read("alpaca_data.jsonl.xz")
    assert (len(seeds), aside) == (52_002, [])
    assert sum(seed.response is None for seed in seeds) == 28
    assert len({seed.id for seed in seeds}) == 52_002


def test_alpaca_as_one_array_and_as_csv(tmp_path: Path) -> None:
    with lzma.open(DATA / "alpaca_en_demo_1000.jsonl.xz") as file:
        rows = [json.loads(line) for line in file]
    with (tmp_path / "a.json").open("w") as file:
        json.dump(rows, file, indent=2, ensure_ascii=False)
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    plain, aside = read("alpaca_en_demo_1000.jsonl.xz")
    for name in ("a.json", "a.csv"):
        seeds = list(read_seeds(str(tmp_path / name), reject=lambda _: None))
        assert [(seed.id, seed.response) for seed in seeds] == [(seed.id, seed.response) for seed in plain]
    assert all(bad.reason.startswith("same as line") for bad in aside)


def test_seed_tasks() -> None:
    seeds, aside = read("seed_tasks_175.jsonl")
    assert (len(seeds), aside) == (175, [])
    assert sum(bool(seed.input) for seed in seeds) == 125
    assert seeds[0].source is not None
    assert seeds[0].source.id == "seed_task_0"


def test_sharegpt_turns() -> None:
    seeds, aside = read("fastchat_dummy_conversation.jsonl.xz")
    assert len(seeds) + len(aside) == 500
    assert all(bad.reason.startswith("same as line") for bad in aside)
    assert all(seed.response for seed in seeds)
    talks = list(read_conversations(str(DATA / "fastchat_dummy_conversation.jsonl.xz"), reject=print))
    assert len(talks) == 500
    assert {tuple(turn.role for turn in talk.messages[:2]) for talk in talks} == {("user", "assistant")}


def test_preference_sets_are_read_for_their_prompts() -> None:
    seeds, aside = read("dpo_en_demo_300.jsonl.xz")
    assert len(seeds) + len(aside) == 300
    assert all(seed.response is None for seed in seeds), "chosen and rejected are no turns of the conversation"
    seeds, aside = read("kto_en_demo.jsonl.xz")
    assert len(seeds) + len(aside) == 300
    assert any(seed.history for seed in seeds)


@pytest.mark.parametrize(
    ("name", "rows", "answered"),
    [
        ("gsm8k_train.jsonl.xz", 7473, 7473),
        ("code_alpaca_new.jsonl.xz", 4535, 4535),
        ("code_alpaca_seed_tasks.jsonl", 21, 21),
        ("h2o_wizardlm_sample.jsonl.xz", 35, 35),
        ("testset_koala.jsonl", 180, 0),
        ("truthfulqa.jsonl.xz", 404, 404),
        ("oasst_en_100_message.jsonl.xz", 100, 0),
    ],
)
def test_sets_with_columns(name: str, rows: int, answered: int) -> None:
    seeds, aside = read(name)
    assert (len(seeds), aside) == (rows, [])
    assert sum(seed.response is not None for seed in seeds) == answered


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("oasst_en_100_tree.jsonl.xz", "the fields are message_tree_id, tree_state, prompt"),
        ("mt_bench_question.jsonl", "the fields are question_id, category, turns"),
        ("oasst_en_100_text.jsonl", ":1: a text; expected an object"),
        ("mmlu_dev.jsonl.xz", ":1: field 'answer' is a number; expected text"),
    ],
)
def test_sets_that_are_no_seeds(name: str, found: str) -> None:
    with pytest.raises(EvolError) as error:
        read(name)
    assert found in error.value.message


def test_mapping_makes_seeds_of_them() -> None:
    seeds, _ = read("mmlu_dev.jsonl.xz", mapping={"instruction": "question"})
    assert len(seeds) > 280
    seeds, _ = read("testset_lima.jsonl", mapping={"instruction": "conversations"})
    assert len(seeds) == 300


def test_alpaca_through_an_export_and_back(tmp_path: Path) -> None:
    seeds, _ = read("alpaca_data.jsonl.xz")
    rows = tmp_path / "instructions.jsonl"
    with rows.open("wb") as file:
        file.writelines(seed.to_json() + b"\n" for seed in seeds)
    result = export(rows, tmp_path, ExportOptions(format="alpaca", shuffle=False), {})
    assert result.left_out == {"without a response": 28}
    again = read_seeds(str(result.file), reject=lambda bad: pytest.fail(bad.reason))
    answered = [seed for seed in seeds if seed.response is not None]
    assert [(seed.id, seed.response) for seed in again] == [(seed.id, seed.response) for seed in answered]
