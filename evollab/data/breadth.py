"""What a data set covers: clusters, a map, and how wide groups of it (seeds, rounds) lie.

As WizardLM's data analysis does it (2304.12244): embeddings, k-means with k = 20, t-SNE for the eye. The
numbers come from the vectors, never from the map, which keeps neighbours together and nothing else.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evollab import rng
from evollab.data.dispersion import FEWEST, Measure, Sample, measures
from evollab.data.vectors import Kept, Places, Vectors, nearest
from evollab.records import EvolError, digest

CLUSTERS = 20
POINTS = 4000
"""Rows on the map, at most."""
_FITTED = 20_000
"""Rows that the clusters are fitted on, at most; every row then goes to its nearest."""
_MEASURED = 4000
"""Rows of each group that are measured, at most."""
_STARTS = 4
_PERPLEXITY = 30
_ITERATIONS = 750
_TEXTS = 3
_SHOWN = 300
_BLOCK = 8192
INSTALL = "pip install 'evollab[data]'"


@dataclass(frozen=True, slots=True)
class Cluster:
    """size: of all rows. by_group: of each group. texts: the beginnings of those nearest to its centre."""

    size: int
    by_group: tuple[int, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A row on the map: its place, the places of its cluster and its group (-1: of none), its beginning."""

    x: float
    y: float
    cluster: int
    group: int
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Breadth:
    """embedder: whose vectors. method: how rows came on the map, t-SNE or PCA. groups: their names in order.
    clusters: largest first. cluster: each row's place in them, shape (rows,). nearest: each row's cosine to
    the nearest other row, shape (rows,), NaN for a single row."""

    embedder: str
    method: str
    groups: tuple[str, ...]
    clusters: tuple[Cluster, ...]
    points: tuple[Point, ...]
    measures: tuple[Measure, ...]
    cluster: Places
    nearest: Vectors

    def to_json(self) -> dict[str, Any]:
        """All but what is said of every row, in the shape that the page of an analysis reads."""
        points: dict[str, list[Any]] = {
            "x": [round(point.x, 3) for point in self.points],
            "y": [round(point.y, 3) for point in self.points],
            "cluster": [point.cluster for point in self.points],
            "group": [point.group for point in self.points] if self.groups else [],
            "text": [point.text for point in self.points],
        }
        clusters = [
            {"size": one.size, "by_group": list(one.by_group), "texts": list(one.texts)} for one in self.clusters
        ]
        return {
            "embedder": self.embedder,
            "method": self.method,
            "embedded": len(self.cluster),
            "clusters": clusters,
            "points": points,
            "measures": [measure.to_json() for measure in self.measures],
        }


def breadth(
    vectors: Kept | Vectors,
    texts: Sequence[str],
    groups: Sequence[str | None] = (),
    *,
    order: Sequence[str] = (),
    embedder: str = "",
    seed: int = 0,
    k: int = CLUSTERS,
) -> Breadth:
    """Clusters, map and numbers of rows.

    vectors: shape (rows, dims), rows of length 1. texts: of each row; asked for one at a time, so it may
    fetch them from disk. groups: the name of each row's group, None for a row of none; empty without groups.
    order: the groups to speak of, the reference (seeds) first; default: all, as they come. The same rows
    give the same outcome in any order of theirs but for the numbers of equal clusters. Raises EvolError
    without scikit-learn, and where the arguments don't fit together.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise EvolError("clusters and the map need scikit-learn, which is not installed", INSTALL)
    if not len(vectors) or len(texts) != len(vectors) or len(groups) not in (0, len(vectors)):
        raise EvolError(
            f"breadth: {len(vectors)} vectors, {len(texts)} texts, {len(groups)} groups; expected as many of each, and "
            "one at least"
        )
    names = tuple(order or dict.fromkeys(group for group in groups if group is not None))
    place = {name: at for at, name in enumerate(names)}
    group = np.array([place.get(name, -1) if name is not None else -1 for name in groups], np.int64)
    drawn = _draw(texts, seed)
    centres = _centres(vectors, drawn[:_FITTED], k, seed)
    cluster, closeness = _assigned(vectors, centres)
    clusters = _clusters(texts, cluster, closeness, group, len(names), len(centres))
    shown = np.sort(_fair(drawn, group, len(names), POINTS))
    places, method = _map(np.asarray(vectors[shown], np.float32), seed)
    points = tuple(
        Point(float(x), float(y), int(cluster[row]), int(group[row]) if names else -1, texts[row][:_SHOWN])
        for row, (x, y) in zip(shown.tolist(), places.tolist(), strict=True)
    )
    close = nearest(vectors, vectors, 1, exclude_self=True)[1][:, 0]
    numbers = _measures(vectors, cluster, group, names, drawn, len(centres))
    return Breadth(
        embedder, method, names, clusters, points, numbers, cluster, np.where(np.isfinite(close), close, np.nan)
    )


def _draw(texts: Sequence[str], seed: int) -> Places:
    """All rows in an order that chance gave them: by their text alone, equal ones as they come."""
    keys = np.array([rng.integer(seed, "breadth", digest(texts[row])) for row in range(len(texts))], np.uint64)
    return np.argsort(keys, kind="stable")


def _fair(drawn: Places, group: Places, groups: int, most: int) -> Places:
    """At most `most` rows, of each group as many, what small ones leave over shared among the others. Rows of
    no group only where there are no groups."""
    if not groups:
        return drawn[:most]
    kinds = [drawn[group[drawn] == at] for at in range(groups)]
    taken: list[Places] = []
    for left, rows in zip(range(groups, 0, -1), sorted(kinds, key=len), strict=True):
        taken.append(rows[: (most - sum(map(len, taken))) // left])
    return np.concatenate(taken)


def _centres(vectors: Kept | Vectors, rows: Places, k: int, seed: int) -> Vectors:
    """The middles of at most `k` clusters, shape (clusters, dims)."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    fit = KMeans(min(k, len(rows)), n_init=_STARTS, random_state=seed)
    with threadpool_limits(1), warnings.catch_warnings():  # several threads add up in another order
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than clusters
        fit.fit(np.asarray(vectors[np.sort(rows)], np.float32))
    return np.unique(np.asarray(fit.cluster_centers_, np.float32), axis=0)


def _assigned(vectors: Kept | Vectors, centres: Vectors) -> tuple[Places, Vectors]:
    """Each row's cluster, the largest first and none empty, and how close it is to the middle (greater is closer)."""
    half = np.einsum("ij,ij->i", centres, centres) / 2
    cluster = np.empty(len(vectors), np.int64)
    closeness = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _BLOCK):
        part = slice(start, start + _BLOCK)
        found = np.asarray(vectors[part], np.float32) @ centres.T - half
        cluster[part] = found.argmax(axis=1)
        closeness[part] = found.max(axis=1)
    sizes = np.bincount(cluster, minlength=len(centres))
    number = np.empty(len(centres), np.int64)
    number[np.argsort(-sizes, kind="stable")] = np.arange(len(centres))
    return number[cluster], closeness


def _clusters(
    texts: Sequence[str], cluster: Places, closeness: Vectors, group: Places, groups: int, k: int
) -> tuple[Cluster, ...]:
    made: list[Cluster] = []
    for at in range(k):
        rows = np.flatnonzero(cluster == at)
        if not len(rows):
            break  # the largest come first
        said: dict[str, None] = {}
        for row in rows[np.argsort(-closeness[rows], kind="stable")].tolist():
            said.setdefault(texts[row][:_SHOWN])
            if len(said) == _TEXTS:
                break
        counts = np.bincount(group[rows][group[rows] >= 0], minlength=groups) if groups else np.empty(0, np.int64)
        made.append(Cluster(len(rows), tuple(counts.tolist()), tuple(said)))
    return tuple(made)


def _map(rows: Vectors, seed: int) -> tuple[Vectors, str]:
    """Places in two dimensions, shape (rows, 2), and how they were found."""
    if len(rows) < 8 or not np.ptp(rows, axis=0).any():
        middle = rows - rows.mean(axis=0)
        _, _, axes = np.linalg.svd(middle, full_matrices=False)
        flat = np.zeros((len(rows), 2), np.float32)
        flat[:, : len(axes[:2])] = middle @ axes[:2].T
        return flat, "PCA"
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(_PERPLEXITY, (len(rows) - 1) / 3)
    way = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, max_iter=_ITERATIONS, n_jobs=1)
    with threadpool_limits(1):
        return np.asarray(way.fit_transform(rows), np.float32), "t-SNE"


def _measures(
    vectors: Kept | Vectors, cluster: Places, group: Places, names: Sequence[str], drawn: Places, k: int
) -> tuple[Measure, ...]:
    kinds = {name: drawn[group[drawn] == at] for at, name in enumerate(names)}
    sizes = [len(rows) for rows in kinds.values() if len(rows) >= FEWEST] or [len(vectors)]
    count = min(*sizes, _MEASURED) if sizes else 0

    def sample(rows: Places) -> Sample | None:
        if len(rows) < max(count, FEWEST):
            return None
        some = np.sort(rows[:count])
        return Sample(np.asarray(vectors[some], np.float32), cluster[some])

    groups: Mapping[str, Sample | None] = {name: sample(rows) for name, rows in kinds.items()}
    return measures(sample(drawn), groups, k)
