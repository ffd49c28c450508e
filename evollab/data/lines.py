"""Lines out of a stream of bytes: split at LF alone, numbered, bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from evollab.data.rows import BadRow, excerpt
from evollab.records import EvolError

LIMIT = 16 << 20
"""Bytes that one row may have."""
PATIENCE = 64 * LIMIT
"""Bytes of one row that are passed over in search of its end, before the file is given up."""
TOO_LONG = f"longer than {LIMIT >> 20} MiB; a row may have at most that"


BEGINNING = 1000
"""Bytes of it that are kept, to be shown."""


class Line(NamedTuple):
    """A line without its LF: 1-based number, and where it begins (bytes from the first line's begin)."""

    number: int
    offset: int
    data: bytes


def lines(chunks: Iterator[bytes], name: str) -> Iterator[Line | BadRow]:
    """The lines of `chunks`. Only LF ends a line: U+2028, U+0085, form feeds and a lone CR are text.

    A line over LIMIT is passed over, its bytes dropped as they come, and reported as a BadRow.
    Raises EvolError when it has not ended after PATIENCE bytes (a pipe without an end).
    """
    number, offset, size = 1, 0, 0
    held: list[bytes] = []
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        size += len(first)
        if size <= LIMIT:
            held.append(first)
        elif held:
            yield BadRow(number, TOO_LONG, excerpt((b"".join(held) or first)[:BEGINNING]))
            held = []
        if size > PATIENCE:
            raise endless(name, number)
        if not others:
            continue
        if held:
            yield Line(number, offset, b"".join(held))
        number, offset = number + 1, offset + size + 1
        for data in others[:-1]:
            yield Line(number, offset, data)
            number, offset = number + 1, offset + len(data) + 1
        held, size = [others[-1]], len(others[-1])
    if size and held:
        yield Line(number, offset, b"".join(held))


def endless(name: str, number: int) -> EvolError:
    return EvolError(
        f"{name}:{number}: a row of more than {PATIENCE >> 20:,} MiB without an end; "
        f"a row may have at most {LIMIT >> 20} MiB",
        "is this a stream of rows at all?",
    )
