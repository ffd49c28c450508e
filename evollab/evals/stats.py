"""Figures with their intervals: shares, means and ratios of scores, by questions.

A question that was asked several times, or has several turns, is one draw (Miller 2024, 2411.00640): its answers hang
together. Shares of single verdicts get Wilson's interval, everything else a bootstrap over questions.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import NamedTuple

from evollab.evals.metric import Metric, Unit
from evollab.evals.resampling import DRAWS, LEVEL, clustered, percentiles, resampled_sums
from evollab.records import EvolError

WILSON = "Wilson"
BOOTSTRAP = f"bootstrap over questions, {DRAWS:,}"
SINGLE = "none: one question"
ALIKE = "none: all questions are alike"


class Interval(NamedTuple):
    """A figure. low, high, error (the standard error, by questions): None where they can't be told. n: questions."""

    value: float
    low: float | None
    high: float | None
    error: float | None
    method: str
    n: int


def wilson(successes: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's interval (1927) of a share, from 0 to 1; (0, 1) for n = 0. Raises EvolError for counts that can't be."""
    if not 0 <= successes <= n:
        raise EvolError(f"{successes:g} successes of {n:g}: expected 0 <= successes <= n")
    if not n:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    p, over = successes / n, z * z / n
    middle = (p + over / 2) / (1 + over)
    half = z * math.sqrt(p * (1 - p) / n + over / (4 * n)) / (1 + over)
    return max(0.0, middle - half) if successes else 0.0, min(1.0, middle + half) if successes < n else 1.0


def mean_interval(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    level: float = LEVEL,
    seed: int = 0,
    verdicts: bool = True,
) -> Interval | None:
    """The mean of all values; None without any. clusters: the question of each value; without them each is one.

    Wilson where every question has one verdict, 0 or 1 (its samples agree and there are as many of each); else the
    bootstrap. verdicts: whether 0 and 1 are verdicts at all, not marks on a longer scale. Raises EvolError for values
    that aren't finite.
    """
    if not values:
        return None
    told = _verdicts(values, clusters) if verdicts else None
    if told is not None:
        return _share(told, level)
    rows = clustered([values], clusters)
    sums, sizes = rows[:, 0], rows[:, 1]
    n, value = len(rows), float(sums.sum() / sizes.sum())
    if n == 1:
        return Interval(value, None, None, None, SINGLE, n)
    left = sums - value * sizes
    error = math.sqrt(float((left * left).sum()) * n / (n - 1)) / float(sizes.sum())
    if error < 1e-12 * (1 + abs(value)):
        return Interval(value, None, None, 0.0, ALIKE, n)
    drawn = resampled_sums(rows, seed=seed)
    low, high = percentiles(drawn[:, 0] / drawn[:, 1], n, level)
    return Interval(value, low, high, error, BOOTSTRAP, n)


def _verdicts(values: Sequence[float], clusters: Sequence[Hashable] | None) -> Sequence[float] | None:
    """One 0 or 1 for each question; None where questions say more than that."""
    if not set(values) <= {0, 1}:
        return None
    if clusters is None:
        return values
    if len(clusters) != len(values):
        raise EvolError(f"{len(values):,} scores with {len(clusters):,} clusters; expected one cluster each")
    found: dict[Hashable, tuple[float, int]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        before, count = found.get(cluster, (value, 0))
        if before != value:
            return None
        found[cluster] = value, count + 1
    alike = len({value for value, _ in found.values()}) == 1
    even = len({count for _, count in found.values()}) == 1
    return [value for value, _ in found.values()] if even or alike else None


def _share(verdicts: Sequence[float], level: float) -> Interval:
    n, right = len(verdicts), sum(verdicts)
    low, high = wilson(right, n, level)
    p = right / n
    return Interval(p, low, high, math.sqrt(p * (1 - p) / (n - 1)) if n > 1 else None, WILSON, n)


def score_metric(
    name: str,
    scores: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    unit: Unit = "%",
    scale: float = 1.0,
    level: float = LEVEL,
    seed: int = 0,
) -> Metric:
    """The mean score. unit "%": in percent of `scale`, the highest score there is; other units: the mean / scale.

    clusters: the question of each score (samples and turns of one question belong together). n counts questions;
    facts: "standard error" in the unit, and "scores" where there are more of them than questions. Without scores the
    value is None. Raises EvolError for scores that aren't finite.
    """
    times = (100.0 if unit == "%" else 1.0) / scale
    found = mean_interval(scores, clusters, level=level, seed=seed, verdicts=unit == "%" and scale == 1)
    return _metric(name, found, unit, times, len(scores), level)


def share(
    name: str, flags: Sequence[bool], clusters: Sequence[Hashable] | None = None, *, level: float = LEVEL, seed: int = 0
) -> Metric:
    """The share of true ones in percent; clusters as in `score_metric`."""
    return score_metric(name, [float(one) for one in flags], clusters=clusters, level=level, seed=seed)


def ratio_metric(
    name: str,
    own: Sequence[float],
    other: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> Metric:
    """Sum of `own` / sum of `other`, in percent (unit "ratio"), both scores of one answer each; bootstrap over
    questions. The value is None where the other's sum is 0. Raises EvolError for lists of different lengths."""
    if len(own) != len(other):
        raise EvolError(f"{len(own):,} scores against {len(other):,} of the other: expected as many")
    return _metric(name, ratio_interval(own, other, clusters, level=level, seed=seed), "ratio", 100.0, len(own), level)


def ratio_interval(
    own: Sequence[float],
    other: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval | None:
    """Sum / sum with its interval (see `ratio_metric`); its standard error is the delta method's."""
    if not own or not math.fsum(other):
        return None
    rows = clustered([own, other], clusters)
    n, total = len(rows), float(rows[:, 1].sum())
    value = float(rows[:, 0].sum()) / total
    if n == 1:
        return Interval(value, None, None, None, SINGLE, n)
    left = rows[:, 0] - value * rows[:, 1]
    error = math.sqrt(float((left * left).sum()) * n / (n - 1)) / abs(total)
    if error < 1e-12 * (1 + abs(value)):
        return Interval(value, None, None, 0.0, ALIKE, n)
    drawn = resampled_sums(rows, seed=seed)
    if (drawn[:, 1] * total <= 0).any():
        return Interval(value, None, None, error, "none: the other's sum may be 0", n)
    low, high = percentiles(drawn[:, 0] / drawn[:, 1], n, level)
    return Interval(value, low, high, error, BOOTSTRAP, n)


def _metric(name: str, found: Interval | None, unit: Unit, times: float, scores: int, level: float) -> Metric:
    if found is None:
        return Metric(name=name, value=None, low=None, high=None, n=0, unit=unit, level=level)
    facts: dict[str, float | int | str | None] = {}
    if found.error is not None:
        facts["standard error"] = times * found.error
    if scores > found.n:
        facts["scores"] = scores
    return Metric(
        name=name, value=times * found.value, low=None if found.low is None else times * found.low,
        high=None if found.high is None else times * found.high, n=found.n, unit=unit, method=found.method,
        level=level, facts=facts,
    )  # fmt: skip
