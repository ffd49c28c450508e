"""Rows with what identifies a person or opens a door: e-mail addresses, phone numbers, cards, bank
accounts, social security numbers, internet addresses, keys.

Every text in the row is looked at, its id and what it says about its source too. The rows themselves
are not written anywhere, and the detail counts kinds; it holds no character of what was found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from evollab.data.filtering import Check, Filter, FilterOptions, Finding
from evollab.data.items import Item
from evollab.data.personal import find


def texts(value: Any) -> Iterator[str]:
    """All texts in a JSON value, names of fields and whole numbers included."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                yield text
            case dict() as fields:
                waiting += [*fields.values(), *fields.keys()]
            case list() as items:
                waiting += items
            case int() as number if not isinstance(number, bool) and abs(number) < 1 << 64:
                yield str(number)


def check(item: Item) -> Finding | None:
    kinds = Counter(kind for text in texts(item.fields) for kind in find(text))
    if not kinds:
        return None
    return Finding("pii", ", ".join(f"{kind} ({times})" for kind, times in sorted(kinds.items())))


def make(options: FilterOptions) -> Check:
    return check


FILTER = Filter(make, private=True)
