"""What a row is counted under: fields by dotted path, their values as they are or put into bins."""

from __future__ import annotations

import difflib
import math
import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from evollab.data.items import ATTRIBUTES
from evollab.data.rows import excerpt, kind, names
from evollab.records import EvolError

MOST_VALUES = 1000
"""Different values that a field may have, without bins."""
LONGEST = 200
"""Characters that one value may have."""
_NUMBER = r"-?\d{1,15}(?:\.\d{1,15})?"
_BIN = re.compile(rf"({_NUMBER})(?:-({_NUMBER})|(\+))?", re.ASCII)
_QUANTILES = re.compile(r"q([1-9]\d{0,2})", re.ASCII)
_DEPTH = 3
_BINS = "FIELD:1-4,5-7,8+ counts ranges, FIELD:q4 cuts at the quartiles"


class Unusable(ValueError):
    """Why a row can't be counted, in words that many rows may share."""


class Missing(Unusable):
    """The row has no such field."""


class Bin(NamedTuple):
    """A range of numbers, both ends included."""

    label: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Field:
    """A field by dotted path. `bins`: ranges to count numbers in; `quantiles`: how many bins of as
    many rows each; neither: every value counts for itself."""

    name: str
    bins: tuple[Bin, ...] = ()
    quantiles: int = 0

    def __str__(self) -> str:
        cuts = f"q{self.quantiles}" if self.quantiles else ",".join(one.label for one in self.bins)
        return f"{self.name}:{cuts}" if cuts else self.name


def parse_fields(texts: Iterable[str]) -> tuple[Field, ...]:
    """Fields out of texts as "difficulty:1-4,5-7,8+,category" or "score:q4".

    Bins follow their field, behind a colon and parted by commas. Two bins may touch: the number in
    common belongs to the lower one. Raises EvolError for a field named twice and for bins that overlap.
    """
    found: list[Field] = []
    for part in (part.strip() for text in texts for part in text.split(",")):
        if found and found[-1].bins and (more := _bin(part)):
            found[-1] = Field(found[-1].name, (*found[-1].bins, more))
            continue
        name, _, cuts = part.rpartition(":")
        if name and (number := _QUANTILES.fullmatch(cuts)):
            found.append(Field(name, quantiles=int(number[1])))
        elif name and (first := _bin(cuts)):
            found.append(Field(name, (first,)))
        else:
            found.append(Field(part))
    for field in found:
        _check(field, found)
    return tuple(found)


def _bin(text: str) -> Bin | None:
    match = _BIN.fullmatch(text.strip())
    if match is None:
        return None
    low = float(match[1])
    return Bin(match[0], low, math.inf if match[3] else float(match[2]) if match[2] else low)


def _check(field: Field, fields: list[Field]) -> None:
    if not field.name:
        raise EvolError("a field without a name; expected names parted by commas", _BINS)
    if [other.name for other in fields].count(field.name) > 1:
        raise EvolError(f"the field {excerpt(field.name, 60)} is named twice; expected each once")
    if field.quantiles == 1:
        raise EvolError(f"{excerpt(str(field), 60)}: expected 2 or more bins", _BINS)
    ordered = sorted(field.bins, key=lambda one: one.low)
    for one in ordered:
        if one.low > one.high:
            raise EvolError(f"the bin {one.label} of {field.name} ends before it begins", _BINS)
    for one, after in pairwise(ordered):
        if one.high > after.low or one.low == after.low:
            raise EvolError(f"the bins {one.label} and {after.label} of {field.name} overlap", _BINS)


_NONE = object()


def lookup(row: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path. A field of that very name comes first, and after the row's own fields
    those that `evol analyse` left in it: `difficulty` finds `attributes.difficulty`. Raises Missing."""
    for place in (row, row.get(ATTRIBUTES)):
        if not isinstance(place, dict):
            continue
        value: Any = place.get(path, _NONE)
        if value is not _NONE:
            return value
        value = place
        for name in path.split("."):
            value = value.get(name, _NONE) if isinstance(value, dict) else _NONE
        if value is not _NONE:
            return value
    raise Missing(f"no field {excerpt(path, 60)}")


def value_of(row: Mapping[str, Any], path: str) -> Any:
    """The same, None where there is no such field."""
    try:
        return lookup(row, path)
    except Missing:
        return None


def paths(row: dict[str, Any], depth: int = _DEPTH) -> Iterator[str]:
    """The fields of a row, dotted where they lie in objects."""
    for name, value in row.items():
        if isinstance(value, dict) and value and depth > 1:
            yield from (f"{name}.{inner}" for inner in paths(value, depth - 1))
        else:
            yield str(name)


def unknown(field: Field, known: Iterable[str], place: str) -> EvolError:
    """The error for a field that no row has: the fields there are, and the nearest."""
    known = dict.fromkeys(known)
    near = difflib.get_close_matches(field.name, [name[:200] for name in known], 1, 0.5)
    hint = f"did you mean {excerpt(near[0], 60)}?" if near else _BINS if ":" in field.name else ""
    return EvolError(f"{place}: no field {excerpt(field.name, 60)}; the fields are {names(known, 40)}", hint)


def number(value: object, name: str) -> float:
    """A finite number, also one that is written as a text (CSV knows no others). Raises Unusable."""
    found = math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        found = float(value) if abs(value) < 1e300 else math.inf
    elif isinstance(value, str) and len(value) <= LONGEST and "_" not in value:
        try:
            found = float(value)
        except ValueError:
            what = "a text that is no number" if value.strip() else "empty"
            raise Unusable(f"{name} is {what}; expected a number") from None
    else:
        raise Unusable(f"{name} is {kind(value)}; expected a number")
    if not math.isfinite(found):
        raise Unusable(f"{name} is NaN or infinite; expected a number")
    return found


def label(value: object, name: str) -> str:
    """A value as targets name it: texts as they are, 3 and 3.0 as "3", true as "true".
    Raises Unusable for nothing, lists, objects, and texts over LONGEST characters."""
    if isinstance(value, str):
        if not value:
            raise Unusable(f"{name} is empty")
        if len(value) > LONGEST:
            raise Unusable(f"{name} is a text of more than {LONGEST} characters; expected a short one")
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) < 1 << 64:
        return str(value)
    if isinstance(value, (int, float)):
        found = number(value, name)
        return str(int(found)) if found.is_integer() and abs(found) < 1e15 else repr(found)
    raise Unusable(f"{name} is {kind(value)}; expected a text or a number")


class Column:
    """The values of one field over all rows, as a number each: 4 bytes a row (12 with quantiles)."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.found = self.usable = False
        self.codes = array("I")
        self._numbers = array("d")
        self._labels: dict[str, int] = {one.label: at for at, one in enumerate(field.bins)}

    def read(self, row: dict[str, Any]) -> float:
        """What `add` takes for this row. Raises Unusable, and EvolError for too many values."""
        name = self.field.name
        value = lookup(row, name)
        self.found = True
        if self.field.quantiles:
            found = number(value, name)
            self.usable = True
            return found
        text = self._binned(number(value, name)) if self.field.bins else label(value, name)
        code = self._labels.setdefault(text, len(self._labels))
        if code >= MOST_VALUES:
            raise EvolError(
                f"the field {name} has more than {MOST_VALUES:,} different values", f"put numbers into bins: {_BINS}"
            )
        self.usable = True
        return code

    def add(self, value: float) -> None:
        if self.field.quantiles:
            self._numbers.append(value)
        else:
            self.codes.append(int(value))

    def _binned(self, value: float) -> str:
        inside = [one for one in self.field.bins if one.low <= value <= one.high]
        if not inside:
            raise Unusable(f"{self.field.name} is in none of the bins {names(one.label for one in self.field.bins)}")
        return min(inside, key=lambda one: one.low).label

    def finish(self) -> Strata:
        """The values in an order that depends on them alone (numbers by size, then texts; bins as they were given),
        and for each row the place of its value."""
        if self.field.quantiles:
            return self._quantiles()
        used = sorted(set(self.codes))
        labels = {code: text for text, code in self._labels.items()}
        order = used if self.field.bins else sorted(used, key=lambda code: _by_size(labels[code]))
        place = {code: at for at, code in enumerate(order)}
        return Strata(self.field, [labels[code] for code in order], array("I", map(place.__getitem__, self.codes)), [])

    def _quantiles(self) -> Strata:
        """Bins of as many rows each, as far as equal numbers, which stay together, allow."""
        ordered = sorted(self._numbers)
        rows, parts = len(ordered), self.field.quantiles
        ends = sorted({ordered[max(0, -(-rows * part // parts) - 1)] for part in range(1, parts + 1)}) if rows else []
        codes = array("I", (bisect_left(ends, value) for value in self._numbers))
        starts = [
            ordered[0] if before is None else ordered[bisect_right(ordered, before)]
            for before in [None, *ends[:-1]][: len(ends)]
        ]
        ranges = [
            f"{start:g}" if start == end else f"{start:g} to {end:g}" for start, end in zip(starts, ends, strict=True)
        ]
        return Strata(self.field, [f"q{at}" for at in range(1, len(ends) + 1)], codes, ranges)


@dataclass(slots=True)
class Strata:
    """One field over all rows: its `values`, the place of its value for each row, and for quantiles
    the range that each value stands for."""

    field: Field
    values: list[str]
    codes: array[int]
    ranges: list[str]


def _by_size(text: str) -> tuple[int, float, str]:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    return (0, found, text) if math.isfinite(found) else (1, 0.0, text)
