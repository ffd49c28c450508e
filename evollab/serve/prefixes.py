"""Beginnings of texts that were read already: the next turn of a conversation is not read from its start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")
_WORTH = 16
"""Shorter beginnings cost more to look after than to read."""


class Prefixes(Generic[T]):
    """What was computed for sequences of ids, the most lately used ones, `budget` ids in all."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._kept: list[tuple[np.ndarray, T]] = []  # the most lately used one last

    def keep(self, ids: Sequence[int], value: T) -> None:
        """Remember `value` for `ids`. Whatever began like it is contained in it and goes."""
        row = np.asarray(ids, dtype=np.int64)
        if not self.worth(len(row)):
            return
        self._kept = [(held, other) for held, other in self._kept if _shared(held, row) < len(held)]
        self._kept.append((row, value))
        total = 0
        for place in range(len(self._kept) - 1, -1, -1):
            total += len(self._kept[place][0])
            if total > self._budget:
                del self._kept[: place + 1]
                break

    def worth(self, length: int) -> bool:
        return _WORTH <= length <= self._budget

    def find(self, ids: Sequence[int]) -> tuple[int, T | None]:
        """The longest beginning of `ids` that is known: its length and what belongs to it, or (0, None)."""
        row = np.asarray(ids, dtype=np.int64)
        best, place = 0, -1
        for number, (held, _) in enumerate(self._kept):
            if (length := _shared(held, row)) > best:
                best, place = length, number
        if best < _WORTH:
            return 0, None
        self._kept.append(self._kept.pop(place))
        return best, self._kept[-1][1]

    def clear(self) -> None:
        self._kept.clear()


def _shared(one: np.ndarray, other: np.ndarray) -> int:
    """How many ids two sequences begin with in common."""
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    return int(different[0]) if len(different) else length
