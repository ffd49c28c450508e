"""What all trainers are asked: the optimizer, adapters, numbers, what is held out. One list, one check."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from evollab.chat import FORMATS
from evollab.data.rows import excerpt
from evollab.llm.option import option
from evollab.records import EvolError
from evollab.train import checkpoint, machine

SCHEDULERS = ("cosine", "linear", "constant", "constant_with_warmup")
CHECKPOINTING = ("auto", "on", "off")
_LEAST = {
    "max_steps": 1, "batch": 1, "micro_batch": 0, "max_length": 8, "warmup": 0, "weight_decay": 0, "lora_rank": 0,
    "save_every": 0, "keep": 2, "samples": 0, "sample_tokens": 1,
}  # fmt: skip
_ABOVE_ZERO = ("epochs", "lr", "lora_alpha", "beta", "temperature")


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Options of every trainer. None: the preset's value. A trainer's own options come first in its list: they are
    the second base of its class, this is the first."""

    max_steps: int | None = option("end after this many steps, whatever the epochs", None, metavar="N")
    micro_batch: int = option(
        "how many of --batch go through the model at once; 0: at most 8, what divides --batch", 0, metavar="N"
    )
    warmup: float | None = option(
        "steps until --lr is reached; below 1 a part of all steps; default: the preset's", None, metavar="N"
    )
    scheduler: str | None = option("how the rate falls; default: the preset's", None, choices=SCHEDULERS)
    weight_decay: float = option("of AdamW (0.9, 0.999)", 0.0, metavar="W")
    lora_rank: int = option("train adapters of this rank instead of all weights; 0: all weights", 0, metavar="R")
    lora_alpha: float | None = option("scale of the adapters; default: twice the rank", None, metavar="A")
    lora_targets: tuple[str, ...] = option(
        "layers that get adapters, by the end of their names, repeatable; default: all linear ones",
        (), flag="--lora-target", metavar="NAME",
    )  # fmt: skip
    dtype: str = option("numbers: bf16 (mixed), fp32; auto: bf16 on a GPU that has it", "auto", choices=machine.DTYPES)
    gradient_checkpointing: str = option(
        "compute activations twice to save memory; auto: on a GPU", "auto", choices=CHECKPOINTING
    )
    attention: str | None = option(
        "implementation of attention, by the name that transformers gives it", None, metavar="NAME"
    )
    seed: int = option("number that every draw and the held-out share depend on", 0, metavar="N")
    keep: int = option("checkpoints to keep, 2 or more", 2, metavar="N")
    data_format: str | None = option("format of the data, where it can't be told", None, metavar="FORMAT")
    strict: bool = option("stop at the first row that can't be read", False)

    def check(self, choices: Mapping[str, Sequence[str]], least: Mapping[str, float] | None = None) -> None:
        """Raise EvolError for a value that is not allowed. choices: of the trainer's own options. least: the least
        number allowed of those, beside what all have."""
        every: dict[str, Sequence[str]] = {
            "format": FORMATS, **choices, "scheduler": SCHEDULERS, "dtype": machine.DTYPES,
            "gradient_checkpointing": CHECKPOINTING,
        }  # fmt: skip
        for name, allowed in every.items():
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise EvolError(f"{flag(name)} {excerpt(value, 40)!r}: expected {', '.join(allowed)}")
        for name, lowest in {**_LEAST, **(least or {})}.items():
            value = getattr(self, name, None)
            if value is not None and not value >= lowest:
                raise EvolError(f"{flag(name)} {value:g}: expected {lowest} or more")
        for name in _ABOVE_ZERO:
            value = getattr(self, name, None)
            if value is not None and name not in (least or {}) and not value > 0:
                raise EvolError(f"{flag(name)} {value:g}: expected more than 0")
        share: float = getattr(self, "eval_share", 0.0)
        if not 0 <= share < 1:
            raise EvolError(f"--eval-share {share:g}: expected 0 or more, below 1")
        merge = getattr(self, "merge", None)
        if not self.lora_rank and (self.lora_alpha or self.lora_targets or merge):
            names = "--lora-alpha and --lora-target" if merge is None else "--lora-alpha, --lora-target and --merge"
            raise EvolError(f"{names} are about adapters", "add --lora-rank 16")

    def filled(self, named: Mapping[str, Any]) -> Self:
        """With the numbers of `named`, and twice the rank as the adapters' scale, in place of None."""
        if self.lora_rank:
            named = {**named, "lora_alpha": 2.0 * self.lora_rank}
        return dataclasses.replace(
            self, **{name: value for name, value in named.items() if getattr(self, name) is None}
        )


def flag(name: str) -> str:
    """A field's flag."""
    return "--" + name.replace("_", "-")


def given_both(base: str, data: str, verb: str, example: str = "smollm2", name: str = "data") -> None:
    """Raise EvolError where a trainer isn't told what to train, or on what."""
    for missing, value in (("base", base), (name, data)):
        if not value:
            hint = f"evol train {verb} --base {example} --{name} {data or 'DATA'}"
            raise EvolError(f"no --{missing} given", hint)


def longest(base: str, asked: int | None, preset: int) -> int:
    """The limit of tokens: what was asked for, else the preset's, or what the base can take where that is less.
    Raises EvolError where more was asked for than the base takes."""
    most = checkpoint.positions(base)
    if asked is None:
        return preset if most is None else min(preset, most)
    if most is not None and asked > most:
        raise EvolError(f"--max-length {asked}: {base} takes {most:,} tokens", f"--max-length {most}")
    return asked
