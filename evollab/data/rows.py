"""What the readers pass on: rows, rows that can't be used, and words for what a value is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

EXCERPT = 200


class Row(NamedTuple):
    """One row as its file has it: 1-based line (or row) number, fields by name."""

    number: int
    fields: dict[str, Any]


class BadRow(NamedTuple):
    """A row that can't be used: its number, why, and its beginning (see `excerpt`)."""

    number: int
    reason: str
    text: str


def excerpt(data: bytes | str, length: int = EXCERPT) -> str:
    """The first `length` characters on one line; what doesn't print (control characters, terminal
    and text-direction escapes, lone surrogates, bytes that are not UTF-8) is written out."""
    text = data[: 4 * length].decode("utf-8", "backslashreplace") if isinstance(data, bytes) else data
    return "".join(c if c.isprintable() else _written_out(c) for c in text[:length])


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode()


def kind(value: object) -> str:
    """What a JSON value is, in plain words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    return f"a {type(value).__name__}"


def names(fields: Iterable[str], at_most: int = 20) -> str:
    """Field names in a message: made printable, and never more than a person reads."""
    shown = [excerpt(str(name), 40) or "''" for name in fields]
    more = f" and {len(shown) - at_most} more" if len(shown) > at_most else ""
    return (", ".join(shown[:at_most]) + more) or "none"
