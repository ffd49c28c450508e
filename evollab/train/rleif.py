"""The verb `train rleif`: reinforcement learning from Evol-Instruct feedback, r = r_I x r_A (x a verifier).

OUT/step.json          what was asked, what came of it, warnings
OUT/rows/              the prompts as ids; instruction.npy: the instruction reward model's score of each
OUT/removed.jsonl      rows that are not asked, with reasons; OUT/rejected.jsonl: unreadable ones
OUT/metrics.jsonl      reward, its factors, KL, length and more, a line a step; OUT/tensorboard where installed
OUT/samples.jsonl      some answers of every step with their factors
OUT/held-out.jsonl     answers to prompts held out, scored; see `hacking`
OUT/checkpoints/       to go on from
OUT/model/             the result, with its chat template; with LoRA the adapter, unless it is merged
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
from evollab.train.rewards import Scorers
from evollab.train.rleif_presets import RLEIF_PRESETS
from evollab.train.scoring import AGGREGATIONS
from evollab.train.setup import memory_explained, training_folder
from evollab.train.tuning import Tuning, given_both
from evollab.train.verifiers import VERIFIERS, algebra

METHODS = ("rloo", "grpo")
NORMALISATIONS = ("none", "batch", "group")
_LORA_LR = 1e-5
_PROMPT = 1024
_STEP = "train-rleif"


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What is trained, on which prompts, rewarded by what."""

    base: str = option(
        "model to train, fine-tuned before: a folder, a hub name, or smollm2 (the packaged 135M model)", "",
        metavar="MODEL",
    )  # fmt: skip
    prompts: str = option("a run folder, another step's folder, a file, a data set's id or folder", "", metavar="DATA")
    irm: str = option("instruction reward model, of `train irm`; default: every prompt counts 1", "", metavar="MODEL")
    prm: str = option("process reward model, of `train prm`; default: every answer counts 1", "", metavar="MODEL")
    aggregate: str = option("how the scores of steps become one", "min", choices=AGGREGATIONS)
    verifier: str = option(
        "what says whether an answer is right: none, math (its final answer is the row's), code (its program passes "
        "the row's tests, in a sandbox)", "none", choices=VERIFIERS,
    )  # fmt: skip
    unsafe_sandbox: bool = option("run programs of --verifier code even where they can't be isolated", False)
    reference: str = option("column that tells what is right; default: the row's answer", "", metavar="COLUMN")
    method: str = option("rloo (leave one out) or grpo", "rloo", choices=METHODS)
    normalise: str = option(
        "what advantages are divided by: none, the deviation over a batch, or (grpo) over a group, which cancels --irm",
        "none", choices=NORMALISATIONS,
    )  # fmt: skip
    generations: int = option("answers to each prompt", 4, metavar="K")
    temperature: float | None = option("of answers while training; default: the preset's", None, metavar="T")
    max_tokens: int | None = option("tokens that an answer may have; default: the preset's", None, metavar="N")
    max_prompt: int | None = option(
        f"tokens that a prompt may have, longer ones are left out; default: {_PROMPT:,}, or what the base leaves room "
        "for", None, metavar="N",
    )  # fmt: skip
    no_eos: float | None = option(
        "reward of an answer that has no end within --max-tokens, instead of its own; default: the preset's", None,
        metavar="R",
    )  # fmt: skip
    format: str | None = option(
        "how conversations are written: vicuna, alpaca, wizardlm-7b, or model (the base's own chat template); "
        "default: the preset's",
        None, choices=FORMATS,
    )  # fmt: skip
    preset: str = option(
        "named numbers for format, batch, lr, beta, epochs, tokens, temperature", "plain", choices=tuple(RLEIF_PRESETS)
    )
    beta: float | None = option(
        "weight of the KL divergence from the base; 0: none; default: the preset's", None, metavar="B"
    )
    epochs: float | None = option("times that all prompts are asked; default: the preset's", None, metavar="N")
    lr: float | None = option(
        f"learning rate at its highest; default: the preset's, with LoRA {_LORA_LR:g}", None, metavar="RATE"
    )
    batch: int | None = option(
        "answers for one step of the optimizer, over all processors; default: the preset's", None, metavar="N"
    )
    merge: bool = option("save the adapters inside the base's weights instead of alone", False)
    eval_share: float = option(
        "part of the prompts (whole lineages) that is held out to watch for reward hacking", 0.05, metavar="P"
    )
    eval_every: int = option("steps between looks at the prompts held out; 0: every epoch", 0, metavar="N")
    save_every: int = option("steps between checkpoints; 0: every epoch", 0, metavar="N")
    samples: int = option("answers of every step to keep in samples.jsonl", 4, metavar="N")
    map: tuple[str, ...] = option("our field=their column, repeatable", (), metavar="FIELD=COLUMN")


@dataclass(frozen=True, kw_only=True)
class RleifOptions(Tuning, _Asked):
    """What is trained, on which prompts, rewarded by what, how. None: the preset's value."""

    def __post_init__(self) -> None:
        given_both(self.base, self.prompts, "rleif", "runs/sft/model", "prompts")
        self.check(
            {
                "preset": tuple(RLEIF_PRESETS), "aggregate": AGGREGATIONS, "verifier": VERIFIERS, "method": METHODS,
                "normalise": NORMALISATIONS,
            },
            {"generations": 2, "max_tokens": 1, "max_prompt": 1, "beta": 0, "batch": 2, "eval_every": 0},
        )  # fmt: skip
        if self.eval_every and not self.eval_share:
            raise EvolError("--eval-every needs prompts that are held out", "add --eval-share 0.05")
        if self.no_eos is not None and self.no_eos > 1:
            raise EvolError(f"--no-eos {self.no_eos:g}: expected 1 or less, which is the highest reward")

        if self.verifier == "code" and self.reference:
            raise EvolError(
                "--reference names a column with final answers; --verifier code reads tests: test and entry_point, or "
                "test_list",
                "leave --reference out",
            )
        if self.unsafe_sandbox and self.verifier != "code":
            raise EvolError("--unsafe-sandbox is about --verifier code")
        if self.normalise == "group" and self.method == "rloo":
            raise EvolError("--normalise group belongs to --method grpo; expected none or batch with rloo")
        self.rows.mapping()

    @property
    def rows(self) -> RowOptions:
        """How the prompts are read."""
        return RowOptions(format=self.data_format, map=self.map, strict=self.strict)

    def resolved(self) -> RleifOptions:
        """With the preset's numbers in place of None. Raises EvolError where groups don't make up a batch."""
        preset = RLEIF_PRESETS[self.preset]
        named: dict[str, Any] = {
            "format": preset.format, "batch": preset.batch, "beta": preset.beta, "epochs": preset.epochs,
            "max_tokens": preset.tokens, "temperature": preset.temperature, "warmup": preset.warmup,
            "scheduler": preset.scheduler, "no_eos": preset.no_eos, "lr": _LORA_LR if self.lora_rank else preset.lr,
        }  # fmt: skip
        made = self.filled(named)
        assert made.batch is not None
        if made.batch % made.generations:
            whole = max(1, made.batch // made.generations) * made.generations
            raise EvolError(
                f"--batch {made.batch} holds no whole number of groups of --generations {made.generations} answers",
                f"--batch {whole}",
            )
        return made


@dataclass(frozen=True, slots=True)
class RleifResult:
    """What came of it. state: complete, or stopped (the same command goes on). counts: see `prompts.PromptCounts`.
    rewards: means of the first and last step: reward, factors, kl, length, truncated. held_out: the first and last
    score of prompts held out, by what they are scored; {} without. warnings: of reward hacking. exit_code: 0, or 128
    and the signal."""

    folder: Path
    state: str
    counts: Mapping[str, Any]
    rewards: Mapping[str, Mapping[str, float]]
    held_out: Mapping[str, Any]
    steps: int
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    exit_code: int = 0

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def __str__(self) -> str:
        told = list(self.notes)
        if self.rewards:
            first, last = self.rewards["first"], self.rewards["last"]
            told.append(", ".join(f"{name} {value:.4g} to {last[name]:.4g}" for name, value in first.items()))
        if self.held_out:
            found = self.held_out
            told.append(
                f"prompts held out, by {found['by']}: {found['first']:.3f} to {found['last']:.3f} "
                f"({found['low']:+.3f} to {found['high']:+.3f} of {found['prompts']:,})"
            )
        told += self.warnings
        if self.state == "complete":
            told.append(f"{self.model}: {self.counts['train']:,} prompts, {self.steps:,} steps")
        else:
            told.append(f"{self.folder}: stopped after {self.steps:,} steps; the same command goes on")
        return "\n".join(told)


def train_rleif(options: RleifOptions, out: Path, scorers: Scorers | None = None) -> RleifResult:
    """Train `options.base` by its own answers to `options.prompts` into the folder `out` (see the top of this file).

    scorers: reward models as functions, in place of `options.irm` and `options.prm`; who gives others for the same
    folder must give another `out`.

    The same call goes on where it was interrupted, from the last checkpoint, with the same answers on the same machine;
    after the end it does nothing. Ctrl-C saves a checkpoint first. Under a launcher (accelerate, torchrun) every
    process calls it, and the first one writes. Raises EvolError for everything that a person can mend: a folder made
    with other settings, prompts that can't be asked, a reward that tells no answers apart, too little memory.
    """
    machine.require("train rleif")
    machine.prepare()
    machine.check_gpus()
    _check_signal(options, scorers)
    options = options.resolved()
    tokenizer = checkpoint.load_tokenizer(options.base)
    options = dataclasses.replace(options, max_prompt=_prompt_length(options))
    tokenizer.chat_template = template(tokenizer, str(options.format))  # every checkpoint carries it
    source = place_of(options.prompts, None, "rleif").source
    inputs: dict[str, Any] = {"prompts": input_digest(source), "base": checkpoint.identity(options.base)}
    for name in ("irm", "prm"):
        place = getattr(options, name)
        inputs[name] = checkpoint.identity(place) if place and scorers is None else None
    where = ("base", "prompts", "irm", "prm")  # what lies there counts, whatever the path to it
    config = {name: value for name, value in dataclasses.asdict(options).items() if name not in where}
    config["processes"] = machine.world_size()
    if algebra() and options.verifier != "code":
        config["algebra"] = True  # what is right differs without
    with training_folder(out, _STEP, config, inputs) as step:
        before = step.before
        if before is not None and before.get("state") == "complete" and (out / "model").is_dir():
            note = ("note: this was done before; nothing was left to do",)
            return RleifResult(
                out, "complete", before["counts"], before["rewards"], before["held_out"], before["steps"],
                tuple(before["warnings"]), note,
            )  # fmt: skip
        with memory_explained():
            from evollab.train.rleif_run import Run

            return Run(options, step, tokenizer, source, scorers).run()


def _check_signal(options: RleifOptions, scorers: Scorers | None) -> None:
    """Raise EvolError where all answers to a prompt would get the same reward."""
    steps = options.prm if scorers is None else scorers.steps
    if steps or options.verifier != "none":
        return
    irm = options.irm if scorers is None else scorers.instruction
    what = "the instruction reward model gives all answers to a prompt the same" if irm else "there is no reward"
    raise EvolError(f"{what}: nothing tells a good answer from a bad one", "add --prm, or --verifier math or code")


def _prompt_length(options: RleifOptions) -> int:
    """The limit of tokens in a prompt: what was asked for, or what the base leaves room for."""
    assert options.max_tokens is not None
    most = checkpoint.positions(options.base)
    if most is None:
        return options.max_prompt or _PROMPT
    room = most - options.max_tokens
    if room < 1 or (options.max_prompt or 1) > room:
        asked = f"--max-tokens {options.max_tokens}"
        asked += f" and --max-prompt {options.max_prompt}" if options.max_prompt else ""
        raise EvolError(f"{asked}: {options.base} takes {most:,} tokens", f"--max-tokens {max(1, most // 2)}")
    return options.max_prompt or min(_PROMPT, room)
