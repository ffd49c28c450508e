"""Losses that are kept in the step's folder: append-only, a line for each batch, so that a SIGKILL costs one batch.

{"about": {...}}                                    what they depend on
{"window": 0, "found": {"<key>": [q, a], ...}}      a batch: mean losses of two parts of a sequence
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import orjson

from evollab.llm.journal import NO_ROOM
from evollab.records import EvolError, digest

KEY_BYTES = 16


class Losses(NamedTuple):
    """Mean negative log-likelihood a token, in nats, of a sequence's instruction and of its answer; NaN where
    that part is empty."""

    instruction: float
    answer: float


class LossFile:
    """What is known, by key, and in which window of rows it was found. About 200 bytes of memory a key."""

    def __init__(self, folder: Path, about: Mapping[str, object]) -> None:
        """Open the file for `about` in `folder`; another `about` has another file. A line that was cut off, or
        says something else, counts for nothing. Raises OSError."""
        head = orjson.dumps({"about": about}, option=orjson.OPT_SORT_KEYS)
        self.path = folder / f"likelihoods-{digest(head.decode())[:8]}.jsonl"
        self._places: dict[bytes, int] = {}
        self._windows = array("I")
        self._values = array("d")
        self._file = open(self.path, "ab+")  # noqa: SIM115 - closed by close()
        self._read()
        if not self._file.tell():
            self._file.write(head + b"\n")

    def __enter__(self) -> LossFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._places)

    def close(self) -> None:
        self._file.close()

    def _read(self) -> None:
        self._file.seek(0)
        whole = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            try:
                batch = orjson.loads(line)
                for key, (instruction, answer) in batch["found"].items():
                    nan = float("nan")
                    losses = Losses(nan if instruction is None else float(instruction), float(answer))
                    self._put(batch["window"], bytes.fromhex(key), losses)
            except (orjson.JSONDecodeError, KeyError, ValueError, TypeError, AttributeError, OverflowError):
                continue  # the head, or a line that a dying machine left
        self._file.truncate(whole)
        self._file.seek(0, os.SEEK_END)

    def _put(self, window: int, key: bytes, losses: Losses) -> None:
        if len(key) != KEY_BYTES or key in self._places:
            return
        self._windows.append(window)
        self._values.extend(losses)
        self._places[key] = len(self._windows) - 1

    def get(self, key: bytes) -> Losses | None:
        place = self._places.get(key)
        return None if place is None else Losses(self._values[2 * place], self._values[2 * place + 1])

    def window(self, key: bytes) -> int | None:
        """The window of rows that a key was found in; None where it wasn't."""
        place = self._places.get(key)
        return None if place is None else self._windows[place]

    def add(self, window: int, found: Mapping[bytes, Losses]) -> None:
        """Keep a batch, in one write. Raises EvolError where there is no room."""
        told = {key.hex(): list(losses) for key, losses in found.items()}
        try:
            self._file.write(orjson.dumps({"window": window, "found": told}) + b"\n")
            self._file.flush()
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise EvolError(f"{self.path}: no room is left", "make room; the same command goes on") from None
        for key, losses in found.items():
            self._put(window, key, losses)
