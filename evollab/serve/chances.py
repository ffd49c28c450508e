"""How likely tokens were: from logits to what is told of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from evollab.serve.engine import Chance
from evollab.serve.tokentext import TokenTexts

_NEVER = -9999.0
"""Stands for minus infinity, which JSON doesn't have."""


class Chances:
    """Log-probs for one tokenizer. Offsets are left at 0, for whoever knows the text."""

    def __init__(self, texts: TokenTexts) -> None:
        self._texts = texts

    def first(self, id: int) -> Chance:
        """A prompt's first token, which nothing comes before."""
        return Chance(self._texts.token(id, None), (), 0)

    def of(self, logits: torch.Tensor, ids: Sequence[int], top: int) -> list[Chance]:
        """How likely `ids` were by logits (tokens, vocabulary), float32, and the `top` likeliest at each place."""
        logprobs = torch.log_softmax(logits, dim=-1)
        taken = logprobs.gather(1, torch.tensor(list(ids), device=logits.device)[:, None])[:, 0].tolist()
        count = min(top, logprobs.shape[1])
        values, places = logprobs.topk(count, dim=-1) if count else (logprobs[:, :0], logprobs[:, :0].long())
        told = zip(ids, taken, places.tolist(), values.tolist(), strict=True)
        return [
            Chance(
                self._texts.token(token, max(value, _NEVER)),
                tuple(self._texts.token(other, max(best, _NEVER)) for other, best in zip(others, bests, strict=True)),
                0,
            )
            for token, value, others, bests in told
        ]
