"""Choosing what to show: a few lineages and dropped rows, the same ones every time, and varied.

One pass over the run, bounded memory: only places in the files are kept, never texts.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from evollab.records import digest

_KINDS = 2000
_PER_KIND = 3
_RULES = 60


@dataclass(frozen=True, slots=True)
class Place:
    """Where a lineage stands: byte offsets of its rows and of its dropped attempts."""

    root: str
    operations: tuple[str, ...]
    rules: tuple[str, ...]
    words: int
    """Words of the last row."""
    kept: tuple[int, ...]
    dropped: tuple[int, ...]

    @property
    def features(self) -> tuple[Hashable, ...]:
        length = 0 if self.words < 15 else 1 if self.words < 40 else 2 if self.words < 100 else 3
        return (
            *(("operation", name) for name in sorted(set(self.operations))),
            *(("rule", name) for name in sorted(set(self.rules))),
            ("length", length),
            ("evolved", len(self.operations)),
            ("dropped", min(len(self.rules), 2)),
        )


Ranked = tuple[str, int, Place]
"""The hash that ranks (largest first), minus the place in the run (which settles equal ones)."""


@dataclass(slots=True)
class Lineages:
    """Candidates: of every kind of lineage a few, picked by the hash of their id."""

    _kinds: dict[Hashable, list[Ranked]] = field(default_factory=dict[Hashable, "list[Ranked]"])
    _seen: int = 0

    def offer(self, place: Place) -> None:
        last = place.operations[-1] if place.operations else ""
        kind = (last, *place.features[-3:], place.rules[:1])
        if kind not in self._kinds and len(self._kinds) >= _KINDS:
            return
        self._seen += 1
        heap = self._kinds.setdefault(kind, [])
        key = _inverted(digest("lineage", place.root))
        if len(heap) < _PER_KIND:
            heapq.heappush(heap, (key, -self._seen, place))
        elif (key, -self._seen) > heap[0][:2]:
            heapq.heapreplace(heap, (key, -self._seen, place))

    def choose(self, count: int) -> list[Place]:
        """Greedy: each next lineage is the one that shows most of what was shown least so far."""
        ranked = (one for heap in self._kinds.values() for one in heap)
        left = sorted(ranked, key=_first_two, reverse=True)
        shown: Counter[Hashable] = Counter()
        chosen: list[Place] = []
        while left and len(chosen) < count:
            best = max(range(len(left)), key=lambda i: (_novelty(left[i][2], shown), -i))
            place = left.pop(best)[2]
            shown.update(place.features)
            chosen.append(place)
        return chosen


def _first_two(item: Ranked) -> tuple[str, int]:
    return item[:2]


def _novelty(place: Place, shown: Counter[Hashable]) -> float:
    # A line with nothing in it has little to show, so each evolution counts on its own as well.
    new = sum(1 / (1 + shown[feature]) ** 2 for feature in place.features)
    return new + min(len(place.operations), 4) * 0.25 if place.operations else new / 4


def _inverted(key: str) -> str:
    """The hash whose order is the reverse: heapq keeps the largest, and the smallest are wanted."""
    return f"{0xFFFF_FFFF_FFFF_FFFF - int(key, 16):016x}"


@dataclass(slots=True)
class Drops:
    """A few dropped rows of each rule: (offset of the row, offset of its parent or None)."""

    per_rule: int = 3
    _heaps: dict[str, list[tuple[str, int, int | None]]] = field(default_factory=lambda: defaultdict(list))

    def offer(self, rule: str, id: str, offset: int, parent: int | None) -> None:
        if rule not in self._heaps and len(self._heaps) >= _RULES:
            return
        heap = self._heaps[rule]
        item = (_inverted(digest("drop", id)), -offset, parent)
        if len(heap) < self.per_rule:
            heapq.heappush(heap, item)
        elif item[:2] > heap[0][:2]:
            heapq.heapreplace(heap, item)

    def chosen(self) -> Iterator[tuple[int, int | None]]:
        for rule in sorted(self._heaps):
            for _, offset, parent in sorted(self._heaps[rule], key=lambda item: item[:2], reverse=True):
                yield -offset, parent
