"""Which rows are judged, and which of them together: an index of the rows, their turns laid aside on disk.

A lineage is judged together wherever its rows stand: the index knows its rows by the root, and where each one's text
lies. So memory grows by some 100 bytes a row, whatever its length, and the data are read once.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from evollab import rng
from evollab.data.items import Item
from evollab.data.judge_prompts import MOST_TOGETHER
from evollab.data.spool import Spool
from evollab.records import Message, digest


@dataclass(frozen=True, slots=True)
class Unit:
    """Rows that are drawn and marked together: the generations of a lineage, or a row by itself. rows: their places
    among all rows, from 0. key: what draws about them depend on."""

    rows: tuple[int, ...]
    key: str


class Rows:
    """Conversations by place, in a nameless file in `folder`; and what the rows belong to."""

    def __init__(self, folder: Path) -> None:
        self._texts = Spool(folder)
        self._keys = array("Q")
        self._groups: dict[int, array[int]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def read(self, items: Iterable[Item]) -> None:
        """Take all rows, in their order."""
        for item in items:
            place = len(self._keys)
            own = ("lineage", item.root) if item.root else ("row", item.id or item.data)
            key = int(digest(*own), 16)
            self._keys.append(key)
            if item.root:
                self._groups.setdefault(key, array("Q")).append(place)
            self._texts.add(orjson.dumps([(turn.role, turn.content) for turn in item.messages]))
        self._texts.flush()

    def key(self, place: int) -> str:
        """What draws about one row depend on: its id or, without one, what it holds; in a lineage, its text too."""
        own = self._keys[place]
        return (
            digest(own, self._texts[place].decode("utf-8", "surrogatepass")) if own in self._groups else f"{own:016x}"
        )

    def turns(self, place: int) -> tuple[Message, ...]:
        """The conversation of a row."""
        return tuple(Message(role, content) for role, content in orjson.loads(self._texts[place]))

    def units(self) -> Iterator[Unit]:
        """All rows, in the order of their first ones. Of long lineages every n-th row goes together, so that each part
        spans the rounds."""
        for place, key in enumerate(self._keys):
            group = self._groups.get(key)
            if group is None:
                yield Unit((place,), f"{key:016x}")
            elif group[0] == place:
                parts = -(-len(group) // MOST_TOGETHER)
                for part in range(parts):
                    yield Unit(tuple(group[part::parts]), f"{key:016x}.{part}")

    def drawn(self, rows: int | None, seed: int) -> tuple[int, Iterable[Unit]]:
        """`rows` rows drawn by chance with what belongs to them, None: all; their count, and the units in the order of
        the data. The draw depends on ids (without one: on what rows hold), not on their order."""
        if rows is None or rows >= len(self):
            return len(self), self.units()
        units = list(self.units())
        lots = sorted(range(len(units)), key=lambda at: (rng.integer(seed, "judge sample", units[at].key), at))
        taken, count = list[int](), 0
        for at in lots:
            if count >= rows:
                break
            taken.append(at)
            count += len(units[at].rows)
        return count, [units[at] for at in sorted(taken)]

    def close(self) -> None:
        self._texts.close()
