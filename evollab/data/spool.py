"""Byte strings laid aside on disk, so that memory grows with their number and not with their length."""

from __future__ import annotations

import os
import tempfile
from array import array
from pathlib import Path


class Spool:
    """Byte strings by number, in a nameless file in `folder`, which goes when it is closed, or with the
    process. `flush` comes between adding and reading."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=1 << 20)  # noqa: SIM115 - closed by close()
        self._ends = array("Q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, data: bytes) -> None:
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))

    def flush(self) -> None:
        self._file.flush()

    def __getitem__(self, number: int) -> bytes:
        start, end = self._ends[number], self._ends[number + 1]
        return os.pread(self._file.fileno(), end - start, start)

    def close(self) -> None:
        self._file.close()
