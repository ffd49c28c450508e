"""Drawing tokens for several answers at once, each with its own settings and its own chance.

An answer's draws come from its own seed, by inverting the cumulative distribution at a number between 0 and 1.
So what is drawn depends on the answer's seed and its logits, not on who else is in the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from evollab.serve.engine import Sampling

if TYPE_CHECKING:
    import torch

_CANDIDATES = 1024
"""Sorting a vocabulary costs as much as a small model's step: the likeliest ones nearly always suffice."""


def adjust(logits: torch.Tensor, samplings: Sequence[Sampling], made: Sequence[Mapping[int, int]]) -> torch.Tensor:
    """Logits (rows, vocabulary) with penalties and biases. made: for each row how often each token was made."""
    changed = logits
    for row, (sampling, counts) in enumerate(zip(samplings, made, strict=True)):
        changes = {token: value for token, value in sampling.bias.items() if token < logits.shape[1]}
        if sampling.presence or sampling.frequency:
            for token, count in counts.items():
                changes[token] = changes.get(token, 0.0) - sampling.presence - sampling.frequency * count
        if changes:
            if changed is logits:
                changed = logits.clone()
            changed[row, list(changes)] += changed.new_tensor(list(changes.values()))
    return changed


def draw(logits: torch.Tensor, samplings: Sequence[Sampling], numbers: Sequence[float]) -> list[int]:
    """One token id for each row of logits (rows, vocabulary), float32. numbers: one in [0, 1) for each row."""
    ids: list[int] = logits.argmax(dim=-1).tolist()
    for row, (sampling, number) in enumerate(zip(samplings, numbers, strict=True)):
        if sampling.temperature > 0 and sampling.top_k != 1:
            ids[row] = _drawn(logits[row], sampling, number)
    return ids


def _drawn(logits: torch.Tensor, sampling: Sampling, number: float) -> int:
    import torch

    # In double precision: the smallest temperatures overflow in single, and sums of 100,000 terms lose digits.
    probabilities = torch.softmax(logits.double() / sampling.temperature, dim=-1)
    if sampling.top_p >= 1 and not sampling.top_k and not sampling.min_p:
        return _at(probabilities, number)
    size = probabilities.shape[0]
    count = min(size, max(_CANDIDATES, sampling.top_k))
    while True:
        kept, ids = torch.topk(probabilities, count)
        if count == size or _enough(kept, sampling):
            break
        count = size
    return int(ids[_at(_cut(kept, sampling), number)])


def _enough(kept: torch.Tensor, sampling: Sampling) -> bool:
    """Whether the cut falls within the candidates."""
    if 0 < sampling.top_k <= kept.shape[0]:
        return True
    if sampling.min_p and float(kept[-1]) < sampling.min_p * float(kept[0]):
        return True
    return sampling.top_p < 1 and float(kept.sum()) >= sampling.top_p


def _cut(kept: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Probabilities, likeliest first, cut by top_k, then top_p, then min_p; at least the first one stays."""
    whole = 1.0
    if sampling.top_k:
        kept = kept[: sampling.top_k]
        whole = float(kept.sum())
    if sampling.top_p < 1:
        before = kept.cumsum(0) - kept  # the one that crosses the line still counts
        kept = kept[: max(1, int((before < sampling.top_p * whole).sum()))]
    if sampling.min_p:
        kept = kept[: max(1, int((kept >= sampling.min_p * kept[0]).sum()))]
    return kept


def _at(probabilities: torch.Tensor, number: float) -> int:
    """Where the cumulative distribution crosses `number` of its total."""
    total = probabilities.cumsum(0)
    place = int((total <= number * float(total[-1])).sum())
    return min(place, probabilities.shape[0] - 1)
