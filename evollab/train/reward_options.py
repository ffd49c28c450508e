"""What the two verbs for reward models, `train irm` and `train prm`, have in common: options, presets, result."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from evollab.chat import FORMATS
from evollab.data.items import RowOptions
from evollab.data.rows import excerpt
from evollab.llm.option import option
from evollab.records import EvolError
from evollab.train import checkpoint, machine
from evollab.train.sft import SCHEDULERS

LORA_LR = 1e-4
TOO_LONG = ("drop", "stop")


@dataclass(frozen=True, slots=True)
class RewardPreset:
    """batch: pairs (of a PRM: answers) for one step, over all processors. warmup: below 1 a part of all steps.
    length: tokens that a text may have."""

    format: str
    batch: int
    lr: float
    epochs: float
    length: int
    warmup: float
    scheduler: str


REWARD_PRESETS: Mapping[str, RewardPreset] = {
    "plain": RewardPreset("vicuna", 64, 1e-5, 1, 2048, 0.03, "cosine"),
    "arena": RewardPreset("vicuna", 64, 1e-6, 1, 2048, 0.03, "cosine"),
}
"""plain: ours. arena: Arena Learning, 2407.10627 (lr and epochs of its reward model; the rest is ours)."""


@dataclass(frozen=True, kw_only=True)
class RewardOptions:
    """What is trained, on what, how. None: the preset's value."""

    base: str = option(
        "model to begin with, best one fine-tuned before: a folder, a hub name, or smollm2 (the packaged 135M model)",
        "", metavar="MODEL",
    )  # fmt: skip
    data: str = option("a step's folder, a file, a data set's id or folder", "", metavar="DATA")
    format: str | None = option(
        "how prompts are written: vicuna, alpaca, wizardlm-7b, or model (the base's own chat template); "
        "default: the preset's",
        None, choices=FORMATS,
    )  # fmt: skip
    preset: str = option(
        "named numbers for format, batch, lr, epochs, length, warm-up", "plain", choices=tuple(REWARD_PRESETS)
    )
    epochs: float | None = option("times that all is seen; default: the preset's", None, metavar="N")
    max_steps: int | None = option("end after this many steps, whatever the epochs", None, metavar="N")
    lr: float | None = option(
        f"learning rate at its highest; default: the preset's, with LoRA {LORA_LR:g}", None, metavar="RATE"
    )
    batch: int | None = option(
        "pairs, or answers with steps, for one step of the optimizer, over all processors; default: the preset's",
        None, metavar="N",
    )  # fmt: skip
    micro_batch: int = option(
        "how many of them go through the model at once; 0: at most 8, what divides --batch", 0, metavar="N"
    )
    max_length: int | None = option("tokens that a text may have; default: the preset's", None, metavar="N")
    too_long: str = option("what becomes of longer ones: drop, or stop", "drop", choices=TOO_LONG)
    allow_unusable: bool = option("leave out rows that teach nothing or don't fit the format", False)
    warmup: float | None = option(
        "steps until --lr is reached; below 1 a part of all steps; default: the preset's", None, metavar="N"
    )
    scheduler: str | None = option("how the rate falls; default: the preset's", None, choices=SCHEDULERS)
    weight_decay: float = option("of AdamW (0.9, 0.999)", 0.0, metavar="W")
    lora_rank: int = option(
        "train adapters of this rank, put into the weights at the end; 0: all weights", 0, metavar="R"
    )
    lora_alpha: float | None = option("scale of the adapters; default: twice the rank", None, metavar="A")
    lora_targets: tuple[str, ...] = option(
        "layers that get adapters, by the end of their names, repeatable; default: all linear ones",
        (), flag="--lora-target", metavar="NAME",
    )  # fmt: skip
    dtype: str = option("numbers: bf16 (mixed), fp32; auto: bf16 on a GPU that has it", "auto", choices=machine.DTYPES)
    gradient_checkpointing: str = option(
        "compute activations twice to save memory; auto: on a GPU", "auto", choices=("auto", "on", "off")
    )
    attention: str | None = option(
        "implementation of attention, by the name that transformers gives it", None, metavar="NAME"
    )
    seed: int = option("number that order, the new head and the held-out share depend on", 0, metavar="N")
    eval_share: float = option("part of the data (whole groups) that is held out", 0.1, metavar="P")
    save_every: int = option("steps between checkpoints and evaluations; 0: every epoch", 0, metavar="N")
    keep: int = option("checkpoints to keep, 2 or more", 2, metavar="N")
    data_format: str | None = option("format of the file, where it can't be told", None, metavar="FORMAT")
    strict: bool = option("stop at the first row that can't be read", False)

    def check(self, verb: str) -> None:
        """Raise EvolError for what is not allowed."""
        for name in ("base", "data"):
            if not getattr(self, name):
                raise EvolError(f"no --{name} given", f"evol train {verb} --base smollm2 --data {self.data or 'DATA'}")
        choices = {
            "format": FORMATS, "preset": tuple(REWARD_PRESETS), "too_long": TOO_LONG, "scheduler": SCHEDULERS,
            "dtype": machine.DTYPES, "gradient_checkpointing": ("auto", "on", "off"),
        }  # fmt: skip
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise EvolError(f"{flag(name)} {excerpt(value, 40)!r}: expected {', '.join(allowed)}")
        for name, least in (
            ("max_steps", 1), ("batch", 1), ("micro_batch", 0), ("max_length", 8), ("warmup", 0), ("weight_decay", 0),
            ("lora_rank", 0), ("save_every", 0), ("keep", 2),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise EvolError(f"{flag(name)} {value:g}: expected {least} or more")
        for name in ("epochs", "lr", "lora_alpha"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise EvolError(f"{flag(name)} {value:g}: expected more than 0")
        if not 0 <= self.eval_share < 1:
            raise EvolError(f"--eval-share {self.eval_share:g}: expected 0 or more, below 1")
        if not self.lora_rank and (self.lora_alpha or self.lora_targets):
            raise EvolError("--lora-alpha and --lora-target are about adapters", "add --lora-rank 16")

    @property
    def rows(self) -> RowOptions:
        """How the data is read."""
        return RowOptions(format=self.data_format, strict=self.strict)

    def resolved(self) -> Self:
        """With the preset's numbers in place of None."""
        preset = REWARD_PRESETS[self.preset]
        named: dict[str, Any] = {
            "format": preset.format, "batch": preset.batch, "epochs": preset.epochs, "max_length": preset.length,
            "warmup": preset.warmup, "scheduler": preset.scheduler,
            "lr": LORA_LR if self.lora_rank else preset.lr,
        }  # fmt: skip
        if self.lora_rank:
            named["lora_alpha"] = 2.0 * self.lora_rank
        if self.max_length is None:
            named["max_length"] = min(preset.length, checkpoint.positions(self.base) or preset.length)
        return dataclasses.replace(
            self, **{name: value for name, value in named.items() if getattr(self, name) is None}
        )


def flag(name: str) -> str:
    """A field's flag."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True, slots=True)
class RewardResult:
    """What came of it. state: complete, or stopped (the same command goes on). what: `pairs` or `answers`.
    counts: what became of the rows. losses: first, last. held_out: the last evaluation's numbers (loss, accuracy and
    more), {} without any. exit_code: 0, or 128 and the signal."""

    folder: Path
    state: str
    what: str
    counts: Mapping[str, Any]
    losses: Mapping[str, float]
    held_out: Mapping[str, float]
    steps: int
    notes: tuple[str, ...] = ()
    exit_code: int = 0

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def __str__(self) -> str:
        told = list(self.notes)
        if self.state == "complete":
            told.append(f"{self.model}: {self.counts['train']:,} {self.what}, {self.steps:,} steps")
        else:
            told.append(f"{self.folder}: stopped after {self.steps:,} steps; the same command goes on")
        if self.losses:
            told.append(f"loss of the first step {self.losses['first']:.4f}, of the last {self.losses['last']:.4f}")
        if self.held_out:
            numbers = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in self.held_out.items())
            told.append(f"{self.counts['held_out']:,} {self.what} held out: {numbers}")
        return "\n".join(told)
