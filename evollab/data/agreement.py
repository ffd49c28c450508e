"""How far a judge that was asked twice agrees with itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Scale = Literal["nominal", "interval", "sets"]
_MOST_PAIRS = 500
"""Pairs of label sets from which the disagreement to expect by chance is taken: it grows with the square."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two judgings of the same rows.

    rows: how many were judged twice. exact: share with the same value. within_one: share with marks that differ by
    one at most (marks only). overlap: mean share of labels in both judgings, of those in either (labels only).
    alpha: Krippendorff's, 1 for perfect agreement, 0 for what chance would give; None where all values are the same,
    for then nothing could disagree. measure: what alpha counts as a disagreement.
    """

    rows: int
    exact: float
    within_one: float | None
    overlap: float | None
    alpha: float | None
    measure: str


_MEASURES: dict[Scale, str] = {
    "nominal": "Krippendorff's alpha, nominal",
    "interval": "Krippendorff's alpha, interval",
    "sets": "Krippendorff's alpha, Jaccard distance",
}


def agreement(pairs: Sequence[tuple[Any, Any]], scale: Scale) -> Agreement | None:
    """Of (first, second) values: texts, numbers, or lists of labels. None without any."""
    if not pairs:
        return None
    count = len(pairs)
    made = [(frozenset(a), frozenset(b)) for a, b in pairs] if scale == "sets" else pairs
    return Agreement(
        rows=count,
        exact=round(sum(a == b for a, b in made) / count, 4),
        within_one=round(sum(abs(a - b) <= 1 for a, b in pairs) / count, 4) if scale == "interval" else None,
        overlap=round(1 - sum(jaccard(a, b) for a, b in made) / count, 4) if scale == "sets" else None,
        alpha=alpha(made, DISTANCES[scale]),
        measure=_MEASURES[scale],
    )


def alpha(pairs: Sequence[tuple[Any, Any]], distance: Callable[[Any, Any], float]) -> float | None:
    """Krippendorff's alpha (Content Analysis, 2004, chapter 11) of two judgings without gaps: 1 - observed / expected
    disagreement, the latter over all pairs of values whichever row they belong to."""
    if not pairs:
        return None
    observed = sum(distance(a, b) for a, b in pairs) / len(pairs)
    some = pairs if distance is not jaccard else pairs[:: -(-len(pairs) // _MOST_PAIRS)]
    counts = Counter(value for pair in some for value in pair)
    total = sum(counts.values())
    values = list(counts.items())
    apart = sum(2 * n * m * distance(a, b) for at, (a, n) in enumerate(values) for b, m in values[:at])
    expected = apart / (total * (total - 1))
    return None if not expected else round(1 - observed / expected, 4)


def nominal(one: object, other: object) -> float:
    return float(one != other)


def interval(one: float, other: float) -> float:
    return float((one - other) ** 2)


def jaccard(one: Collection[str], other: Collection[str]) -> float:
    """1 less the share of labels in both, of those in either."""
    both = frozenset(one) & frozenset(other)
    either = frozenset(one) | frozenset(other)
    return 1 - len(both) / len(either) if either else 0.0


DISTANCES: dict[Scale, Callable[[Any, Any], float]] = {"nominal": nominal, "interval": interval, "sets": jaccard}
