"""Options as a person reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson


def flat(values: Mapping[str, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Name and value of every option; what is inside another gets both names."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value and depth < 4:
            yield from flat(value, f"{before}{name}.", depth + 1)
        else:
            yield f"{before}{name}", _value(value)


def _value(value: Any) -> str:
    """An option's value as a person reads it."""
    match value:
        case None:
            return "default"
        case True:
            return "yes"
        case False:
            return "no"
        case str():
            return value or "none"
        case [] | {}:
            return "none"
        case list() if all(isinstance(item, str) for item in value):
            return ", ".join(value)
        case Mapping() | list():
            return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
        case _:
            return str(value)
