"""What decontamination needs to know of a benchmark: its items' texts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BenchmarkItem:
    """One item: its id, what is asked, the reference solution ("" where there is none), and what there
    is to choose from in multiple choice."""

    id: str
    question: str
    answer: str = ""
    choices: tuple[str, ...] = ()

    @property
    def whole(self) -> str:
        """The question, and each choice on a line of its own."""
        return "\n".join((self.question, *self.choices))


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark read: where its items came from, the items, and how many rows could not be read."""

    source: str
    items: Sequence[BenchmarkItem]
    unreadable: int = 0

    def digest(self) -> str:
        """32 hex digits over all texts, wherever they came from."""
        state = hashlib.blake2b(digest_size=16)
        for item in self.items:
            for text in (item.id, item.question, item.answer, *item.choices):
                data = text.encode("utf-8", "surrogatepass")
                state.update(b"%d:" % len(data) + data)
            state.update(b";")
        return state.hexdigest()
