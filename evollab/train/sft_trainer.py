"""TRL's SFTTrainer on our ids and masks: how rows become batches, what is counted.

Why TRL's and not the plain `transformers.Trainer`: it takes finished ids and labels untouched
(`skip_prepare_dataset`), never uses the cache (with it, packed conversations see each other), and computes the
loss without keeping the logits of every token, which for large vocabularies is most of the memory.

Imports TRL, which takes seconds: import it inside a verb.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from trl.data_utils import pack_dataset
from trl.trainer.sft_trainer import SFTTrainer

from evollab.train.metrics import Meter, own_rows, summed

IGNORED = -100
"""The label of a token that is not trained."""


@dataclass(frozen=True, slots=True)
class Collator:
    """Rows {"input_ids", "mask"} as tensors (rows, tokens); of packed ones {"seq_lengths"} too.

    Conversations that share a row are kept apart by their positions, which begin at 0 for each: there is no
    attention mask then. flat: everything in one row without padding, as kernels for flash attention want it.
    multiple: pad to a multiple of this. `lengths` (rows,) tells the tokens that are no padding.
    """

    pad: int
    flat: bool = False
    multiple: int = 1

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        rows = [_row(one["input_ids"], one["mask"], one.get("seq_lengths")) for one in examples]
        if self.flat:
            ids, labels, positions = (torch.cat(parts) for parts in zip(*rows, strict=True))
            rows = [(ids, labels, positions)]
        width = -(-max(len(ids) for ids, _, _ in rows) // self.multiple) * self.multiple
        shape = (len(rows), width)
        batch = {
            "input_ids": torch.full(shape, self.pad), "labels": torch.full(shape, IGNORED),
            "lengths": torch.tensor([len(ids) for ids, _, _ in rows]),
        }  # fmt: skip
        by_position = self.flat or "seq_lengths" in examples[0]
        second = "position_ids" if by_position else "attention_mask"
        batch[second] = torch.zeros(shape, dtype=torch.int64)
        for number, (ids, labels, positions) in enumerate(rows):
            batch["input_ids"][number, : len(ids)] = ids
            batch["labels"][number, : len(ids)] = labels
            if by_position:
                # Padding counts as one more conversation.
                batch[second][number] = torch.cat([positions, torch.arange(width - len(ids))])
            else:
                batch[second][number, : len(ids)] = 1
        return batch


def _row(
    ids: Sequence[int], mask: Sequence[int], lengths: Sequence[int] | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """ids, labels and positions of one row of conversations that are `lengths` long."""
    made = torch.as_tensor(ids, dtype=torch.int64)
    labels = torch.where(torch.as_tensor(mask, dtype=torch.bool), made, IGNORED)
    positions = torch.cat([torch.arange(length) for length in ((len(ids),) if lengths is None else lengths)])
    labels[positions == 0] = IGNORED  # nothing before it foretells a first token
    return made, labels, positions


def packed(rows: Any, length: int) -> Any:
    """A `datasets.Dataset` of rows with whole conversations put together up to `length` tokens (best fit,
    longest first, among a thousand neighbours): {"input_ids", "mask", "seq_lengths"}."""
    return pack_dataset(rows.select_columns(["input_ids", "mask"]), length, "bfd")


def _leave_out(labels: torch.Tensor, lengths: torch.Tensor, own: int) -> None:
    """Train nothing of the conversations behind the first `own` of a batch, each in a row or all in one."""
    if len(labels) == len(lengths):
        labels[own:] = IGNORED
    else:
        labels[:, int(lengths[:own].sum()) :] = IGNORED


class Trainer(SFTTrainer):
    """SFTTrainer that counts tokens, and writes no model card among the checkpoints."""

    def __init__(self, meter: Meter, **settings: Any) -> None:
        self.meter = meter
        self._evaluated = torch.zeros(2, dtype=torch.float64)
        super().__init__(**settings)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        lengths = inputs.pop("lengths")
        if not model.training:
            _leave_out(inputs["labels"], lengths, own_rows(self.accelerator, len(lengths)))
        trained = int((inputs["labels"] != IGNORED).sum())
        if model.training:
            self.meter.add(int(lengths.sum()), trained)
        lossy: Any = super().compute_loss
        loss = lossy(model, inputs, return_outputs, num_items_in_batch)
        if not model.training and trained:
            self._evaluated += torch.tensor([float(loss[0] if return_outputs else loss) * trained, trained])
        return loss

    def evaluation_loop(self, *arguments: Any, **settings: Any) -> Any:
        """As transformers', but the loss is the mean over all tokens trained, whatever the size of batches."""
        self._evaluated = torch.zeros(2, dtype=torch.float64)
        output = super().evaluation_loop(*arguments, **settings)
        whole, tokens = summed(self._evaluated).tolist()
        assert output.metrics is not None
        output.metrics["eval_loss"] = whole / max(1, tokens)
        return output

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """TRL's would name the base model's folder and link to services."""
