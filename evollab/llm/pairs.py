"""NAME=VALUE options, taken apart."""

from __future__ import annotations

from typing import Any

import orjson

from evollab.records import EvolError


def parse_pairs(pairs: tuple[str, ...], what: str) -> dict[str, str]:
    """NAME=VALUE pairs as a dictionary. Raises EvolError."""
    values: dict[str, str] = {}
    for pair in pairs:
        name, mark, value = pair.partition("=")
        if not mark or not name or not value:
            raise EvolError(f"{what} {pair!r}: expected NAME=VALUE")
        values[name] = value
    return values


def parse_extra(pairs: tuple[str, ...]) -> dict[str, Any]:
    """--extra-body NAME=JSON pairs. Raises EvolError."""
    values: dict[str, Any] = {}
    for name, text in parse_pairs(pairs, "--extra-body").items():
        try:
            values[name] = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise EvolError(
                f"--extra-body {name}={text}: not JSON ({error})", "a text needs quotes inside quotes"
            ) from None
    return values
