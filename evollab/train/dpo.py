"""The verb `train dpo`: direct preference optimisation, in one stage or slice by slice (Stage-DPO).

OUT/step.json              what was asked, what came of it: a table with a row for every slice
OUT/rows/                  the pairs as ids and masks
OUT/removed.jsonl          pairs that are not trained, with reasons; OUT/rejected.jsonl: unreadable ones
OUT/metrics.jsonl          loss, margins and more, a line a step, over all stages
OUT/stage-K/stage.json     what came of a slice; beside it its metrics.jsonl, samples.jsonl, tensorboard
OUT/stage-K/checkpoints/   to go on from, as long as the stage is trained
OUT/stage-K/model/         what the next stage starts from, in float32; with LoRA adapter/ too
OUT/model/                 the model after the last slice that did no harm, with its chat template
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evollab.chat import FORMATS, template
from evollab.data.files import input_digest
from evollab.data.items import RowOptions
from evollab.data.rowstep import place_of
from evollab.llm.option import option
from evollab.records import EvolError
from evollab.train import checkpoint, machine
from evollab.train.dpo_presets import DPO_PRESETS, LOSSES
from evollab.train.pairs import TOO_LONG
from evollab.train.setup import memory_explained, training_folder
from evollab.train.stages import ORDERS, REFERENCES
from evollab.train.tuning import Tuning, given_both, longest

_LORA_LR = 5e-6
_STEP = "train-dpo"


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What is trained, on which pairs."""

    base: str = option(
        "model to train, fine-tuned before: a folder, a hub name, or smollm2 (the packaged 135M model)", "",
        metavar="MODEL",
    )  # fmt: skip
    data: str = option("pairs: a step's folder, a file, a data set's id or folder", "", metavar="DATA")
    format: str | None = option(
        "how conversations are written: vicuna, alpaca, wizardlm-7b, or model (the base's own chat template); "
        "default: the preset's",
        None, choices=FORMATS,
    )  # fmt: skip
    preset: str = option(
        "named numbers for format, loss, beta, batch, lr, epochs, length, warm-up", "plain", choices=tuple(DPO_PRESETS)
    )
    loss: str | None = option("what is minimised; default: the preset's", None, choices=tuple(LOSSES))
    beta: float | None = option(
        "how strongly the model is held to the reference; default: the preset's", None, metavar="B"
    )
    slices: int = option("parts that the pairs are cut in, trained one after another", 1, metavar="K")
    order: str = option(
        "how pairs come into slices: random, margin (large ones first), difficulty (small ones first)", "random",
        choices=ORDERS,
    )  # fmt: skip
    reference: str = option(
        "what a stage is held to: previous (the model that it starts from) or sft (--base all along)", "previous",
        choices=REFERENCES,
    )  # fmt: skip
    replay: float = option("part of the earlier slices' pairs that a stage trains again; 1: all", 0.0, metavar="P")
    eval_share: float = option("part of the pairs (whole lineages or prompts) that is held out", 0.1, metavar="P")
    stop_drop: float | None = option(
        "undo a slice that lowers the accuracy on pairs held out by more than this; default 0.05, none without "
        "--eval-share", None, metavar="P",
    )  # fmt: skip
    epochs: float | None = option("times that a slice is seen; default: the preset's", None, metavar="N")
    lr: float | None = option(
        f"learning rate at its highest, anew in each stage; default: the preset's, with LoRA {_LORA_LR:g}", None,
        metavar="RATE",
    )  # fmt: skip
    batch: int | None = option(
        "pairs for one step of the optimizer, over all processors; default: the preset's", None, metavar="N"
    )
    max_length: int | None = option(
        "tokens that a prompt with an answer may have; default: the preset's", None, metavar="N"
    )
    too_long: str = option("what becomes of longer pairs: drop, cut (mid-answer), or stop", "drop", choices=TOO_LONG)
    allow_unusable: bool = option("leave out pairs that prefer nothing, are empty or don't fit the format", False)
    save_every: int = option(
        "steps between checkpoints and measurements on pairs held out; 0: checkpoints every epoch", 0, metavar="N"
    )
    samples: int = option("prompts that the model answers before and after every epoch", 4, metavar="N")
    sample_tokens: int = option("tokens that such an answer may have", 128, metavar="N")
    map: tuple[str, ...] = option("our field=their column, repeatable", (), metavar="FIELD=COLUMN")


@dataclass(frozen=True, kw_only=True)
class DpoOptions(Tuning, _Asked):
    """What is trained, on which pairs, how. None: the preset's value."""

    max_steps: int | None = option("end a stage after this many steps, whatever the epochs", None, metavar="N")
    lora_rank: int = option("train adapters of this rank, merged after every slice; 0: all weights", 0, metavar="R")

    def __post_init__(self) -> None:
        given_both(self.base, self.data, "dpo")
        self.check(
            {
                "preset": tuple(DPO_PRESETS), "loss": tuple(LOSSES), "order": ORDERS, "reference": REFERENCES,
                "too_long": TOO_LONG,
            },
            {"slices": 1},
        )  # fmt: skip
        if not 0 <= self.replay <= 1:
            raise EvolError(f"--replay {self.replay:g}: expected 0 to 1")
        if self.replay and self.slices == 1:
            raise EvolError("--replay is about earlier slices, and there is but one", "add --slices 3")
        if self.stop_drop is not None and not 0 <= self.stop_drop <= 1:
            raise EvolError(f"--stop-drop {self.stop_drop:g}: expected 0 to 1")
        if self.stop_drop is not None and not self.eval_share:
            raise EvolError("--stop-drop needs pairs that are held out", "add --eval-share 0.1")
        self.rows.mapping()

    @property
    def rows(self) -> RowOptions:
        """How the data is read."""
        return RowOptions(format=self.data_format, map=self.map, strict=self.strict)

    def resolved(self) -> DpoOptions:
        """With the preset's numbers in place of None."""
        preset = DPO_PRESETS[self.preset]
        named: dict[str, Any] = {
            "format": preset.format, "loss": preset.loss, "beta": preset.beta, "batch": preset.batch,
            "epochs": preset.epochs, "max_length": preset.length, "warmup": preset.warmup,
            "scheduler": preset.scheduler, "lr": _LORA_LR if self.lora_rank else preset.lr,
        }  # fmt: skip
        return self.filled({**named, "stop_drop": 0.05} if self.eval_share else named)


@dataclass(frozen=True, slots=True)
class DpoResult:
    """What came of it. state: complete, or stopped (the same command goes on). counts: see `pairs.PairCounts`.
    stages: a row for every slice that was trained, as in step.json. exit_code: 0, or 128 and the signal."""

    folder: Path
    state: str
    counts: Mapping[str, Any]
    stages: Sequence[Mapping[str, Any]]
    steps: int
    notes: tuple[str, ...] = ()
    exit_code: int = 0

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def __str__(self) -> str:
        told = [*self.notes, *map(stage_told, self.stages)]
        if self.state != "complete":
            told.append(f"{self.folder}: stopped after {self.steps:,} steps; the same command goes on")
        elif any(stage["kept"] for stage in self.stages):
            told.append(f"{self.model}: {self.counts['train']:,} pairs, {self.steps:,} steps")
        else:
            told.append(f"{self.folder}: every slice was undone, so there is no new model")
        return "\n".join(told)


def stage_told(stage: Mapping[str, Any]) -> str:
    """A row of the table of slices, in words."""
    replayed = f" and {stage['replayed']:,} again" if stage["replayed"] else ""
    text = f"slice {stage['stage']}: {stage['pairs']:,} pairs{replayed}, loss {stage['loss_first']:.4f} to "
    text += f"{stage['loss_last']:.4f}, margin {stage['margin_last']:.3f}"
    if (after := stage.get("accuracy_after")) is not None:
        low, high = stage["interval_after"]
        text += f", pairs held out in order {stage['accuracy_before']:.1%} before, {after:.1%} after"
        text += f" ({low:.1%} to {high:.1%} of {stage['held_out']:,})"
    return text if stage["kept"] else f"{text}; undone"


def train_dpo(options: DpoOptions, out: Path) -> DpoResult:
    """Train `options.base` on the preferences `options.data` into the folder `out` (see the top of this file).

    The same call goes on where it was interrupted, from the last checkpoint, on the same loss curve; after
    the end it does nothing. Ctrl-C saves a checkpoint first. Under a launcher (accelerate, torchrun) every
    process calls it, and the first one writes. Raises EvolError for everything that a person can mend: a
    folder made with other settings, pairs that can't be trained, a base that is none, too little memory.
    """
    machine.require("train dpo")
    machine.prepare()
    asked, options = options, options.resolved()
    tokenizer = checkpoint.load_tokenizer(options.base)
    most = longest(options.base, asked.max_length, options.max_length or 1)
    options = dataclasses.replace(options, max_length=most)
    tokenizer.chat_template = template(tokenizer, str(options.format))  # every checkpoint carries it
    source = place_of(options.data, None, "dpo").source
    inputs: dict[str, Any] = {"data": input_digest(source), "base": checkpoint.identity(options.base)}
    where = ("base", "data")  # what lies there counts, whatever the path to it
    config = {name: value for name, value in dataclasses.asdict(options).items() if name not in where}
    config["processes"] = machine.world_size()
    with training_folder(out, _STEP, config, inputs) as step:
        before = step.before
        if before is not None and before.get("state") == "complete":
            note = ("note: this was done before; nothing was left to do",)
            return DpoResult(out, "complete", before["counts"], before["stages"], before["steps"], note)
        with memory_explained():
            from evollab.train.dpo_run import Run

            return Run(options, step, tokenizer, source).run()
