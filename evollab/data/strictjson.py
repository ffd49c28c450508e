"""One JSON object out of one line, with everything that JSON parsers let pass in silence named.

orjson reads the row. What it can't tell (a key that occurs twice, an integer that no longer fits and
turns into a float, an escaped NUL, nesting) is found by counts that cost little; only where a count
leaves a doubt is the row read a second time, slowly.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, NoReturn

import orjson

from evollab.data.rows import excerpt, kind

DEPTH = 100
"""Levels of lists and objects that a row may have."""
FIELDS = 1000
"""Fields that one object may have."""
DIGITS = 1000
"""Digits that an integer may have."""
_EXACT = 2.0**63
_KEY = re.compile(rb'"[ \t\r\n]*:')
_HALF = re.compile("[\ud800-\udfff]")
_TOO_DEEP = f"nested deeper than {DEPTH} levels"


class BadJson(ValueError):
    """Why a text is no usable JSON object, in words for a person."""


def parse_object(data: bytes, offset: int = 0) -> dict[str, Any]:
    """The JSON object that `data` is. `offset`: where `data` begins in its file, for the byte
    position of what is not UTF-8.

    Raises BadJson for anything else: no JSON, cut off, no object, a field twice, NaN and infinite
    numbers, NUL, lone surrogates, more than DEPTH levels, FIELDS fields or DIGITS digits.
    """
    try:
        row = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        _explain(data, offset, error)
    if type(row) is not dict:
        raise BadJson(f"{kind(row)}; expected an object")
    keys, doubtful = _survey(row)
    if not doubtful and (data.count(b":") == keys or len(_KEY.findall(data)) == keys) and b"\\u0000" not in data:
        return row
    exact: dict[str, Any] = _reread(data.decode())
    return exact


def _survey(row: dict[str, Any]) -> tuple[int, bool]:
    """How many keys `row` has on all its levels, and whether an integer may have lost digits.
    Raises BadJson beyond DEPTH and FIELDS."""
    keys = depth = 0
    doubtful = False
    level: list[dict[str, Any] | list[Any]] = [row]
    while level:
        depth += 1
        if depth > DEPTH:
            raise BadJson(_TOO_DEEP)
        below: list[dict[str, Any] | list[Any]] = []
        for item in level:
            if type(item) is dict:
                if len(item) > FIELDS:
                    raise BadJson(f"{len(item):,} fields; an object may have at most {FIELDS:,}")
                keys += len(item)
                values: Any = item.values()
            else:
                values = item
            for value in values:
                if type(value) is str:
                    continue
                if type(value) is dict or type(value) is list:
                    below.append(value)
                elif type(value) is float and not -_EXACT < value < _EXACT:
                    doubtful = True
        level = below
    return keys, doubtful


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        times = Counter(key for key, _ in pairs)
        twice = next(key for key, number in times.items() if number > 1)
        raise BadJson(f"the field {excerpt(twice, 40)!r} occurs twice; expected each field once")
    return fields


def _integer(digits: str) -> int:
    if len(digits) > DIGITS:
        raise BadJson(f"an integer of {len(digits.lstrip('-')):,} digits; expected at most {DIGITS:,}")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise BadJson(f"the number {excerpt(digits, 40)} is infinite; expected one below 1.8e308")
    return value


def _constant(word: str) -> NoReturn:
    raise BadJson(f"{word} is not JSON; expected a number or null")


_SLOW = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)


def _reread(text: str) -> Any:
    """The value once more, from the slow decoder, which names what orjson lets pass."""
    value = _SLOW.decode(text)
    if "\\u" in text:
        _look_at_characters(value)
    return value


def _look_at_characters(value: Any) -> None:
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, dict):
            rest += [*item, *item.values()]
        elif isinstance(item, list):
            rest += item
        elif isinstance(item, str):
            if "\0" in item:
                raise BadJson("a NUL character (\\u0000) in a text")
            if half := _HALF.search(item):
                raise BadJson(f"a lone surrogate (\\u{ord(half[0]):04x}), half of a character, in a text")


def _explain(data: bytes, offset: int, error: orjson.JSONDecodeError) -> NoReturn:
    """Raise BadJson with the reason why orjson refused `data`."""
    try:
        text = data.decode()
    except UnicodeDecodeError as at:
        if at.reason == "unexpected end of data":
            raise _cut_off(data.decode(errors="ignore")) from None
        raise BadJson(f"byte 0x{data[at.start]:02X} at byte {offset + at.start} is not UTF-8; expected UTF-8") from None
    cut_off = error.pos >= len(text.rstrip())
    try:
        value = None if cut_off else _reread(text)
    except RecursionError:
        raise BadJson(_TOO_DEEP) from None
    except json.JSONDecodeError as slow:
        cut_off = slow.msg.startswith("Unterminated string")
    else:
        _survey({"": value})
    if cut_off:
        raise _cut_off(text) from None
    place = f"column {error.colno}" if error.lineno == 1 else f"column {error.colno} of its line {error.lineno}"
    found = excerpt(text[error.pos : error.pos + 1])
    raise BadJson(f"not JSON at {place}: found {found!r} ({error.msg})") from None


def _cut_off(text: str) -> BadJson:
    return BadJson(f"JSON cut off at column {len(text.rsplit(chr(10), 1)[-1].rstrip()) + 1} (was its writer killed?)")
