"""JSON into frozen dataclasses, every value looked at: a file that was cut, changed or made up is refused with the
place of what is wrong, and nothing later has to be on its guard against types."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from evollab.data.rows import excerpt, kind
from evollab.records import EvolError

T = TypeVar("T")
_EXACT = 2**63
"""Whole numbers beyond have no place in a table."""


def read_typed(cls: type[T], value: object, place: str) -> T:
    """`value`, parsed JSON, as the dataclass `cls`, whose fields may be text, bool, int, float, other
    dataclasses, tuples of one type, Mapping from text to one type, Literal, Any, and each of these or None (or
    text or int).

    Fields with a default may be missing; keys that no field has are passed over. A whole number will
    do for a float. Raises EvolError naming the place, as `place: judge.attributes: expected …`.
    """
    found: T = _read(cls, value, place, "")
    return found


@cache
def _fields(cls: Any) -> Mapping[str, tuple[Any, bool]]:
    """Name -> type, and whether it must be there."""
    hints = typing.get_type_hints(cls)
    missing = dataclasses.MISSING
    return {
        one.name: (hints[one.name], one.default is missing and one.default_factory is missing)
        for one in dataclasses.fields(cls)
    }


def _read(wanted: Any, value: Any, file: str, path: str) -> Any:
    origin, given = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted is Any:
        return value
    if origin is typing.Literal:
        if value not in given:
            raise _wrong(f"one of {', '.join(given)}", value, file, path)
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in given:
            return None
        plain = next((one for one in given if type(value) is one), given[0])
        return _read(plain, value, file, path)
    if dataclasses.is_dataclass(wanted):
        return _record(wanted, _object(value, file, path), file, path)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong("a list", value, file, path)
        return tuple(_read(given[0], one, file, f"{path}[{at}]") for at, one in enumerate(value))
    if origin is not None:
        return {
            name: _read(given[1], one, file, _below(path, name)) for name, one in _object(value, file, path).items()
        }
    return _plain(wanted, value, file, path)


def _record(cls: Any, value: Mapping[str, Any], file: str, path: str) -> Any:
    found: dict[str, Any] = {}
    for name, (wanted, needed) in _fields(cls).items():
        if name in value:
            found[name] = _read(wanted, value[name], file, _below(path, name))
        elif needed:
            raise EvolError(f"{file}: {_below(path, name)} is missing", _MEND)
    return cls(**found)


def _plain(wanted: type, value: Any, file: str, path: str) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if wanted is float and number and abs(value) < 1e300 and math.isfinite(value):
        return float(value)
    if wanted is int and number and isinstance(value, int) and abs(value) < _EXACT:
        return value
    if wanted in (str, bool) and isinstance(value, wanted):
        return value
    names = {float: "a finite number", int: "a whole number", str: "a text", bool: "true or false"}
    raise _wrong(names[wanted], value, file, path)


def _object(value: Any, file: str, path: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong("an object", value, file, path)
    return value


def _below(path: str, name: str) -> str:
    shown = excerpt(name, 60)
    return f"{path}.{shown}" if path else shown


_MEND = "was it changed, or written by another version of evollab? `evol analyse` writes it anew"


def _wrong(wanted: str, value: object, file: str, path: str) -> EvolError:
    return EvolError(f"{file}: {path or 'all of it'}: expected {wanted}, found {kind(value)}", _MEND)
