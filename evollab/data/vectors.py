"""Many texts as vectors, each made once, and the nearest of them: exact, in blocks, in bounded memory."""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from evollab.data.embed import Embedder
from evollab.data.vectorcache import VectorCache
from evollab.llm.watching import seconds
from evollab.llm.weights import cache_folder

Vectors = npt.NDArray[np.float32]
"""Shape (rows, dims), every row of length 1."""
Kept = npt.NDArray[np.float16]
"""The same as it is kept on disk: half as large, products within about 1e-4 of the exact ones."""
Places = npt.NDArray[np.int64]

TEXTS = 4096
"""Texts that are handed to an embedder at a time, and then kept: what a SIGKILL can cost."""
_CHARACTERS = 1 << 23
"""The same in characters."""
_BLOCK = 2048
"""Rows that are compared with as many others at a time: 16 MiB of products."""
_EVEN = 1e-6
"""Products that differ by less are equal: floating-point noise decides nothing."""


def vector_cache() -> Path:
    """Where vectors that took long to make are kept, for every verb and every run: `vectors` in the
    user's cache folder ($XDG_CACHE_HOME/evollab, else ~/.cache/evollab). It may be deleted at any time."""
    return cache_folder() / "vectors"


def embed_texts(
    texts: Iterable[str],
    embedder: Embedder,
    cache: Path | None = None,
    *,
    total: int | None = None,
    scratch: Path | None = None,
) -> Kept:
    """The vectors of `texts` in their order, shape (texts, dims), float16, on disk in a nameless file.

    Equal texts are embedded once. `cache`: a folder that keeps vectors by embedder and digest of the text
    for the next time, also after a SIGKILL; left alone where the embedder is not costly. `total`: how many
    texts will come, for the progress shown on a terminal. `scratch`: the folder of the nameless file
    (default: the system's for temporary files). Memory grows by some 200 bytes a text, whatever its length.
    """
    kept = VectorCache(cache / _safe(embedder.identity), embedder.dims) if cache and embedder.costly else None
    with tempfile.TemporaryFile(dir=scratch) as file:
        making = _Making(embedder, kept, file, total)
        order = array("q")
        known: dict[bytes, int] = {}
        for text in texts:
            digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            place = known.setdefault(digest, len(known))
            order.append(place)
            if place == making.taken:
                making.add(digest, text)
        making.finish()
        found = _mapped(file, (len(known), embedder.dims))
    if len(known) == len(order):
        return found
    with tempfile.TemporaryFile(dir=scratch) as file:
        for start in range(0, len(order), TEXTS):
            file.write(found[np.array(order[start : start + TEXTS], np.int64)].tobytes())
        return _mapped(file, (len(order), embedder.dims))


def _safe(identity: str) -> str:
    """An identity as the name of a folder: what isn't a letter, a digit or one of -_@. becomes its code."""
    plain = "".join(one if one.isascii() and (one.isalnum() or one in "-_@") else f"%{ord(one):x}" for one in identity)
    return plain if len(plain) <= 100 else f"{plain[:80]}@{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def _mapped(file: IO[bytes], shape: tuple[int, int]) -> Kept:
    """The numbers that were written to a file, which may then be closed."""
    file.flush()
    if not shape[0]:  # an empty file can't be mapped
        return np.empty(shape, np.float16)
    return np.memmap(file, np.float16, "r", shape=shape)


class _Making:
    """Texts on their way to a file of vectors: those known to the cache are copied, the others made."""

    def __init__(self, embedder: Embedder, kept: VectorCache | None, file: IO[bytes], total: int | None) -> None:
        self._embedder = embedder
        self._kept = kept
        self._file = file
        self._total = total
        self._digests: list[bytes] = []
        self._texts: list[str] = []
        self._size = 0
        self.taken = 0
        self._start = time.monotonic()

    def add(self, digest: bytes, text: str) -> None:
        self._digests.append(digest)
        self._texts.append(text)
        self._size += len(text)
        self.taken += 1
        if len(self._texts) >= TEXTS or self._size >= _CHARACTERS:
            self._write()
            renew(progress(self.taken, self._total, time.monotonic() - self._start))

    def finish(self) -> None:
        if self._texts:
            self._write()
        renew("")

    def _write(self) -> None:
        """The vectors of all texts that wait."""
        rows = np.empty((len(self._texts), self._embedder.dims), np.float16)
        lacking = np.arange(len(rows)) if self._kept is None else self._kept.fill(self._digests, rows)
        if len(lacking):
            rows[lacking] = self._embedder([self._texts[at] for at in lacking.tolist()])
            if self._kept is not None:
                self._kept.add([self._digests[at] for at in lacking.tolist()], rows[lacking])
        self._file.write(rows.tobytes())
        self._digests, self._texts, self._size = [], [], 0


def progress(done: int, total: int | None, spent: float) -> str:
    """How far the embedding is, after so many seconds."""
    rate = done / max(spent, 1e-9)
    if total is None:
        return f"embedding: {done:,} texts, {rate:,.0f} a second"
    left = seconds(max(0, total - done) / max(rate, 1e-9))
    return f"embedding: {done:,} of {total:,} texts, {rate:,.0f} a second, {left} left"


def renew(line: str) -> None:
    """Show how far work is, in one line that renews itself, to people at a terminal. "" takes it away."""
    if sys.stderr.isatty():
        print(f"\r\x1b[2K{line}", end="", file=sys.stderr, flush=True)


def nearest(
    queries: Kept | Vectors, base: Kept | Vectors, k: int = 1, *, exclude_self: bool = False
) -> tuple[Places, Vectors]:
    """For each query the `k` rows of `base` with the greatest inner product, greatest first: their places
    (int64) and the products (float32), both of shape (queries, k).

    Every pair is computed, in blocks, in float32: about 2 * queries * len(base) * dims operations, half of
    it with `exclude_self`, where `queries` are `base` itself and no row is its own neighbour. Of equal ones
    the first counts. Places are -1, products -inf, where there are fewer than `k` others.
    """
    best = _Best(len(queries), k)
    room = np.empty((_BLOCK, _BLOCK), np.float32)
    for start in range(0, len(queries), _BLOCK):
        block = _float32(queries[start : start + _BLOCK])
        for at in range(start if exclude_self else 0, len(base), _BLOCK):
            others = _float32(base[at : at + _BLOCK])
            products = np.matmul(block, others.T, out=_part(room, len(block), len(others)))
            if exclude_self and at == start:
                np.fill_diagonal(products, -np.inf)
            best.offer(start, at, products)
            if exclude_self and at > start:
                best.offer(at, start, products.T)
        done = min(len(queries), start + _BLOCK)
        renew(f"comparing: {done:,} of {len(queries):,} rows" if done < len(queries) else "")
    return best.places, best.products


def _part(room: Vectors, rows: int, columns: int) -> Vectors:
    """The beginning of memory that is there already as an array of that shape: new pages cost more than products."""
    return room.reshape(-1)[: rows * columns].reshape(rows, columns)


def _float32(rows: Kept | Vectors) -> Vectors:
    return np.ascontiguousarray(rows, np.float32)


class _Best:
    """The greatest products of each query so far. Blocks of one query must come in the order of `base`."""

    def __init__(self, queries: int, k: int) -> None:
        self._k = k
        self.places: Places = np.full((queries, k), -1, np.int64)
        self.products: Vectors = np.full((queries, k), -np.inf, np.float32)

    def offer(self, first: int, at: int, products: Vectors) -> None:
        """`products`: of the queries from `first` on with the rows of `base` from `at` on."""
        least = self.products[first : first + len(products), -1] + np.float32(_EVEN)
        better = np.flatnonzero(products.max(axis=1) > least)
        if not len(better):
            return
        row, column = _greatest(products[better], least[better], self._k)
        changed, row_of = np.unique(better[row], return_inverse=True)
        held = np.repeat(np.arange(len(changed)), self._k)
        rows = np.concatenate((held, row_of))
        places = np.concatenate((self.places[first + changed].ravel(), at + column))
        values = np.concatenate((self.products[first + changed].ravel(), products[better[row], column]))
        steps = np.where(np.isfinite(values), np.rint(values / _EVEN), -np.inf)
        order = np.lexsort((places, -steps, rows))
        starts = np.searchsorted(rows[order], np.arange(len(changed)))
        take = order[starts[:, None] + np.arange(self._k)]
        self.places[first + changed] = places[take]
        self.products[first + changed] = values[take]


def _greatest(products: Vectors, least: Vectors, k: int) -> tuple[Places, Places]:
    """Where the products lie that exceed their row's `least`, all of the `k` greatest of a row among them."""
    above = products > least[:, None]
    crowded = np.flatnonzero(np.count_nonzero(above, axis=1) > 4 * k)
    if len(crowded):
        some = products[crowded]
        last = np.partition(some, -k, axis=1)[:, -k, None]
        even = np.abs(some - last) <= _EVEN
        above[crowded] &= (some > last + np.float32(_EVEN)) | (even & (np.cumsum(even, axis=1) <= k))
    return np.divmod(np.flatnonzero(above), above.shape[1])
