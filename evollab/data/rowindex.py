"""All that a selection knows of its rows, by columns; their bytes and texts lie on disk.

Some 150 bytes a row and the row's tags, however long its texts are.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from evollab.data import strata
from evollab.data.filtering import Filters, Finding
from evollab.data.items import Item
from evollab.data.personal import find
from evollab.data.rows import Row
from evollab.data.selecting import Need
from evollab.data.spool import Spool
from evollab.data.survey import Survey
from evollab.data.tokencount import ESTIMATE
from evollab.words import count_words

WORDS = "response_words"
TOKENS = "tokens"
CATEGORY = "category"
_KNOWN = 1000
"""Rows, and fields, that are noted to be named where a field is unknown."""


class RowIndex:
    """The rows in their order. `numbers`: NaN where a row has none; `lists`: None where it has none."""

    def __init__(self, folder: Path, filters: Filters, needs: Sequence[Need], *, id_column: str, text: str) -> None:
        """`text`: prompt or both, what is laid aside to be embedded; "" lays nothing aside."""
        self.rows = Spool(folder)
        self._texts = Spool(folder)
        self._findings = Spool(folder)
        self._filters = filters
        self._survey = Survey([], "")
        self._id_column, self._text = id_column, text
        self.numbers = {need.name: array("d") for need in needs if need.kind == "number"}
        self.lists: dict[str, list[tuple[str, ...] | None]] = {need.name: [] for need in needs if need.kind == "list"}
        self.categories: list[str | None] = []
        self._interned: dict[str, str] = {}
        self.known: dict[str, None] = {}
        self.passed = bytearray()
        self.estimated = 0

    def __enter__(self) -> RowIndex:
        return self

    def __exit__(self, *_: object) -> None:
        for spool in (self.rows, self._texts, self._findings):
            spool.close()

    def __len__(self) -> int:
        return len(self.passed)

    @property
    def lines(self) -> array[int]:
        return self._survey.numbers

    def keys(self, seed: int) -> array[int]:
        """See `survey.Survey.keys`: what `evol sample` draws by."""
        return self._survey.keys(seed)

    def add(self, item: Item) -> None:
        found = self._filters.look(item)
        self.passed.append(found is None)
        private = found is not None and found[1]
        told = b""
        if found is not None:
            own = _shown_id(item.fields.get(self._id_column)) if private else None
            told = orjson.dumps([found[0].reason, found[0].detail, private, own])
        self._findings.add(told)
        self.rows.add(b"" if private else item.data)
        if self._text:
            turns = (turn.content for turn in item.messages if turn.role == "user" or self._text == "both")
            self._texts.add("\n\n".join(turns).encode("utf-8", "surrogatepass"))
        fields = dict(item.fields)
        self._survey.add(Row(item.number, fields))
        if len(self) <= _KNOWN and len(self.known) < _KNOWN:
            self.known |= dict.fromkeys(strata.paths(fields))
        for name, column in self.numbers.items():
            column.append(self._number(item, name))
        for name, lists in self.lists.items():
            lists.append(self._list(strata.value_of(fields, name)))
        category = strata.value_of(fields, CATEGORY)
        self.categories.append(self._intern(category) if isinstance(category, str) and category else None)

    def flush(self) -> None:
        """Comes between adding and reading."""
        for spool in (self.rows, self._texts, self._findings):
            spool.flush()

    def _number(self, item: Item, name: str) -> float:
        value = strata.value_of(item.fields, name)
        if value is None and name == WORDS:
            return float(count_words(item.response))
        if value is None and name == TOKENS:
            self.estimated += 1
            return float(sum(ESTIMATE.count(turn.content) for turn in item.messages))
        try:
            return strata.number(value, name)
        except strata.Unusable:
            return math.nan

    def _list(self, value: Any) -> tuple[str, ...] | None:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            return None
        return tuple(self._intern(one) for one in value)

    def _intern(self, text: str) -> str:
        return self._interned.setdefault(text[: strata.LONGEST], text[: strata.LONGEST])

    def finding(self, row: int) -> tuple[Finding, bool] | None:
        """What the filters found, and whether the row must not be copied."""
        data = self._findings[row]
        if not data:
            return None
        reason, detail, private, _ = orjson.loads(data)
        return Finding(reason, detail), private

    def text(self, row: int) -> str:
        """What is embedded of a row, "" where nothing was laid aside."""
        if not self._text:
            return ""
        return self._texts[row].decode("utf-8", "surrogatepass")

    def id(self, row: int) -> Any:
        """The id of a row as it stands there, None where it has none."""
        data = self.rows[row]
        if not data:
            return orjson.loads(self._findings[row])[3]
        found = orjson.loads(data).get(self._id_column)
        return found if isinstance(found, (str, int)) and not isinstance(found, bool) else None

    def lack(self, row: int, need: Need) -> str:
        """In words, what is wrong with a field that a row was asked for."""
        value = strata.value_of(orjson.loads(self.rows[row]), need.name)
        if value is None:
            return f"the row has no {need.name}"
        if need.kind == "list":
            return f"{need.name} is no list of texts"
        try:
            strata.number(value, need.name)
        except strata.Unusable as error:
            return str(error)
        return f"{need.name} is not as expected"


def _shown_id(id: Any) -> Any:
    """The id of a row that must not be copied: None where the id itself is private."""
    plain = isinstance(id, (str, int)) and not isinstance(id, bool)
    return id if plain and abs(id if isinstance(id, int) else 0) < 1 << 63 and not any(find(str(id))) else None
