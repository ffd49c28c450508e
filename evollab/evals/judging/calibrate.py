"""Calibration: how far a judge agrees with people, before anything is believed of it.

Each pair is played in both orders. What is told: agreement with people's verdicts and Cohen's kappa, of both orders
together (disagreement is a tie) and of single games; whether the place decides; whether the length does, beyond what it
does for people; what could not be read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evollab.evals.judging.bias import Bias, bias_of, length
from evollab.evals.judging.figures import percent
from evollab.evals.judging.games import Winner, choices
from evollab.evals.judging.pairs import Pair, Pairs
from evollab.evals.metric import Metric
from evollab.evals.people.kappa import cohen
from evollab.evals.questions import some
from evollab.evals.result import between, shown, told
from evollab.evals.trial import Asked


@dataclass(frozen=True, slots=True)
class Calibration:
    """A judge on one set. agreement: of both orders together with people. kappa: the same beyond chance, None where
    nobody ever differed. games: agreement of single games. longer: how often people chose the longer answer, and by
    `bias.longer` the judge, where both chose. groups: agreement by subset. undecided: pairs left out because people had
    no majority. dirt: rows without a verdict, by what they hold (published verdicts only)."""

    name: str
    judge: str
    pairs: int
    agreement: Metric
    kappa: float | None
    games: Metric | None
    bias: Bias | None
    longer: Metric
    longer_judge: Metric
    groups: dict[str, Metric]
    undecided: int = 0
    unreadable: int = 0
    dirt: dict[str, int] | None = None

    @property
    def length_bias(self) -> float | None:
        """By how many points of a hundred the judge chooses the longer answer more often than people do."""
        if self.longer.value is None or self.longer_judge.value is None:
            return None
        return self.longer_judge.value - self.longer.value

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "set": self.name, "judge": self.judge, "pairs": self.pairs, "agreement": told(self.agreement),
            "kappa": self.kappa, "agreement of single games": told(self.games) if self.games else None,
            "bias": self.bias.told() if self.bias else None, "longer chosen by people": told(self.longer),
            "longer chosen by the judge": told(self.longer_judge), "length bias": self.length_bias,
            "groups": {name: told(metric) for name, metric in self.groups.items()}, "undecided": self.undecided,
            "unreadable": self.unreadable, "without a verdict": self.dirt or {},
        }  # fmt: skip

    def __str__(self) -> str:
        kappa = "-" if self.kappa is None else f"{self.kappa:.3f}"
        lines = [
            f"{self.name}: {self.judge} agrees with people on {_said(self.agreement)} of {self.agreement.n:,} pairs, "
            f"kappa {kappa}"
        ]
        if self.games is not None:
            lines.append(f"  single games: {_said(self.games)}")
        if self.bias is not None:
            lines += [
                f"  same winner in both orders: {_said(self.bias.consistent)}",
                f"  won by the answer shown first: {_said(self.bias.shown_first)} (50 % is fair)",
            ]
        if self.length_bias is not None:
            lines.append(
                f"  longer answer chosen: {_said(self.longer_judge)}, by people {_said(self.longer)}: "
                f"{self.length_bias:+.1f} points"
            )
        lines += [f"  {name}: {_said(metric)} of {metric.n:,}" for name, metric in self.groups.items()]
        lost = self._lost()
        return "\n".join([*lines, *([f"  left out: {lost}"] if lost else [])])

    def _lost(self) -> str:
        counts = {
            "replies unparsed": self.bias.unparsed if self.bias else 0,
            "calls failed": self.bias.failed if self.bias else 0,
            "people undecided": self.undecided,
            "rows unreadable": self.unreadable,
        } | {f"verdicts {name!r}": count for name, count in (self.dirt or {}).items()}
        return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


async def calibrate(judge: Asked, judge_name: str, pairs: Pairs, limit: int | None = None) -> Calibration:
    """Play all pairs (or always the same `limit` of them, in the shares of the subsets) and compare with people."""
    used = some_pairs(pairs.pairs, limit)
    games = await choices([pair.match for pair in used], judge)
    agreed: list[bool] = []
    clusters: list[str] = []
    for at, (pair, game) in enumerate(zip(used, games, strict=True)):
        for verdict in (game.forward, game.backward):
            if verdict is not None:
                agreed.append(verdict == pair.label)
                clusters.append(str(at))
    lengths = [(length(pair.match.first), length(pair.match.second)) for pair in used]
    return _calibration(
        pairs, judge_name, used, [game.winner for game in games],
        percent("agreement of single games", [float(one) for one in agreed], clusters), bias_of(games, lengths),
    )  # fmt: skip


def of_verdicts(verdicts: dict[str, Winner], dirt: dict[str, str], name: str, pairs: Pairs) -> Calibration:
    """The same of verdicts published elsewhere, matched by id; they are of one order and tell nothing of the place."""
    used = [pair for pair in pairs.pairs if pair.id in verdicts]
    lost = Counter(dirt[pair.id] for pair in pairs.pairs if pair.id in dirt)
    return _calibration(pairs, name, used, [verdicts[pair.id] for pair in used], None, None, lost)


def some_pairs(pairs: Sequence[Pair], limit: int | None) -> list[Pair]:
    return some(pairs, limit, ("subset",))


def _calibration(
    pairs: Pairs, judge: str, used: Sequence[Pair], verdicts: Sequence[Winner | None], games: Metric | None,
    bias: Bias | None, dirt: dict[str, int] | None = None,
) -> Calibration:  # fmt: skip
    both = [(pair, verdict) for pair, verdict in zip(used, verdicts, strict=True) if verdict is not None]
    subsets: dict[str, list[float]] = {}
    for pair, verdict in both:
        for value in pair.facts.values():
            subsets.setdefault(value, []).append(float(verdict == pair.label))
    people, machine = _longer(both)
    return Calibration(
        pairs.name, judge, len(used), percent("agreement", [float(verdict == pair.label) for pair, verdict in both]),
        cohen([(verdict, pair.label) for pair, verdict in both]), games, bias,
        percent("longer chosen by people", people), percent("longer chosen by the judge", machine),
        {name: percent(name, flags) for name, flags in sorted(subsets.items())} if len(subsets) in range(2, 21) else {},
        pairs.undecided, len(pairs.rejected), dirt,
    )  # fmt: skip


def _longer(both: Sequence[tuple[Pair, Winner]]) -> tuple[list[float], list[float]]:
    """Who chose the longer answer, people and judge, on the pairs where both chose one and one is longer."""
    people, machine = [], []
    for pair, verdict in both:
        here, there = length(pair.match.first), length(pair.match.second)
        if here == there or "tie" in (verdict, pair.label):
            continue
        longer = "first" if here > there else "second"
        people.append(float(pair.label == longer))
        machine.append(float(verdict == longer))
    return people, machine


def _said(metric: Metric) -> str:
    row = told(metric)
    return shown(row) if metric.low is None else f"{shown(row)} ({between(row)})"


def agreement_line(one: Calibration) -> str:
    """One line for the notes of a result."""
    return str(one).partition("\n")[0]
