"""Rows that the target model solves sometimes: with a pass rate p strictly between 0 and 1, or in a band.

The order is by p(1 - p), the greatest first: the variance of right and wrong over its answers, and with
it what there is to learn from them. At 0 and at 1 there is none (DAPO, 2503.14476, leaves such prompts
out of its batches). Among equals the draw decides.
"""

from __future__ import annotations

from evollab.data.selecting import OUTSIDE, Candidates, Choice, Need, SelectOptions, Selector, Why, below, ranked

NAME = "pass_rate"


def pick(candidates: Candidates, options: SelectOptions) -> Choice:
    values = candidates.numbers[NAME]
    band = options.limits()
    under, over = band.below(values), band.above(values)
    worth = values * (1 - values)
    order = ranked(worth, candidates.keys)
    chosen = order[~(under | over)[order]][: options.n]
    cut = float(worth[chosen[-1]]) if len(chosen) else 0.25

    def why(place: int) -> Why:
        value = float(values[place])
        if under[place] or over[place]:
            return Why(OUTSIDE, band.why(NAME, value, bool(under[place])), {"score": value})
        return below("p(1 - p)", float(worth[place]), cut)

    return Choice(chosen, why)


SELECTOR = Selector(needs=lambda _: (Need(NAME),), pick=pick, ends=True)
