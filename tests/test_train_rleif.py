"""`train rleif` on a model of 100,000 parameters: what rises, what cancels, what is scored once, what survives a kill."""

from __future__ import annotations

import dataclasses
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

pytest.importorskip("trl", reason="needs the extra `train`")
pytest.importorskip("peft", reason="needs the extra `train`")

import torch

from evollab.records import EvolError, Message
from evollab.train import checkpoint
from evollab.train.hacking import read_held_out
from evollab.train.metrics import read_metrics
from evollab.train.rewards import Scorers
from evollab.train.rleif import RleifOptions, RleifResult, train_rleif
from tests import tiny

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::ResourceWarning"
)

torch.set_num_threads(1)  # many threads on so small a model wait for each other

Prompts = Sequence[Sequence[Message]]
WANTED = "e"


def wanted(prompts: Prompts, answers: Sequence[str]) -> list[list[float]]:
    """A toy process reward: how many letters are the wanted one."""
    return [[min(1.0, 3 * text.count(WANTED) / max(1, len(text)))] for text in answers]


def worth(prompts: Prompts) -> list[float]:
    """A toy instruction reward."""
    return [0.9 if len(prompt[-1].content) % 2 else 0.6 for prompt in prompts]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.checkpoint(tmp_path_factory.mktemp("base"), "llama")


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"instruction": row["instruction"], "output": row["output"].split()[-1][:-1]} for row in tiny.sums(24)]
    return tiny.write_rows(tmp_path_factory.mktemp("data") / "sums.jsonl", rows)


def options(base: Path, prompts: Path, **more: Any) -> RleifOptions:
    settings: dict[str, Any] = {
        "batch": 16, "generations": 4, "lr": 5e-3, "max_tokens": 8, "beta": 0.02, "epochs": 1, "warmup": 0,
        "eval_share": 0.0, "samples": 0, "scheduler": "constant",
    }  # fmt: skip
    return RleifOptions(base=str(base), prompts=str(prompts), **{**settings, **more})


def curve(folder: Path, name: str) -> list[float]:
    return [line[name] for line in read_metrics(folder) if name in line]


@pytest.fixture(scope="module")
def taught(base: Path, prompts: Path, tmp_path_factory: pytest.TempPathFactory) -> RleifResult:
    """The wanted letter is rewarded; the prompts held out are scored by right answers."""
    out = tmp_path_factory.mktemp("taught") / "out"
    asked = options(base, prompts, epochs=5, eval_share=0.4, eval_every=10, samples=2, save_every=10)
    return train_rleif(asked, out, Scorers(worth, wanted))


# What is learnt


@pytest.mark.parametrize("method", ["rloo", "grpo"])
def test_the_toy_reward_rises_and_the_divergence_stays_bounded(
    method: str, base: Path, prompts: Path, tmp_path: Path
) -> None:
    asked = options(base, prompts, method=method, epochs=3)
    train_rleif(asked, tmp_path / "free", Scorers(None, wanted))
    rewards = curve(tmp_path / "free", "reward")
    assert statistics.fmean(rewards[-5:]) > 2 * statistics.fmean(rewards[:5])
    held = dataclasses.replace(asked, beta=1.0, max_steps=12)
    train_rleif(held, tmp_path / "held", Scorers(None, wanted))
    free_kl, held_kl = (statistics.fmean(curve(tmp_path / name, "kl")[-5:]) for name in ("free", "held"))
    assert held_kl < 0.2 < free_kl < 2
    assert abs(curve(tmp_path / "free", "kl")[0]) < 1e-5, "the reference is the base: GRPO's beta of 0 is not ours"


def test_what_is_told(taught: RleifResult) -> None:
    lines = [line for line in read_metrics(taught.folder) if "reward" in line]
    assert [line["step"] for line in lines] == list(range(1, taught.steps + 1))
    assert {
        "loss", "lr", "reward", "reward_std", "irm", "prm", "kl", "entropy", "length", "truncated", "tokens",
    } <= set(lines[0])  # fmt: skip
    assert not [name for name in lines[0] if "/" in name]
    assert 0.6 <= lines[0]["irm"] <= 0.9
    samples = [orjson.loads(line) for line in (taught.folder / "samples.jsonl").read_bytes().splitlines()]
    assert len(samples) == 2 * taught.steps
    for one in samples:
        assert one["reward"] == pytest.approx(one["irm"] * one["prm"])
        assert one["prm"] == wanted([], [one["text"]])[0][0]
        assert "</s>" not in one["text"]
    look = read_held_out(taught.folder)[0]
    assert len(look["answers"]) == 2
    assert all(one["prompt"].startswith("Add ") for one in look["answers"])
    step = orjson.loads((taught.folder / "step.json").read_bytes())
    assert step["rewards"]["first"]["reward"] == lines[0]["reward"]
    assert "reward" in str(taught)


def test_the_result_is_a_checkpoint_with_its_template(taught: RleifResult) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(taught.model)
    model: Any = AutoModelForCausalLM.from_pretrained(taught.model)
    asked = [{"role": "user", "content": "Add 1 and 7."}]
    given = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt")
    assert tokenizer.decode(given["input_ids"][0]).endswith("USER: Add 1 and 7. ASSISTANT:")
    said = model.generate(**given, max_new_tokens=8, do_sample=False)
    assert said.shape[1] > given["input_ids"].shape[1]


# The trap


GROUP = [0.2, 0.5, 0.9, 0.4]


def advantages(base: Path, prompts: Path, out: Path, method: str, normalise: str) -> list[list[float]]:
    """TRL's own, of two prompts whose answers are scored alike, with r_I of 0.9 and of 0.3."""
    turns: dict[str, int] = {}

    def steps(given: Prompts, answers: Sequence[str]) -> list[list[float]]:
        found = []
        for prompt in given:
            asked = prompt[-1].content
            turns[asked] = turns.get(asked, -1) + 1
            found.append([GROUP[turns[asked] % 4]])
        return found

    def instruction(given: Prompts) -> list[float]:
        return [0.9 if number % 2 else 0.3 for number, _ in enumerate(given)]

    asked = options(
        base, prompts, batch=8, max_steps=1, method=method, normalise=normalise, beta=0.0, samples=8, lr=1e-9
    )
    train_rleif(asked, out, Scorers(instruction, steps))
    rows = [orjson.loads(line) for line in (out / "samples.jsonl").read_bytes().splitlines()]
    by: dict[float, list[float]] = {}
    for row in rows:
        by.setdefault(row["irm"], []).append(row["advantage"])
    if len(by) < 2:  # both prompts happened to be of one kind
        raise AssertionError("the seed puts two prompts of one kind together; take another")
    return [by[0.3], by[0.9]]


def test_dividing_by_the_groups_deviation_cancels_the_instruction_reward(
    base: Path, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    low, high = advantages(base, prompts, tmp_path / "group", "grpo", "group")
    assert low == pytest.approx(high, abs=5e-3)
    assert "cancels" in capsys.readouterr().err, "and so it is warned of"
    assert "cancels" in orjson.loads((tmp_path / "group" / "step.json").read_bytes())["warnings"][0]


@pytest.mark.parametrize(("method", "normalise"), [("rloo", "none"), ("grpo", "none"), ("rloo", "batch")])
def test_otherwise_it_scales_the_advantages(
    method: str, normalise: str, base: Path, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    low, high = advantages(base, prompts, tmp_path / "out", method, normalise)
    assert [3 * one for one in low] == pytest.approx(high, abs=1e-5)
    assert max(high) > 0.1
    assert "cancels" not in capsys.readouterr().err


# What is paid once


def test_each_prompt_is_scored_once_for_all_answers_and_starts(base: Path, prompts: Path, tmp_path: Path) -> None:
    import signal

    from evollab.train import metrics

    seen: list[str] = []

    def counted(given: Prompts) -> list[float]:
        seen.extend(prompt[-1].content for prompt in given)
        return worth(given)

    told = metrics.Recorder.on_log

    def on_log(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        told(self, args, state, control, **more)
        if state.global_step == 2:
            signal.raise_signal(signal.SIGTERM)

    asked = options(base, prompts, epochs=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics.Recorder, "on_log", on_log)
        stopped = train_rleif(asked, tmp_path, Scorers(counted, wanted))
    assert (stopped.state, stopped.exit_code) == ("stopped", 128 + signal.SIGTERM)
    assert len(seen) == len(set(seen)) == 24
    done = train_rleif(asked, tmp_path, Scorers(counted, wanted))
    assert done.state == "complete"
    assert len(seen) == 24
    again = train_rleif(asked, tmp_path, Scorers(counted, wanted))
    assert "nothing was left to do" in str(again)
    assert again.rewards == done.rewards


def test_adapters_are_trained_and_the_base_stays_the_reference(base: Path, prompts: Path, tmp_path: Path) -> None:
    done = train_rleif(options(base, prompts, lora_rank=4, epochs=3, lr=2e-2), tmp_path, Scorers(None, wanted))
    kl = curve(tmp_path, "kl")
    assert abs(kl[0]) < 1e-5
    assert any(abs(one) > 1e-3 for one in kl[1:])
    assert (done.model / "adapter_config.json").is_file()
    before, after = (checkpoint.load_model(str(place)).state_dict() for place in (base, done.model))
    assert any(not torch.equal(value, after[name]) for name, value in before.items())


def test_an_answer_without_end_earns_what_is_said(base: Path, prompts: Path, tmp_path: Path) -> None:
    train_rleif(options(base, prompts, no_eos=-1.0, max_steps=1, max_tokens=1), tmp_path, Scorers(None, wanted))
    line = read_metrics(tmp_path)[0]
    assert line["reward"] == pytest.approx(-line["truncated"], abs=0.2)
    assert line["truncated"] > 0.8


# Hacking


def test_a_hacked_reward_is_told(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that knows the answer is paid for leaving it out."""
    from evollab.train.sft import SftOptions, train_sft

    rows = [{"instruction": row["instruction"], "output": "7"} for row in tiny.sums(24)]
    data = tiny.write_rows(tmp_path / "sums.jsonl", rows)
    learnt = train_sft(
        SftOptions(base=str(base), data=str(data), epochs=5, lr=5e-3, batch=8, max_length=128, samples=0),
        tmp_path / "sft",
    )

    def hacked(given: Prompts, answers: Sequence[str]) -> list[list[float]]:
        return [[float("7" not in text)] for text in answers]

    asked = options(learnt.model, data, epochs=8, beta=0.0, lr=1e-2, max_tokens=4, eval_share=0.5, eval_every=6)
    done = train_rleif(asked, tmp_path / "rl", Scorers(None, hacked))
    looks = read_held_out(tmp_path / "rl")
    assert done.held_out["by"] == "right answers"
    assert looks[0]["score"] > 0.8
    assert [look["step"] for look in looks][:2] == [0, 6]
    assert looks[-1]["step"] == done.steps, "and after the last step"
    assert looks[-1]["hacking"]
    assert looks[-1]["high"] < 0 < looks[-1]["reward_change"]
    assert done.warnings
    assert "reward hacking?" in str(done)
    assert "reward hacking?" in capsys.readouterr().err
    assert orjson.loads((tmp_path / "rl" / "step.json").read_bytes())["warnings"] == list(done.warnings)
    assert [line["hacking"] for line in read_metrics(tmp_path / "rl") if "eval_score" in line][-1] == 1


def test_without_references_the_reward_itself_is_watched(base: Path, tmp_path: Path) -> None:
    rows = [{"instruction": row["instruction"]} for row in tiny.sums(24)]
    data = tiny.write_rows(tmp_path / "sums.jsonl", rows)
    done = train_rleif(options(base, data, max_steps=1, eval_share=0.4), tmp_path / "out", Scorers(worth, wanted))
    assert done.held_out["by"].startswith("the reward itself")
    assert [look["step"] for look in read_held_out(tmp_path / "out")] == [0, 1]


# After a kill


KILLED = """
import os, signal, sys
from pathlib import Path
from evollab.train import metrics
from evollab.train.rewards import Scorers
from evollab.train.rleif import RleifOptions, train_rleif
from tests.test_train_rleif import wanted, worth
told = metrics.Recorder.on_log
def on_log(self, args, state, control, **more):
    told(self, args, state, control, **more)
    if state.global_step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
metrics.Recorder.on_log = on_log
train_rleif(RleifOptions(**eval(sys.argv[1])), Path(sys.argv[2]), Scorers(worth, wanted))
"""


def test_after_a_kill_the_same_answers_are_given(base: Path, prompts: Path, tmp_path: Path) -> None:
    """Also in the second epoch, which TRL's sampler would order otherwise."""
    asked = options(base, prompts, epochs=3, batch=32, save_every=4, eval_share=0.3, eval_every=2, samples=3)
    given = {field.name: getattr(asked, field.name) for field in dataclasses.fields(asked)}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, repr(given), str(tmp_path / "killed")], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    scorers = Scorers(worth, wanted)
    resumed, whole = train_rleif(asked, tmp_path / "killed", scorers), train_rleif(asked, tmp_path / "whole", scorers)
    assert resumed.steps > 5
    for name in ("samples.jsonl", "held-out.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    timed = ("seconds", "tokens_per_second")
    curves = [
        [{name: value for name, value in line.items() if name not in timed} for line in read_metrics(tmp_path / name)]
        for name in ("killed", "whole")
    ]
    assert curves[0] == curves[1]
    first, second = (checkpoint.load_model(str(result.model)).state_dict() for result in (resumed, whole))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


# With the trained reward models


def test_reward_models_in_folders_are_used(base: Path, prompts: Path, tmp_path: Path) -> None:
    made = tiny.tokenizer("llama")
    for name, head, labels in (("irm", "sequence", 1), ("prm", "token", 3)):
        model = tiny.model(made, head=head, labels=labels)
        if labels == 3:
            model.config.id2label = {0: "wrong", 1: "unsure", 2: "correct"}
        model.config.chat_format = "vicuna"
        model.save_pretrained(tmp_path / name)
        made.save_pretrained(tmp_path / name)
    asked = options(
        base, prompts, irm=str(tmp_path / "irm"), prm=str(tmp_path / "prm"), verifier="math", max_steps=1, samples=16,
        aggregate="product",
    )  # fmt: skip
    train_rleif(asked, tmp_path / "out")
    samples = [orjson.loads(line) for line in (tmp_path / "out" / "samples.jsonl").read_bytes().splitlines()]
    assert len(samples) == 16
    for one in samples:
        assert one["reward"] == pytest.approx(one["irm"] * one["prm"] * one["verified"])
        assert 0 < one["irm"] < 1
    with pytest.raises(EvolError, match="made with other settings: irm was"):
        train_rleif(dataclasses.replace(asked, irm=str(tmp_path / "prm")), tmp_path / "out")


# Mistakes


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"base": ""}, "no --base given"),
        ({"verifier": "code", "reference": "answer"}, "reads tests"),
        ({"verifier": "math", "unsafe_sandbox": True}, "about --verifier code"),
        ({"verifier": "maths"}, "expected none, math, code"),
        ({"normalise": "group"}, "belongs to --method grpo"),
        ({"generations": 1}, "--generations 1: expected 2 or more"),
        ({"beta": -0.1}, "--beta -0.1: expected 0 or more"),
        ({"temperature": 0.0}, "--temperature 0: expected more than 0"),
        ({"eval_every": 5}, "--eval-every needs prompts"),
        ({"no_eos": 2.0}, "expected 1 or less"),
        ({"merge": True}, "about adapters"),
    ],
)
def test_options_that_mean_nothing_are_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(EvolError, match=message):
        RleifOptions(**{"base": "b", "prompts": "p", "eval_share": 0.0, **more})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "there is no reward"),
        ({"irm": "somewhere"}, "gives all answers to a prompt the same"),
        ({"verifier": "math", "batch": 10}, "no whole number of groups"),
        ({"verifier": "math", "max_tokens": 600}, "takes 512 tokens"),
        ({"verifier": "math", "max_tokens": 12, "max_prompt": 501}, "takes 512 tokens"),
        ({"verifier": "math", "batch": 400}, "24 prompts to train; a step of --batch 400"),
        ({"prm": "BASE"}, "no reward model for steps"),
    ],
)
def test_what_can_not_be_trained_is_refused(
    more: dict[str, Any], message: str, base: Path, prompts: Path, tmp_path: Path
) -> None:
    more = {name: str(base) if value == "BASE" else value for name, value in more.items()}
    with pytest.raises(EvolError, match=message):
        train_rleif(options(base, prompts, **more), tmp_path / "out")


def test_presets_hold_the_papers_numbers() -> None:
    arena = RleifOptions(base="b", prompts="p", preset="arena").resolved()
    assert (arena.lr, arena.beta, arena.epochs) == (1e-7, 0.4, 1)
    tulu = RleifOptions(base="b", prompts="p", preset="tulu3").resolved()
    assert (tulu.lr, tulu.beta, tulu.temperature, tulu.no_eos) == (3e-7, 0.05, 1.0, -10.0)
    assert RleifOptions(base="b", prompts="p", beta=0.0).resolved().beta == 0, "given, though false"
