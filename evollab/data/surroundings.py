"""Where each row of an analysis lies among the others: its cluster, its nearest neighbour, the whole's breadth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from evollab.data.breadth import breadth
from evollab.data.distributions import shown_groups
from evollab.data.embed import embedder
from evollab.data.items import Item
from evollab.data.spool import Spool
from evollab.data.strata import value_of
from evollab.data.vectors import embed_texts, vector_cache

_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`embedder` names whose vectors these are. `breadth`: JSON as `report.analysis_facts.Breadth` has it."""

    embedder: str
    breadth: Mapping[str, Any]
    _clusters: Sequence[int]
    _nearest: Sequence[float]

    def of(self, row: int) -> dict[str, Any]:
        """The attributes of a row (from 0): nn_similarity, cosine to the nearest other row, and cluster."""
        near = float(self._nearest[row])
        return {
            "nn_similarity": None if math.isnan(near) else round(near, _DIGITS),
            "cluster": f"cluster {self._clusters[row] + 1}",
        }


class _Texts(Sequence[str]):
    """The texts of a spool, fetched one at a time."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def __len__(self) -> int:
        return len(self._spool)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[row] for row in range(*at.indices(len(self)))]
        return self._spool[at].decode("utf-8", "surrogatepass")


def surroundings(
    rows: Callable[[], Iterator[Item]], folder: Path, spec: str | None, by: str, seed: int
) -> Surroundings:
    """Embed what users say in each of `rows` (called once) and find clusters, neighbours and breadth.

    spec: see `embed.embedder`. by: the field whose values are the groups. Texts lie in a nameless file in
    `folder` meanwhile. Raises EvolError for an embedder or a package that isn't there.
    """
    embed = embedder(spec)
    spool = Spool(folder)
    try:
        groups: list[str | None] = []
        names: dict[str, str] = {}  # one string for each value, however many rows have it
        for item in rows():
            spool.add(item.asked.encode("utf-8", "surrogatepass"))
            value = value_of(item.fields, by) if by else None
            told = str(value) if isinstance(value, (str, int)) else None
            groups.append(None if told is None else names.setdefault(told, told))
        spool.flush()
        texts = _Texts(spool)
        shown = shown_groups(Counter(group for group in groups if group is not None), by)
        called = [None if group is None else shown.get(group) for group in groups] if shown else []
        vectors = embed_texts(texts, embed, vector_cache(), total=len(texts), scratch=folder)
        order = tuple(dict.fromkeys(shown.values()))
        found = breadth(vectors, texts, called, order=order, embedder=embed.identity, seed=seed)
    finally:
        spool.close()
    return Surroundings(embed.identity, found.to_json(), found.cluster.tolist(), found.nearest.tolist())
