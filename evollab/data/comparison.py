"""What a choice of rows comes to, beside what other ways would have chosen: means with intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evollab import rng
from evollab.data.diversity import distances

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

DRAWS = 1000
"""Resamples of a bootstrap."""
APART = 1000
"""Rows of a choice, at most, among which distances are measured."""
_MANY = 5000
"""Different values from which on the interval is the normal one, which is then the same."""
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Columns:
    """All rows by columns. means: the name in the table -> a number for each row, NaN where it has none.
    tokens: what it costs to train on a row. tags, categories: texts, None where a row has none. keys: see
    `selecting.Candidates`. vectors: those of some rows, of length 1."""

    means: Mapping[str, Floats]
    tokens: Floats
    tags: Sequence[tuple[str, ...] | None]
    categories: Sequence[str | None]
    keys: npt.NDArray[np.uint64]
    vectors: Callable[[Rows], npt.NDArray[np.float32]]


def table(choices: Mapping[str, Rows], columns: Columns, seed: int) -> list[dict[str, Any]]:
    """A line for each choice, by name: rows, means, diversity, distinct tags, entropy of the categories,
    tokens. What no row has is left out of its line."""
    sizes = [len(rows) for rows in choices.values() if len(rows) > 1]
    apart = min([APART, *sizes])
    return [_line(name, rows, columns, apart, seed) for name, rows in choices.items()]


def _line(name: str, rows: Rows, columns: Columns, apart: int, seed: int) -> dict[str, Any]:
    line: dict[str, Any] = {"way": name, "rows": len(rows)}
    for what, values in columns.means.items():
        own = values[rows]
        own = own[~np.isnan(own)]
        if len(own):
            line[what] = mean_of(own, seed, name, what)
    if len(rows) > 1:
        far = distances(columns.vectors(_some(rows, columns.keys, apart)))
        line["diversity"] = mean_of(far, seed, name, "diversity")
    tags = [own for row in rows.tolist() if (own := columns.tags[row]) is not None]
    if tags:
        line["tags"] = len({tag.strip().casefold() for own in tags for tag in own})
    categories = Counter(own for row in rows.tolist() if (own := columns.categories[row]) is not None)
    if categories:
        line["entropy"] = round(_entropy(categories), 4)
    line["tokens"] = int(np.nansum(columns.tokens[rows]))
    return line


def _some(rows: Rows, keys: npt.NDArray[np.uint64], most: int) -> Rows:
    """`most` of the rows, drawn by a hash of their keys (the keys themselves may have decided the choice)."""
    mixed = keys[rows]
    for shift in (33, 29):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * _MIX
    return np.sort(rows[np.argsort(mixed, kind="stable")[:most]])


def mean_of(values: Floats, *place: object) -> dict[str, float]:
    """Mean and standard deviation of `values` (one at least), and a 95 % interval of the mean by percentile
    bootstrap (Efron 1979), drawn at `place`. Resampling counts, not rows: the cost is that of the different
    values."""
    mean, spread = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
    different, counts = np.unique(values, return_counts=True)
    if len(different) > _MANY:
        half = 1.959964 * spread / math.sqrt(len(values))
        low, high = mean - half, mean + half
    else:
        generator = np.random.default_rng(rng.integer("select", "bootstrap", *place))
        drawn = generator.multinomial(len(values), counts / len(values), size=DRAWS)
        low, high = np.percentile(drawn @ different / len(values), (2.5, 97.5)).tolist()
    told = {"mean": mean, "sd": spread, "low": low, "high": high}
    return {"of": len(values), **{name: round(number, 4) for name, number in told.items()}}


def _entropy(counts: Mapping[str, int]) -> float:
    """In bits."""
    total = sum(counts.values())
    return -sum(count / total * math.log2(count / total) for count in counts.values())
