"""`train irm` on models of 100,000 parameters: rankings of every shape, the loss, what is learnt, a kill."""

from __future__ import annotations

import dataclasses
import math
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

pytest.importorskip("transformers", reason="needs the extra `train`")
pytest.importorskip("peft", reason="needs the extra `train`")

import torch

from evollab.chat import Renderer
from evollab.data.items import RowOptions
from evollab.records import EvolError, Message
from evollab.train import checkpoint
from evollab.train.grades import GradeReader, open_grades, write_grades
from evollab.train.irm import IrmOptions, train_irm
from evollab.train.metrics import read_metrics
from evollab.train.reward_options import RewardResult
from evollab.train.scoring import InstructionScorer
from tests import tiny

ROOT = Path(__file__).parent.parent
WORDS = ("list", "number", "first", "others", "look", "answer")
pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::ResourceWarning"
)
torch.set_num_threads(1)


def instruction(quality: int, chance: random.Random) -> str:
    """Six words, the more of them `compare` the better."""
    words = [*chance.choices(WORDS, k=6 - quality), *["compare"] * quality]
    chance.shuffle(words)
    return " ".join(words)


def graded(groups: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows as `evol analyse` leaves them, three in a group."""
    chance = random.Random(seed)
    return [
        {"instruction": instruction(quality, chance), "root_id": f"g{group}", "attributes": {"quality": quality}}
        for group in range(groups)
        for quality in chance.sample(range(7), 3)
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.checkpoint(tmp_path_factory.mktemp("bases") / "bytes", "bytes", seed=3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_rows(tmp_path_factory.mktemp("data") / "graded.jsonl", graded(60))


def options(base: Path, data: Path, **more: Any) -> IrmOptions:
    settings: dict[str, Any] = {
        "score": "quality", "format": "alpaca", "epochs": 4, "lr": 4e-3, "batch": 16, "max_length": 256,
        "eval_share": 0.2,
    }  # fmt: skip
    return IrmOptions(base=str(base), data=str(data), **{**settings, **more})


@pytest.fixture(scope="module")
def learnt(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> RewardResult:
    return train_irm(options(base, data), tmp_path_factory.mktemp("learnt") / "out")


# What is learnt


def test_a_ranking_is_learnt(learnt: RewardResult) -> None:
    held_out = [line["eval_accuracy"] for line in read_metrics(learnt.folder) if "eval_loss" in line]
    assert held_out[0] < 0.8, "before the first step"
    assert held_out[-1] == learnt.held_out["accuracy"] > 0.9
    assert learnt.held_out["margin"] > 0.5
    assert learnt.losses["last"] < learnt.losses["first"] == pytest.approx(math.log(2), abs=0.05)
    assert "held out: loss" in str(learnt)


def test_the_scorer_ranks_as_trained(learnt: RewardResult) -> None:
    scorer = InstructionScorer(str(learnt.model))
    chance = random.Random(99)
    texts = [instruction(quality, chance) for quality in range(7)]
    scores = scorer([[Message("user", text)] for text in texts])
    in_order = sum(first < second for n, second in enumerate(scores) for first in scores[:n])
    assert in_order >= 19, "of 21 pairs"


def test_the_model_carries_all_that_scoring_needs(learnt: RewardResult) -> None:
    from transformers import AutoTokenizer

    config = orjson.loads((learnt.model / "config.json").read_bytes())
    assert config["architectures"] == ["LlamaForSequenceClassification"]
    assert (config["id2label"], config["chat_format"]) == ({"0": "reward"}, "alpaca")
    assert config["pad_token_id"] >= 0
    tokenizer = AutoTokenizer.from_pretrained(learnt.model)
    asked = [{"role": "user", "content": "Add."}]
    assert tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True).endswith("### Response:")


def test_metrics_and_step_are_told(learnt: RewardResult) -> None:
    lines = [line for line in read_metrics(learnt.folder) if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, learnt.steps + 1))
    assert {"loss", "lr", "grad_norm", "accuracy", "margin", "reward", "tokens"} <= set(lines[0])
    step = orjson.loads((learnt.folder / "step.json").read_bytes())
    assert (step["state"], step["labels"]) == ("complete", ["reward"])
    assert step["held_out"] == learnt.held_out
    counts = step["counts"]
    assert (counts["rows"], counts["groups"], counts["groups_without_pairs"]) == (180, 60, 0)
    assert counts["train"] + counts["held_out"] == 180, "three pairs a group"
    assert counts["held_out"] % 3 == 0, "whole groups"


def test_the_same_call_again_does_nothing_and_another_is_refused(learnt: RewardResult, base: Path, data: Path) -> None:
    again = train_irm(options(base, data), learnt.folder)
    assert (again.losses, again.held_out) == (learnt.losses, learnt.held_out)
    assert "nothing was left to do" in str(again)
    with pytest.raises(EvolError, match=r"made with other settings: margin was 0\.0, now 0\.5"):
        train_irm(options(base, data, margin=0.5), learnt.folder)


def test_adapters_are_put_into_the_weights(base: Path, data: Path, tmp_path: Path) -> None:
    result = train_irm(options(base, data, lora_rank=4, epochs=2, lr=2e-2, eval_share=0.3), tmp_path / "out")
    assert not (result.model / "adapter_config.json").exists()
    assert result.held_out["accuracy"] > 0.8
    first, second = (checkpoint.load_model(str(place), head="sequence").state_dict() for place in (base, result.model))
    changed = {name for name, value in second.items() if not torch.equal(value, first[name])}
    assert "score.weight" in changed
    assert all("proj" in name for name in changed - {"score.weight"})
    assert len(changed) > 2


# The loss


def test_the_loss_is_the_papers() -> None:
    """-log sigmoid(r_w - r_l - m), by hand: 2 - 0.5 - 1 is 0.5; -1 - 1 - 0 is -2."""
    from evollab.train.reward_trainer import ranking_losses

    found = ranking_losses(torch.tensor([2.0, -1.0]), torch.tensor([0.5, 1.0]), torch.tensor([1.0, 0.0]))
    assert found.tolist() == pytest.approx([0.474077, 2.126928], abs=1e-6)
    assert found[0].item() == pytest.approx(math.log(1 + math.exp(-0.5)))


@pytest.mark.parametrize("micro", [1, 2, 8])
def test_the_first_loss_is_the_mean_over_pairs_with_their_margins(micro: int, base: Path, tmp_path: Path) -> None:
    """Whatever the size of batches; some margins are the rows' own."""
    pairs = [("compare first", "list", 0.5), ("answer this", "look and look again", None), ("number", "others", 2.0)]
    rows = [
        {"chosen": better, "rejected": worse, **({} if margin is None else {"margin": margin})}
        for better, worse, margin in pairs
    ]
    asked = options(
        base, tiny.write_rows(tmp_path / "pairs.jsonl", rows), score=None, margin=0.25, eval_share=0, epochs=1, batch=8,
        micro_batch=micro,
    )  # fmt: skip
    result = train_irm(asked, tmp_path / "out")
    torch.manual_seed(0)
    model = checkpoint.load_model(str(base), head="sequence").eval()
    renderer = Renderer(checkpoint.load_tokenizer(str(base)), "alpaca")

    def logit(text: str) -> float:
        ids = renderer.render([Message("user", text)], generation_prompt=True).ids
        with torch.inference_mode():
            state = model.get_submodule("model")(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
            return float(model.get_submodule("score")(state))

    gaps = [logit(better) - logit(worse) - (0.25 if margin is None else margin) for better, worse, margin in pairs]
    assert result.losses["first"] == pytest.approx(sum(math.log1p(math.exp(-gap)) for gap in gaps) / 3, abs=1e-4)


# Rows


def pairs_of(
    rows: Sequence[Any], folder: Path, kind: tiny.Kind = "llama", **more: Any
) -> tuple[dict[str, Any], list[Any]]:
    """Counts, and the pairs as texts with their margins."""
    settings = {name: more.pop(name) for name in ("allow_unusable", "eval_share") if name in more}
    tokenizer = tiny.tokenizer(kind)
    strict = more.pop("strict", False)
    reader = GradeReader(Renderer(tokenizer, "vicuna"), RowOptions(strict=strict), more.pop("max_length", 512), **more)
    counts = write_grades(str(tiny.write_rows(folder / "rows.jsonl", list(rows))), folder, reader, **settings).to_json()
    opened = open_grades(folder, "train")
    found = [opened[number] for number in range(len(opened))] if opened else []

    def text(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(ids)).partition("USER: ")[2].removesuffix(" ASSISTANT:")

    return counts, [(text(one["chosen_ids"]), text(one["rejected_ids"]), one["margin"]) for one in found]


def test_every_shape_of_a_ranking_becomes_pairs(tmp_path: Path) -> None:
    rows = [
        {"ranked": ["a", [{"role": "user", "content": "b"}], "c"]},
        {"chosen": "d", "rejected": [{"role": "user", "content": "e"}], "margin": 1.5},
        {"prompt": "f", "quality": 3, "root_id": "x"},
        {"instruction": "g", "input": "h", "attributes": {"quality": "5"}, "root_id": "x"},
        {"messages": [{"role": "user", "content": "i"}, {"role": "assistant", "content": "j"}], "quality": 3, "root_id": "x"},
    ]  # fmt: skip
    counts, pairs = pairs_of(rows, tmp_path, score="quality", margin=0.5)
    assert pairs == [
        ("a", "b", 0.5), ("a", "c", 0.5), ("b", "c", 0.5), ("d", "e", 1.5), ("g\n\nh", "f", 0.5), ("g\n\nh", "i", 0.5),
    ]  # fmt: skip
    assert (counts["rows"], counts["train"], counts["groups"]) == (5, 6, 1)


def test_grades_that_hardly_differ_make_no_pair(tmp_path: Path) -> None:
    rows = [{"instruction": text, "s": s, "of": 7} for text, s in (("a", 1), ("b", 2.5), ("c", 4))]
    rows += [{"instruction": "alone", "s": 1, "of": 8}, {"instruction": "d", "s": 9, "of": 9}]
    rows += [{"instruction": "d", "s": 1, "of": 9}]
    counts, pairs = pairs_of(rows, tmp_path, score="s", group="of", least_gap=2)
    assert pairs == [("c", "a", 0.0)]
    assert (counts["groups"], counts["groups_without_pairs"]) == (3, 2), "the same text twice prefers nothing"


def test_bad_rows_are_counted_with_their_lines(tmp_path: Path) -> None:
    good = {"ranked": ["a", "b"]}
    rows = [
        good, {"ranked": ["a"]}, {"chosen": "a", "rejected": ""}, {"chosen": "a", "rejected": "b", "margin": "x"},
        {"chosen": "a", "rejected": "a"}, {"instruction": "a", "root_id": "r"}, {"instruction": "a", "quality": 1},
        {"chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "rejected": "c"},
        {"chosen": "a", "rejected": "7" * 600}, {"other": 1},
    ]  # fmt: skip
    counts, pairs = pairs_of(rows, tmp_path, score="quality", allow_unusable=True)
    assert pairs == [("a", "b", 0.0)]
    assert (counts["rejected"], counts["removed"]) == (
        5, {"identical": 1, "no_score": 1, "no_group": 1, "too_long": 1},
    )  # fmt: skip
    assert counts["lines"] == {"identical": [5], "no_score": [6], "no_group": [7], "too_long": [9]}
    rejected = [orjson.loads(line) for line in (tmp_path / "rejected.jsonl").read_bytes().splitlines()]
    assert [row["line"] for row in rejected] == [2, 3, 4, 8, 10]
    assert "expected a list of two instructions or more" in rejected[0]["reason"]
    assert "expected instructions, not answers" in rejected[3]["reason"]
    with pytest.raises(EvolError, match=r"rows.jsonl:5: .*the same \[3 rows can't be trained: 1 identical \(lines 5\)"):
        pairs_of([good, *rows[:1] * 3, *rows[4:7]], tmp_path, score="quality")
    with pytest.raises(EvolError, match=r"rows.jsonl:2: field 'ranked' is a list"):
        pairs_of(rows, tmp_path, score="quality", strict=True)


def test_what_can_not_be_trained_is_said(tmp_path: Path) -> None:
    with pytest.raises(EvolError, match="no field ranked, or chosen and rejected; the row has instruction") as caught:
        pairs_of([{"instruction": "a"}], tmp_path)
    assert "--score FIELD" in caught.value.hint
    with pytest.raises(EvolError, match="holds out none of 1 pairs"):
        pairs_of([{"ranked": ["a", "b"]}], tmp_path, eval_share=1e-9)
    with pytest.raises(EvolError, match="the group x has more than 1,000 rows"):
        pairs_of([{"instruction": f"a{n}", "q": n, "root_id": "x"} for n in range(1001)], tmp_path, score="q")
    for wrong, message in (
        ({"base": ""}, "no --base given"), ({"least_gap": -1.0}, "--least-gap -1: expected 0 or more"),
        ({"margin": math.nan}, "--margin nan: expected a number"), ({"group": ""}, "--group is empty"),
        ({"lora_alpha": 3.0}, "are about adapters"), ({"preset": "arean"}, "--preset 'arean': expected plain, arena"),
        ({"eval_share": 1.0}, "--eval-share 1: expected 0 or more, below 1"), ({"lr": 0.0}, "--lr 0: expected more"),
    ):  # fmt: skip
        with pytest.raises(EvolError, match=message):
            IrmOptions(**{"base": "b", "data": "d", **wrong})


def test_presets_hold_the_papers_numbers(base: Path) -> None:
    made = IrmOptions(base=str(base), data="d", preset="arena").resolved()
    assert (made.lr, made.epochs, made.format) == (1e-6, 1, "vicuna")
    assert made.max_length == 512, "what the base takes"


# Kill and go on


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from evollab.train import machine
machine.prepare()
from evollab.train import metrics
from evollab.train.irm import IrmOptions, train_irm
told = metrics.Recorder.on_log
def on_log(self, args, state, control, **more):
    told(self, args, state, control, **more)
    if state.global_step == 7:
        os.kill(os.getpid(), signal.SIGKILL)
metrics.Recorder.on_log = on_log
train_irm(IrmOptions(**eval(sys.argv[1])), Path(sys.argv[2]))
"""


def test_after_a_kill_the_curve_is_the_same(base: Path, tmp_path: Path) -> None:
    rows = tiny.write_rows(tmp_path / "rows.jsonl", graded(14, seed=5))
    asked = options(base, rows, epochs=2, batch=8, save_every=3, margin=0.1)
    given = {one.name: getattr(asked, one.name) for one in dataclasses.fields(asked)}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, repr(given), str(tmp_path / "killed")], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    resumed, whole = train_irm(asked, tmp_path / "killed"), train_irm(asked, tmp_path / "whole")
    kept = ("step", "epoch", "loss", "lr", "grad_norm", "accuracy", "margin", "eval_loss", "eval_accuracy")
    curves = [
        [{name: line.get(name) for name in kept} for line in read_metrics(tmp_path / folder)]
        for folder in ("killed", "whole")
    ]
    assert curves[0] == curves[1]
    assert len(curves[0]) > 8
    assert (resumed.losses, resumed.held_out, resumed.counts) == (whole.losses, whole.held_out, whole.counts)
    first, second = (checkpoint.load_model(str(one.model), head="sequence").state_dict() for one in (resumed, whole))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
