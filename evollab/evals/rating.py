"""Ratings from battles: Bradley-Terry (1952) by maximum likelihood, on Elo's scale, with bootstrap intervals.

A tie is half a win for each. Battles of one question are drawn together, so two games with the places swapped are one
piece of evidence. Where somebody never lost (or some never won against the others) the likelihood has no maximum: then
each pair that met gets one drawn game more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from evollab.evals.resampling import require_numpy
from evollab.records import EvolError
from evollab.rng import integer

if TYPE_CHECKING:
    from evollab.evals.resampling import Array

ELO = 400 / math.log(10)
"""Rating points of one unit of log odds: 400 points are odds of ten to one."""
MEAN = 1000.0
BOOTSTRAPS = 100
_STEPS = 100
_TAILS = (0.025, 0.5, 0.975)


@dataclass(frozen=True, slots=True)
class Battle:
    """Two models on a question. score: what `a` got of the win, 1 won, 0.5 tie, 0 lost. match: tells battles of the
    same two on one question apart (turn, annotator); games that share it differ in the order of showing alone."""

    question: str
    a: str
    b: str
    score: float
    match: str = ""


@dataclass(frozen=True, slots=True)
class Rating:
    """One model. rating: the median of the bootstraps, low and high their 2.5 and 97.5 percentiles (both None for one
    question), fit: of all battles as they are. group: models in other groups never met this one, not even by way of
    others, and can't be compared with it."""

    model: str
    rating: float
    low: float | None
    high: float | None
    fit: float
    battles: int
    wins: int
    ties: int
    losses: int
    group: int = 0


@dataclass(frozen=True, slots=True)
class Ratings:
    """The best first. questions: clusters that the bootstrap drew from. padded: whether the fit needed drawn games
    (somebody never lost or never won); padded_draws: bootstraps that did."""

    ratings: Sequence[Rating]
    questions: int
    battles: int
    bootstraps: int
    padded: bool
    padded_draws: int


def rate(
    battles: Sequence[Battle], *, anchor: Mapping[str, float] | None = None, bootstraps: int = BOOTSTRAPS, seed: int = 0
) -> Ratings:
    """Rate all models in `battles`. anchor: one model's rating by name; default: the mean of all is 1000 (of each
    group, where groups never met). The same for the same battles in whatever order. Raises EvolError without battles,
    and for an anchor that is not among them."""
    require_numpy()
    import numpy as np

    if not battles:
        raise EvolError("no battles to rate models by")
    models = sorted({name for one in battles for name in (one.a, one.b)})
    fixed = dict(anchor or {})
    for name in fixed:
        if name not in models:
            raise EvolError(f"the anchor {name!r} fought no battle; there are: {', '.join(models)}")
    place = {name: at for at, name in enumerate(models)}
    ordered = sorted(battles, key=lambda one: (one.question, one.a, one.b, one.match, one.score))
    questions = {name: at for at, name in enumerate(dict.fromkeys(one.question for one in ordered))}
    cluster = np.array([questions[one.question] for one in ordered])
    cells = np.array([place[one.a] * len(models) + place[one.b] for one in ordered])
    scores = np.array([one.score for one in ordered])

    def wins(weights: Array) -> Array:
        """How often each row's model won against each column's."""
        n = len(models)
        forward = np.bincount(cells, weights * scores, n * n).reshape(n, n)
        backward = np.bincount(cells, weights * (1 - scores), n * n).reshape(n, n)
        return np.asarray(forward + backward.T, np.float64)

    whole = wins(np.ones(len(ordered)))
    met = np.asarray(whole + whole.T > 0, np.float64)
    groups = _groups(met)
    fit, padded = _scaled(whole, met, groups, fixed, place)
    generator = np.random.default_rng(integer("arena", seed))
    n = len(questions)
    drawn = [
        _scaled(
            wins(generator.multinomial(n, np.full(n, 1 / n))[cluster].astype(np.float64)), met, groups, fixed, place
        )
        for _ in range(bootstraps if n > 1 else 0)
    ]
    low, middle, high = np.quantile([one for one, _ in drawn], _TAILS, axis=0) if drawn else (None, fit, None)
    tallies = _tallies(ordered)
    found = [
        Rating(
            name, float(middle[at]), None if low is None else float(low[at]), None if high is None else float(high[at]),
            float(fit[at]), sum(tallies[name]), *tallies[name], groups[at],
        )
        for at, name in enumerate(models)
    ]  # fmt: skip
    best = sorted(found, key=lambda one: (one.group, -one.rating, one.model))
    return Ratings(best, n, len(battles), len(drawn), padded, sum(used for _, used in drawn))


def strengths(wins: Array) -> Array:
    """Log strengths, mean 0, that make `wins` (row over column, ties half) likeliest: Newton's method. Has a maximum
    only where `is_strong`."""
    import numpy as np

    n = len(wins)
    games, won = wins + wins.T, wins.sum(axis=1)
    theta = np.zeros(n)
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(theta[None, :] - theta[:, None]))
        slope = won - (games * chance).sum(axis=1)
        if np.abs(slope).max() < 1e-9 * max(1.0, won.max()):
            break
        curve = games * chance * chance.T
        # the sum of all strengths is free: fixing it makes the matrix regular
        step = np.linalg.solve(np.diag(curve.sum(axis=1)) - curve + 1.0 / n, slope)
        theta = theta + step / max(1.0, float(np.abs(step).max()))
    centred: Array = theta - theta.mean()
    return centred


def is_strong(wins: Array) -> bool:
    """Whether from every model to every other there is a chain of wins (ties count): Ford's condition (1957) for a
    maximum."""
    return all(len(_reached(matrix, 0)) == len(wins) for matrix in (wins, wins.T))


def _reached(matrix: Array, start: int) -> set[int]:
    seen, left = {start}, [start]
    while left:
        for other in (matrix[left.pop()] > 0).nonzero()[0].tolist():
            if other not in seen:
                seen.add(other)
                left.append(other)
    return seen


def _groups(met: Array) -> list[int]:
    """Which group each model is in: the largest is 0."""
    parts: list[set[int]] = []
    for at in range(len(met)):
        if not any(at in part for part in parts):
            parts.append(_reached(met, at))
    parts.sort(key=lambda part: (-len(part), min(part)))
    return [next(number for number, part in enumerate(parts) if at in part) for at in range(len(met))]


def _scaled(
    wins: Array, met: Array, groups: Sequence[int], anchor: Mapping[str, float], place: Mapping[str, int]
) -> tuple[Array, bool]:
    """Ratings of all, group by group, and whether drawn games were needed."""
    import numpy as np

    found, padded = np.zeros(len(wins)), False
    for group in set(groups):
        own = [at for at, one in enumerate(groups) if one == group]
        part = wins[np.ix_(own, own)]
        if not is_strong(part):
            part, padded = part + 0.5 * met[np.ix_(own, own)], True
        found[own] = MEAN + ELO * strengths(part)
        for name, value in anchor.items():
            if place[name] in own:
                found[own] += value - found[place[name]]
    return found, padded


def _tallies(battles: Sequence[Battle]) -> dict[str, tuple[int, int, int]]:
    """Wins, ties, losses of each; a score above a half is a win."""
    found: dict[str, list[int]] = {}
    for one in battles:
        outcome = 0 if one.score > 0.5 else 1 if one.score == 0.5 else 2
        found.setdefault(one.a, [0, 0, 0])[outcome] += 1
        found.setdefault(one.b, [0, 0, 0])[2 - outcome] += 1
    return {name: (wins, ties, losses) for name, (wins, ties, losses) in found.items()}


@dataclass(frozen=True, slots=True)
class RatingAgreement:
    """How far two sets of ratings say the same, in percent, over the models in both (Li et al. 2024, 2406.11939).

    spearman: rank correlation. agreement: over all pairs of models, 1 where both set them apart in the same order, -1
    in opposite orders, 0 where one doesn't. differentiation: share of pairs that the first sets apart. mean: of the
    three. Two models are set apart where their intervals don't overlap; without intervals, where ratings differ.
    """

    models: int
    spearman: float | None
    agreement: float
    differentiation: float
    mean: float | None


def agreement_of_ratings(a: Sequence[Rating], b: Sequence[Rating]) -> RatingAgreement | None:
    """How far `a` (whose worth is asked) agrees with `b` (people, say); None for fewer than two shared models."""
    theirs = {one.model: one for one in b}
    shared = [(one, theirs[one.model]) for one in a if one.model in theirs]
    if len(shared) < 2:
        return None
    pairs = [(_order(x, y), _order(p, q)) for (x, p), (y, q) in combinations(shared, 2)]
    agreement = 100 * sum(one * other for one, other in pairs) / len(pairs)
    apart = 100 * sum(one != 0 for one, _ in pairs) / len(pairs)
    rho = spearman([one.rating for one, _ in shared], [one.rating for _, one in shared])
    mean = None if rho is None else (100 * rho + agreement + apart) / 3
    return RatingAgreement(len(shared), None if rho is None else 100 * rho, agreement, apart, mean)


def _order(one: Rating, other: Rating) -> int:
    """1 where `one` is clearly better, -1 where it is clearly worse, 0 where that can't be told."""
    if one.group != other.group:
        return 0
    low, high = (one.rating if end is None else end for end in (one.low, one.high))
    under, over = (other.rating if end is None else end for end in (other.low, other.high))
    return 1 if low > over else -1 if high < under else 0


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's rank correlation, equal values with the mean of their ranks; None where either has one value alone."""
    x, y = ranks(one), ranks(other)
    middle = (len(x) + 1) / 2
    spread = math.sqrt(sum((v - middle) ** 2 for v in x) * sum((v - middle) ** 2 for v in y))
    return sum((v - middle) * (w - middle) for v, w in zip(x, y, strict=True)) / spread if spread else None


def ranks(values: Sequence[float]) -> list[float]:
    """1 for the smallest; equal ones share the mean of their ranks."""
    found = [0.0] * len(values)
    for rank, places in _runs(values):
        for at in places:
            found[at] = rank
    return found


def _runs(values: Sequence[float]) -> Iterator[tuple[float, list[int]]]:
    order = sorted(range(len(values)), key=lambda at: values[at])
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        yield (start + 1 + end) / 2, order[start:end]
        start = end
