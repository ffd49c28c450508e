"""`train sft` on models of 100,000 parameters: what is learnt, what is packed, what survives a kill."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

pytest.importorskip("trl", reason="needs the extra `train`")
pytest.importorskip("peft", reason="needs the extra `train`")

import torch

from evollab.chat import Renderer
from evollab.data.items import RowOptions
from evollab.records import EvolError, Message
from evollab.train import checkpoint, machine, setup
from evollab.train.metrics import keep_until, read_metrics
from evollab.train.presets import PRESETS
from evollab.train.rows import Reader, open_rows, write_rows
from evollab.train.sft import SftOptions, SftResult, train_sft
from tests import tiny

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::ResourceWarning"
)


torch.set_num_threads(1)  # many threads on so small a model wait for each other


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {kind: tiny.checkpoint(folder / kind, kind) for kind in tiny.KINDS}


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_rows(tmp_path_factory.mktemp("data") / "sums.jsonl", tiny.sums(16))


def options(base: Path, data: Path, **more: Any) -> SftOptions:
    settings: dict[str, Any] = {"epochs": 1, "lr": 5e-3, "batch": 8, "max_length": 256, "samples": 0}
    return SftOptions(base=str(base), data=str(data), **{**settings, **more})


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(folder) if "loss" in line]


@pytest.fixture(scope="module")
def learnt(bases: dict[str, Path], sums: Path, tmp_path_factory: pytest.TempPathFactory) -> SftResult:
    """16 rows learnt by heart."""
    out = tmp_path_factory.mktemp("learnt") / "out"
    return train_sft(options(bases["llama"], sums, epochs=60, batch=8, samples=1, sample_tokens=16, save_every=20), out)


# What is learnt


def test_sixteen_rows_are_learnt_by_heart(learnt: SftResult) -> None:
    assert learnt.state == "complete"
    assert learnt.losses["last"] < 0.2 * learnt.losses["first"]


def test_the_result_answers_and_stops_by_itself(learnt: SftResult) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(learnt.model)
    tokenizer = AutoTokenizer.from_pretrained(learnt.model)
    for row in tiny.sums(4):
        asked = [{"role": "user", "content": row["instruction"]}]
        given = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt")
        said = model.generate(**given, max_new_tokens=24, do_sample=False)[0, given["input_ids"].shape[1] :].tolist()
        assert said[-1] == tokenizer.eos_token_id, "EOS as one token, not three characters"
        assert tokenizer.decode(said[:-1]).strip() == row["output"]


def test_metrics_and_samples_are_told(learnt: SftResult) -> None:
    lines = read_metrics(learnt.folder)
    assert [line["step"] for line in lines] == list(range(1, learnt.steps + 1))
    first = lines[0]
    assert {"step", "epoch", "loss", "lr", "grad_norm", "tokens", "tokens_per_second", "trained_share"} <= set(first)
    counts = learnt.counts
    assert sum(line["tokens"] for line in lines[:2]) == counts["tokens"], "without padding"
    assert first["trained_share"] == pytest.approx(counts["trained_tokens"] / counts["tokens"], rel=0.1)
    samples = [orjson.loads(line) for line in (learnt.folder / "samples.jsonl").read_bytes().splitlines()]
    assert len(samples) == 61, "before the first step and after every epoch"
    assert samples[-1]["text"].strip() == samples[-1]["expected"].strip()
    assert samples[-1]["ended"]
    assert samples[-1]["prompt"].endswith("USER: Add 1 and 7. ASSISTANT:")
    assert (learnt.folder / "tensorboard").is_dir() == _installed("tensorboard")
    step = orjson.loads((learnt.folder / "step.json").read_bytes())
    assert step["machine"]["trl"]
    assert step["losses"] == learnt.losses


def _installed(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


def test_the_same_call_again_does_nothing_and_another_is_refused(
    learnt: SftResult, bases: dict[str, Path], sums: Path
) -> None:
    again = train_sft(
        options(bases["llama"], sums, epochs=60, batch=8, samples=1, sample_tokens=16, save_every=20), learnt.folder
    )
    assert again.losses == learnt.losses
    assert "nothing was left to do" in str(again)
    with pytest.raises(EvolError, match=r"made with other settings: lr was 0\.005, now 0\.001"):
        train_sft(
            options(bases["llama"], sums, epochs=60, batch=8, samples=1, sample_tokens=16, save_every=20, lr=1e-3),
            learnt.folder,
        )


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_trained_tokens_are_the_assistants_text(kind: str, bases: dict[str, Path], sums: Path, tmp_path: Path) -> None:
    """As the trainer gets them, with EOS, where EOS is the padding, and where it is not."""
    from evollab.train.sft_trainer import IGNORED, Collator

    tokenizer = checkpoint.load_tokenizer(str(bases[kind]))
    write_rows(str(sums), tmp_path, Reader(Renderer(tokenizer, "vicuna"), RowOptions(), 256))
    rows = list(open_rows(tmp_path, "train"))
    assert tokenizer.pad_token_id is not None
    batch = Collator(tokenizer.pad_token_id)(rows)
    for labels, row in zip(batch["labels"], tiny.sums(16), strict=True):
        ids = labels[labels != IGNORED].tolist()
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(ids[:-1]).strip() == row["output"]


# Packing


def batches(kind: str, base: Path, sums: Path, folder: Path) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """A model; the same rows as one padded batch, and packed."""
    from evollab.train.sft_trainer import Collator, packed

    tokenizer = checkpoint.load_tokenizer(str(base))
    write_rows(str(sums), folder, Reader(Renderer(tokenizer, "vicuna"), RowOptions(), 256))
    rows = open_rows(folder, "train").select(range(7))
    together = packed(rows, 256)
    assert len(together) < 7
    collate = Collator(tokenizer.pad_token_id or 0)
    return checkpoint.load_model(str(base)).eval(), collate(list(rows)), collate(list(together))


def loss(model: Any, batch: dict[str, Any], **more: Any) -> float:
    given = {name: value for name, value in batch.items() if name != "lengths"}
    with torch.no_grad():
        return float(model(**given, **more).loss)


@pytest.mark.parametrize("kind", ["llama", "bytes"])
def test_packed_and_unpacked_loss_agree(kind: str, bases: dict[str, Path], sums: Path, tmp_path: Path) -> None:
    model, padded, together = batches(kind, bases[kind], sums, tmp_path)
    assert int(padded["lengths"].sum()) == int(together["lengths"].sum())
    assert loss(model, together, use_cache=False) == pytest.approx(loss(model, padded), abs=1e-6)


def test_with_the_cache_packed_conversations_would_see_each_other(
    bases: dict[str, Path], sums: Path, tmp_path: Path
) -> None:
    """The trap, and that the trainer stays out of it: its loss on packs is the loss without a cache."""
    model, _, together = batches("llama", bases["llama"], sums, tmp_path)
    apart = loss(model, together, use_cache=False)
    assert abs(loss(model, together, use_cache=True) - apart) > 1e-4
    both = [
        train_sft(options(bases["llama"], sums, batch=16, micro_batch=2, packing=packing, lr=1e-9), tmp_path / name)
        for name, packing in (("packed", True), ("padded", False))
    ]
    assert both[0].losses["first"] == pytest.approx(both[1].losses["first"], abs=1e-5)
    assert both[0].counts == both[1].counts


def test_flat_batches_for_flash_attention_hold_the_same(bases: dict[str, Path], sums: Path, tmp_path: Path) -> None:
    from evollab.train.sft_trainer import Collator

    model, padded, _ = batches("llama", bases["llama"], sums, tmp_path)
    rows = list(open_rows(tmp_path, "train").select(range(7)))
    flat = Collator(0, flat=True, multiple=8)(rows)
    assert flat["input_ids"].shape[0] == 1
    assert flat["input_ids"].shape[1] % 8 == 0
    assert loss(model, flat, use_cache=False) == pytest.approx(loss(model, padded), abs=1e-6)


def test_rows_share_no_first_label() -> None:
    """The last token of one conversation must not be trained to foretell the first of the next."""
    from evollab.train.sft_trainer import Collator

    pack = {"input_ids": [5, 6, 7, 8], "mask": [1, 1, 1, 1], "seq_lengths": [2, 2]}
    batch = Collator(0, multiple=8)([pack])
    assert batch["labels"].tolist() == [[-100, 6, -100, 8, -100, -100, -100, -100]]
    assert batch["position_ids"].tolist() == [[0, 1, 0, 1, 0, 1, 2, 3]]


# Kill and go on


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from evollab.train import machine
machine.prepare()
from evollab.train import metrics
from evollab.train.sft import SftOptions, train_sft
assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1", "TRL would send some"
assert "trl" not in sys.modules, "it takes seconds to import"
told = metrics.Recorder.on_log
def on_log(self, args, state, control, **more):
    told(self, args, state, control, **more)
    if state.global_step == 7:
        os.kill(os.getpid(), signal.SIGKILL)
metrics.Recorder.on_log = on_log
train_sft(SftOptions(**eval(sys.argv[1])), Path(sys.argv[2]))
"""


def without(variable: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != variable}


def test_after_a_kill_the_loss_curve_is_the_same(bases: dict[str, Path], sums: Path, tmp_path: Path) -> None:
    asked = options(
        bases["llama"], sums, epochs=5, save_every=3, eval_share=0.2, packing=True, max_length=200, batch=2, samples=1,
        sample_tokens=4, warmup=3,
    )  # fmt: skip
    given = {field.name: getattr(asked, field.name) for field in dataclasses.fields(asked)}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, repr(given), str(tmp_path / "killed")], cwd=ROOT, capture_output=True, text=True,
        env={**without("HF_HUB_DISABLE_TELEMETRY"), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    assert losses(tmp_path / "killed")[6:], "it was told past its last checkpoint"
    torn = tmp_path / "killed" / "checkpoints" / "checkpoint-9"
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"global_step": 9')
    with open(tmp_path / "killed" / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 8, "lo')
    resumed, whole = train_sft(asked, tmp_path / "killed"), train_sft(asked, tmp_path / "whole")
    curves = [
        [{name: line.get(name) for name in ("step", "epoch", "loss", "lr", "grad_norm", "eval_loss")} for line in lines]
        for lines in (read_metrics(tmp_path / "killed"), read_metrics(tmp_path / "whole"))
    ]
    assert curves[0] == curves[1]
    assert len(curves[0]) > 12
    assert (resumed.losses, resumed.counts, resumed.steps) == (whole.losses, whole.counts, whole.steps)
    first, second = (checkpoint.load_model(str(result.model)).state_dict() for result in (resumed, whole))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    samples = [(tmp_path / name / "samples.jsonl").read_bytes() for name in ("killed", "whole")]
    assert samples[0] == samples[1]


def test_a_signal_leaves_a_checkpoint_to_go_on_from(
    bases: dict[str, Path], sums: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from evollab.train import metrics

    told = metrics.Recorder.on_log

    def on_log(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        told(self, args, state, control, **more)
        if state.global_step == 3:
            signal.raise_signal(signal.SIGTERM)

    asked = options(bases["llama"], sums, epochs=3, batch=4)
    with monkeypatch.context() as patched:
        patched.setattr(metrics.Recorder, "on_log", on_log)
        stopped = train_sft(asked, tmp_path / "out")
    assert (stopped.state, stopped.exit_code) == ("stopped", 143)
    assert 3 <= stopped.steps < 12
    assert not stopped.model.exists()
    assert "the same command goes on" in str(stopped)
    ended = train_sft(asked, tmp_path / "out")
    assert (ended.state, ended.steps) == ("complete", 12)
    assert len(losses(tmp_path / "out")) == 12


def test_metrics_past_a_checkpoint_are_told_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step":1}\n{"step":2}\n{"step":3}\n{"st')
    keep_until(path, 2)
    assert path.read_bytes() == b'{"step":1}\n{"step":2}\n'


def test_another_number_of_processes_is_refused(
    learnt: SftResult, bases: dict[str, Path], sums: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "world_size", lambda: 2)
    with pytest.raises(EvolError, match="processes was 1, now 2"):
        train_sft(
            options(bases["llama"], sums, epochs=60, batch=8, samples=1, sample_tokens=16, save_every=20),
            learnt.folder,
        )


# Early stopping, LoRA, other bases


def test_training_stops_when_it_gets_no_better_and_keeps_the_best(
    bases: dict[str, Path], sums: Path, tmp_path: Path
) -> None:
    result = train_sft(
        options(bases["llama"], sums, epochs=40, batch=4, lr=2e-2, eval_share=0.3, save_every=2, patience=2),
        tmp_path / "out",
    )
    held_out = [line["eval_loss"] for line in read_metrics(tmp_path / "out") if "eval_loss" in line]
    assert result.steps < 40 * 2
    assert min(held_out) < held_out[-1]
    model = checkpoint.load_model(str(result.model)).eval()
    from evollab.train.sft_trainer import Collator

    rows = list(open_rows(tmp_path / "out", "eval"))
    assert loss(model, Collator(0)(rows)) == pytest.approx(min(held_out), abs=1e-4)
    assert result.losses["eval"] == min(held_out)


@pytest.mark.parametrize("merge", [False, True])
def test_adapters(merge: bool, bases: dict[str, Path], sums: Path, tmp_path: Path) -> None:
    result = train_sft(
        options(bases["chatml"], sums, format="model", epochs=20, lr=2e-2, lora_rank=4, merge=merge), tmp_path / "out"
    )
    assert result.losses["last"] < result.losses["first"]
    assert (result.model / "adapter_config.json").exists() != merge
    base, trained = (checkpoint.load_model(str(place)) for place in (bases["chatml"], result.model))
    assert type(trained) is type(base)
    changed = [name for name, value in trained.state_dict().items() if not torch.equal(value, base.state_dict()[name])]
    assert changed
    assert all("proj" in name for name in changed)
    tokenizer = checkpoint.load_tokenizer(str(result.model))
    assert tokenizer.chat_template == tiny.CHATML


def test_held_out_rows_from_elsewhere(bases: dict[str, Path], sums: Path, tmp_path: Path) -> None:
    other = tiny.write_rows(tmp_path / "other.jsonl", tiny.sums(20)[16:])
    result = train_sft(options(bases["bytes"], sums, eval_data=str(other), epochs=2), tmp_path / "out")
    assert result.losses["eval"] < result.losses["eval_first"]
    assert result.counts["train"] == 16


# Defaults of the libraries that are not ours


def test_defaults_of_trl_are_overridden_on_a_cpu(bases: dict[str, Path], sums: Path, tmp_path: Path) -> None:
    """bf16 and gradient checkpointing are on, 1,024 tokens the limit, whatever the machine."""
    from evollab.train.sft_run import Run

    asked = options(bases["llama"], sums).resolved()
    with setup.training_folder(tmp_path / "out", "train-sft", {}, {}) as step:
        arguments = Run(asked, step, tiny.tokenizer("llama"), str(sums), None)._arguments(None)
    if torch.cuda.is_available():
        pytest.skip("about machines without a GPU")
    assert (arguments.bf16, arguments.fp16, arguments.gradient_checkpointing) == (False, False, False)
    assert (arguments.max_length, arguments.report_to, arguments.weight_decay) == (None, [], 0.0)
    assert arguments.optim == "adamw_torch"
    assert (arguments.adam_beta1, arguments.adam_beta2, arguments.adam_epsilon) == (0.9, 0.999, 1e-8)


def test_a_base_in_half_precision_is_trained_in_float32(tmp_path: Path) -> None:
    made = tiny.model(tiny.tokenizer("llama")).half()
    made.save_pretrained(tmp_path / "half")
    tiny.tokenizer("llama").save_pretrained(tmp_path / "half")
    assert checkpoint.load_model(str(tmp_path / "half")).dtype == torch.float32


# Options and mistakes


def test_presets_carry_the_papers_numbers() -> None:
    told = {name: (one.batch, one.lr, one.epochs, one.length, one.warmup) for name, one in PRESETS.items()}
    assert told["wizardlm-7b"] == (64, 2e-5, 3, 2048, 2)
    assert told["wizardlm-13b"] == (384, 2e-5, 3, 2048, 50)
    assert told["wizardcoder-15b"] == (512, 2e-5, 3, 2048, 30)
    assert told["wizardmath-13b"] == (128, 2e-5, 3, 2048, 10)
    assert told["auto-evol-mixtral"][:3] == (200, 5e-6, 4)
    asked = SftOptions(base="a", data="b", preset="wizardlm-7b", epochs=1).resolved()
    assert (asked.format, asked.batch, asked.epochs, asked.scheduler) == ("wizardlm-7b", 64, 1, "cosine")
    assert SftOptions(base="a", data="b", lora_rank=8).resolved().lr == 2e-4


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"base": ""}, "no --base given"),
        ({"format": "chatml"}, "--format 'chatml': expected vicuna, alpaca"),
        ({"lr": 0.0}, "--lr 0: expected more than 0"),
        ({"batch": 0}, "--batch 0: expected 1 or more"),
        ({"keep": 1}, "--keep 1: expected 2 or more"),
        ({"eval_share": 1.0}, "--eval-share 1"),
        ({"eval_share": 0.5, "eval_data": "x"}, "expected one of them"),
        ({"patience": 2}, "needs an evaluation"),
        ({"merge": True}, "are about adapters"),
        ({"map": ("x",)}, "expected FIELD=COLUMN"),
    ],
)
def test_options_that_make_no_sense(more: dict[str, Any], words: str) -> None:
    with pytest.raises(EvolError, match=words):
        SftOptions(**{"base": "a", "data": "b", **more})


def test_mistakes_before_training(bases: dict[str, Path], sums: Path, tmp_path: Path) -> None:
    base = bases["llama"]
    with pytest.raises(EvolError, match="takes 512 tokens") as error:
        train_sft(options(base, sums, max_length=1024), tmp_path / "a")
    assert error.value.hint == "--max-length 512"
    with pytest.raises(EvolError, match="no model lies there"):
        train_sft(options(tmp_path, sums), tmp_path / "b")
    with pytest.raises(EvolError, match="expected the folder of a model"):
        train_sft(options(tmp_path / "none", sums), tmp_path / "c")
    with pytest.raises(EvolError, match="--micro-batch 3 does not divide the 8 rows") as error:
        train_sft(options(base, sums, micro_batch=3), tmp_path / "d")
    assert error.value.hint in ("--micro-batch 2", "--micro-batch 4")
    with pytest.raises(EvolError, match="no chat template of its own"):
        train_sft(options(base, sums, format="model"), tmp_path / "e")
    assert not (tmp_path / "a").exists()
    with pytest.raises(EvolError, match="not of this step's making"):
        train_sft(options(base, sums), base.parent)


def test_a_loss_that_is_no_number_ends_the_run(bases: dict[str, Path], sums: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    model = tiny.model(tiny.tokenizer("llama"))
    with torch.no_grad():
        model.model.norm.weight.fill_(math.nan)
    model.save_pretrained(broken)
    tiny.tokenizer("llama").save_pretrained(broken)
    with pytest.raises(EvolError, match="the loss is nan at step 1"):
        train_sft(options(broken, sums), tmp_path / "out")


def test_batches_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [setup.shares(batch, micro) for batch, micro in ((64, 0), (6, 0), (1, 0), (12, 3))] == [
        (8, 8), (6, 1), (1, 1), (3, 4),
    ]  # fmt: skip
    monkeypatch.setattr(machine, "world_size", lambda: 8)
    assert setup.shares(64, 0) == (8, 1)
    with pytest.raises(EvolError, match="can't be shared by 8 processes"):
        setup.shares(12, 0)


def test_the_saved_prompt_is_ours(learnt: SftResult) -> None:
    tokenizer = checkpoint.load_tokenizer(str(learnt.model))
    asked = [Message("user", "Add 1 and 2.")]
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "Add 1 and 2."}], add_generation_prompt=True)
    assert ids["input_ids"] == Renderer(tokenizer, "model").render(asked, generation_prompt=True).ids
    assert ids["input_ids"] == Renderer(tokenizer, "vicuna").render(asked, generation_prompt=True).ids


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_saved_model_says_its_own_number_format(dtype: str, tmp_path: Path) -> None:
    tokenizer = checkpoint.load_tokenizer(str(tiny.checkpoint(tmp_path / "base", "bytes")))
    checkpoint.save_model(
        checkpoint.load_model(str(tmp_path / "base")), tokenizer, tmp_path / "out", "alpaca", dtype=dtype
    )
    from transformers import AutoModelForCausalLM

    wanted = torch.bfloat16 if dtype == "bf16" else torch.float32
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").dtype == wanted
    settings = orjson.loads((tmp_path / "out" / "generation_config.json").read_bytes())
    assert settings["eos_token_id"] == tokenizer.eos_token_id
    assert "temperature" not in settings


def test_heads_for_reward_models(bases: dict[str, Path]) -> None:
    one = checkpoint.load_model(str(bases["llama"]), head="sequence")
    three = checkpoint.load_model(str(bases["llama"]), head="token", labels=3)
    ids = torch.tensor([[1, 5, 6]])
    assert one(input_ids=ids).logits.shape == (1, 1)
    assert three(input_ids=ids).logits.shape == (1, 3, 3)
    assert one.config.pad_token_id is not None


def test_an_adapter_on_an_adapter_keeps_the_first(tmp_path: Path) -> None:
    """peft writes down the name of the model it was given: it must be the first adapter's folder, not its base."""
    from peft import get_peft_model

    base = tiny.checkpoint(tmp_path / "base")
    model = checkpoint.load_model(str(base))
    get_peft_model(model, setup.adapters(str(base), 4, 8.0, ())).save_pretrained(tmp_path / "first")
    tiny.tokenizer().save_pretrained(tmp_path / "first")
    merged = checkpoint.load_model(str(tmp_path / "first"))
    get_peft_model(merged, setup.adapters(str(tmp_path / "first"), 4, 8.0, ())).save_pretrained(tmp_path / "second")
    told = orjson.loads((tmp_path / "second" / "adapter_config.json").read_bytes())
    assert told["base_model_name_or_path"] == str((tmp_path / "first").resolve())
