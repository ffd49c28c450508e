"""The vectors of an index's rows, made when they are asked for, each once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evollab.data.embed import Embedder
from evollab.data.vectors import Kept, Vectors, embed_texts, vector_cache

Rows = npt.NDArray[np.int64]


class RowVectors:
    """Unit vectors by row. What was made stays in memory at half precision (0.75 KiB a row at 384 dimensions),
    and, where it took long, in the user's cache for the next time."""

    def __init__(self, text: Callable[[int], str], embedder: Embedder, scratch: Path) -> None:
        """`text`: what to embed of a row. `scratch`: a folder for nameless files."""
        self._text, self._embedder, self._scratch = text, embedder, scratch
        self._places: dict[int, int] = {}
        self._made: Kept = np.empty((0, embedder.dims), np.float16)

    def __call__(self, rows: Rows) -> Vectors:
        """(len(rows), dimensions), in the order of `rows`."""
        new = [row for row in dict.fromkeys(rows.tolist()) if row not in self._places]
        if new:
            texts = map(self._text, new)
            made = embed_texts(texts, self._embedder, vector_cache(), total=len(new), scratch=self._scratch)
            at, size = len(self._places), len(self._places) + len(new)
            if size > len(self._made):
                grown = np.empty((max(2 * len(self._made), size), self._embedder.dims), np.float16)
                grown[:at] = self._made[:at]
                self._made = grown
            self._made[at:size] = made
            self._places.update(zip(new, range(at, size), strict=True))
        found: Vectors = self._made[[self._places[row] for row in rows.tolist()]].astype(np.float32)
        lengths = np.sqrt(np.einsum("ij,ij->i", found, found))  # half precision is up to 1e-3 off the unit
        found /= lengths[:, None]
        return found
