"""The trainers of reward models, over transformers' own: what they minimise, what they measure.

TRL's RewardTrainer reads a score at the last token that is not the padding's (see `reward_batches`), and averages its
measures over batches whatever their size; a trainer of process reward models it has no more. Both are short here.

Imports transformers and peft: import it inside a verb.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch.nn import functional

from evollab.train.metrics import Meter, own_rows, summed
from evollab.train.reward_batches import last_by_place, left_padded, right_padded
from evollab.train.scoring import STEP_LABELS

IGNORED = -100
"""The label of a token that is not the end of a labelled step."""


def ranking_losses(better: torch.Tensor, worse: torch.Tensor, margins: torch.Tensor) -> torch.Tensor:
    """-log sigmoid(r_w - r_l - m) of each pair (WizardMath, 2308.09583), from logits and margins (pairs,)."""
    return -functional.logsigmoid(better - worse - margins)


def step_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each step, from logits and the probabilities that are right, both (steps, labels)."""
    return -(targets * functional.log_softmax(logits, dim=-1)).sum(dim=-1)


@dataclass(slots=True)
class Sums:
    """What is measured, added up: losses and facts of `count` pairs or steps."""

    loss: torch.Tensor
    count: int
    facts: dict[str, float] = field(default_factory=dict[str, float])


class RewardTrainer(transformers.Trainer, ABC):
    """What both have in common. The loss of a step of the optimizer is the mean over all its pairs or labelled steps,
    however they fall into batches and processes; so is each measure."""

    NAMES: tuple[str, ...] = ()
    """What `measure` tells besides the loss."""

    def __init__(self, meter: Meter, **settings: Any) -> None:
        self.meter = meter
        self._told = {"train": self._nothing(), "eval": self._nothing()}
        super().__init__(**settings)
        self.model_accepts_loss_kwargs = True  # `labels` are counted over all batches of a step
        self._loss_shifts_labels = False
        self.can_return_loss = True
        self.label_names = []

    @abstractmethod
    def measure(self, model: Any, inputs: Mapping[str, torch.Tensor], own: int) -> Sums:
        """The sums over the first `own` rows of one batch."""

    def _nothing(self) -> torch.Tensor:
        return torch.zeros(2 + len(self.NAMES), dtype=torch.float64)

    def compute_loss(
        self, model: Any, inputs: Mapping[str, torch.Tensor], return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:  # fmt: skip
        rows = len(inputs["labels"])
        found = self.measure(model, inputs, rows if model.training else own_rows(self.accelerator, rows))
        if model.training:
            self.meter.add(int(inputs["attention_mask"].sum()), found.count)
        facts = [float(found.loss.detach()), found.count, *(found.facts[name] for name in self.NAMES)]
        self._told["train" if model.training else "eval"] += torch.tensor(facts, dtype=torch.float64)
        if num_items_in_batch is None:
            loss = found.loss / max(1, found.count)
        else:  # processes' gradients are averaged, so that each must count as many times as there are
            loss = found.loss / num_items_in_batch * self.accelerator.num_processes
        return (loss, {}) if return_outputs else loss

    def evaluation_loop(self, *arguments: Any, **settings: Any) -> Any:
        self._told["eval"] = self._nothing()
        output = super().evaluation_loop(*arguments, **settings)
        assert output.metrics is not None
        output.metrics.update({f"eval_{name}": value for name, value in self._taken("eval").items()})
        return output

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            taken = self._taken("train")
            logs |= {name: value for name, value in taken.items() if name != "loss"}
        super().log(logs, start_time)

    def _taken(self, mode: str) -> dict[str, float]:
        """The means since the last time, over all processes."""
        loss, count, *facts = summed(self._told[mode]).tolist()
        self._told[mode] = self._nothing()
        told = {"loss": loss, **dict(zip(self.NAMES, facts, strict=True))}
        return self.named({name: value / max(1, count) for name, value in told.items()})

    def named(self, means: dict[str, float]) -> dict[str, float]:
        """Means as they are told."""
        return means


class PairTrainer(RewardTrainer):
    """Instruction reward models. accuracy: how often the better one has the higher logit (ties count half);
    margin: by how much, on average; reward: the mean logit."""

    NAMES = ("accuracy", "margin", "reward")

    def measure(self, model: Any, inputs: Mapping[str, torch.Tensor], own: int) -> Sums:
        given = {name: inputs[name] for name in ("input_ids", "attention_mask", "position_ids")}
        with last_by_place(self.accelerator.unwrap_model(model)):
            logits = model(**given, use_cache=False).logits[:, 0].float()
        better, worse = (side[:own] for side in logits.chunk(2))
        gaps = (better - worse).detach()
        first = float((gaps > 0).sum()) + float((gaps == 0).sum()) / 2
        facts = {"accuracy": first, "margin": float(gaps.sum()), "reward": float((better + worse).detach().sum()) / 2}
        return Sums(ranking_losses(better, worse, inputs["margins"][:own]).sum(), len(gaps), facts)


class StepTrainer(RewardTrainer):
    """Process reward models. accuracy: of steps, by the likeliest label; wrong_found: of the wrong ones, how many
    have it as such; wrong: their share."""

    NAMES = ("accuracy", "wrong", "wrong_found")

    def measure(self, model: Any, inputs: Mapping[str, torch.Tensor], own: int) -> Sums:
        given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        logits = model(**given, use_cache=False).logits
        ends = inputs["labels"] != IGNORED
        ends[own:] = False
        labels, logits = inputs["labels"][ends], logits[ends].float()
        said = logits.detach().argmax(dim=-1)
        bad = labels == STEP_LABELS.index("wrong")
        facts = {
            "accuracy": float((said == labels).sum()), "wrong": float(bad.sum()),
            "wrong_found": float((bad & (said == labels)).sum()),
        }  # fmt: skip
        return Sums(step_losses(logits, inputs["targets"][ends]).sum(), len(labels), facts)

    def named(self, means: dict[str, float]) -> dict[str, float]:
        found = means["wrong_found"] / means["wrong"] if means["wrong"] else math.nan
        told = {name: value for name, value in means.items() if name != "wrong_found"}
        return told if math.isnan(found) else {**told, "wrong_found": found}


@dataclass(frozen=True, slots=True)
class PairCollator:
    """Pairs {"chosen_ids", "rejected_ids", "margin"} as tensors (2 x pairs, tokens), the better ones first, with
    `margins` (pairs,); `labels` (pairs,) are there to be counted."""

    pad: int
    multiple: int = 1

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        rows = [one[side] for side in ("chosen_ids", "rejected_ids") for one in examples]
        margins = torch.tensor([one["margin"] for one in examples], dtype=torch.float32)
        labels = torch.ones(len(examples), dtype=torch.int64)
        return {**left_padded(rows, self.pad, self.multiple), "margins": margins, "labels": labels}


@dataclass(frozen=True, slots=True)
class StepCollator:
    """Answers {"input_ids", "ends", "truths"} as tensors: labels (rows, tokens), IGNORED but at the ends of steps, and
    `targets` (rows, tokens, labels). truths: for each end (correct, unsure, wrong would be 1, 0, -1, see
    `step_rows.Step`) the probabilities of the labels, all in one list."""

    pad: int
    multiple: int = 1

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        batch = right_padded([one["input_ids"] for one in examples], self.pad, self.multiple)
        batch["labels"] = torch.full(batch["input_ids"].shape, IGNORED)
        batch["targets"] = torch.zeros(*batch["input_ids"].shape, len(STEP_LABELS))
        for number, one in enumerate(examples):
            ends = torch.as_tensor(one["ends"], dtype=torch.int64)
            truths = torch.as_tensor(one["truths"], dtype=torch.float32).reshape(len(ends), len(STEP_LABELS))
            batch["targets"][number, ends] = truths
            batch["labels"][number, ends] = truths.argmax(dim=-1)
        return batch
