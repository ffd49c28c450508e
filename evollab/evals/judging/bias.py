"""What a judge's games tell of the judge: does the place decide, or the length?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evollab.evals.judging.figures import percent
from evollab.evals.judging.games import FAILED, UNPARSED, Games
from evollab.evals.metric import Metric


@dataclass(frozen=True, slots=True)
class Bias:
    """consistent: share of matches with the same winner in both orders. shown_first: share of the decided games that
    the answer shown first won, 50 % without bias. longer: share of the matches with a winner (of both games) that the
    longer answer won. unparsed, failed: matches without a verdict."""

    consistent: Metric
    shown_first: Metric
    longer: Metric
    matches: int
    unparsed: int
    failed: int

    def told(self) -> dict[str, float | int | None]:
        """For a result: percent, rounded."""
        return {
            "matches": self.matches,
            "same winner in both orders, %": _rounded(self.consistent.value),
            "won by the answer shown first, %": _rounded(self.shown_first.value),
            "won by the longer answer, %": _rounded(self.longer.value),
            "unparsed": self.unparsed,
            "failed": self.failed,
        }


def bias_of(games: Sequence[Games], lengths: Sequence[tuple[int, int]]) -> Bias:
    """lengths: characters of the first and of the second answer of each match."""
    consistent = [bool(one.consistent) for one in games if one.consistent is not None]
    first, clusters = [], []
    for at, one in enumerate(games):
        if one.forward in ("first", "second"):
            first.append(one.forward == "first")
            clusters.append(str(at))
        if one.backward in ("first", "second"):
            first.append(one.backward == "second")
            clusters.append(str(at))
    longer = [
        (one.winner == "first") == (here > there)
        for one, (here, there) in zip(games, lengths, strict=True)
        if one.winner in ("first", "second") and here != there
    ]
    return Bias(
        percent("same winner in both orders", consistent),
        percent("won by the answer shown first", first, clusters),
        percent("won by the longer answer", longer),
        len(games),
        sum(one.failure == UNPARSED for one in games),
        sum(one.failure == FAILED for one in games),
    )


def length(texts: Sequence[str]) -> int:
    return sum(map(len, texts))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
