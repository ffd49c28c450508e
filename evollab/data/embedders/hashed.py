"""Hashed character 4-grams: vectors that follow the wording of a text. No model, no weights.

Every 4-gram of the normal form (`data.comparable`) adds 1 + ln(how often it occurs) at a place and with a
sign that its hash says (feature hashing, Weinberger et al. 2009): the inner product of two vectors is
that of the full 4-gram counts, but for a noise of about 1 / sqrt(DIMS).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evollab.data.comparable import normalise
from evollab.data.embed import Embedder
from evollab.data.vectors import Vectors

GRAM = 4
"""Characters of one n-gram. A shorter text is padded to one."""
DIMS = 512
LONGEST = 1 << 17
"""Characters of a text that are read, at most."""
_BATCH = 1 << 18
"""Characters whose n-grams are sorted at a time."""
_TERMS = np.random.default_rng(2009_0309).integers(1, 2**64, size=GRAM, dtype=np.uint64) | np.uint64(1)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
_ROW = np.uint64(40)
"""A key is the row above this bit, 40 bits of the n-gram's hash below."""
_SIGN = np.uint64(39)


def load() -> Embedder:
    return Embedder(f"hashed-{GRAM}-{DIMS}", DIMS, vectors, meaning=False, costly=False)


def vectors(texts: Sequence[str]) -> Vectors:
    """Shape (texts, DIMS), rows of length 1."""
    made = np.empty((len(texts), DIMS), np.float32)
    held: list[str] = []
    first = size = 0
    for row, text in enumerate(texts):
        # A blank at both ends: where words begin and end counts for the first and the last one, too.
        held.append(f" {normalise(text[:LONGEST])[:LONGEST]} ".ljust(GRAM))
        size += len(held[-1])
        if size >= _BATCH or row == len(texts) - 1:
            made[first : row + 1] = _vectors(held)
            held, first, size = [], row + 1, 0
    return made


def _vectors(texts: list[str]) -> Vectors:
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    row = np.repeat(np.arange(len(texts), dtype=np.uint64), lengths)
    # N-grams that reach from one text into the next are left out.
    inside = np.ones(len(row), bool)
    for back in range(1, GRAM):
        inside[np.cumsum(lengths) - back] = False
    keys = (row[inside] << _ROW) | (_hashes("".join(texts))[inside[: len(row) - GRAM + 1]] >> np.uint64(64 - 40))
    keys.sort()
    edges = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1], [True])))
    keys = keys[edges[:-1]]
    weights = 1 + np.log(np.diff(edges))
    weights[(keys >> _SIGN) & np.uint64(1) == 1] *= -1
    places = (keys >> _ROW).astype(np.int64) * DIMS + (keys % np.uint64(DIMS)).astype(np.int64)
    sums = np.bincount(places, weights, len(texts) * DIMS).astype(np.float64).reshape(len(texts), DIMS)
    _fill_empty(sums, places)
    lengths = np.sqrt(np.einsum("ij,ij->i", sums, sums))
    return np.asarray(sums / lengths[:, None], np.float32)


def _fill_empty(made: npt.NDArray[np.float64], places: npt.NDArray[np.int64]) -> None:
    """A text whose few n-grams cancel each other out gets the place of one of them."""
    for row in np.flatnonzero(~made.any(axis=1)).tolist():
        made[row, int(places[np.searchsorted(places // DIMS, row)]) % DIMS] = 1


def _hashes(text: str) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of each n-gram, in order, repeats included."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    count = len(codes) - GRAM + 1
    made: npt.NDArray[np.uint64] = codes[:count] * _TERMS[0]
    for place in range(1, GRAM):
        made += codes[place : place + count] * _TERMS[place]
    made ^= made >> _HALF
    made *= _MIX
    return made
