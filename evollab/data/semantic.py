"""Which rows say in other words what a row that stays says: exact, though most products are never computed.

Rows are taken in the order of preference, and each is held against those that stay. Two vectors cut to the
coordinates that tell most (their principal axes) bound the whole product from above, for what was cut off
adds at most the product of its lengths (Cauchy-Schwarz). Only pairs whose bound reaches the threshold are
computed in full. So nothing is missed, and memory grows with the rows, not with the pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evollab.data.minhash import Limits
from evollab.data.vectors import Kept, Places, Vectors, renew

DIGITS = 4
"""A cosine is rounded to so many decimals, then compared: what is written is what decided."""
_NOISE = 1e-3
"""By so much a bound may lie below the product that it bounds: half-precision and rounding."""
_BLOCK = 1024
_WIDE = 2048
"""Rows that stay which a block is held against at a time: 8 MiB of bounds."""
_PAIRS = 1 << 13
_SAMPLE = 2048
_VERIFYING = 30_000
"""What a product in full costs, in coordinates of a bound (measured: it has to fetch its two rows)."""
_CUTS = (16, 32, 48, 64, 96, 128, 192, 256, 384)
_CROWDED = 1 / 64
"""With a greater share of pairs to verify, all products of a block are cheaper."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The principal axes that bounds are made of, shape (dims, axes)."""

    axes: npt.NDArray[np.float32]

    def __call__(self, rows: Kept) -> Vectors:
        """Shape (rows, axes + 1): the coordinates, then the length of what was cut off. The inner product
        of two of these is no less than that of the whole rows."""
        whole = _unit(rows)
        made = np.empty((len(whole), self.axes.shape[1] + 1), np.float32)
        np.matmul(whole, self.axes, out=made[:, :-1])
        rest = 1 - np.einsum("ij,ij->i", made[:, :-1], made[:, :-1])
        made[:, -1] = np.sqrt(np.maximum(rest, 0))
        return made


def cut_for(vectors: Kept, least: float) -> Cut:
    """The axes of `vectors`, as many as make finding the pairs with a product of `least` or more cheap."""
    rows = _unit(vectors[:: max(1, len(vectors) // (4 * _SAMPLE))])
    _, axes = np.linalg.eigh(rows.T @ rows)
    axes = np.ascontiguousarray(axes[:, ::-1], np.float32)
    half = len(rows) // 2
    best = Cut(axes)
    price = float(vectors.shape[1])
    for count in _CUTS:
        if count >= price:
            break
        cut = Cut(np.ascontiguousarray(axes[:, :count]))
        bounds = cut(rows[:half][:_SAMPLE].astype(np.float16)) @ cut(rows[half:][:_SAMPLE].astype(np.float16)).T
        cost = count + _VERIFYING * float(np.count_nonzero(bounds >= least - _NOISE)) / max(1, bounds.size)
        if cost < price:
            best, price = cut, cost
    return best


def thin(vectors: Kept, order: Places, limits: Limits, settled: int = 0) -> dict[int, tuple[int, float]]:
    """Removed row -> (the row that stays which it resembles most, their cosine).

    `order`: rows of `vectors`, the ones to prefer first; the first `settled` of them stay unseen. A row goes
    where a row before it that stays is as alike as `limits` asks. Memory: some 4 * (axes + 1) bytes a row.
    """
    search = _Search(vectors, order, limits)
    for start in range(0, settled, _WIDE):
        rows = order[start : min(settled, start + _WIDE)]
        search.stays(rows, search.cut(vectors[rows]))
    for start in range(settled, len(order), _BLOCK):
        search.look_at(order[start : start + _BLOCK])
        done = min(len(order), start + _BLOCK)
        renew(f"comparing: {done:,} of {len(order):,} rows" if done < len(order) else "")
    return search.removed


class _Search:
    def __init__(self, vectors: Kept, order: Places, limits: Limits) -> None:
        self.removed: dict[int, tuple[int, float]] = {}
        self.cut = cut_for(vectors[np.sort(order)] if len(order) < 4 * _SAMPLE else vectors, limits.near)
        self._vectors = vectors
        self._limits = limits
        self._rows = np.empty(len(order), np.int64)
        self._cuts = np.empty((len(order), self.cut.axes.shape[1] + 1), np.float32)
        self._count = 0
        # Memory that is used again and again: new pages cost more than the products in them.
        self._bounds = np.empty(_BLOCK * _WIDE, np.float32)
        self._may = np.empty(_BLOCK * _WIDE, bool)

    def stays(self, rows: Places, cuts: Vectors) -> None:
        to = slice(self._count, self._count + len(rows))
        self._rows[to], self._cuts[to] = rows, cuts
        self._count += len(rows)

    def look_at(self, rows: Places) -> None:
        """Settle the next rows."""
        cuts = self.cut(self._vectors[rows])
        best, cosines = np.full(len(rows), -1), np.zeros(len(rows))
        for start in range(0, self._count, _WIDE):
            to = slice(start, min(self._count, start + _WIDE))
            one, other, found = self._alike(rows, cuts, self._rows[to], self._cuts[to])
            order = np.lexsort((other, -found, one))
            first = order[np.unique(one[order], return_index=True)[1]]
            first = first[found[first] > cosines[one[first]]]
            cosines[one[first]], best[one[first]] = found[first], self._rows[to][other[first]]
        self._among_themselves(rows, cuts, best, cosines)
        left = best < 0
        self.stays(rows[left], cuts[left])
        gone = np.flatnonzero(~left)
        told = zip(best[gone].tolist(), cosines[gone].tolist(), strict=True)
        self.removed.update(zip(rows[gone].tolist(), told, strict=True))

    def _among_themselves(self, rows: Places, cuts: Vectors, best: Places, cosines: npt.NDArray[np.float64]) -> None:
        """The rows of a block, each against those before it that stay."""
        may = np.flatnonzero(best < 0)
        one, other, found = self._alike(rows[may], cuts[may], rows, cuts)
        before = may[one] < other
        order = np.lexsort((one[before], other[before]))
        pairs = (may[one[before]][order], other[before][order], found[before][order])
        for first, second, cosine in zip(*(part.tolist() for part in pairs), strict=True):
            if best[first] < 0 and cosine > cosines[second]:
                best[second], cosines[second] = rows[first], cosine

    def _alike(
        self, rows: Places, cuts: Vectors, others: Places, other_cuts: Vectors
    ) -> tuple[Places, Places, npt.NDArray[np.float64]]:
        """The pairs of rows that are as alike as asked: places in `rows`, places in `others`, cosines."""
        size, least = len(rows) * len(others), self._limits.near - _NOISE
        bounds = self._bounds[:size].reshape(len(rows), len(others))
        np.matmul(cuts, other_cuts.T, out=bounds)
        may = np.flatnonzero(np.greater_equal(bounds.reshape(-1), least, out=self._may[:size]))
        if len(may) > _CROWDED * size:
            np.matmul(_unit(self._vectors[rows]), _unit(self._vectors[others]).T, out=bounds)
            one, other = np.divmod(np.flatnonzero(bounds >= least), len(others))
            cosine = bounds[one, other].astype(np.float64)
        else:
            one, other = np.divmod(may, len(others))
            cosine = self._cosines(rows[one], others[other])
        cosine = np.minimum(np.round(cosine, DIGITS), 1)
        enough = cosine >= self._limits.needed(rows[one], others[other])
        return one[enough], other[enough], cosine[enough]

    def _cosines(self, one: Places, other: Places) -> npt.NDArray[np.float64]:
        found = np.empty(len(one))
        for start in range(0, len(one), _PAIRS):
            part = slice(start, start + _PAIRS)
            pair = _unit(self._vectors[one[part]]), _unit(self._vectors[other[part]])
            found[part] = np.einsum("ij,ij->i", *pair)
        return found


def _unit(rows: Kept | Vectors) -> Vectors:
    """In float32, with the length 1 that half precision took from them."""
    made = np.asarray(rows, np.float32)
    return np.asarray(made / np.sqrt(np.einsum("ij,ij->i", made, made))[:, None], np.float32)
