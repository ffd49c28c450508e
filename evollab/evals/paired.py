"""Two models on the same questions: the difference, its interval, whether chance explains it, what could be seen.

Each question is one row, so that what is common to both, how hard the question is, falls out of the difference (Miller
2024, 2411.00640). Single verdicts are tested by McNemar's exact test, everything else by swapping the two models at
random, question by question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from evollab.evals.resampling import DRAWS, LEVEL, clustered, percentiles, resampled_sums
from evollab.evals.stats import ALIKE, BOOTSTRAP, SINGLE, wilson
from evollab.records import EvolError
from evollab.rng import integer

if TYPE_CHECKING:
    from evollab.evals.resampling import Array

MCNEMAR = "McNemar, exact"
SWAPS = f"swaps of the two, {DRAWS:,}"
POWER = 0.8
_CELLS = 1 << 20


@dataclass(frozen=True, slots=True)
class Pair:
    """One question: what each model got, and out of how much.

    a / a_of is its score where it was asked a_of times; the sums over questions make the figure, so a_of is the
    number of its scores for a mean, the reference's score for a ratio.
    """

    a: float
    a_of: float
    b: float
    b_of: float


@dataclass(frozen=True, slots=True)
class Paired:
    """A against B on n questions, in the scores' own unit.

    difference: a - b. low, high: its interval, None where there is none. p: two-sided, None for n < 2. only_a, only_b:
    questions that one alone got right, None unless all are single verdicts. detectable: the smallest difference that n
    questions like these show with `POWER`; needed: how many of them it takes to show the difference seen, None where
    there is none. spread: mean square of the questions' differences (for verdicts: the share that differs).
    """

    n: int
    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    error: float | None
    method: str
    p: float | None
    test: str
    only_a: int | None
    only_b: int | None
    spread: float
    detectable: float | None
    needed: int | None


def paired(pairs: Sequence[Pair], *, level: float = LEVEL, seed: int = 0) -> Paired | None:
    """Compare two models; None without questions. Raises EvolError where a model's denominators add up to 0."""
    if not pairs:
        return None
    rows = clustered([[getattr(one, name) for one in pairs] for name in ("a", "a_of", "b", "b_of")], None)[:, :4]
    n, total = len(rows), rows.sum(axis=0)
    if not total[1] or not total[3]:
        raise EvolError("the figure is a ratio, and what it is a share of adds up to 0")
    a, b = float(total[0] / total[1]), float(total[2] / total[3])
    left = (rows[:, 0] - a * rows[:, 1]) / total[1] - (rows[:, 2] - b * rows[:, 3]) / total[3]
    error = math.sqrt(float((left * left).sum()) * n / (n - 1)) if n > 1 else None
    counts = discordant(pairs)
    spread = (sum(counts) / n) if counts is not None else n * (error or 0.0) ** 2 + (a - b) ** 2
    low, high, method = _interval(rows, counts, error, level, seed)
    p, test = (mcnemar(*counts), MCNEMAR) if counts is not None else (_swapped(rows, seed), SWAPS)
    visible = error is not None and spread > 1e-18
    return Paired(
        n, a, b, a - b, low, high, error, method, p if n > 1 else None, test if n > 1 else "",
        None if counts is None else counts[0], None if counts is None else counts[1], spread,
        detectable(n, spread) if visible else None, needed(a - b, spread) if visible else None,
    )  # fmt: skip


def discordant(pairs: Sequence[Pair]) -> tuple[int, int] | None:
    """Questions that A alone and that B alone got right; None unless each has one verdict, 0 or 1, on every one."""
    if not all(one.a_of == one.b_of == 1 and one.a in (0, 1) and one.b in (0, 1) for one in pairs):
        return None
    return sum(one.a > one.b for one in pairs), sum(one.b > one.a for one in pairs)


def _interval(
    rows: Array, counts: tuple[int, int] | None, error: float | None, level: float, seed: int
) -> tuple[float | None, float | None, str]:
    n = len(rows)
    if error is None:
        return None, None, SINGLE
    if counts == (0, 0):  # a difference is at most the share of questions where the two differ
        most = wilson(0, n, level)[1]
        return -most, most, "Wilson, of 0 questions that differ"
    if error < 1e-12:
        return None, None, ALIKE
    drawn = resampled_sums(rows, seed=seed)
    if (drawn[:, 1] == 0).any() or (drawn[:, 3] == 0).any():
        return None, None, "none: a sum may be 0"
    low, high = percentiles(drawn[:, 0] / drawn[:, 1] - drawn[:, 2] / drawn[:, 3], n, level)
    return low, high, BOOTSTRAP


def mcnemar(only_a: int, only_b: int) -> float:
    """McNemar's exact two-sided p (1947): the chance of a split of the questions that differ at least as uneven as
    this, were both models equally good. 1 where none differ."""
    n, few = only_a + only_b, min(only_a, only_b)
    term = total = 1
    for k in range(1, few + 1):
        term = term * (n - k + 1) // k
        total += term
    return min(1.0, float(2 * total / (1 << n)) if n < 1000 else math.exp(math.log(2 * total) - n * math.log(2)))


def _swapped(rows: Array, seed: int) -> float:
    """Two-sided p: how often the difference gets as large where A and B are exchanged at random, question by
    question."""
    import numpy as np

    total = rows.sum(axis=0)
    seen = abs(float(total[0] / total[1] - total[2] / total[3]))
    change = rows[:, 2:] - rows[:, :2]
    # a question whose change is the opposite of another's is of its kind, swapped already
    opposite = (change[:, 0] < 0) | ((change[:, 0] == 0) & (change[:, 1] < 0))
    start, change = change[opposite].sum(axis=0), np.where(opposite[:, None], -change, change)
    kinds, counts = np.unique(change, axis=0, return_counts=True)
    generator = np.random.default_rng(integer("swaps", seed))
    step = max(1, _CELLS // len(kinds))
    more = 0
    for first in range(0, DRAWS, step):
        moved = start + generator.binomial(counts, 0.5, size=(min(step, DRAWS - first), len(kinds))) @ kinds
        own, other = total[:2] + moved, total[2:] - moved
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.abs(own[:, 0] / own[:, 1] - other[:, 0] / other[:, 1])
        more += int((~(found < seen - 1e-12)).sum())
    return (1 + more) / (1 + DRAWS)


def holm(values: Sequence[float]) -> list[float]:
    """p-values of several tests, raised so that the chance of any false alarm among them stays what each says (Holm
    1979); in the order given."""
    order = sorted(range(len(values)), key=lambda at: values[at])
    found, highest = [0.0] * len(values), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[at]))
        found[at] = highest
    return found


def needed(difference: float, spread: float, *, power: float = POWER, level: float = LEVEL) -> int | None:
    """How many questions it takes to show `difference` (Connor 1987); None for a difference of 0.

    spread: mean square of a question's difference; for verdicts the share of questions where the models differ.
    """
    square = difference * difference
    if not square:
        return None
    normal = NormalDist()
    alarm, miss = normal.inv_cdf(0.5 + level / 2), normal.inv_cdf(power)
    half = alarm * math.sqrt(max(spread, square)) + miss * math.sqrt(max(spread - square, 0.0))
    return max(2, math.ceil(half * half / square))


def detectable(n: int, spread: float, *, power: float = POWER, level: float = LEVEL) -> float | None:
    """The smallest difference that n questions show with `power`; None where even the largest, the root of the spread,
    isn't shown. The inverse of `needed`."""
    low, high = 0.0, math.sqrt(spread)
    least = needed(high, spread, power=power, level=level)
    if least is None or least > n:
        return None
    for _ in range(60):
        middle = (low + high) / 2
        takes = needed(middle, spread, power=power, level=level)
        low, high = (middle, high) if takes is None or takes > n else (low, middle)
    return high
