"""Rows of tables and of plain text: CSV, Parquet, one text a line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import count
from typing import Any

from evollab.data.lines import LIMIT, Line, lines
from evollab.data.octets import Octets, text_chunks
from evollab.data.rows import BadRow, Row, excerpt, names
from evollab.data.strictjson import FIELDS
from evollab.records import EvolError

_FETCH = 100
DUCKDB: dict[str, Any] = {
    "threads": 1,
    "memory_limit": "512MB",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
"""Bounded, and never fetching anything."""


def text_rows(octets: Octets) -> Iterator[Row | BadRow]:
    """One row, {"text": line}, for each line that is not blank."""
    for line in lines(text_chunks(octets), octets.name):
        if isinstance(line, BadRow):
            yield line
        elif line.data and not line.data.isspace():
            try:
                yield Row(line.number, {"text": line.data.removesuffix(b"\r").decode()})
            except UnicodeDecodeError as error:
                yield BadRow(line.number, _not_utf8(line, error), excerpt(line.data))


def _not_utf8(line: Line, error: UnicodeDecodeError) -> str:
    at = line.offset + error.start
    return f"byte 0x{line.data[error.start]:02X} at byte {at} is not UTF-8; expected UTF-8"


class _Feed:
    """Lines for the csv module, and an eye on the record they make up."""

    def __init__(self, octets: Octets) -> None:
        self._lines = lines(text_chunks(octets), octets.name)
        self._name = octets.name
        self.ended = False
        self.begin_record()

    def begin_record(self) -> None:
        self.start = 0  # line on which the record begins
        self.size = 0
        self.fault = ""
        self.text = b""

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.start = self.start or line.number
            if isinstance(line, BadRow):
                self.fault = self.fault or line.reason
                continue
            self.size += len(line.data) + 1
            if self.size > LIMIT:
                raise EvolError(
                    f"{self._name}:{self.start}: a record of more than {LIMIT >> 20} MiB; is a quote opened "
                    "on this line and never closed?"
                )
            self.text = self.text or line.data
            try:
                yield line.data.decode() + "\n"
            except UnicodeDecodeError as error:
                self.fault = self.fault or _not_utf8(line, error)
                yield line.data.decode("utf-8", "replace") + "\n"
        self.ended = True


def csv_rows(octets: Octets) -> Iterator[Row | BadRow]:
    """One row for each record below the header, numbered by the line on which it begins. Fields may
    be separated by commas, semicolons or tabs (as the header is), and hold line breaks in quotes.

    Raises EvolError where the header can't be used, or a quote is never closed.
    """
    csv.field_size_limit(LIMIT)  # the module's own limit, 128 KiB, is for all readers of the process
    feed = _Feed(octets)
    records = _records(feed, _separator(octets), octets.name)
    header = next(records, None)
    if header is None:
        return
    if isinstance(header, BadRow):
        raise EvolError(f"{octets.name}:{header.number}: {header.reason}; expected a header with the fields' names")
    columns = [name.strip() for name in header[1]]
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise EvolError(f"{octets.name}:{header[0]}: the header has {names(twice)} twice; expected each name once")
    if len(columns) > FIELDS:
        raise EvolError(f"{octets.name}:{header[0]}: {len(columns):,} fields; a row may have at most {FIELDS:,}")
    for record in records:
        if isinstance(record, BadRow):
            yield record
        elif len(record[1]) != len(columns):
            counts = f"{len(record[1])} fields; the header has {len(columns)} ({names(columns)})"
            yield BadRow(record[0], counts, excerpt(feed.text))
        else:
            yield Row(record[0], dict(zip(columns, record[1], strict=True)))


def _separator(octets: Octets) -> str:
    if octets.extension == ".tsv":
        return "\t"
    header = octets.head.split(b"\n", 1)[0]
    return max(",;\t", key=lambda mark: header.count(mark.encode()))


def _records(feed: _Feed, separator: str, name: str) -> Iterator[tuple[int, list[str]] | BadRow]:
    reader = csv.reader(iter(feed), delimiter=separator, strict=True)
    while True:
        feed.begin_record()
        try:
            record = next(reader, None)
        except csv.Error as error:
            if feed.ended:
                raise EvolError(
                    f"{name}:{feed.start}: a quote is opened in the record that begins here and never closed",
                    'a quote within a field is written twice: ""',
                ) from None
            yield BadRow(feed.start, f"not CSV: {error}", excerpt(feed.text))
            continue
        if record is None:
            return
        if feed.fault:
            yield BadRow(feed.start, feed.fault, excerpt(feed.text))
        elif len(record) > 1 or (record and record[0].strip()):  # a blank line is no record
            yield feed.start, record


def parquet_rows(octets: Octets) -> Iterator[Row | BadRow]:
    """One row for each row, numbered from 1; nested columns become lists and dictionaries.

    Raises EvolError for a file that is no Parquet, is cut off, or comes through a pipe.
    """
    if octets.file is None:
        raise EvolError(
            f"{octets.name}: Parquet is read from the end backwards; expected a plain file, not a pipe or "
            "compressed data",
            "write it to a file first",
        )
    with octets.file.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 4))
        ending = file.read()
    if not octets.head.startswith(b"PAR1"):
        raise EvolError(f"{octets.name}: no Parquet: it begins with {excerpt(octets.head[:4])!r}; expected PAR1")
    if ending != b"PAR1" or size < 12:
        raise EvolError(f"{octets.name}: Parquet cut off: its end is missing (was its writer killed?)")
    import duckdb

    with duckdb.connect(config=DUCKDB) as database:
        try:
            found = database.execute(
                "select * from read_parquet(?, hive_partitioning=false)", [no_pattern(str(octets.file))]
            )
            columns = [column[0] for column in found.description or ()]
            if len(columns) > FIELDS:
                raise EvolError(f"{octets.name}: {len(columns):,} fields; a row may have at most {FIELDS:,}")
            number = count(1)
            while batch := found.fetchmany(_FETCH):
                for values in batch:
                    yield Row(next(number), dict(zip(columns, values, strict=True)))
        except duckdb.Error as error:
            raise EvolError(f"{octets.name}: Parquet that can't be read ({excerpt(str(error))})") from None


def no_pattern(path: str) -> str:
    """A path as a pattern that matches this path alone."""
    return re.sub(r"[*?\[]", lambda mark: f"[{mark[0]}]", path)
