"""Rows that are complex and good, and unlike one another (DEITA, "What Makes Good Data for Alignment?",
2312.15685): by falling complexity x quality, a row is chosen when its cosine distance to the nearest row
already chosen is above 1 - `near`, that is, when its cosine similarity to it is below `near`.

The paper calls its threshold of 0.9 a distance and uses it as a similarity; here it is a similarity.
"""

from __future__ import annotations

from evollab.data.selecting import Candidates, Choice, Need, SelectOptions, Selector, Why, below, ranked
from evollab.records import EvolError

NEAR = "too near"
NAME = "score"


def needs(options: SelectOptions) -> tuple[Need, Need]:
    return Need(options.complexity), Need(options.quality)


def pick(candidates: Candidates, options: SelectOptions) -> Choice:
    from evollab.data.diversity import spread_out

    complexity, quality = candidates.numbers[options.complexity], candidates.numbers[options.quality]
    for name, values in ((options.complexity, complexity), (options.quality, quality)):
        if len(values) and values.min() < 0:
            raise EvolError(
                f"deita multiplies {name} with another mark, and a row has {values.min():g}; expected 0 or more"
            )
    scores = complexity * quality
    order = ranked(scores, candidates.keys)
    gate = spread_out(order, candidates.vectors, options.n, options.near)
    cut = float(scores[gate.chosen[-1]]) if gate.chosen else 0.0

    def why(place: int) -> Why:
        score = float(scores[place])
        if place not in gate.near:
            return below(NAME, score, cut)
        other, cosine = gate.near[place]
        return Why(NEAR, f"cosine {cosine:.3f} to a row with a score of {scores[other]:.4g}", {"score": score}, other)

    return Choice(gate.chosen, why)


SELECTOR = Selector(needs=needs, pick=pick, ends=True, embeds=True)
