"""The first pass of `sample`: of every row what it is drawn by and its value in each field."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import orjson

from evollab import rng
from evollab.data.files import read_rows
from evollab.data.rows import Row, excerpt, names
from evollab.data.strata import Column, Field, Unusable, lookup, number, paths, unknown
from evollab.records import EvolError, Rejected

UNREADABLE = "can't be read"
_KNOWN = 1000
"""Rows, and fields, that are noted to be named where a field is unknown."""


class Survey:
    """What the first pass finds: of each row its number in the file, what it is drawn by, its values."""

    def __init__(self, fields: Sequence[Field], slice_field: str) -> None:
        self.columns = [Column(field) for field in fields]
        self.slice_field = slice_field
        self.levels = array("d")
        self.level_asked = self.level_found = False
        self.numbers = array("Q")
        self.rejected: Counter[str] = Counter()
        self._ids = array("Q")
        self._contents = array("Q")

    def add(self, row: Row) -> None:
        """Take a row in. Raises Unusable (and takes nothing in) where it lacks something."""
        values = [column.read(row.fields) for column in self.columns]
        if self.slice_field:
            self.level_asked = True
            level = lookup(row.fields, self.slice_field)
            self.level_found = True
            self.levels.append(number(level, self.slice_field))
        for column, value in zip(self.columns, values, strict=True):
            column.add(value)
        self.numbers.append(row.number)
        content, own = _digest(_canonical(row.fields)), row.fields.get("id")
        self._contents.append(content)
        named = isinstance(own, (str, int)) and not isinstance(own, bool) and own != ""
        self._ids.append(_digest(f"id\x1f{own}".encode("utf-8", "surrogatepass")) if named else content)

    def keys(self, seed: int) -> array[int]:
        """For each row a number that depends on the row and `seed` alone, all different. Rows of one
        id are told apart by their content, rows of one content by their order, which changes nothing."""
        ids = self._ids
        twice = {own for own, times in Counter(ids).items() if times > 1}
        same: Counter[tuple[int, int]] = Counter()
        keys = array("Q")
        for own, content in zip(ids, self._contents, strict=True):
            if own in twice:
                same[own, content] += 1
                keys.append(rng.integer(seed, "sample", own, content, same[own, content]))
            else:
                keys.append(rng.integer(seed, "sample", own))
        return keys


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _canonical(fields: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS, default=str)
    except TypeError:  # integers beyond 64 bits, keys that are no texts
        return json.dumps(sorted((str(name), str(value)) for name, value in fields.items())).encode()


def survey_rows(
    data: str, fields: Sequence[Field], slice_field: str, *, format: str | None, strict: bool, aside: IO[bytes]
) -> Survey:
    """Read all rows of `data`. Those that lack one of `fields`, or a number in `slice_field` ("": none
    is needed), are counted and written to `aside`, a `Rejected` a line.

    Raises EvolError for a field that no row has, where no row is left, and with `strict` for the first
    row that can't be used.
    """
    survey = Survey(fields, slice_field)
    known: dict[str, None] = {}

    def unreadable(rejected: Rejected) -> None:
        survey.rejected[UNREADABLE] += 1
        aside.write(rejected.to_json() + b"\n")

    file = Path(data).name
    for at, row in enumerate(read_rows(data, format=format, strict=strict, reject=unreadable)):
        if at < _KNOWN and len(known) < _KNOWN:
            known |= dict.fromkeys(paths(row.fields))
        try:
            survey.add(row)
        except Unusable as error:
            if strict:
                raise EvolError(f"{data}:{row.number}: {error}", f"its fields are {names(paths(row.fields))}") from None
            survey.rejected[str(error)] += 1
            shown = excerpt(json.dumps(row.fields, ensure_ascii=False, default=str))
            aside.write(Rejected(file, row.number, str(error), shown).to_json() + b"\n")
    _check(survey, known, data)
    return survey


def _check(survey: Survey, known: Mapping[str, None], data: str) -> None:
    """Raise EvolError where no row can be used: for a field that is nowhere, or for what else it was."""
    for column in survey.columns:
        if not column.found:
            raise unknown(column.field, known, data)
        if not survey.numbers and not column.usable:
            break
    else:
        if survey.level_asked and not survey.level_found:
            raise unknown(Field(survey.slice_field), known, data)
    if not survey.numbers:
        reasons = "; ".join(f"{times:,} rows: {reason}" for reason, times in survey.rejected.most_common(5))
        raise EvolError(f"{data}: no row can be sampled ({reasons})")
