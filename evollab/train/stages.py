"""Stage-DPO: pairs cut in slices that are trained one after another, and whether a slice helped.

The order of slices: at random, by margin (the clearest preferences first) or by difficulty (the easiest prompts
first). Each stage starts from the model of the one before; some of the earlier slices' pairs may come along
(replay; all of them is what Arena Learning, 2407.10627, does). A slice after which the pairs held out are ordered
worse is undone: the next one starts where this one did.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from evollab import rng
from evollab.records import EvolError

ORDERS = ("random", "margin", "difficulty")
REFERENCES = ("previous", "sft")
UNTRAINED = 0.5
"""Pair accuracy of the base: against itself it prefers nothing, and every tie counts half."""
_Z = 1.96


def ordered(count: int, order: str, seed: int, keys: Sequence[float | None] = ()) -> list[int]:
    """The numbers of `count` pairs in the order in which they are cut into slices.

    keys: each pair's margin (large ones go first) or difficulty (small ones go first). Pairs with equal keys,
    and all pairs where the order is random, stand by draws that depend on the seed. Raises EvolError for keys
    that are missing.
    """
    drawn = sorted(range(count), key=lambda pair: rng.integer(seed, "slices", pair))
    if order == "random":
        return drawn
    known = [key for key in keys if key is not None]
    if len(known) < count:
        fields = "margin, or chosen_score and rejected_score" if order == "margin" else "difficulty"
        raise EvolError(
            f"--order {order}: {count - len(known):,} of {count:,} pairs have no {order}",
            f"a field {fields} in every row, or --order random",
        )
    sign = -1 if order == "margin" else 1
    return sorted(drawn, key=lambda pair: sign * known[pair])


def cut(pairs: Sequence[int], slices: int) -> list[list[int]]:
    """`pairs` as `slices` runs of them, whose sizes differ by one at most. Raises EvolError for too few."""
    if len(pairs) < slices:
        raise EvolError(f"--slices {slices}: there are {len(pairs):,} pairs to train", f"--slices {max(1, len(pairs))}")
    ends = [len(pairs) * number // slices for number in range(slices + 1)]
    return [list(pairs[start:end]) for start, end in pairwise(ends)]


def replayed(earlier: Sequence[Sequence[int]], share: float, seed: int, stage: int) -> list[int]:
    """`share` of all pairs of the earlier slices, drawn anew for each stage."""
    pool = [pair for one in earlier for pair in one]
    pool.sort(key=lambda pair: rng.integer(seed, "replay", stage, pair))
    return pool[: round(share * len(pool))]


def interval(share: float, of: int) -> tuple[float, float]:
    """The 95 % interval of a share of `of` pairs (Wilson 1927)."""
    if of <= 0:
        return 0.0, 1.0
    middle = (share + _Z * _Z / (2 * of)) / (1 + _Z * _Z / of)
    half = _Z / (1 + _Z * _Z / of) * math.sqrt(share * (1 - share) / of + _Z * _Z / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def hurts(before: float, after: float, of: int, tolerance: float) -> bool:
    """Whether pair accuracy fell by more than is tolerated, and out of the interval that `of` pairs leave: of a few
    pairs some change sides by chance."""
    return before - after > tolerance + 1e-9 and before > interval(after, of)[1]
