"""The journal: replies are appended here the moment they arrive, and survive SIGKILL from then on.

One JSON object a line, three kinds, told apart by their first key:
    {"k": call id, "m": model, "p": purpose, "n": sample, "s": status, "u": [in, out], "c": cost,
     "l": latency, "t": time, "z": bytes of q, "q": request as sent, "r": reply as received}   a reply
    {"i": call id}                                                     about to be asked
    {"f": call id, "m": .., "p": .., "e": kind, "x": message, "l": .., "t": ..}   nothing usable came
`write()` before use makes a reply safe against the death of the process; a thread calls fdatasync
5 times a second against the death of the machine. Measured against committing to SQLite in groups:
cheaper, and only what was in flight at a kill is asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from evollab.records import EvolError

SYNC_SECONDS = 0.2
RESERVE_BYTES = 4 << 20
_datasync = getattr(os, "fdatasync", os.fsync)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(slots=True)
class Totals:
    """What a run has paid so far. `usd` counts priced calls only."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0

    def add(self, tokens_in: int, tokens_out: int, usd: float | None) -> None:
        self.calls += 1
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self.usd += usd or 0.0


class DiskFull(EvolError):
    """No room for another reply. What was in flight is kept; nothing more is asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"the disk that holds {path} is full; every reply so far is kept",
            "make room and run the same command again: it goes on where it stopped",
        )


class Journal:
    """Append-only file of replies with an index call id -> offset in memory (about 200 bytes a call)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.totals = Totals()
        self.index: dict[bytes, int] = {}
        self.asked_in_vain: set[bytes] = set()
        """Calls that were in flight when an earlier process died: they may have been paid for."""
        self.full = False
        self._size = 0
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._scan()
        self._reserve_path = path.with_name(path.name + ".reserve")
        self._reserve()
        self._dirty = False
        self._intents: list[bytes] = []
        self._closing = threading.Event()
        self._syncer = threading.Thread(target=self._sync, name="journal-sync", daemon=True)
        self._syncer.start()

    def _scan(self) -> None:
        """Rebuild the index; cut off a last line that the death of its writer left torn."""
        with open(self._fd, "rb", closefd=False) as file:
            for line in file:
                if not line.endswith(b"\n"):
                    os.ftruncate(self._fd, self._size)
                    break
                kind = line[2:3]
                if kind == b"k":
                    key = bytes.fromhex(line[6:38].decode())
                    self.index[key] = self._size
                    self.asked_in_vain.discard(key)
                    head = orjson.loads(line[: line.index(b',"q":')] + b"}")
                    self.totals.add(head["u"][0], head["u"][1], head["c"])
                elif kind == b"i":
                    self.asked_in_vain.add(bytes.fromhex(line[6:38].decode()))
                elif kind == b"f":
                    self.asked_in_vain.discard(bytes.fromhex(line[6:38].decode()))
                self._size += len(line)
        self.asked_in_vain -= self.index.keys()

    def _reserve(self) -> None:
        """Set room aside, so that replies in flight when the disk fills up can still be kept."""
        free = os.statvfs(self.path.parent)
        size = min(RESERVE_BYTES, free.f_bavail * free.f_frsize // 4)
        with contextlib.suppress(OSError), open(self._reserve_path, "wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, max(size, 1))
            else:
                file.write(bytes(size))

    def append(self, line: bytes) -> int:
        """Write one line (newline included), return its offset. Raises DiskFull when even the
        reserve is used up; the file then ends with a whole line."""
        offset = self._size
        try:
            written = os.write(self._fd, line)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            written = 0
        if written != len(line):
            os.ftruncate(self._fd, offset)
            if self.full:
                raise DiskFull(self.path)
            self.full = True
            self._reserve_path.unlink(missing_ok=True)
            return self.append(line)
        self._size += written
        self._dirty = True
        return offset

    def intend(self, key: bytes) -> None:
        """Note that `key` is about to be asked. Raises DiskFull when no reply could be kept.

        What one turn of the event loop asks is noted in one write, right after the requests left.
        """
        if self.full:
            raise DiskFull(self.path)
        if not self._intents:
            asyncio.get_running_loop().call_soon(self._note_intents)
        self._intents.append(b'{"i":"%b"}\n' % key.hex().encode())

    def _note_intents(self) -> None:
        lines, self._intents = b"".join(self._intents), []
        with contextlib.suppress(DiskFull):  # the next `intend` says so
            self.append(lines)

    def read(self, key: bytes) -> dict[str, Any] | None:
        """The reply line of `key`, parsed, or None."""
        offset = self.index.get(key)
        if offset is None:
            return None
        block = os.pread(self._fd, 8192, offset)
        while (end := block.find(b"\n")) < 0:
            block += os.pread(self._fd, 1 << 16, offset + len(block))
        line: dict[str, Any] = orjson.loads(block[:end])
        return line

    def lines(self) -> Iterator[bytes]:
        """Every whole line as it stands, in the order of writing."""
        with open(self.path, "rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line

    @property
    def empty(self) -> bool:
        return self._size == 0

    def clear(self) -> None:
        """Forget everything: for when all of it is safe elsewhere."""
        os.ftruncate(self._fd, 0)
        os.fsync(self._fd)
        self._size = 0
        self.index.clear()
        self.asked_in_vain.clear()

    def _sync(self) -> None:
        while not self._closing.wait(SYNC_SECONDS):
            if self._dirty:
                self._dirty = False
                _datasync(self._fd)

    def close(self) -> None:
        self._closing.set()
        self._syncer.join()
        _datasync(self._fd)
        os.close(self._fd)
        self._reserve_path.unlink(missing_ok=True)
