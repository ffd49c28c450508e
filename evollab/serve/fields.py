"""Reading a JSON body field by field; every wrong value answers with what was found and what was expected."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from evollab.serve.engine import Refused

_SHOWN = 60


def shown(value: object) -> str:
    """A value for an error message: its type, and its beginning where that helps."""
    if isinstance(value, str | int | float | bool) or value is None:
        text = repr(value)
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return (
        "an object" if isinstance(value, Mapping) else f"a list of {len(value)}" if isinstance(value, Sequence) else "?"
    )


class Fields:
    """The fields of one body. An absent field and null are the same: the default."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.body = body

    def has(self, name: str) -> bool:
        return self.body.get(name) is not None

    def refuse(self, name: str, expected: str, *, status: int = 400) -> Refused:
        return Refused(f"{name}: found {shown(self.body.get(name))}; expected {expected}", param=name, status=status)

    def number(self, name: str, default: float, low: float, high: float) -> float:
        value = self.body.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.refuse(name, f"a number from {low:g} to {high:g}")
        return float(value)

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        value = self.body.get(name)
        if value is None:
            return default
        if isinstance(value, float) and math.isfinite(value) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.refuse(name, f"a whole number from {low} to {high}")
        return value

    def flag(self, name: str) -> bool:
        value = self.body.get(name, False)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.refuse(name, "true or false")
        return value

    def texts(self, name: str, most: int, longest: int) -> tuple[str, ...]:
        """A text, or up to `most` of them, none empty, none longer than `longest` characters."""
        value = self.body.get(name)
        if value is None:
            return ()
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise self.refuse(name, "a text or a list of texts")
        if len(items) > most:
            raise self.refuse(name, f"at most {most}")
        if any(not item or len(item) > longest for item in items):
            raise self.refuse(name, f"texts of 1 to {longest} characters")
        return tuple(items)

    def mapping(self, name: str) -> Mapping[str, Any]:
        value = self.body.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.refuse(name, "an object")
        return value

    def rest(self, known: Sequence[str]) -> tuple[str, ...]:
        """Names that mean nothing here, in order. Raises Refused for what looks like a slip of the pen."""
        unknown = [name for name in self.body if name not in known]
        for name in unknown:
            near = difflib.get_close_matches(name[:_SHOWN], known, 1, cutoff=0.85)
            if near:
                raise Refused(f"no field is called {shown(name)}; did you mean {near[0]}?", param=name[:_SHOWN])
        return tuple(name[:_SHOWN] for name in unknown)
