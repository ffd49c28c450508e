"""Seeds, conversations and rows out of files, pipes and the Hugging Face hub, one at a time.

What a file is decides how it is read (`READERS`); what a row says is decided by its shape
(`formats.SHAPES`). Everything streams: the first row is out before the second is read, and memory is
that of one row, save some 120 bytes for each seed, by which the same seed is known again.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, NoReturn

from evollab.data import formats, hub
from evollab.data.jsonfile import is_jsonl, json_rows, jsonl_rows
from evollab.data.octets import FORMATS, Octets, check_text, open_octets, refuse_markup, unopened
from evollab.data.rows import BadRow, Row, excerpt, names
from evollab.data.tables import csv_rows, parquet_rows, text_rows
from evollab.records import Conversation, EvolError, Instruction, Rejected, Source, digest

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
        if repeats := _repeats(seen, seed, row.number, table.unit):
            aside(row, repeats)
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
        text = row.text if isinstance(row, BadRow) else excerpt(json.dumps(row.fields, ensure_ascii=False, default=str))
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
        hint = formats.MAP_HINT if rejected.reason.startswith(("no field", "field")) else ""
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
    if format is not None and format in formats.SHAPES:
        if mapping:
            raise EvolError(f"--format {format} and --map both say how to read a row; expected one of them")
        shape = formats.SHAPES[format]
    else:
        shape, rows = _shape_of(rows, table.name, mapping or {})
    for row in rows:
        try:
            example = shape(row.fields)
        except formats.BadFields as error:
            aside(row, str(error))
            continue
        yield row, example


def _shape_of(rows: Iterator[Row], name: str, mapping: Mapping[str, str]) -> tuple[formats.Shape, Iterator[Row]]:
    """The shape that the first rows show (or that `mapping` says, if they have its columns), and all
    the rows. One row is enough where it shows."""
    wanted = formats.mapped(mapping) if mapping else None
    looked_at: list[Row] = []
    columns: dict[str, None] = {}
    for row in islice(rows, _LOOK_AT):
        looked_at.append(row)
        columns |= dict.fromkeys(row.fields)
        shape = formats.detect(row.fields) if wanted is None else wanted
        if shape is not None and columns.keys() >= set(mapping.values()):
            return shape, chain(looked_at, rows)
    if not looked_at:
        return wanted or formats.SHAPES["alpaca"], rows
    missing = ", ".join(excerpt(column, 40) for column in mapping.values() if column not in columns)
    expected = f"the column {missing} of --map" if mapping else "an instruction, prompt, question, messages or such"
    raise EvolError(
        f"{name}: the fields are {names(columns)} (in the first {len(looked_at)} rows); expected {expected}",
        formats.MAP_HINT,
    )


def _open(path_or_id: str, format: str | None) -> _Table:
    if format is not None and format not in READERS and format not in formats.SHAPES:
        known = [*READERS, *formats.SHAPES]
        near = difflib.get_close_matches(format, known, 1)
        raise EvolError(
            f"--format {excerpt(format, 40)}: no such format; expected one of {', '.join(READERS)} (of files) or "
            f"{', '.join(formats.SHAPES)} (of rows)",
            f"did you mean {near[0]}?" if near else "",
        )
    if path_or_id != "-" and _is_folder(path_or_id):
        return _Table(path_or_id, Path(path_or_id).name, "row", hub.saved_rows(Path(path_or_id)))
    if hub.is_id(path_or_id):
        return _Table(path_or_id, path_or_id, "row", hub.rows(path_or_id))
    octets = open_octets(path_or_id)
    reader = format if format is not None and format in READERS else _format_of(octets)
    unit = "row" if reader in {"json", "parquet"} else "line"
    return _Table(path_or_id, Path(path_or_id).name, unit, READERS[reader](octets))


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except OSError:  # a name that no file can have; opening it says so
        return False


def _format_of(octets: Octets) -> str:
    refuse_markup(octets)
    found = octets.format
    if found is None and not octets.blank:
        check_text(octets, by_line=False)
        raise EvolError(
            f"{octets.name}: neither its name nor its first bytes ({excerpt(octets.head[:20])!r}) tell what it "
            f"holds; expected {FORMATS}",
            f"say it: --format {', '.join(READERS)}",
        )
    if found is None or found in {"json", "jsonl"}:
        return "jsonl" if is_jsonl(octets.head) else "json"
    return found


def _repeats(seen: dict[int, int], seed: Instruction, number: int, unit: str) -> str:
    """What an earlier row has in common with this one, "" where nothing, and the row is noted."""
    own = int(seed.id, 16)
    if own in seen:
        return f"same as {unit} {seen[own]}"
    theirs = seed.source.id if seed.source else None
    if theirs is not None:
        key = -int(digest(theirs), 16)  # negative: no seed's own
        if key in seen:
            return (
                f"the id {excerpt(theirs, 40)!r} is that of {unit} {seen[key]}; expected ids that differ (--map can "
                "leave them out)"
            )
        seen[key] = number
    seen[own] = number
    return ""


def input_digest(path_or_id: str) -> dict[str, Any]:
    """What tells one input from another, quickly: {"file": name, "bytes": size, "digest": 32 hex digits}.

    Up to 64 MiB the digest (blake2b) is of every byte. Of a larger file it is of its size and of 64
    blocks of 256 KiB at even distances, the first and the last bytes among them: a change elsewhere
    that keeps the size goes unseen, and the time stays under a tenth of a second. A saved data set is
    digested over all its files, by name. Pipes and the hub can't be looked at beforehand: bytes and
    digest are None. Raises EvolError for a file that is missing or can't be read.
    """
    if path_or_id == "-" or hub.is_id(path_or_id):
        return {"file": path_or_id, "bytes": None, "digest": None}
    path = Path(path_or_id)
    total = 0
    state = hashlib.blake2b(digest_size=16)
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
        elif stat.S_ISREG(path.stat().st_mode):
            files = [path]
        else:
            return {"file": path.name, "bytes": None, "digest": None}
        for file in files:
            size = file.stat().st_size
            total += size
            if file != path:
                state.update(f"{file.relative_to(path)}\0{size}\0".encode("utf-8", "surrogateescape"))
            for block in _blocks(file, size):
                state.update(block)
    except (OSError, ValueError) as error:
        raise unopened(path_or_id, error) from None
    return {"file": path.name, "bytes": total, "digest": state.hexdigest()}


def _blocks(file: Path, size: int) -> Iterator[bytes]:
    with file.open("rb") as handle:
        if size <= _WHOLE:
            while block := handle.read(1 << 20):
                yield block
            return
        yield str(size).encode()
        for number in range(_SAMPLES):
            handle.seek((size - _SAMPLE) * number // (_SAMPLES - 1))
            yield handle.read(_SAMPLE)
