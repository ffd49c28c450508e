"""Rows by chance, each with the same: the baseline that a way has to beat."""

from __future__ import annotations

from evollab.data.selecting import Candidates, Choice, SelectOptions, Selector, Why

NOT_DRAWN = "not drawn"


def pick(candidates: Candidates, options: SelectOptions) -> Choice:
    import numpy as np

    chosen = np.argsort(candidates.keys, kind="stable")[: options.n]
    return Choice(chosen, lambda _: Why(NOT_DRAWN, f"{len(chosen):,} others were"))


SELECTOR = Selector(needs=lambda _: (), pick=pick)
