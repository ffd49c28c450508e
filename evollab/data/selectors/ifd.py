"""Rows by instruction-following difficulty (IFD, "From Quantity to Quality", 2308.12032): the loss of the
response given the instruction, divided by its loss alone. At 1 or more the instruction is of no help to
the response (the two may not belong together): such rows go. Of the others those stay from which there
is most to learn: the highest first."""

from __future__ import annotations

from evollab.data.selecting import OUTSIDE, Candidates, Choice, Need, SelectOptions, Selector, Why, below, ranked

NAME = "ifd"


def pick(candidates: Candidates, options: SelectOptions) -> Choice:
    values = candidates.numbers[NAME]
    band = options.limits()
    under, over = band.below(values), band.above(values)
    order = ranked(values, candidates.keys)
    chosen = order[~(under | over)[order]][: options.n]
    cut = float(values[chosen[-1]]) if len(chosen) else band.high

    def why(place: int) -> Why:
        value = float(values[place])
        if under[place] or over[place]:
            return Why(OUTSIDE, band.why(NAME, value, bool(under[place])), {"score": value})
        return below(NAME, value, cut)

    return Choice(chosen, why)


SELECTOR = Selector(needs=lambda _: (Need(NAME),), pick=pick, ends=True)
