"""`train dpo` on models of 100,000 parameters: slices, references, what is undone, what survives a kill."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import orjson
import pytest

pytest.importorskip("trl", reason="needs the extra `train`")
pytest.importorskip("peft", reason="needs the extra `train`")

import torch

from evollab.chat import Renderer
from evollab.data.items import RowOptions
from evollab.records import EvolError
from evollab.train import checkpoint, machine
from evollab.train.dpo import DpoOptions, DpoResult, train_dpo
from evollab.train.metrics import read_metrics
from evollab.train.pairs import PairReader, write_pairs
from evollab.train.rows import open_rows
from tests import tiny

ROOT = Path(__file__).parent.parent
LN2 = math.log(2)
pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::ResourceWarning"
)

torch.set_num_threads(1)  # many threads on so small a model wait for each other


def preferences(count: int, **more: Any) -> list[dict[str, Any]]:
    """The polite answer is preferred to the curt one; either is first found likelier, by the number in it."""
    return [
        {"prompt": f"Say {n}.", "chosen": f"Here: {n * 7 % 31}, as asked.", "rejected": f"No {n * 5 % 29}.", **more}
        for n in range(count)
    ]


def harmful(rows: list[dict[str, Any]], margin: float) -> list[dict[str, Any]]:
    return [{**row, "chosen": row["rejected"], "rejected": row["chosen"], "margin": margin} for row in rows]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.checkpoint(tmp_path_factory.mktemp("bases") / "llama")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_rows(tmp_path_factory.mktemp("data") / "pairs.jsonl", preferences(40))


def options(base: Path, data: Path, **more: Any) -> DpoOptions:
    settings: dict[str, Any] = {
        "epochs": 1, "lr": 2e-3, "batch": 8, "max_length": 128, "samples": 0, "eval_share": 0.3, "warmup": 0,
    }  # fmt: skip
    return DpoOptions(base=str(base), data=str(data), **{**settings, **more})


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(folder) if "loss" in line]


def weights(place: Path) -> str:
    """A digest of a saved model's weights."""
    return digest_of(checkpoint.load_model(str(place)))


def digest_of(model: Any) -> str:
    told = hashlib.blake2b()
    for name, value in sorted(model.state_dict().items()):
        told.update(name.encode() + value.numpy().tobytes())
    return told.hexdigest()


REFERENCES: list[str] = []
"""Digests of the models that gave the references of `chained`, in order."""


@pytest.fixture(scope="module")
def chained(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> DpoResult:
    """Three slices, each held to the one before, with half of the earlier pairs again."""
    from evollab.train.dpo_trainer import Trainer

    told = Trainer._log_probs

    def log_probs(self: Any, *arguments: Any) -> Any:
        REFERENCES.append(digest_of(self.model))
        return told(self, *arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Trainer, "_log_probs", log_probs)
        return train_dpo(
            options(base, data, slices=3, replay=0.5, epochs=2, samples=1, sample_tokens=4),
            tmp_path_factory.mktemp("chained") / "out",
        )


# What is learnt


def test_held_out_pairs_are_ordered_better_by_every_slice(chained: DpoResult) -> None:
    assert chained.state == "complete"
    accuracy = [(stage["accuracy_before"], stage["accuracy_after"]) for stage in chained.stages]
    assert accuracy[0][0] == 0.5, "the base prefers nothing to itself"
    margins = [stage["margin_held_out"] for stage in chained.stages]
    assert margins == sorted(margins)
    assert margins[0] > 0
    assert [one[0] for one in accuracy[1:]] == [one[1] for one in accuracy[:-1]]
    assert accuracy[-1][1] > 0.9
    for stage in chained.stages:
        low, high = stage["interval_after"]
        assert 0 <= low <= stage["accuracy_after"] <= high <= 1
    assert chained.stages[0]["interval_before"] is None, "that of the base is no measurement"


def test_the_first_loss_of_every_chained_stage_is_ln_2(chained: DpoResult) -> None:
    for stage in chained.stages:
        assert stage["loss_first"] == pytest.approx(LN2, abs=1e-5)
        assert stage["loss_last"] < LN2


def test_the_reference_of_a_stage_is_the_policy_of_the_one_before(chained: DpoResult, base: Path) -> None:
    """By the weights that it starts from, and by the log-probabilities that it is held to."""
    from evollab.train.dpo_trainer import PairCollator

    for number, stage in enumerate(chained.stages, 1):
        start = chained.folder / f"stage-{number - 1}" / "model" if number > 1 else base
        assert stage["start"] == stage["reference"] == number - 1
        told = numpy.load(chained.folder / f"stage-{number}" / "reference.npy")
        lines = [orjson.loads(line)["line"] for line in _lines(chained.folder / f"stage-{number}" / "pairs.jsonl")]
        rows = {row["line"]: row for row in open_rows(chained.folder, "train")}
        batch = PairCollator(0)([rows[line] for line in lines[:4]])
        expected = log_probs(checkpoint.load_model(str(start)), batch)
        assert told[:4] == pytest.approx(torch.stack(expected.chunk(2), dim=1).numpy(), abs=1e-3)
    first, second = (weights(chained.folder / f"stage-{number}" / "model") for number in (1, 2))
    assert len({weights(base), first, second, weights(chained.model)}) == 4
    # The first stage notes the base's for its own pairs and for those held out.
    assert [weights(base), weights(base), first, second] == REFERENCES


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def log_probs(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Of every sequence, summed over its mask; by the plain definition, with no code of TRL."""
    with torch.no_grad():
        logits = model.eval()(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
        ).logits
    each = logits[:, :-1].log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
    summed: torch.Tensor = (each * batch["completion_mask"][:, 1:]).sum(1)
    return summed


def test_replayed_pairs_are_counted_and_come_from_earlier_slices(chained: DpoResult) -> None:
    seen: set[int] = set()
    train = chained.counts["train"]
    for number, stage in enumerate(chained.stages, 1):
        told = [orjson.loads(line) for line in _lines(chained.folder / f"stage-{number}" / "pairs.jsonl")]
        own = {one["line"] for one in told if not one["replayed"]}
        again = {one["line"] for one in told if one["replayed"]}
        assert (stage["pairs"], stage["replayed"]) == (len(own), len(again))
        assert len(again) == round(0.5 * len(seen))
        assert again <= seen
        assert own.isdisjoint(seen)
        seen |= own
    assert len(seen) == train


def test_metrics_run_over_all_stages(chained: DpoResult) -> None:
    lines = [line for line in read_metrics(chained.folder) if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, chained.steps + 1))
    assert [line["stage"] for line in lines] == sorted(line["stage"] for line in lines)
    for stage in chained.stages:
        own = read_metrics(chained.folder / f"stage-{stage['stage']}")
        joined = [line for line in read_metrics(chained.folder) if line["stage"] == stage["stage"]]
        assert [{**line, "step": line["stage_step"]} for line in joined] == [
            {**line, "stage": stage["stage"], "stage_step": line["step"]} for line in own
        ]
    assert {"loss", "lr", "margin", "pair_accuracy", "logp_chosen", "tokens", "trained_share"} <= set(lines[0])
    step = orjson.loads((chained.folder / "step.json").read_bytes())
    assert step["stages"] == [
        orjson.loads((chained.folder / f"stage-{n}" / "stage.json").read_bytes()) for n in (1, 2, 3)
    ]
    assert step["model_of_stage"] == 3
    assert not list(chained.folder.glob("stage-*/checkpoints"))
    assert len(_lines(chained.folder / "stage-2" / "samples.jsonl")) == 3


def test_the_result_carries_its_template_and_the_same_call_does_nothing(
    chained: DpoResult, base: Path, data: Path
) -> None:
    tokenizer = checkpoint.load_tokenizer(str(chained.model))
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "x"}], tokenize=False, add_generation_prompt=True
    )
    assert str(asked).endswith("USER: x ASSISTANT:"), asked
    same = {"slices": 3, "replay": 0.5, "epochs": 2, "samples": 1, "sample_tokens": 4}
    again = train_dpo(options(base, data, **same), chained.folder)
    assert again.stages == chained.stages
    assert "nothing was left to do" in str(again)
    with pytest.raises(EvolError, match=r"made with other settings: beta was 0\.1, now 0\.2"):
        train_dpo(options(base, data, **same, beta=0.2), chained.folder)


def test_fixed_reference_is_the_base_all_along(base: Path, data: Path, chained: DpoResult, tmp_path: Path) -> None:
    fixed = train_dpo(options(base, data, slices=2, epochs=2, reference="sft"), tmp_path / "out")
    assert [stage["reference"] for stage in fixed.stages] == [0, 0]
    assert fixed.stages[0]["loss_first"] == pytest.approx(LN2, abs=1e-5)
    assert fixed.stages[1]["loss_first"] < 0.9 * LN2, "what the first slice taught is above the base already"
    known = numpy.load(tmp_path / "out" / "rows" / "reference.npy")
    assert len(known) == fixed.counts["train"], "noted once for all pairs, by the base"


def test_slices_by_margin_begin_with_the_clearest(base: Path, tmp_path: Path) -> None:
    rows = [{**row, "margin": number * 11 % 24} for number, row in enumerate(preferences(24))]
    data = tiny.write_rows(tmp_path / "margins.jsonl", rows)
    result = train_dpo(options(base, data, slices=2, order="margin", eval_share=0, max_steps=1), tmp_path / "out")
    sides = [
        [
            rows[orjson.loads(line)["line"] - 1]["margin"]
            for line in _lines(tmp_path / "out" / f"stage-{n}" / "pairs.jsonl")
        ]
        for n in (1, 2)
    ]
    assert sides[0] + sides[1] == list(range(23, -1, -1))
    assert [stage["accuracy_after"] for stage in result.stages] == [None, None]
    with pytest.raises(EvolError, match="--order difficulty: 24 of 24 pairs have no difficulty"):
        train_dpo(options(base, data, order="difficulty", eval_share=0), tmp_path / "other")


def test_a_slice_that_hurts_is_undone(base: Path, tmp_path: Path) -> None:
    """The second of three slices has its labels the wrong way round."""
    good = preferences(48)
    rows = [{**row, "margin": 3.0} for row in good[:16]] + harmful(good[16:32], 2.0)
    rows += [{**row, "margin": 1.0} for row in good[32:]] + [{**row, "root_id": "held"} for row in preferences(16)]
    data = tiny.write_rows(tmp_path / "pairs.jsonl", rows)
    seed = next(seed for seed in range(999) if _held_out(seed, rows) == {"held"})
    asked = options(
        base,
        data,
        slices=3,
        order="margin",
        eval_share=0.02,
        epochs=5,
        replay=0.25,
        seed=seed,
        batch=4,
        reference="sft",
    )
    result = train_dpo(asked, tmp_path / "out")
    kept = [stage["kept"] for stage in result.stages]
    hurt = result.stages[1]
    assert kept == [True, False, True]
    assert hurt["accuracy_after"] < hurt["accuracy_before"] - 0.05
    third = result.stages[2]
    assert (third["start"], third["reference"]) == (1, 0), "where the undone slice began"
    assert third["accuracy_before"] == result.stages[0]["accuracy_after"]
    assert third["replayed"] == result.stages[0]["pairs"] / 4, "what hurt is not replayed"
    assert third["loss_first"] < LN2 < hurt["loss_first"]
    assert not (tmp_path / "out" / "stage-2" / "model").exists()
    assert "slice 2" in str(result)
    assert "; undone" in str(result)


def test_when_all_is_undone_there_is_no_new_model(base: Path, tmp_path: Path) -> None:
    rows = harmful(preferences(16), 1.0) + [{**row, "root_id": "held"} for row in preferences(16)]
    data = tiny.write_rows(tmp_path / "pairs.jsonl", rows)
    seed = next(seed for seed in range(999) if _held_out(seed, rows) == {"held"})
    result = train_dpo(options(base, data, eval_share=0.02, epochs=3, seed=seed), tmp_path / "out")
    assert (result.state, result.stages[0]["kept"], result.model.exists()) == ("complete", False, False)
    assert "every slice was undone" in str(result)


def _held_out(seed: int, rows: list[dict[str, Any]]) -> set[str]:
    from evollab import rng
    from evollab.records import digest

    roots = {str(row.get("root_id") or digest(row["prompt"])) for row in rows}
    return {root for root in roots if rng.uniform(seed, "held out", root) < 0.02}


# The loss


@pytest.fixture(scope="module")
def batch(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, dict[str, torch.Tensor]]:
    """A policy, a reference, and four pairs as a batch."""
    from evollab.train.dpo_trainer import PairCollator

    folder = tmp_path_factory.mktemp("rows")
    write_pairs(str(data), folder, PairReader(Renderer(tiny.tokenizer(), "vicuna"), RowOptions(), 128))
    rows = list(open_rows(folder, "train"))[:4]
    return tiny.model(tiny.tokenizer(), seed=5), checkpoint.load_model(str(base)), PairCollator(0, multiple=8)(rows)


def test_batches_hold_chosen_first_and_masks_by_place(batch: tuple[Any, Any, dict[str, torch.Tensor]]) -> None:
    _, _, given = batch
    assert given["input_ids"].shape[0] == 8
    assert given["input_ids"].shape[1] % 8 == 0
    tokenizer = tiny.tokenizer()
    for number, (ids, mask) in enumerate(zip(given["input_ids"], given["completion_mask"], strict=True)):
        said = ids[mask.bool()].tolist()
        assert said[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(said[:-1]).strip().startswith("Here" if number < 4 else "No")
    assert (given["attention_mask"] >= given["completion_mask"]).all()


@pytest.mark.parametrize("name", ["sigmoid", "length-normalised", "ipo", "hinge"])
def test_the_loss_is_trls_and_the_formulas(
    name: str, batch: tuple[Any, Any, dict[str, torch.Tensor]], base: Path, data: Path, tmp_path: Path
) -> None:
    """TRL's loss on our ids equals the papers' formulas on log-probabilities that are computed by themselves."""
    from evollab.train.dpo_presets import LOSSES
    from evollab.train.dpo_trainer import pair_losses

    policy, reference, given = batch
    ratios = torch.stack((log_probs(policy, given) - log_probs(reference, given)).chunk(2), dim=1)
    lengths = torch.stack(given["completion_mask"].sum(1).float().chunk(2), dim=1)
    ours, _ = pair_losses(LOSSES[name], 0.3, ratios, lengths)
    trainer = _trl(policy, reference, LOSSES[name], tmp_path)
    reference_logps = log_probs(reference, given).chunk(2)
    told = {**given, "ref_chosen_logps": reference_logps[0], "ref_rejected_logps": reference_logps[1]}
    assert float(trainer.compute_loss(trainer.model, told)) == pytest.approx(float(ours.mean()), rel=1e-4)


def _trl(policy: Any, reference: Any, loss: str, folder: Path) -> Any:
    """TRL's own trainer, as it comes, but for pairs that it is given finished."""
    from datasets import Dataset
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    arguments: Any = DPOConfig(
        output_dir=str(folder), loss_type=[loss], beta=0.3, use_cpu=True, bf16=False, report_to=[],
        gradient_checkpointing=False,
    )  # fmt: skip
    rows = Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}])
    trainer = DPOTrainer(policy, reference, arguments, train_dataset=rows, processing_class=tiny.tokenizer())
    trainer.precompute_ref_logps = True
    return trainer


def test_length_normalised_by_hand() -> None:
    """Chosen: ratio 6 over 3 tokens; rejected: -8 over 2. With beta 5: 5 * (2 - -4) = 30; plain, 0.1: 1.4."""
    from evollab.train.dpo_trainer import pair_losses

    ratios, lengths = torch.tensor([[6.0, -8.0]]), torch.tensor([[3.0, 2.0]])
    loss, margin = pair_losses("sigmoid_norm", 5.0, ratios, lengths)
    assert (float(margin), float(loss)) == pytest.approx((30.0, math.log1p(math.exp(-30))), abs=1e-6)
    loss, margin = pair_losses("sigmoid", 0.1, ratios, lengths)
    assert (float(margin), float(loss)) == pytest.approx((1.4, math.log1p(math.exp(-1.4))))
    loss, _ = pair_losses("ipo", 0.5, ratios, lengths)
    assert float(loss) == pytest.approx((6.0 - 1.0) ** 2)
    loss, _ = pair_losses("hinge", 0.05, ratios, lengths)
    assert float(loss) == pytest.approx(0.3)


def test_accumulated_batches_are_the_same_step(base: Path, data: Path, tmp_path: Path) -> None:
    both = [
        train_dpo(options(base, data, eval_share=0, max_steps=3, micro_batch=micro), tmp_path / str(micro)).folder
        for micro in (8, 2)
    ]
    assert losses(both[0]) == pytest.approx(losses(both[1]), abs=1e-5)


def test_adapters_are_merged_between_slices(base: Path, data: Path, tmp_path: Path) -> None:
    """The reference is the start with adapters off: the first loss of each stage is ln 2."""
    out = tmp_path / "out"
    result = train_dpo(options(base, data, slices=2, lora_rank=4, lr=2e-2, eval_share=0.2, epochs=2), out)
    for stage in result.stages:
        assert stage["loss_first"] == pytest.approx(LN2, abs=1e-5)
        assert stage["loss_last"] < stage["loss_first"]
    assert (out / "stage-2" / "adapter" / "adapter_config.json").is_file()
    assert not (result.model / "adapter_config.json").exists()
    states = [
        checkpoint.load_model(str(place)).state_dict() for place in (base, out / "stage-1" / "model", result.model)
    ]
    for one, other in ((0, 1), (1, 2)):
        changed = [name for name, value in states[one].items() if not torch.equal(value, states[other][name])]
        assert changed
        assert all("proj" in name for name in changed)


# Kill and go on


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from evollab.train import machine
machine.prepare()
from evollab.train import metrics
from evollab.train.dpo import DpoOptions, train_dpo
assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1", "TRL would send some"
assert "trl" not in sys.modules, "it takes seconds to import"
told = metrics.Recorder.on_log
def on_log(self, args, state, control, **more):
    told(self, args, state, control, **more)
    if self._path.parent.name == "stage-2" and state.global_step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
metrics.Recorder.on_log = on_log
train_dpo(DpoOptions(**eval(sys.argv[1])), Path(sys.argv[2]))
"""


def test_after_a_kill_the_loss_curve_is_the_same(base: Path, data: Path, tmp_path: Path) -> None:
    asked = options(base, data, slices=2, epochs=3, save_every=3, eval_share=0.2, replay=0.3)
    given = {field.name: getattr(asked, field.name) for field in dataclasses.fields(asked)}
    quiet = {name: value for name, value in os.environ.items() if name != "HF_HUB_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, repr(given), str(tmp_path / "killed")], cwd=ROOT, capture_output=True, text=True,
        env={**quiet, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    assert len(losses(tmp_path / "killed" / "stage-2")) == 4, "told past its last checkpoint"
    with open(tmp_path / "killed" / "stage-2" / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 5, "lo')
    resumed, whole = train_dpo(asked, tmp_path / "killed"), train_dpo(asked, tmp_path / "whole")
    names = ("step", "stage", "stage_step", "loss", "lr", "grad_norm", "margin", "eval_loss", "eval_pair_accuracy")
    curves = [
        [{name: line.get(name) for name in names} for line in read_metrics(tmp_path / place)]
        for place in ("killed", "whole")
    ]
    assert curves[0] == curves[1]
    assert resumed.stages == whole.stages
    assert weights(resumed.model) == weights(whole.model)


def test_a_signal_leaves_a_checkpoint_to_go_on_from(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from evollab.train import metrics

    told = metrics.Recorder.on_log

    def on_log(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        told(self, args, state, control, **more)
        if state.global_step == 1:
            signal.raise_signal(signal.SIGTERM)

    asked = options(base, data, slices=2, eval_share=0, epochs=1)
    with monkeypatch.context() as patched:
        patched.setattr(metrics.Recorder, "on_log", on_log)
        stopped = train_dpo(asked, tmp_path / "out")
    assert (stopped.state, stopped.exit_code, list(stopped.stages)) == ("stopped", 143, [])
    assert list((tmp_path / "out" / "stage-1" / "checkpoints").glob("checkpoint-*"))
    ended = train_dpo(asked, tmp_path / "out")
    assert (ended.state, len(ended.stages)) == ("complete", 2)
    assert len(losses(tmp_path / "out")) == ended.steps


# Many processes


def test_two_processes_agree_with_one(base: Path, tmp_path: Path) -> None:
    data = tiny.write_rows(tmp_path / "pairs.jsonl", preferences(32))
    asked = options(base, data, slices=2, epochs=1, eval_share=0, micro_batch=4)
    given = {field.name: getattr(asked, field.name) for field in dataclasses.fields(asked)}
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, torch\nfrom pathlib import Path\ntorch.set_num_threads(1)\n"
        "from evollab.train.dpo import DpoOptions, train_dpo\n"
        "train_dpo(DpoOptions(**eval(sys.argv[1])), Path(sys.argv[2]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script), repr(given),
         str(tmp_path / "two")], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    one = train_dpo(asked, tmp_path / "one")
    assert losses(tmp_path / "two") == pytest.approx(losses(one.folder), abs=1e-4)


# Defaults of the libraries that are not ours; options and mistakes


def test_defaults_of_trl_are_overridden_on_a_cpu(base: Path, data: Path, tmp_path: Path) -> None:
    """bf16 and gradient checkpointing are on, 1,024 tokens the limit, whatever the machine."""
    from evollab.train.dpo_stage import arguments_of

    if torch.cuda.is_available():
        pytest.skip("about machines without a GPU")
    arguments = arguments_of(options(base, data).resolved(), tmp_path, None)
    assert (arguments.bf16, arguments.fp16, arguments.gradient_checkpointing) == (False, False, False)
    assert (arguments.max_length, arguments.report_to, arguments.disable_dropout) == (None, [], True)
    assert (arguments.beta, arguments.loss_type, arguments.optim) == (0.1, ["sigmoid"], "adamw_torch")


def test_presets_carry_the_papers_numbers() -> None:
    def numbers(preset: str) -> tuple[Any, ...]:
        one = DpoOptions(base="a", data="b", preset=preset).resolved()
        return one.loss, one.beta, one.lr, one.epochs

    assert numbers("arena") == ("sigmoid", 0.3, 5e-7, 2)
    assert numbers("tulu3") == ("length-normalised", 5.0, 5e-7, 1)
    tulu = DpoOptions(base="a", data="b", preset="tulu3", eval_share=0).resolved()
    assert (tulu.batch, tulu.max_length, tulu.warmup, tulu.scheduler, tulu.stop_drop) == (
        128,
        2048,
        0.1,
        "linear",
        None,
    )
    assert DpoOptions(base="a", data="b", lora_rank=8).resolved().lora_alpha == 16


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"base": ""}, "no --base given"),
        ({"loss": "dpo"}, "--loss 'dpo': expected sigmoid, length-normalised"),
        ({"order": "size"}, "--order 'size': expected random, margin"),
        ({"reference": "base"}, "--reference 'base': expected previous, sft"),
        ({"slices": 0}, "--slices 0: expected 1 or more"),
        ({"beta": 0.0}, "--beta 0: expected more than 0"),
        ({"replay": 1.5, "slices": 2}, "--replay 1.5: expected 0 to 1"),
        ({"replay": 0.5}, "there is but one"),
        ({"stop_drop": 0.1, "eval_share": 0.0}, "needs pairs that are held out"),
        ({"eval_share": 1.0}, "--eval-share 1"),
        ({"lora_alpha": 3.0}, "are about adapters"),
    ],
)
def test_options_that_make_no_sense(more: dict[str, Any], words: str) -> None:
    with pytest.raises(EvolError, match=words):
        DpoOptions(**{"base": "a", "data": "b", **more})


def test_mistakes_before_training(base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EvolError, match="takes 512 tokens"):
        train_dpo(options(base, data, max_length=1024), tmp_path / "a")
    with pytest.raises(EvolError, match="--slices 99: there are"):
        train_dpo(options(base, data, slices=99), tmp_path / "b")
    sums = tiny.write_rows(tmp_path / "sums.jsonl", tiny.sums(3))
    with pytest.raises(EvolError, match=r"sums.jsonl:1: no field chosen; the row has instruction, output"):
        train_dpo(options(base, sums), tmp_path / "c")
    monkeypatch.setattr(machine, "world_size", lambda: 3)
    with pytest.raises(EvolError, match="--batch 8 can't be shared by 3 processes"):
        train_dpo(options(base, data), tmp_path / "d")
