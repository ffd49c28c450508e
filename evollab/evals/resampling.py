"""The bootstrap: how far a figure would move if other questions had been drawn (Efron & Tibshirani 1993).

Everything that is drawn together stands in one row (a question with all its samples, turns and models), so figures of
answers that hang together are not taken for more than they are.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Hashable, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, TypeVar

from evollab.records import EvolError
from evollab.rng import integer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

T = TypeVar("T")
DRAWS = 10_000
LEVEL = 0.95
_INSTALL = "pip install 'evollab[evals]'"
_FEW = 64
"""Kinds of rows up to which counts are drawn instead of rows: the same distribution, sooner."""
_CELLS = 1 << 18
_NORMAL = 400
"""Degrees of freedom from which Student's quantile is taken from its expansion."""


def require_numpy() -> None:
    """Raises EvolError where numpy isn't installed."""
    if importlib.util.find_spec("numpy") is None:
        raise EvolError("intervals need numpy, which is not installed", _INSTALL)


def clustered(columns: Sequence[Sequence[float]], clusters: Sequence[Hashable] | None) -> Array:
    """A row for each cluster, in the order they come: the sums of each column, then how many values there are.

    clusters: what each value belongs to; None: each stands for itself. Raises EvolError where numpy is missing, for
    columns of different lengths, and for values that aren't finite.
    """
    require_numpy()
    import numpy as np

    values = np.array([*columns], dtype=np.float64).T if columns else np.empty((0, 0))
    if not np.isfinite(values).all():
        raise EvolError("a score is not a finite number", "look for NaN in what the grader wrote")
    if clusters is not None and len(clusters) != len(values):
        raise EvolError(f"{len(values):,} scores with {len(clusters):,} clusters; expected one cluster each")
    place: dict[Hashable, int] = {}
    at = [place.setdefault(one, len(place)) for one in (range(len(values)) if clusters is None else clusters)]
    sums = np.zeros((len(place), values.shape[1] + 1))
    np.add.at(sums, at, np.column_stack([values, np.ones(len(values))]))
    return sums


def resampled_sums(rows: Array, draws: int = DRAWS, seed: int = 0) -> Array:
    """Sums of the columns over as many rows as there are, drawn with replacement: (draws, columns). The same for the
    same rows in whatever order. rows: at least one."""
    import numpy as np

    kinds, counts = np.unique(rows, axis=0, return_counts=True)
    generator = np.random.default_rng(integer("bootstrap", seed))
    n = len(rows)
    if len(kinds) <= _FEW:
        found: Array = generator.multinomial(n, counts / n, size=draws).astype(np.float64) @ kinds
        return found
    columns = list(np.repeat(kinds, counts, axis=0).T)
    sums = np.empty((draws, len(columns)))
    step = max(1, _CELLS // n)
    for start in range(0, draws, step):
        chosen = generator.integers(0, n, size=(min(step, draws - start), n), dtype=np.int32)
        for at, column in enumerate(columns):
            constant = column[0] == column.min() == column.max()
            sums[start : start + step, at] = n * column[0] if constant else column.take(chosen).sum(axis=1)
    return sums


def bootstrap(
    items: Sequence[T], statistic: Callable[[Sequence[T]], float], *, draws: int = 1000, seed: int = 0
) -> Array:
    """Any statistic of as many items drawn with replacement, `draws` times. What hangs together must be one item."""
    import numpy as np

    generator = np.random.default_rng(integer("bootstrap", seed))
    n = len(items)
    return np.array([statistic([items[at] for at in generator.integers(0, n, size=n)]) for _ in range(draws)])


def percentiles(samples: Array, n: int, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a bootstrap over n rows: percentiles, taken further out by as much as few rows make the
    bootstrap too sure of itself (Hesterberg 2015, 1411.5279, the expanded percentile interval)."""
    import numpy as np

    tail = expanded_tail(n, level)
    low, high = np.quantile(samples, [tail, 1 - tail])
    return float(low), float(high)


def expanded_tail(n: int, level: float = LEVEL) -> float:
    """Which percentile (0 to 0.5) ends the interval of a bootstrap over n rows: 0.025 for many, less for few."""
    if n < 2:
        return 0.0
    return NormalDist().cdf(-math.sqrt(n / (n - 1)) * student(0.5 + level / 2, n - 1))


def student(p: float, df: int) -> float:
    """The quantile of Student's t for p from 0.5 to 1 (not 1 itself) and df >= 1."""
    if df >= _NORMAL:
        z = NormalDist().inv_cdf(p)
        return z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df * df)
    low, high = 0.0, 1.0
    while student_cdf(high, df) < p:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if student_cdf(middle, df) < p else (low, middle)
    return high


def student_cdf(t: float, df: int) -> float:
    """P(T <= t) for t >= 0: the finite series of Abramowitz & Stegun 26.7.3 and 26.7.4."""
    angle = math.atan2(t, math.sqrt(df))
    square = math.cos(angle) ** 2
    term = math.sin(angle) * (math.cos(angle) if df % 2 else 1.0)
    total = 0.0 if df == 1 else term
    for at in range(2 + df % 2, df - 1, 2):
        term *= square * (at - 1) / at
        total += term
    inside = 2 / math.pi * (angle + total) if df % 2 else total
    return 0.5 + inside / 2
