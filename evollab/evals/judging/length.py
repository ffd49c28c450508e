"""Length-controlled win rate: what the win rate would be if both answers were equally long (Dubois et al. 2024,
2404.04475).

A logistic model of the preference: a constant for the model, tanh of the difference of lengths (in its standard
deviations), and for AlpacaEval 2 the instruction's difficulty. The rate is the mean prediction with the length
term at 0.

    minimal      constant and length
    difficulty   and each instruction's difficulty, out of a table of the user's
    full         and rows of two gamed baselines, at a weight of 0.1 each, that hold the length term: AlpacaEval 2's own
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evollab.records import EvolError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_STRENGTHS = tuple(10 ** (-4 + 8 * step / 9) for step in range(10))
"""Weights of the data against the L1 penalty that cross-validation chooses from."""
_FOLDS = 5
_GAMED = 0.1
"""Weight of a row of a gamed baseline: 0.2, over two of them."""
_FEWEST = 10


@dataclass(frozen=True, slots=True)
class Compared:
    """One judged pair. preference: 0 to 1, 1 where the model won; other: characters of the baseline's answer, own: of
    the model's. difficulty: of the instruction, None where it isn't known."""

    preference: float
    own: int
    other: int
    difficulty: float | None = None


@dataclass(frozen=True, slots=True)
class Gamed:
    """A row of a gamed baseline: preference 0 to 1, delta: the difference of lengths in standard deviations."""

    preference: float
    delta: float
    difficulty: float


@dataclass(frozen=True, slots=True)
class Controlled:
    """rate: 0 to 1. way: minimal, difficulty or full. weights: by term. samples: rates of bootstrap draws over the
    questions, at the same strength."""

    rate: float
    way: str
    weights: dict[str, float]
    strength: float
    samples: tuple[float, ...] = ()


def length_controlled(rows: Sequence[Compared], gamed: Sequence[Gamed] = (), *, draws: int = 0) -> Controlled | None:
    """None for fewer than ten rows. The difficulty is used where every row has one. The draws are always the same.

    Raises EvolError without numpy.
    """
    if len(rows) < _FEWEST:
        return None
    np = _numpy()
    known = all(row.difficulty is not None for row in rows)
    wins = np.array([row.preference for row in rows], float)
    # The sign as AlpacaEval has it: the baseline's length less the model's.
    deltas = np.array([row.other - row.own for row in rows], float)
    spread = float(deltas.std(ddof=1))
    columns = [np.tanh(deltas / spread) if spread else np.zeros(len(rows))]
    if known:
        columns.append(np.array([row.difficulty for row in rows], float))
    design = np.column_stack([*columns, np.ones(len(rows))])
    weights = np.ones(len(rows))
    own = len(rows)
    if known and gamed:
        more = np.array([(np.tanh(row.delta), row.difficulty, 0.0) for row in gamed], float)
        design = np.vstack([more, design])
        wins = np.concatenate([np.array([row.preference for row in gamed], float), wins])
        weights = np.concatenate([np.full(len(gamed), _GAMED), weights])
    strength = _strength(design, wins, weights)
    fitted = fit(design, wins, weights, strength)
    names = ["length", *(["difficulty"] if known else []), "model"]
    samples = _bootstrap(design, wins, weights, strength, own, fitted, draws)
    way = "full" if known and gamed else "difficulty" if known else "minimal"
    rate = _rate(design[-own:], fitted)
    return Controlled(rate, way, dict(zip(names, map(float, fitted), strict=True)), strength, samples)


def fit(design: Array, wins: Array, weights: Array, strength: float, start: Array | None = None) -> Array:
    """The weights w that minimise sum |w| + strength * sum of weighted log losses, by proximal Newton steps; the
    shape is (columns,)."""
    np = _numpy()
    w: Array = np.zeros(design.shape[1]) if start is None else start.copy()
    loss = _objective(design, wins, weights, strength, w)
    for _ in range(100):
        chance = _logistic(design @ w)
        gradient = strength * (design.T @ (weights * (chance - wins)))
        curve = weights * chance * (1 - chance)
        hessian = strength * (design.T @ (design * curve[:, None])) + 1e-9 * np.eye(len(w))
        step = _descend(w, gradient, hessian)
        size = 1.0
        while size > 1e-6:
            new = w + size * step
            better = _objective(design, wins, weights, strength, new)
            if better <= loss:
                break
            size /= 2
        else:
            break
        done = abs(loss - better) <= 1e-12 * max(1.0, abs(loss)) and float(np.abs(size * step).max()) < 1e-9
        w, loss = new, better
        if done:
            break
    return w


def _descend(w: Array, gradient: Array, hessian: Array) -> Array:
    """The step that minimises the quadratic model plus the L1 norm, a coordinate at a time. Plain floats: with three
    columns numpy costs more than it saves."""
    np = _numpy()
    here: list[float] = w.tolist()
    slopes: list[float] = gradient.tolist()
    curves: list[list[float]] = hessian.tolist()
    step = [0.0] * len(here)
    for _ in range(200):
        moved = 0.0
        for at, row in enumerate(curves):
            slope = slopes[at] + sum(row[k] * step[k] for k in range(len(here))) - row[at] * step[at]
            aim = row[at] * here[at] - slope
            new = math.copysign(max(abs(aim) - 1.0, 0.0), aim) / row[at] - here[at]
            moved = max(moved, abs(new - step[at]))
            step[at] = new
        if moved < 1e-12:
            break
    found: Array = np.array(step)
    return found


def _objective(design: Array, wins: Array, weights: Array, strength: float, w: Array) -> float:
    np = _numpy()
    scores = design @ w
    return float(np.abs(w).sum() + strength * (weights * (np.logaddexp(0, scores) - wins * scores)).sum())


def _strength(design: Array, wins: Array, weights: Array) -> float:
    """Of `_STRENGTHS` the one with the least log loss on rows held out, five folds over the rows in turn."""
    np = _numpy()
    places = np.arange(len(wins)) % _FOLDS
    losses = []
    for strength in _STRENGTHS:
        total = 0.0
        for fold in range(_FOLDS):
            kept, held = places != fold, places == fold
            w = fit(design[kept], wins[kept], weights[kept], strength)
            scores = design[held] @ w
            total += float((weights[held] * (np.logaddexp(0, scores) - wins[held] * scores)).mean())
        losses.append(total)
    return _STRENGTHS[int(np.argmin(losses))]


def _bootstrap(
    design: Array, wins: Array, weights: Array, strength: float, own: int, start: Array, draws: int
) -> tuple[float, ...]:
    """Rates of refits on rows of the model drawn with replacement; the gamed ones stay."""
    np = _numpy()
    draw = np.random.default_rng(0)
    fixed = len(wins) - own
    rates = []
    for _ in range(draws):
        places = np.concatenate([np.arange(fixed), fixed + draw.integers(0, own, own)])
        w = fit(design[places], wins[places], weights[places], strength, start)
        rates.append(_rate(design[places[fixed:]], w))
    return tuple(rates)


def _rate(design: Array, w: Array) -> float:
    """The mean prediction with the first column, the length, at 0."""
    return float(_logistic(design[:, 1:] @ w[1:]).mean())


def _logistic(scores: Array) -> Array:
    np = _numpy()
    chances: Array = np.exp(-np.logaddexp(0, -scores))
    return chances


def _numpy() -> Any:
    try:
        import numpy as np
    except ImportError:
        raise EvolError("a length-controlled win rate needs numpy", "pip install 'evollab[evals]'") from None
    return np
