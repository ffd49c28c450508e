"""Results on their way to disk: lineages finish in any order, files are written in seed order."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any, BinaryIO

from evollab.evolve.rounds import Lineage

_WAITING_BYTES = 16 << 20


class Outlet:
    """Takes lineages as they finish, writes them in order, keeps the counts.

    Memory: what has finished before an earlier, slower lineage waits here as text, 16 MiB at most;
    beyond that `room` makes the workers wait.
    """

    def __init__(self, kept: BinaryIO, dropped: BinaryIO) -> None:
        self._files = (kept, dropped)
        self._waiting: dict[int, tuple[bytes, bytes]] = {}
        self._bytes = 0
        self._next = 0
        self._room = asyncio.Event()
        self._room.set()
        self.lineages = 0
        self.unfinished: dict[str, int] = defaultdict(int)
        self.kept = 0
        self.dropped = 0
        self.answered_seeds = 0
        self._survival: dict[tuple[int, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))

    async def room(self) -> None:
        """Wait until there is room for another lineage."""
        await self._room.wait()

    def put(self, index: int, lineage: Lineage) -> None:
        """Take the lineage of seed number `index` (0, 1, ... without gaps)."""
        self._count(lineage)
        kept = b"".join(row.to_json() + b"\n" for row in lineage.kept)
        dropped = b"".join(row.to_json() + b"\n" for row in lineage.dropped)
        self._waiting[index] = (kept, dropped)
        self._bytes += len(kept) + len(dropped)
        while (ready := self._waiting.pop(self._next, None)) is not None:
            self._write(ready)
            self._next += 1
        if self._bytes < _WAITING_BYTES:
            self._room.set()
        else:
            self._room.clear()

    def flush(self) -> None:
        """Write everything that waits, in order: for a run that ends early."""
        for index in sorted(self._waiting):
            self._write(self._waiting[index])
        self._waiting.clear()
        self._room.set()

    def _write(self, lines: tuple[bytes, bytes]) -> None:
        for file, data in zip(self._files, lines, strict=True):
            if data:
                file.write(data)
                self._bytes -= len(data)

    def _count(self, lineage: Lineage) -> None:
        self.lineages += 1
        if lineage.unfinished:
            self.unfinished[lineage.unfinished.split(":", 1)[0]] += 1
        self.kept += len(lineage.kept)
        self.dropped += len(lineage.dropped)
        self.answered_seeds += bool(lineage.kept[0].response)
        for row in lineage.kept[1:]:
            self._survival[row.round, row.operation]["kept"] += 1
        for drop in lineage.dropped:
            self._survival[drop.instruction.round, drop.instruction.operation][drop.rule] += 1

    @property
    def tried(self) -> int:
        return self.kept - self.lineages + self.dropped

    def survival(self) -> list[dict[str, Any]]:
        """One entry for each round and operation: how many were tried, kept, dropped by which rule."""
        rows: list[dict[str, Any]] = []
        for (number, operation), counts in sorted(self._survival.items()):
            dropped = {rule: n for rule, n in sorted(counts.items()) if rule != "kept"}
            rows.append(
                {
                    "round": number,
                    "operation": operation,
                    "tried": sum(counts.values()),
                    "kept": counts["kept"],
                    "dropped": dropped,
                }
            )
        return rows
