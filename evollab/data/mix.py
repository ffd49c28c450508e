"""Which mix of rows is wanted: target shares, and the least and the most rows of a value."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from evollab.data.octets import unopened
from evollab.data.rows import excerpt, kind, names
from evollab.data.strata import Field, Unusable, label, parse_fields
from evollab.data.strictjson import BadJson, parse_object
from evollab.records import EvolError

KEYWORDS = ("uniform", "natural")
_EXPECTED = "uniform, natural, natural^T (T from 0 to 10), or a JSON file {field: {value: share}}"
_POWER = re.compile(r"natural(?:\^(\d{1,2}(?:\.\d{1,6})?))?", re.ASCII)
_MOST_BYTES = 16 << 20
Kind = Literal["floor", "cap", "quota"]


@dataclass(frozen=True, slots=True)
class Wish:
    """The mix wanted in one field: given `shares` by value (they need not sum to 1), or the shares
    there are to a `power` (1: as they are, 0: all alike); with neither the field is left free."""

    power: float | None = None
    shares: Mapping[str, float] = field(default_factory=dict[str, float])

    def __str__(self) -> str:
        if self.shares:
            return "given shares"
        if self.power is None:
            return "left free"
        return {0.0: "uniform", 1.0: "natural"}.get(self.power, f"natural^{self.power:g}")

    @property
    def free(self) -> bool:
        return self.power is None and not self.shares

    def over(self, values: Sequence[str], rows: Sequence[int]) -> list[float]:
        """The share of each of `values`, which `rows` have; they sum to 1, or are all 0."""
        if self.shares:
            wanted = [self.shares.get(value, 0.0) for value in values]
        else:
            most, power = max(rows, default=1) or 1, self.power or 0.0
            wanted = [(number / most) ** power if number else 0.0 for number in rows]
        top = max(wanted, default=0.0)
        if not top:
            return wanted
        wanted = [share / top for share in wanted]  # first: the sum of huge ones would be infinite
        return [share / math.fsum(wanted) for share in wanted]


def wishes(target: str | Mapping[str, Any], fields: Sequence[Field]) -> tuple[tuple[Field, ...], list[Wish]]:
    """The wish for each field; where no fields are given, those that the target names.

    `target` is a keyword, the path of a JSON file, or what such a file holds: by field, an object
    {value: share} or a keyword. Fields that it does not name are left free. Raises EvolError for
    shares that are negative, no finite numbers, or sum to nothing, and for fields not among `fields`.
    """
    if isinstance(target, str):
        common = keyword(target)
        if common is not None:
            return tuple(fields), [common] * len(fields)
        name, target = target, _read(target)
    else:
        name = "target"
    if not target:
        raise EvolError(f"{name}: names no field; expected {{field: {{value: share}}}}")
    if not fields:
        own = [parse_fields((key,)) for key in target]
        if several := [key for key, found in zip(target, own, strict=True) if len(found) != 1]:
            raise EvolError(f"{name}: {excerpt(several[0], 60)!r} names several fields; expected one")
        fields = tuple(found[0] for found in own)
    given = {text: field for field in fields for text in (field.name, str(field))}
    found: dict[str, Wish] = {}
    for key, value in target.items():
        if key not in given:
            near = difflib.get_close_matches(key, given, 1)
            raise EvolError(
                f"{name}: the field {excerpt(key, 60)} is not among those of --by: {names(f.name for f in fields)}",
                f"did you mean {near[0]}?" if near else f"add it: --by {excerpt(key, 60)}",
            )
        if given[key].name in found:
            raise EvolError(f"{name}: the field {given[key].name} is named twice")
        found[given[key].name] = _wish(value, f"{name}: {excerpt(key, 60)}")
    return tuple(fields), [found.get(field.name, Wish()) for field in fields]


def keyword(text: str) -> Wish | None:
    """The wish that a keyword stands for, None where it is none."""
    if text == "uniform":
        return Wish(0.0)
    match = _POWER.fullmatch(text)
    if match is None:
        if text.startswith("natural^"):
            raise EvolError(f"--target {excerpt(text, 60)}: expected natural^T with T from 0 to 10, as natural^0.5")
        return None
    power = float(match[1] or 1)
    if power > 10:
        raise EvolError(f"--target {text}: a power of {power:g}; expected 0 to 10")
    return Wish(power)


def _read(name: str) -> dict[str, Any]:
    try:
        with Path(name).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError as error:
        near = difflib.get_close_matches(name, KEYWORDS, 1, 0.7)
        raise EvolError(
            f"--target {excerpt(name, 200)}: no such file; expected {_EXPECTED}",
            f"did you mean {near[0]}?" if near else unopened(name, error).hint,
        ) from None
    except (OSError, ValueError) as error:
        raise unopened(name, error) from None
    if len(data) > _MOST_BYTES:
        raise EvolError(f"--target {name}: more than {_MOST_BYTES >> 20} MiB; expected {_EXPECTED}")
    try:
        return parse_object(data.removeprefix(b"\xef\xbb\xbf"))
    except BadJson as error:
        raise EvolError(f"--target {name}: {error}", f"expected is {_EXPECTED}") from None


def _wish(value: object, place: str) -> Wish:
    if isinstance(value, str):
        found = keyword(value)
        if found is None:
            raise EvolError(
                f"{place}: {excerpt(value, 60)!r}; expected uniform, natural, natural^T or {{value: share}}"
            )
        return found
    if not isinstance(value, Mapping):
        raise EvolError(f"{place}: {kind(value)}; expected {{value: share}}, uniform, natural or natural^T")
    shares: dict[str, float] = {}
    for key, share in value.items():
        where = f"{place}: {excerpt(str(key), 60)!r}"
        try:
            shares[label(key, "the value")] = _share(share, where)
        except Unusable as error:
            raise EvolError(f"{where}: {error}") from None
    if not any(shares.values()):
        raise EvolError(f"{place}: the shares sum to nothing; expected at least one above 0")
    return Wish(shares=shares)


def _share(value: object, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise EvolError(f"{place}: the share is {kind(value)}; expected a number of 0 or more")
    if not math.isfinite(value) or abs(value) > 1e300:
        raise EvolError(f"{place}: the share is {value}; expected a finite number of 0 or more")
    if value < 0:
        raise EvolError(f"{place}: the share is {value}, which is negative; expected 0 or more")
    return float(value)


@dataclass(frozen=True, slots=True)
class Limit:
    """At least (floor), at most (cap) or exactly (quota) so many rows of a value, or of every value
    ("*"); `amount` in rows, or with `percent` in hundredths of the rows drawn."""

    kind: Kind
    field: Field
    value: str
    amount: float
    percent: bool

    def rows(self, drawn: int) -> int:
        if not self.percent:
            return int(self.amount)
        exact = round(drawn * self.amount / 100, 6)
        return math.ceil(exact) if self.kind == "floor" else math.floor(exact)


_LIMIT = re.compile(r"([^=]+)=(.+)=(\d{1,12}|\d{1,3}(?:\.\d{1,6})?%)", re.ASCII | re.DOTALL)
_LONGEST = 1000


def parse_limits(kind: Kind, texts: Iterable[str]) -> list[Limit]:
    """Limits out of texts as "category=math=500", "category=*=5%" or "score:q4=q1=100"."""
    found: list[Limit] = []
    for text in texts:
        match = _LIMIT.fullmatch(text[:_LONGEST])
        amount = match[3] if match else "101%"
        percent = amount.endswith("%")
        if match is None or (percent and float(amount[:-1]) > 100):
            raise EvolError(
                f"--{kind} {excerpt(text, 60)}: expected FIELD=VALUE=ROWS or FIELD=VALUE=PERCENT% (0 to 100), "
                "VALUE * for every value"
            )
        fields = parse_fields((match[1],))
        if len(fields) != 1:
            raise EvolError(f"--{kind} {excerpt(text, 60)}: {len(fields)} fields; expected one")
        found.append(Limit(kind, fields[0], match[2], float(amount.rstrip("%")), percent))
    return found


def bounds(limits: Iterable[Limit], values: Sequence[str], drawn: int) -> tuple[list[int], list[int]]:
    """The least and the most rows of each of `values` in `drawn` rows. A value named goes before "*".
    Raises EvolError where they exclude each other."""
    low, high = [0] * len(values), [drawn] * len(values)
    place = {value: at for at, value in enumerate(values)}
    for limit in sorted(limits, key=lambda limit: limit.value != "*"):
        rows = limit.rows(drawn)
        if limit.kind != "cap" and rows > drawn:
            what = f"--{limit.kind} {limit.field.name}={excerpt(limit.value, 60)}"
            raise EvolError(f"{what}={rows}: more than the {drawn:,} rows to draw")
        for at in range(len(values)) if limit.value == "*" else [place[limit.value]]:
            if limit.kind != "cap":
                low[at] = rows
            if limit.kind != "floor":
                high[at] = rows
    for value, least, most in zip(values, low, high, strict=True):
        if least > most:
            raise EvolError(
                f"{excerpt(value, 60)}: at least {least:,} rows and at most {most:,}; expected floors below caps"
            )
    return low, high
