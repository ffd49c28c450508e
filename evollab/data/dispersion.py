"""How wide a group of texts lies in the space of an embedder, in numbers.

All of them are taken on samples of one size, because every one of them grows or shrinks with the number of
rows: groups can be compared with one another, not with figures from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from evollab.data.vectors import Places, Vectors, nearest

COVERED = 0.01
"""The share of a group's rows that makes a cluster one that it covers."""
NEIGHBOURS = 5
"""The neighbour whose distance is the radius of a row's neighbourhood."""
FEWEST = 2 * NEIGHBOURS
"""Rows below which a group is not measured."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A number on each group. about: what it is and which way is wider. overall: of all rows; by_group: of
    the rows of each group in their order; None where there are too few."""

    name: str
    about: str
    rows: int
    overall: float | None
    by_group: tuple[float | None, ...] = field(default_factory=tuple[float | None, ...])

    def to_json(self) -> dict[str, Any]:
        """In the shape that the page of an analysis reads."""
        return {
            "name": self.name,
            "about": self.about,
            "overall": self._estimate(self.overall),
            "by_group": [self._estimate(value) for value in self.by_group],
        }

    def _estimate(self, value: float | None) -> dict[str, Any] | None:
        return None if value is None else {"n": self.rows, "mean": round(value, 4)}


@dataclass(frozen=True, slots=True)
class Sample:
    """Some rows of a group: their vectors, and the cluster of each."""

    vectors: Vectors
    cluster: Places


def measures(whole: Sample | None, groups: Mapping[str, Sample | None], k: int) -> tuple[Measure, ...]:
    """All of the numbers. The samples have the same size; None where a group has too few rows. `k`: how many
    clusters there are. The first group is the one whose neighbourhoods the others are held against."""
    found = [sample for sample in (whole, *groups.values()) if sample is not None]
    rows = len(found[0].vectors) if found else 0
    drawn = f"{rows:,} rows drawn from each"
    shares = f"share of the {k} clusters that hold at least {COVERED:.0%} of the rows; more is wider ({drawn})"
    told: list[tuple[str, str, Callable[[Sample], float]]] = [
        ("clusters covered", shares, lambda one: covered(one.cluster, k)),
        (
            "effective clusters",
            f"as many clusters of equal size would be as even (exponential of the entropy; Hill 1973), of {k}; more is "
            f"wider ({drawn})",
            lambda one: effective(one.cluster, k),
        ),
        (
            "Vendi score",
            "as many texts that have nothing in common would be as varied (exponential of the entropy of the cosine "
            f"matrix; Friedman and Dieng 2023); more is wider ({drawn})",
            lambda one: vendi(one.vectors),
        ),
        (
            "mean distance",
            f"cosine distance of two rows, on average; more is wider ({drawn})",
            lambda one: mean_distance(one.vectors),
        ),
        (
            "nearest distance",
            f"cosine distance to the nearest other row, on average; more is wider ({drawn})",
            lambda one: nearest_distance(one.vectors),
        ),
    ]
    made = [
        Measure(name, about, rows, _if(whole, number), tuple(_if(one, number) for one in groups.values()))
        for name, about, number in told
    ]
    name, first = next(iter(groups.items()), ("", None))
    if first is not None and len(groups) > 1:
        about = (
            f"share of the rows of {name} that have a row of the group within the distance of their {NEIGHBOURS}th "
            f"nearest neighbour among themselves (coverage; Naeem et al. 2020); more is wider ({drawn})"
        )
        others = list(groups.values())[1:]
        reached = [_if(one, lambda one: reach(first.vectors, one.vectors)) for one in others]
        made.append(Measure(f"{name} reached", about, rows, None, (None, *reached)))
    return tuple(made)


def _if(sample: Sample | None, number: Callable[[Sample], float]) -> float | None:
    return None if sample is None else number(sample)


def covered(cluster: Places, k: int) -> float:
    """The share of the `k` clusters that hold at least COVERED of the rows, 0 to 1."""
    return float(np.count_nonzero(np.bincount(cluster, minlength=k) >= COVERED * len(cluster)) / k)


def effective(cluster: Places, k: int) -> float:
    """The number of clusters of equal size that would have the same entropy, 1 to `k` (Hill 1973, order 1)."""
    shares = np.bincount(cluster, minlength=k) / len(cluster)
    return _exponential_entropy(shares)


def vendi(vectors: Vectors) -> float:
    """The exponential of the von Neumann entropy of the matrix of cosines through the number of rows, 1 to the
    smaller of rows and dims (Friedman and Dieng 2023, The Vendi Score, TMLR)."""
    rows = vectors.astype(np.float64)
    # The matrix of dims by dims has the same eigenvalues, but for zeros, as that of rows by rows.
    return _exponential_entropy(np.asarray(np.linalg.eigvalsh(rows.T @ rows / len(rows)), np.float64))


def mean_distance(vectors: Vectors) -> float:
    """1 - cosine of two different rows, on average; at least two rows. The sum's own length tells it."""
    rows = vectors.astype(np.float64)
    whole = rows.sum(axis=0)
    count = len(rows)
    return float(1 - (whole @ whole - np.einsum("ij,ij->", rows, rows)) / (count * (count - 1)))


def nearest_distance(vectors: Vectors) -> float:
    """1 - cosine to the nearest other row, on average; at least two rows."""
    return float(np.mean(1 - nearest(vectors, vectors, 1, exclude_self=True)[1].astype(np.float64)))


def reach(reference: Vectors, vectors: Vectors) -> float:
    """Coverage: the share of `reference` whose neighbourhood, up to the NEIGHBOURS-th nearest of its own kind,
    holds a row of `vectors`, 0 to 1 (Naeem et al. 2020, Reliable Fidelity and Diversity Metrics, ICML)."""
    count = min(NEIGHBOURS, len(reference) - 1)
    own = nearest(reference, reference, count, exclude_self=True)[1][:, -1]
    return float(np.mean(nearest(reference, vectors, 1)[1][:, 0] >= own))


def _exponential_entropy(shares: npt.NDArray[np.float64]) -> float:
    some = shares[shares > 1e-12]
    return float(np.exp(-np.sum(some * np.log(some))))
