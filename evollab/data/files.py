"""Seeds, conversations and rows out of files, pipes and the Hugging Face hub, one at a time.

What a file is decides how it is read (`READERS`); what a row says is decided by its shape
(`formats.SHAPES`). Everything streams: the first row is out before the second is read, and memory is
that of one row, save 100 bytes for each seed, by which the same seed is known again.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import orjson

from evollab.data import formats, hub
from evollab.data.jsonfile import is_jsonl, json_rows, jsonl_rows
from evollab.data.octets import FORMATS, Octets, open_octets, refuse_markup
from evollab.data.rows import BadRow, Row, excerpt, names
from evollab.data.tables import csv_rows, parquet_rows, text_rows
from evollab.records import Conversation, EvolError, Instruction, Rejected, Source

Reject = Callable[[Rejected], None]

READERS: Mapping[str, Callable[[Octets], Iterator[Row | BadRow]]] = {
    "jsonl": jsonl_rows,
    "json": json_rows,
    "csv": csv_rows,
    "parquet": parquet_rows,
    "lines": text_rows,
}
_LOOK_AT = 10
"""Rows that are looked at, at most, to find one that shows the shape."""
_WHOLE = 64 << 20
_SAMPLES = 64
_SAMPLE = 256 << 10


def read_seeds(
    path_or_id: str,
    *,
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
    domain: str = "general",
    strict: bool = False,
    reject: Reject,
) -> Iterator[Instruction]:
    """Round-0 instructions, in the order of their rows.

    `path_or_id`: a file (JSONL, JSON, CSV, Parquet, lines; plain, .gz, .xz, .zst), "-" for stdin, a
    folder that `datasets` saved, or a data set's id on the Hugging Face hub (ORG/NAME or
    ORG/NAME:SPLIT). `format` names a format of files or a shape of rows where it can't be told;
    `mapping` gives our names their columns ({"instruction": "question", "output": "answer"}).

    The last user turn is the seed's text, the turns before it are its history, a single answer after
    it is its response. Rows that can't be used go to `reject`, as do the second of two equal seeds
    and of two rows with one id; with `strict` the first of them is an EvolError instead. Raises
    EvolError for everything that concerns the file as a whole, and when no row was usable.
    """
    table = _open(path_or_id, format)
    aside = _Aside(table, reject, strict)
    seen: dict[int, int] = {}
    for row, example in _examples(table, format, mapping, aside):
        try:
            seed = formats.to_seed(example, domain, Source(table.file, row.number, example.id))
        except formats.BadFields as error:
            aside(row, str(error))
            continue
        first = seen.setdefault(int(seed.id, 16), row.number)
        if first != row.number:
            aside(row, f"same as {table.unit} {first}")
            continue
        if example.id is not None:
            first = seen.setdefault(_key(example.id), row.number)
            if first != row.number:
                aside(row, f"the id {excerpt(example.id, 40)!r} is that of {table.unit} {first}; ids must differ")
                continue
        aside.used += 1
        yield seed
    aside.check()


def read_conversations(
    path_or_id: str,
    *,
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
    strict: bool = False,
    reject: Reject,
) -> Iterator[Conversation]:
    """The same rows as conversations, with all their turns, equal ones included."""
    table = _open(path_or_id, format)
    aside = _Aside(table, reject, strict)
    for row, example in _examples(table, format, mapping, aside):
        try:
            conversation = formats.to_conversation(example, Source(table.file, row.number, example.id))
        except formats.BadFields as error:
            aside(row, str(error))
            continue
        aside.used += 1
        yield conversation
    aside.check()


def read_rows(path_or_id: str, *, format: str | None = None, strict: bool = False, reject: Reject) -> Iterator[Row]:
    """The rows as they are: number (by line; by row in JSON arrays, Parquet and data sets) and fields."""
    table = _open(path_or_id, format)
    aside = _Aside(table, reject, strict)
    for row in _good(table, aside):
        aside.used += 1
        yield row
    aside.check()


@dataclass(frozen=True, slots=True)
class _Table:
    """Something opened: its name for messages and for records, what its numbers count, its rows."""

    name: str
    file: str
    unit: str
    rows: Iterator[Row | BadRow]


class _Aside:
    """Where rows go that can't be used."""

    def __init__(self, table: _Table, reject: Reject, strict: bool) -> None:
        self._table = table
        self._reject = reject
        self._strict = strict
        self._first: Rejected | None = None
        self.used = 0

    def __call__(self, row: Row | BadRow, reason: str) -> None:
        text = row.text if isinstance(row, BadRow) else excerpt(orjson.dumps(row.fields, default=str))
        rejected = Rejected(self._table.file, row.number, reason, text)
        if self._strict:
            self._stop(rejected, "")
        self._first = self._first or rejected
        self._reject(rejected)

    def check(self) -> None:
        """At the end: was there anything at all?"""
        if self.used:
            return
        if self._first is None:
            raise EvolError(f"{self._table.name}: no rows", "the file is empty, or has blank lines only")
        self._stop(self._first, " (and no other row can be used)")

    def _stop(self, rejected: Rejected, more: str) -> NoReturn:
        place = f"{rejected.line}" if self._table.unit == "line" else f"row {rejected.line}"
        hint = formats.MAP_HINT if "field" in rejected.reason else ""
        raise EvolError(f"{self._table.name}:{place}: {rejected.reason}{more}", hint)


def _good(table: _Table, aside: _Aside) -> Iterator[Row]:
    for row in table.rows:
        if isinstance(row, BadRow):
            aside(row, row.reason)
        else:
            yield row


def _examples(
    table: _Table, format: str | None, mapping: Mapping[str, str] | None, aside: _Aside
) -> Iterator[tuple[Row, formats.Example]]:
    """Each usable row with what it says. Raises EvolError where the first rows show no shape."""
    rows = _good(table, aside)
    if mapping:
        shape = formats.mapped(mapping)
        looked_at, fits = _look(rows, lambda row: set(mapping.values()) <= set(row.fields))
        ...
