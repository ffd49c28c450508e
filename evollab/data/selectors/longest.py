"""Rows with the longest responses ("Long Is More for Alignment", 2402.04833): a baseline that is hard to
beat, and cheap. By tokens where every row has `response_tokens`, else by words."""

from __future__ import annotations

from evollab.data.selecting import Candidates, Choice, Need, SelectOptions, Selector, best

WORDS = "response_words"
TOKENS = "response_tokens"


def pick(candidates: Candidates, options: SelectOptions) -> Choice:
    import numpy as np

    tokens = candidates.numbers.get(TOKENS)
    if tokens is not None and not np.isnan(tokens).any():
        return best(candidates, tokens, options.n, "length in tokens")
    return best(candidates, candidates.numbers[WORDS], options.n, "length in words")


SELECTOR = Selector(needs=lambda _: (Need(WORDS),), pick=pick)
