"""What the two verbs for reward models, `train irm` and `train prm`, have in common: options, presets, result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from evollab.chat import FORMATS
from evollab.data.items import RowOptions
from evollab.llm.option import option
from evollab.train.tuning import Tuning, given_both, longest

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
class _Asked:
    """What is trained, on what."""

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
    lr: float | None = option(
        f"learning rate at its highest; default: the preset's, with LoRA {LORA_LR:g}", None, metavar="RATE"
    )
    batch: int | None = option(
        "pairs, or answers with steps, for one step of the optimizer, over all processors; default: the preset's",
        None, metavar="N",
    )  # fmt: skip
    max_length: int | None = option("tokens that a text may have; default: the preset's", None, metavar="N")
    too_long: str = option("what becomes of longer ones: drop, or stop", "drop", choices=TOO_LONG)
    allow_unusable: bool = option("leave out rows that teach nothing or don't fit the format", False)
    eval_share: float = option("part of the data (whole groups) that is held out", 0.1, metavar="P")
    save_every: int = option("steps between checkpoints and evaluations; 0: every epoch", 0, metavar="N")


@dataclass(frozen=True, kw_only=True)
class RewardOptions(Tuning, _Asked):
    """What is trained, on what, how. None: the preset's value."""

    lora_rank: int = option(
        "train adapters of this rank, put into the weights at the end; 0: all weights", 0, metavar="R"
    )

    def check_all(self, verb: str) -> None:
        """Raise EvolError for what is not allowed."""
        given_both(self.base, self.data, verb)
        self.check({"preset": tuple(REWARD_PRESETS), "too_long": TOO_LONG})

    @property
    def rows(self) -> RowOptions:
        """How the data is read."""
        return RowOptions(format=self.data_format, strict=self.strict)

    def resolved(self) -> Self:
        """With the preset's numbers in place of None. Raises EvolError for a length that the base can't take."""
        preset = REWARD_PRESETS[self.preset]
        return self.filled(
            {
                "format": preset.format, "batch": preset.batch, "epochs": preset.epochs, "warmup": preset.warmup,
                "max_length": longest(self.base, self.max_length, preset.length), "scheduler": preset.scheduler,
                "lr": LORA_LR if self.lora_rank else preset.lr,
            }
        )  # fmt: skip


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
