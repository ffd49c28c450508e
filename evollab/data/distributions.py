"""Attributes of many rows as distributions: overall and by group, small whatever the number of rows.

What comes out is the JSON of `report.analysis_facts` (Groups, Numeric, Categorical), which the page reads.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeGuard

from evollab.data.rows import excerpt

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

MOST_GROUPS = 8
MOST_VALUES = 40
_LONGEST = 80
_DISTINCT = 50_000
"""Different values of one attribute that are told apart; later ones are counted together."""
OTHER = "other"
_BINS = 40
_WHOLE = 24
"""Whole numbers that span no more than this get a bin each."""
_TAIL = 12.0
"""When the 99th percentile is so many times the median, the axis is logarithmic."""
_QUANTILES = {"p01": 1, "p05": 5, "p10": 10, "p25": 25, "p50": 50, "p75": 75, "p90": 90, "p95": 95, "p99": 99}


@dataclass(slots=True)
class _Words:
    """A categorical attribute while it is counted: for each value and group, rows and their difficulty."""

    rows: list[int] = field(default_factory=list[int])
    counts: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    marks: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """Number, sum and sum of squares of the difficulties of the rows with a value."""


class Distributions:
    """Takes rows in one by one (`add`), gives the JSON of all attributes at the end (`to_json`).

    `by` names the field that groups are made of ("round": seeds, round 1, ...; "": no groups). Memory: 8
    bytes a row and numeric attribute, and the different values of the others.
    """

    def __init__(self, by: str) -> None:
        self.by = by
        self.rows = 0
        self._names: dict[str, int] = {}
        self._groups = array("i")
        self._numbers: dict[str, array[float]] = {}
        self._words: dict[str, _Words] = {}

    def add(self, group: str | None, attributes: Mapping[str, Any]) -> None:
        """A row of `group` (None: of none)."""
        number = self._group(group)
        self._groups.append(number)
        mark = attributes.get("difficulty")
        difficulty = float(mark) if _is_number(mark) else None
        for name, value in attributes.items():
            if value is None:
                continue
            if _is_number(value):
                column = self._numbers.setdefault(name, array("d"))
                column.extend([math.nan] * (self.rows - len(column)))
                column.append(float(value))
            elif (values := _values(value)) is not None:
                self._count(name, values, number, difficulty)
        self.rows += 1

    def _group(self, group: str | None) -> int:
        if group is None:
            return -1
        if group not in self._names and len(self._names) >= _DISTINCT:
            group = OTHER
        return self._names.setdefault(group, len(self._names))

    def _count(self, name: str, values: Iterable[str], group: int, difficulty: float | None) -> None:
        words = self._words.setdefault(name, _Words())
        _bump(words.rows, group + 1)
        for value in values:
            if value not in words.counts and len(words.counts) >= _DISTINCT:
                value = OTHER
            _bump(words.counts.setdefault(value, []), group + 1)
            if difficulty is not None:
                marks = words.marks.setdefault(value, [0.0, 0.0, 0.0])
                marks[0] += 1
                marks[1] += difficulty
                marks[2] += difficulty * difficulty

    def to_json(self) -> dict[str, Any]:
        """{"groups", "numeric", "categorical"} as `report.analysis_facts` has them."""
        import numpy as np

        merge, names = self._merged()
        groups = np.array(self._groups, np.int64)
        groups = np.where(groups < 0, -1, np.array([*merge, -1], np.int64)[groups])
        size = len(names)
        told: dict[str, Any] = {"numeric": [], "categorical": []}
        if names:
            rows = [int((groups == at).sum()) for at in range(size)]
            told["groups"] = {"by": self.by, "names": names, "rows": rows}
        for name, column in self._numbers.items():
            column.extend([math.nan] * (self.rows - len(column)))
            told["numeric"].append(_numeric(name, np.array(column), groups, size))
        for name, words in self._words.items():
            told["categorical"].append(_categorical(name, words, self.rows, merge, size))
        return told

    def _merged(self) -> tuple[list[int], list[str]]:
        """For each group its place on the page, and the names there."""
        sizes = Counter(self._groups)
        shown = shown_groups({name: sizes[at] for name, at in self._names.items()}, self.by)
        names = list(dict.fromkeys(shown.values()))
        return [names.index(shown[name]) if shown else -1 for name in self._names], names


def shown_groups(sizes: Mapping[str, int], by: str) -> dict[str, str]:
    """What the page calls each group, in the order in which it shows them: rounds in order, others by their
    size, what comes after the seventh as one where there are more than eight. {} for fewer than two groups."""
    if len(sizes) < 2:
        return {}
    if by == "round":
        order = sorted(sizes, key=lambda name: (_round(name), name))
    else:
        order = sorted(sizes, key=lambda name: (-sizes[name], name))
    shown = order if len(order) <= MOST_GROUPS else order[: MOST_GROUPS - 1]
    rest = "later rounds" if by == "round" else OTHER
    return {name: _called(name, by) if at < len(shown) else rest for at, name in enumerate(order)}


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _values(value: object) -> list[str] | None:
    """The values of a categorical attribute, each once; None for what is none."""
    match value:
        case bool():
            return ["true" if value else "false"]
        case str():
            return [value[:_LONGEST]] if value else None
        case list() if value and all(isinstance(one, str) for one in value):
            return list(dict.fromkeys(one[:_LONGEST] for one in value))
        case _:
            return None


def _bump(counts: list[int], at: int) -> None:
    counts.extend([0] * (at + 1 - len(counts)))
    counts[at] += 1


def _round(name: str) -> int:
    return int(name) if name.isascii() and name.isdigit() and len(name) < 10 else 1 << 30


def _called(name: str, by: str) -> str:
    if by != "round":
        return excerpt(name, 40)
    return "seeds" if name == "0" else f"round {excerpt(name, 10)}"


def _merge(counts: list[int], merge: list[int], size: int) -> list[int]:
    """Counts by group as found -> by group as shown. Place 0 are the rows of no group."""
    shown = [0] * size
    for group, count in enumerate(counts[1:]):
        if size and merge[group] >= 0:
            shown[merge[group]] += count
    return shown


def _categorical(name: str, words: _Words, rows: int, merge: list[int], size: int) -> dict[str, Any]:
    have = sum(words.rows)
    ranked = sorted(words.counts.items(), key=lambda pair: (-sum(pair[1]), pair[0]))
    values = []
    for value, counts in ranked[:MOST_VALUES]:
        one: dict[str, Any] = {"value": value, "n": sum(counts), "by_group": _merge(counts, merge, size)}
        if (marks := words.marks.get(value)) and name != "difficulty":
            one["difficulty"] = _estimate(*marks)
        values.append(one)
    return {
        "name": name, "n": have, "missing": rows - have, "n_by_group": _merge(words.rows, merge, size),
        "distinct": len(words.counts), "values": values,
    }  # fmt: skip


def _estimate(n: float, total: float, squares: float) -> dict[str, Any]:
    """A mean with its 95 % interval by the normal approximation; none for fewer than two."""
    mean = total / n
    told: dict[str, Any] = {"n": int(n), "mean": round(mean, 4)}
    if n > 1:
        half = 1.96 * math.sqrt(max(0.0, (squares - n * mean * mean) / (n - 1)) / n)
        told |= {"low": round(mean - half, 4), "high": round(mean + half, 4)}
    return told


def _numeric(name: str, column: Floats, groups: Ints, size: int) -> dict[str, Any]:
    import numpy as np

    known = np.isfinite(column)
    values = column[known]
    scale, edges = _edges(values)
    by_group: list[dict[str, Any] | None] = []
    for at in range(size):
        inside = groups == at
        own = column[inside & known]
        by_group.append(_distribution(own, int(inside.sum()) - len(own), edges) if len(own) else None)
    return {
        "name": name, "scale": scale, "edges": [float(one) for one in edges],
        "overall": _distribution(values, len(column) - len(values), edges), "by_group": by_group,
    }  # fmt: skip


def _edges(values: Floats) -> tuple[str, Floats]:
    """Ends of the bins: one for each whole number of few, else 40 from the first to the 99.5th percentile."""
    import numpy as np

    low, high = float(values.min()), float(values.max())
    if (values == np.round(values)).all() and high - low <= _WHOLE:
        return "linear", np.arange(low, high + 2) - 0.5
    start, middle, end = (float(one) for one in np.percentile(values, [0.5, 50, 99.5]))
    if low > 0 and end > _TAIL * middle:
        return "log", np.geomspace(max(start, low), max(end, start * 1.01), _BINS + 1)
    start = 0.0 if 0 <= start < (end - start) / 4 else start
    if end <= start:
        start, end = low, high
    if end <= start:  # all the same
        start, end = start - 0.5, start + 0.5
    return "linear", np.linspace(start, end, _BINS + 1)


def _distribution(values: Floats, missing: int, edges: Floats) -> dict[str, Any]:
    import numpy as np

    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    quantiles = np.percentile(values, list(_QUANTILES.values()))
    return {
        "n": len(values), "missing": missing, "mean": round(float(values.mean()), 6),
        "sd": round(float(values.std(ddof=1)) if len(values) > 1 else 0.0, 6),
        "min": float(values.min()), "max": float(values.max()),
        **{name: round(float(one), 6) for name, one in zip(_QUANTILES, quantiles, strict=True)},
        "counts": [int(one) for one in counts],
    }  # fmt: skip
