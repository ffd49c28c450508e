"""Token rows of any length as one batch for a reward model.

A model with a head for sequences reads its score "at the last token that is no padding", told by the id of that
token. Where EOS is the padding too, or a text holds the padding's token, that is another token than the last. So rows
are padded on the left, and while `last_by_place` holds, the score is read in the last column, whatever stands there.

Imports torch: import it inside a verb.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch

_NO_TOKEN = -1


def left_padded(rows: Sequence[Sequence[int]], pad: int, multiple: int = 1) -> dict[str, torch.Tensor]:
    """input_ids, attention_mask and position_ids (rows, tokens); every row ends in the last column.
    multiple: pad to a multiple of this."""
    width = -(-max(map(len, rows)) // multiple) * multiple
    shape = (len(rows), width)
    batch = {"input_ids": torch.full(shape, pad), "attention_mask": torch.zeros(shape, dtype=torch.int64)}
    for number, ids in enumerate(rows):
        batch["input_ids"][number, width - len(ids) :] = torch.as_tensor(ids)
        batch["attention_mask"][number, width - len(ids) :] = 1
    batch["position_ids"] = (batch["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
    return batch


def right_padded(rows: Sequence[Sequence[int]], pad: int, multiple: int = 1) -> dict[str, torch.Tensor]:
    """input_ids and attention_mask (rows, tokens); every row begins in the first column."""
    width = -(-max(map(len, rows)) // multiple) * multiple
    shape = (len(rows), width)
    batch = {"input_ids": torch.full(shape, pad), "attention_mask": torch.zeros(shape, dtype=torch.int64)}
    for number, ids in enumerate(rows):
        batch["input_ids"][number, : len(ids)] = torch.as_tensor(ids)
        batch["attention_mask"][number, : len(ids)] = 1
    return batch


@contextlib.contextmanager
def last_by_place(model: Any) -> Iterator[None]:
    """While the block runs, `model` (with a head for sequences) takes every token for one that is no padding, and so
    reads its score in the last column. For rows that are padded on the left."""
    config = model.config.get_text_config()
    before = config.pad_token_id
    config.pad_token_id = _NO_TOKEN
    try:
        yield
    finally:
        config.pad_token_id = before
