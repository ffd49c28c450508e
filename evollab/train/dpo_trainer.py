"""TRL's DPOTrainer on our ids and masks: how pairs become batches, where the reference comes from, what is measured.

TRL would render and tokenise texts itself, cut long ones, and load a second model as the reference. Here pairs come
as finished ids; the reference's log-probabilities are computed once, by the model at hand before its first step (with
adapters off), and kept in a file: no second model is in memory, and after a kill they are the same. The loss is TRL's.

Imports TRL, which takes seconds: import it inside a verb.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import EvalPrediction
from trl.models.utils import prepare_deepspeed
from trl.trainer.dpo_trainer import DPOTrainer

from evollab.llm.watching import say
from evollab.runs import whole_file
from evollab.train import machine
from evollab.train.metrics import Meter

_NAMES = {
    "rewards/accuracies": "pair_accuracy", "rewards/margins": "margin", "rewards/chosen": "reward_chosen",
    "rewards/rejected": "reward_rejected", "logps/chosen": "logp_chosen", "logps/rejected": "logp_rejected",
}  # fmt: skip
"""What TRL logs -> what metrics.jsonl has. Other numbers of its are left out."""
_SAY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class PairCollator:
    """Pairs as tensors (2 x pairs, tokens), all chosen answers first, each behind its prompt; padded on the right.

    `completion_mask` is 1 where an answer is trained; `ref_chosen_logps`, `ref_rejected_logps` (pairs,) are the
    reference's log-probabilities, where the rows have them. multiple: pad to a multiple of this.
    """

    pad: int
    multiple: int = 1

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        rows = [
            ([*one["prompt_ids"], *one[f"{side}_ids"]], [0] * len(one["prompt_ids"]) + [*one[f"{side}_mask"]])
            for side in ("chosen", "rejected")
            for one in examples
        ]
        width = -(-max(len(ids) for ids, _ in rows) // self.multiple) * self.multiple
        shape = (len(rows), width)
        batch = {
            "input_ids": torch.full(shape, self.pad), "attention_mask": torch.zeros(shape, dtype=torch.int64),
            "completion_mask": torch.zeros(shape, dtype=torch.int64),
        }  # fmt: skip
        for number, (ids, mask) in enumerate(rows):
            batch["input_ids"][number, : len(ids)] = torch.tensor(ids)
            batch["attention_mask"][number, : len(ids)] = 1
            batch["completion_mask"][number, : len(ids)] = torch.tensor(mask)
        for name in ("ref_chosen_logps", "ref_rejected_logps"):
            if name in examples[0]:
                batch[name] = torch.tensor([one[name] for one in examples], dtype=torch.float32)
        return batch


@dataclass(frozen=True, slots=True)
class Referenced:
    """Pairs with the log-probabilities that the reference gives to their answers.

    rows: `datasets.Dataset` of pairs that the file `known` is about, chosen: the numbers of those that are meant.
    """

    rows: Any
    known: Path
    chosen: Sequence[int]

    def __len__(self) -> int:
        return len(self.chosen)


class _Rows(torch.utils.data.Dataset[dict[str, Any]]):
    """Pairs with the reference's log-probabilities (pairs of `wanted.rows`, 2)."""

    def __init__(self, wanted: Referenced, logps: torch.Tensor) -> None:
        self._wanted = wanted
        self._logps = logps

    def __len__(self) -> int:
        return len(self._wanted)

    def __getitem__(self, number: int) -> dict[str, Any]:
        place = self._wanted.chosen[number]
        chosen, rejected = self._logps[place].tolist()
        return {**self._wanted.rows[place], "ref_chosen_logps": chosen, "ref_rejected_logps": rejected}


def pair_losses(
    loss: str, beta: float, ratios: torch.Tensor, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses and margins (pairs,) of pairs by themselves.

    loss: TRL's name. ratios: log-probability less the reference's, lengths: trained tokens, both (pairs, 2), chosen
    and rejected. The margin is the implicit reward of the chosen answer less that of the rejected.
    """
    if loss in ("sigmoid_norm", "ipo"):
        ratios = ratios / lengths.clamp(min=1)
    margins = beta * (ratios[:, 0] - ratios[:, 1])
    if loss == "ipo":
        return (margins / beta - 1 / (2 * beta)) ** 2, margins
    if loss == "hinge":
        return torch.relu(1 - margins), margins
    return -functional.logsigmoid(margins), margins


class Trainer(DPOTrainer):
    """DPOTrainer that takes finished ids, keeps the reference's log-probabilities in files, measures each pair that
    is held out by itself, and counts tokens."""

    def __init__(self, meter: Meter, train: Referenced, held_out: Referenced | None, **settings: Any) -> None:
        self.meter = meter
        self._wanted = {"train": train, "eval": held_out}
        super().__init__(
            train_dataset=train.rows, eval_dataset=None if held_out is None else held_out.rows,
            compute_metrics=self._measured, **settings,
        )  # fmt: skip

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        """Nothing: ids and masks are finished, and no row may go unseen."""
        return dataset

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        wanted = self._wanted[name]
        assert wanted is not None
        if not wanted.known.is_file():
            logps = self._log_probs(wanted.rows, batch_size)
            if machine.rank() == 0:
                with whole_file(wanted.known) as file:
                    numpy.save(file, logps.numpy(), allow_pickle=False)
            self.accelerator.wait_for_everyone()
        return _Rows(wanted, torch.from_numpy(numpy.load(wanted.known, allow_pickle=False)))

    def _log_probs(self, rows: Any, batch_size: int) -> torch.Tensor:
        """What the model at hand, without adapters, gives to chosen and rejected answers: (pairs, 2), in float32."""
        prepare: Any = self.accelerator.prepare
        loader = prepare(DataLoader(rows, batch_size, collate_fn=self.data_collator, shuffle=False))
        # Before training begins DeepSpeed's parameters are on the CPU, or parted among the processes.
        model: Any = self.model
        if self.is_deepspeed_enabled:
            model = prepare_deepspeed(model, self.accelerator)
        score: Any = self.compute_ref_log_probs
        parts, said = [], time.monotonic()
        for number, batch in enumerate(loader, 1):
            both = torch.stack(tuple(score(model, batch)), dim=1).float()
            parts.append(self.accelerator.gather_for_metrics(both).cpu())
            if time.monotonic() - said > _SAY_SECONDS and machine.rank() == 0:
                say(f"the reference: {number:,} of {len(loader):,} batches")
                said = time.monotonic()
        if self.is_deepspeed_enabled:
            model.destroy()  # its hooks on the modules, beside those of the next engine, would fetch parts twice
        return torch.cat(parts)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        self.meter.add(int(inputs["attention_mask"].sum()), int(inputs["completion_mask"].sum()))
        lossy: Any = super().compute_loss
        return lossy(model, inputs, return_outputs, num_items_in_batch)

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[None, torch.Tensor, torch.Tensor]:
        """Of pairs held out: log-probabilities (pairs, 2); the reference's with the lengths (pairs, 4)."""
        inputs = self._prepare_inputs(inputs)
        mask = inputs["completion_mask"]
        given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        labels = inputs["input_ids"].masked_fill(mask == 0, -100)
        with torch.no_grad(), self.compute_loss_context_manager():
            logps = model(**given, labels=labels, fused_lm_head=True, use_cache=False).log_probs.float().sum(dim=1)
        sides = [torch.stack(part.chunk(2), dim=1) for part in (logps, mask.sum(dim=1).float())]
        reference = torch.stack([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]], dim=1)
        return None, sides[0], torch.cat([reference, sides[1]], dim=1)

    def _measured(self, found: EvalPrediction) -> dict[str, float]:
        """The means over all pairs held out: loss and margin; pair_accuracy: how often the implicit reward puts the
        chosen answer first; ranking_accuracy: how often the model itself finds it likelier by token. Ties count half.
        """
        logps, facts = torch.as_tensor(found.predictions), torch.as_tensor(found.label_ids)
        reference, lengths = facts[:, :2], facts[:, 2:]
        losses, margins = pair_losses(self.loss_types[0], self.beta, logps - reference, lengths)
        by_token = logps / lengths.clamp(min=1)
        return {
            "loss": losses.mean().item(), "margin": margins.mean().item(), "pair_accuracy": _first(margins),
            "ranking_accuracy": _first(by_token[:, 0] - by_token[:, 1]),
        }  # fmt: skip

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        for kept in self._metrics.values():
            named = {name: kept[ours] for ours, name in _NAMES.items() if ours in kept}
            kept.clear()
            kept.update(named)
        super().log(logs, start_time)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """TRL's would name the base model's folder and link to services."""


def _first(differences: torch.Tensor) -> float:
    """How often a difference is above zero; zeros count half."""
    return ((differences > 0).double() + (differences == 0).double() / 2).mean().item()
