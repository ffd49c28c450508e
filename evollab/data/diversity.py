"""Rows that keep their distance, and how far apart rows are: exact, on unit vectors, in blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

BLOCK = 2048
"""Rows that are looked at together."""
_WIDE = 8192
"""Chosen rows that a block is compared with at a time: 64 MiB of similarities."""
_EVEN = 1e-6
"""Similarities that differ by less are equal: floating-point noise decides nothing."""


@dataclass(slots=True)
class Gate:
    """`chosen` in the order they were chosen; `near`: of a row passed over (the chosen row that it is
    nearest to, their cosine similarity)."""

    chosen: list[int] = field(default_factory=list[int])
    near: dict[int, tuple[int, float]] = field(default_factory=dict[int, tuple[int, float]])


def spread_out(order: Rows, vectors: Callable[[Rows], Vectors], n: int | None, near: float) -> Gate:
    """Rows taken greedily in `order`, each when its cosine similarity to all taken before is below `near`,
    until there are `n` (None: to the end). `vectors` is asked for rows as their turn comes: a block more
    than needed at most."""
    gate = Gate()
    enough = len(order) if n is None else n
    taken: Vectors = np.empty((0, 0), np.float32)
    for start in range(0, len(order), BLOCK):
        if len(gate.chosen) >= enough:
            break
        rows = order[start : start + BLOCK]
        block = vectors(rows)
        cosine, nearest = nearest_of(block, taken[: len(gate.chosen)])
        inner = block @ block.T
        own: list[int] = []
        for at, row in enumerate(rows.tolist()):
            if len(gate.chosen) >= enough:
                break
            best, other = float(cosine[at]), int(nearest[at])
            if own:
                place = int(inner[at, own].argmax())
                if inner[at, own[place]] > best:
                    best, other = float(inner[at, own[place]]), len(gate.chosen) - len(own) + place
            if best >= near - _EVEN:
                gate.near[row] = (gate.chosen[other], best)
            else:
                own.append(at)
                gate.chosen.append(row)
        taken = _with(taken, block[own], len(gate.chosen))
    return gate


def nearest_of(block: Vectors, others: Vectors) -> tuple[npt.NDArray[np.float32], Rows]:
    """For each row of `block` its greatest cosine similarity to one of `others`, and which one that is;
    -2 and 0 where there are none."""
    best = np.full(len(block), -2.0, np.float32)
    which = np.zeros(len(block), np.int64)
    for start in range(0, len(others), _WIDE):
        found = block @ others[start : start + _WIDE].T
        place = found.argmax(axis=1)
        value = found[np.arange(len(block)), place]
        better = value > best
        best[better], which[better] = value[better], start + place[better]
    return best, which


def _with(taken: Vectors, more: Vectors, size: int) -> Vectors:
    """`taken` with `more` behind its first rows, in room that doubles when it is used up."""
    if size > len(taken):
        grown = np.empty((max(2 * size, 2 * BLOCK), more.shape[1]), np.float32)
        grown[: size - len(more)] = taken[: size - len(more)] if len(taken) else 0
        taken = grown
    taken[size - len(more) : size] = more
    return taken


def distances(vectors: Vectors) -> npt.NDArray[np.float64]:
    """Each row's cosine distance to the nearest other row; at least two rows."""
    far = np.empty(len(vectors), np.float64)
    for start in range(0, len(vectors), BLOCK):
        found = vectors[start : start + BLOCK] @ vectors.T
        places = np.arange(len(found))
        found[places, start + places] = -2.0
        far[start : start + BLOCK] = 1.0 - found.max(axis=1)
    return far
