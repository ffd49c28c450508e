"""Judgements on disk: a line is there, synced, before the page says so. A later line on the same comparison wins."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from evollab.data.rows import excerpt
from evollab.llm.journal import NO_ROOM
from evollab.records import EvolError, from_dict
from evollab.runs import sync_folder

JUDGEMENTS = "judgements.jsonl"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one annotator says of one comparison.

    preference: 1 or 2, the better model of the comparison; 0: a tie. bad: a tie of two bad answers. left: which of the
    two was answer A. seconds: from its showing to the verdict, None where the page didn't say. time: Unix, seconds.
    """

    annotator: str
    comparison: str
    item: str
    model_1: str
    model_2: str
    preference: int
    bad: bool
    left: int
    comment: str
    seconds: float | None
    time: float


Judged = dict[tuple[str, str], Judgement]
"""(annotator, comparison) -> the last judgement."""


class NotKept(Exception):
    """A judgement that could not be written; nothing of it is in the file."""


class Judgements:
    """The file, held open for appending; `now` is what it says."""

    def __init__(self, path: Path) -> None:
        """Opens or makes it; a last line that the death of its writer left torn is cut off. Raises EvolError for a line
        that is no judgement."""
        self.path = path
        self.now: Judged = {}
        size = 0
        for judgement, end in _lines(path):
            self.now[judgement.annotator, judgement.comparison] = judgement
            size = end
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(self._fd, size)
        os.fsync(self._fd)
        sync_folder(path.parent)
        self._size = size
        self._lock = threading.Lock()

    def add(self, judgement: Judgement) -> None:
        """Append and sync; safe from any thread. Raises NotKept when the disk doesn't take it."""
        line = orjson.dumps(asdict(judgement)) + b"\n"
        with self._lock:
            try:
                written = os.write(self._fd, line)
                if written != len(line):
                    raise OSError(NO_ROOM[0], "no room is left")
                os.fsync(self._fd)
            except OSError as error:
                os.ftruncate(self._fd, self._size)
                raise NotKept(error.strerror or str(error)) from None
            self._size += len(line)
            self.now[judgement.annotator, judgement.comparison] = judgement

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)


def read_judgements(path: Path) -> Judged:
    """What the file says, also while a server appends to it; nothing where there is none yet. Raises EvolError."""
    return {(one.annotator, one.comparison): one for one, _ in _lines(path)}


def _lines(path: Path) -> Iterator[tuple[Judgement, int]]:
    """Each judgement and where its line ends, in bytes; without a torn last line."""
    if not path.exists():
        return
    with open(path, "rb") as file:
        end = 0
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            end += len(line)
            try:
                yield _judgement(orjson.loads(line)), end
            except (orjson.JSONDecodeError, EvolError, ValueError) as error:
                what = error.message if isinstance(error, EvolError) else str(error)
                raise EvolError(
                    f"{path}:{number}: not a judgement ({excerpt(what, 200)})",
                    "mend or remove this line; all others are whole",
                ) from None


def _judgement(row: Any) -> Judgement:
    """Raises EvolError, ValueError."""
    if not isinstance(row, Mapping):
        raise ValueError("expected an object")
    found = from_dict(Judgement, row)
    if found.preference not in (0, 1, 2) or found.left not in (1, 2):
        raise ValueError(f"preference {found.preference!r}, left {found.left!r}; expected 0, 1 or 2, and 1 or 2")
    return found
