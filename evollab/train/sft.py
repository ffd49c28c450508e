"""The verb `train sft`: supervised fine-tuning of a base model on any data.

OUT/step.json        what was asked, what came of it
OUT/rows/            the rows as ids and masks
OUT/removed.jsonl    rows that are not trained, with reasons; OUT/rejected.jsonl: unreadable ones
OUT/metrics.jsonl    loss and more, a line a step; OUT/tensorboard where that is installed
OUT/samples.jsonl    what the model says to a few prompts, before and after every epoch
OUT/checkpoints/     to go on from
OUT/model/           the result, with its chat template; with LoRA the adapter, unless it is merged
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
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
from evollab.train.presets import PRESETS
from evollab.train.rows import TOO_LONG
from evollab.train.setup import memory_explained, training_folder
from evollab.train.tuning import Tuning, given_both, longest

_LORA_LR = 2e-4
_STEP = "train-sft"


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What is trained, on what."""

    base: str = option(
        "model to train: a folder, a hub name, or smollm2 (the packaged 135M model)", "", metavar="MODEL"
    )
    data: str = option("a run folder, another step's folder, a file, a data set's id or folder", "", metavar="DATA")
    format: str | None = option(
        "how conversations are written: vicuna, alpaca, wizardlm-7b, or model (the base's own chat template); "
        "default: the preset's",
        None, choices=FORMATS,
    )  # fmt: skip
    preset: str = option(
        "named numbers for format, batch, lr, epochs, length, warm-up", "plain", choices=tuple(PRESETS)
    )
    epochs: float | None = option("times that all rows are seen; default: the preset's", None, metavar="N")
    lr: float | None = option(
        f"learning rate at its highest; default: the preset's, with LoRA {_LORA_LR:g}", None, metavar="RATE"
    )
    batch: int | None = option(
        "rows for one step of the optimizer, over all processors; default: the preset's", None, metavar="N"
    )
    max_length: int | None = option("tokens that a row may have; default: the preset's", None, metavar="N")
    too_long: str = option(
        "what becomes of longer rows: cut (mid-answer), turns (whole turns go until it fits), drop, or stop",
        "cut", choices=TOO_LONG,
    )  # fmt: skip
    allow_unusable: bool = option("leave out rows that have nothing to train or don't fit the format", False)
    packing: bool = option(
        "put conversations together up to --max-length, kept apart inside; a row of a batch is then such a pack", False
    )
    merge: bool = option("save the adapters inside the base's weights instead of alone", False)
    eval_share: float = option("part of the rows (whole lineages) that is held out for evaluation", 0.0, metavar="P")
    eval_data: str | None = option("rows for evaluation from elsewhere, instead", None, metavar="DATA")
    save_every: int = option("steps between checkpoints and evaluations; 0: every epoch", 0, metavar="N")
    patience: int | None = option(
        "stop after this many evaluations without a better loss; the best model is kept", None, metavar="N"
    )
    samples: int = option("prompts that the model answers before and after every epoch", 4, metavar="N")
    sample_tokens: int = option("tokens that such an answer may have", 128, metavar="N")
    map: tuple[str, ...] = option("our field=their column, repeatable", (), metavar="FIELD=COLUMN")


@dataclass(frozen=True, kw_only=True)
class SftOptions(Tuning, _Asked):
    """What is trained, on what, how. None: the preset's value."""

    def __post_init__(self) -> None:
        given_both(self.base, self.data, "sft")
        self.check({"preset": tuple(PRESETS), "too_long": TOO_LONG}, {"patience": 1})
        if self.eval_share and self.eval_data:
            raise EvolError("--eval-share and --eval-data both say what is held out; expected one of them")
        if self.patience and not (self.eval_share or self.eval_data):
            raise EvolError("--patience needs an evaluation", "add --eval-share 0.05")
        self.rows.mapping()

    @property
    def rows(self) -> RowOptions:
        """How the data is read."""
        return RowOptions(format=self.data_format, map=self.map, strict=self.strict)

    def resolved(self) -> SftOptions:
        """With the preset's numbers in place of None."""
        preset = PRESETS[self.preset]
        return self.filled(
            {
                "format": preset.format, "batch": preset.batch, "epochs": preset.epochs, "max_length": preset.length,
                "warmup": preset.warmup, "scheduler": preset.scheduler,
                "lr": _LORA_LR if self.lora_rank else preset.lr,
            }
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SftResult:
    """What came of it. state: complete, or stopped (the same command goes on). counts: see `rows.Counts`.
    losses: first, last, and eval where there was an evaluation. exit_code: 0, or 128 and the signal."""

    folder: Path
    state: str
    counts: Mapping[str, Any]
    losses: Mapping[str, float]
    steps: int
    notes: tuple[str, ...] = ()
    exit_code: int = 0

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def __str__(self) -> str:
        told = list(self.notes)
        if self.state == "complete":
            told.append(
                f"{self.model}: {self.counts['train']:,} rows, {self.counts['trained_tokens']:,} of "
                f"{self.counts['tokens']:,} tokens trained, {self.steps:,} steps"
            )
        else:
            told.append(f"{self.folder}: stopped after {self.steps:,} steps; the same command goes on")
        names = {"first": "loss of the first step", "last": "of the last", "eval": "of rows held out"}
        told.append(", ".join(f"{names[name]} {value:.4f}" for name, value in self.losses.items() if name in names))
        return "\n".join(told)


def train_sft(options: SftOptions, out: Path) -> SftResult:
    """Fine-tune `options.base` on `options.data` into the folder `out` (see the top of this file).

    The same call goes on where it was interrupted, from the last checkpoint, on the same loss curve; after
    the end it does nothing. Ctrl-C saves a checkpoint first. Under a launcher (accelerate, torchrun) every
    process calls it, and the first one writes. Raises EvolError for everything that a person can mend: a
    folder made with other settings, rows that can't be trained, a base that is none, too little memory.
    """
    machine.require("train sft")
    machine.prepare()
    machine.check_gpus()
    asked, options = options, options.resolved()
    tokenizer = checkpoint.load_tokenizer(options.base)
    most = longest(options.base, asked.max_length, options.max_length or 1)
    options = dataclasses.replace(options, max_length=most)
    tokenizer.chat_template = template(tokenizer, str(options.format))  # every checkpoint carries it
    source = place_of(options.data, None, "sft").source
    held_out = place_of(options.eval_data, None, "sft").source if options.eval_data else None
    inputs: dict[str, Any] = {
        "data": input_digest(source), "base": checkpoint.identity(options.base),
        "eval_data": input_digest(held_out) if held_out else None,
    }  # fmt: skip
    where = ("base", "data", "eval_data")  # what lies there counts, whatever the path to it
    config = {name: value for name, value in dataclasses.asdict(options).items() if name not in where}
    config["processes"] = machine.world_size()
    with training_folder(out, _STEP, config, inputs) as step:
        if step.before is not None and step.before.get("state") == "complete" and (out / "model").is_dir():
            note = ("note: this was done before; nothing was left to do",)
            return SftResult(out, "complete", step.before["counts"], step.before["losses"], step.before["steps"], note)
        with memory_explained():
            from evollab.train.sft_run import Run

            return Run(options, step, tokenizer, source, held_out).run()
