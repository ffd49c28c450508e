"""`train prm` on models of 100,000 parameters: labels of every kind, where they stand, what is learnt."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest

pytest.importorskip("transformers", reason="needs the extra `train`")
pytest.importorskip("peft", reason="needs the extra `train`")

import torch

from evollab.chat import Renderer
from evollab.data.formats import BadFields
from evollab.data.items import RowOptions
from evollab.records import EvolError, Message
from evollab.train import checkpoint, metrics
from evollab.train.metrics import read_metrics
from evollab.train.prm import PrmOptions, train_prm
from evollab.train.reward_options import RewardResult
from evollab.train.scoring import STEP_LABELS, StepScorer, aggregate
from evollab.train.step_rows import StepReader, open_steps, read_answer, write_steps
from evollab.train.steps import SEPARATOR, StepCoder, steps_of
from tests import tiny

WRONG, UNSURE, CORRECT = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::ResourceWarning"
)
torch.set_num_threads(1)


def solution(chance: random.Random, number: int) -> dict[str, Any]:
    """An answer of two to four steps, one of which (or none) adds one too many: it says `wrong`."""
    count = chance.randint(2, 4)
    bad = chance.randint(0, count)
    words = ["wrong" if step == bad else "compare" for step in range(count)]
    return {
        "prompt": f"Add {number}.",
        "completions": [f"Step {step}: the {word} is {chance.randint(1, 9)}." for step, word in enumerate(words, 1)],
        "labels": [-1 if word == "wrong" else 1 for word in words],
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.checkpoint(tmp_path_factory.mktemp("bases") / "bytes", "bytes")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chance = random.Random(0)
    return tiny.write_rows(tmp_path_factory.mktemp("data") / "steps.jsonl", [solution(chance, n) for n in range(150)])


def options(base: Path, data: Path, **more: Any) -> PrmOptions:
    settings: dict[str, Any] = {
        "format": "alpaca", "epochs": 5, "lr": 4e-3, "batch": 16, "max_length": 256, "eval_share": 0.2
    }  # fmt: skip
    return PrmOptions(base=str(base), data=str(data), **{**settings, **more})


@pytest.fixture(scope="module")
def learnt(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> RewardResult:
    return train_prm(options(base, data), tmp_path_factory.mktemp("learnt") / "out")


# What is learnt


def test_wrong_steps_are_found_in_answers_held_out(learnt: RewardResult) -> None:
    first = next(line for line in read_metrics(learnt.folder) if "eval_loss" in line)
    assert first["eval_wrong_found"] < 0.5, "before the first step"
    assert learnt.held_out["accuracy"] > 0.95
    assert learnt.held_out["wrong_found"] > 0.9
    assert "wrong found" in str(learnt)


def test_the_planted_wrong_step_gets_the_least_score(learnt: RewardResult) -> None:
    scorer = StepScorer(str(learnt.model))
    chance = random.Random(7)
    rows = [solution(chance, number) for number in range(500, 540)]
    prompts = [[Message("user", row["prompt"])] for row in rows]
    found = scorer(prompts, ["\n".join(row["completions"]) for row in rows])
    for row, scores in zip(rows, found, strict=True):
        assert len(scores) == len(row["labels"])
        if -1 in row["labels"]:
            assert scores.index(min(scores)) == row["labels"].index(-1)
            assert aggregate(scores) < 0.5
        else:
            assert aggregate(scores) > 0.5


def test_the_model_carries_the_names_of_its_labels(learnt: RewardResult) -> None:
    config = orjson.loads((learnt.model / "config.json").read_bytes())
    assert config["architectures"] == ["LlamaForTokenClassification"]
    assert list(config["id2label"].values()) == list(STEP_LABELS)
    assert config["chat_format"] == "alpaca"
    step = orjson.loads((learnt.folder / "step.json").read_bytes())
    assert step["labels"] == ["wrong", "unsure", "correct"]
    assert step["counts"]["recut"] == 0
    assert "### Response:" in checkpoint.load_tokenizer(str(learnt.model)).get_chat_template()
    line = next(line for line in read_metrics(learnt.folder) if "loss" in line)
    assert {"loss", "lr", "accuracy", "wrong", "tokens"} <= set(line)


def test_after_a_signal_the_curve_is_the_same(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = metrics.Recorder.on_log

    def on_log(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        told(self, args, state, control, **more)
        if state.global_step == 3:
            signal.raise_signal(signal.SIGTERM)

    asked = options(base, data, batch=32, max_steps=6, eval_share=0.3)
    with monkeypatch.context() as patched:
        patched.setattr(metrics.Recorder, "on_log", on_log)
        stopped = train_prm(asked, tmp_path / "out")
    assert (stopped.state, stopped.exit_code) == ("stopped", 143)
    assert not stopped.model.exists()
    resumed, whole = train_prm(asked, tmp_path / "out"), train_prm(asked, tmp_path / "whole")
    curves = [
        [(line["step"], line.get("loss"), line.get("accuracy")) for line in read_metrics(folder) if "loss" in line]
        for folder in (tmp_path / "out", tmp_path / "whole")
    ]
    assert curves[0] == curves[1]
    assert len(curves[0]) == 6
    assert resumed.held_out == whole.held_out


# The loss, and where it is taken


def test_the_loss_is_the_cross_entropy_of_labelled_steps() -> None:
    from evollab.train.reward_trainer import step_losses

    logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    found = step_losses(logits, torch.tensor([CORRECT, (0.25, 0.0, 0.75)]))
    assert found.tolist() == pytest.approx([1.098612, 0.739545], abs=1e-5)


def test_labels_stand_at_the_ends_of_steps_only() -> None:
    from evollab.train.reward_trainer import IGNORED, StepCollator

    rows = [
        {"input_ids": [5, 6, 7, 8], "ends": [1, 3], "truths": [*CORRECT, *WRONG]},
        {"input_ids": [5, 6], "ends": [1], "truths": [0.25, 0.0, 0.75]},
    ]
    batch = StepCollator(0, multiple=8)(rows)
    n = IGNORED
    assert batch["labels"].tolist() == [[n, 2, n, 0, n, n, n, n], [n, 2, n, n, n, n, n, n]]
    assert batch["targets"][1, 1].tolist() == [0.25, 0.0, 0.75]
    assert batch["attention_mask"].sum().item() == 6


@pytest.mark.parametrize("micro", [1, 4])
def test_every_step_counts_as_much_however_batches_fall(micro: int, base: Path, tmp_path: Path) -> None:
    """Answers of one to four steps; the mean is over steps, not over batches of answers."""
    rows = [
        {"prompt": "Add.", "completions": [f"Number {n}." for n in range(1 + place)], "labels": [0, 1, -1, 1][: 1 + place]}
        for place in range(4)
    ]  # fmt: skip
    path = tiny.write_rows(tmp_path / "rows.jsonl", rows)
    asked = options(base, path, epochs=1, batch=4, micro_batch=micro, eval_share=0)
    result = train_prm(asked, tmp_path / "out")
    torch.manual_seed(0)
    model = checkpoint.load_model(str(base), head="token", labels=3).eval()
    code = StepCoder(Renderer(checkpoint.load_tokenizer(str(base)), "alpaca"))
    losses = []
    for row in rows:
        made = code([Message("user", "Add.")], row["completions"])
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([made.ids])).logits[0, made.ends].log_softmax(-1)
        losses += [-float(line[label + 1]) for line, label in zip(logits, row["labels"], strict=True)]
    assert len(losses) == 10
    assert result.losses["first"] == pytest.approx(sum(losses) / 10, abs=1e-4)


# Rows


def answer(completions: list[str], labels: list[Any], kind: str = "three-way") -> Any:
    return read_answer({"prompt": "p", "completions": completions, "labels": labels}, kind)


def test_labels_of_every_kind() -> None:
    steps = ["a", "b", "c"]
    assert answer(steps, [1, 0, -1]).truths == (CORRECT, UNSURE, WRONG)
    assert answer(steps, [True, False, None]).truths == (CORRECT, WRONG, None)
    assert answer(steps, [0.75, 1.0, 0.0]).truths == ((0.25, 0.0, 0.75), CORRECT, WRONG)
    assert answer(steps, [1, 0, 1], "binary").truths == (CORRECT, WRONG, CORRECT)


@pytest.mark.parametrize(
    ("completions", "labels", "why"),
    [
        (["a"], [2], r"labels\[0\] is 2; expected 1, 0 or -1, true or false"),
        (["a"], ["good"], r"labels\[0\] is .*good"), (["a"], [1.5], r"labels\[0\] is 1.5"),
        (["a", "b"], [1], "field 'labels' is 1 labels; expected a list of 2"),
        (["a", " "], [1, 1], r"completions\[1\] is empty"), ([], [], r"completions\[0\] is empty"),
        ("a", [1], "field 'completions' is .*; expected a list of texts"),
    ],
)  # fmt: skip
def test_labels_that_say_nothing_are_refused(completions: Any, labels: list[Any], why: str) -> None:
    with pytest.raises(BadFields, match=why):
        answer(completions, labels)


def test_training_and_scoring_cut_the_same_steps() -> None:
    """A given step may be several, or half of one: what is trained is what scoring will ask for."""
    given = ["Step 1: a\n\nso b", "c\nd", "Step 2: e\nStep 3: f"]
    made = answer(given, [1, 0, -1])
    assert made.recut
    assert list(made.steps) == steps_of(SEPARATOR.join(given)) == [
        "Step 1: a", "so b", "c\nd", "Step 2: e", "Step 3: f",
    ]  # fmt: skip
    assert made.truths == (CORRECT, CORRECT, UNSURE, None, WRONG)
    open_code = answer(["```\na", "b\n```", "c"], [1, -1, 1])
    assert open_code.steps == ("```\na\n\nb\n```", "c")
    assert open_code.truths == (WRONG, CORRECT), "the worst of two that are one"
    text = "Step 1: add.\nStep 2: halve."
    plain = answer(steps_of(text), [1, 1])
    assert (list(plain.steps), plain.recut) == (steps_of(text), False)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_trained_ids_are_scored_ids(kind: tiny.Kind, tmp_path: Path) -> None:
    tokenizer = tiny.tokenizer(kind)
    code = StepCoder(Renderer(tokenizer, "vicuna"))
    text = "First 12.\n\nThen 30\nmore.\n\n42"
    rows = [{"prompt": "Add.", "completions": steps_of(text), "labels": [1, None, -1]}]
    path = tiny.write_rows(tmp_path / "rows.jsonl", rows)
    write_steps(str(path), tmp_path, StepReader(code, RowOptions(), 256))
    row = open_steps(tmp_path, "train")[0]
    scored = code([Message("user", "Add.")], steps_of(text))
    assert row["input_ids"] == scored.ids
    assert row["ends"] == [scored.ends[0], scored.ends[2]], "the step in between has no label"
    assert row["truths"] == [*CORRECT, *WRONG]


def test_bad_rows_are_counted_with_their_lines(tmp_path: Path) -> None:
    good = {"prompt": "p", "completions": ["a", "b"], "labels": [1, -1]}
    rows = [
        good, {**good, "labels": [1]}, {**good, "labels": [None, None]}, {**good, "prompt": " "}, {"prompt": "p"},
        {**good, "completions": ["a", "7" * 600]},
        {**good, "prompt": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]},
        {**good, "prompt": [{"role": "user", "content": "q"}]},
    ]  # fmt: skip
    reader = StepReader(StepCoder(Renderer(tiny.tokenizer(), "vicuna")), RowOptions(), 512)
    source = str(tiny.write_rows(tmp_path / "rows.jsonl", rows))
    counts = write_steps(source, tmp_path, reader, allow_unusable=True).to_json()
    assert (counts["rows"], counts["train"], counts["steps"]) == (4, 2, 4)
    assert (counts["rejected"], counts["removed"]) == (4, {"no_label": 1, "too_long": 1})
    assert counts["lines"] == {"no_label": [3], "too_long": [6]}
    rejected = [orjson.loads(line) for line in (tmp_path / "rejected.jsonl").read_bytes().splitlines()]
    assert [row["line"] for row in rejected] == [2, 4, 5, 7]
    with pytest.raises(EvolError, match=r"rows.jsonl:2: .* \[1 rows can't be trained: 1 no_label \(lines 3\)\]"):
        write_steps(source, tmp_path, reader)
    with pytest.raises(EvolError, match=r"rows.jsonl:2: field 'labels' is 1 labels"):
        write_steps(source, tmp_path, StepReader(reader.code, RowOptions(strict=True), 512))
    with pytest.raises(EvolError, match="--labels 'two-way': expected three-way, binary"):
        PrmOptions(base="b", data="d", labels="two-way")
