"""What models said about rows, row by row, on disk until it is written beside the rows."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from evollab.data.judge_parse import singulars
from evollab.data.skills import level
from evollab.data.spool import Spool

LASTING = ("bad_request", "content_filter", "truncated")
"""Failures of a call that asking again can't mend; after the others a row is asked about again at the next start."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """One reply about one row.

    asked: the attributes that were asked for. found: those that the reply gave, and what belongs to them. failed: the
    class of the call's failure, "stopped" where it was not made, "" where a whole reply came. strays: labels that are
    on no list.
    """

    asked: tuple[str, ...]
    found: Mapping[str, Any]
    failed: str = ""
    strays: int = 0

    @property
    def unfinished(self) -> bool:
        return bool(self.failed) and self.failed not in LASTING


@dataclass(frozen=True, slots=True)
class Passed:
    """The answers of the target to one row. right and wrong were graded; of the wrong ones `none` came to no final
    answer. unparsed: graded by a judge whose reply holds no verdict. failed: calls that failed, by class. judged:
    answers that the judge compared, the others a rule."""

    right: int = 0
    wrong: int = 0
    none: int = 0
    unparsed: int = 0
    judged: int = 0
    failed: Mapping[str, int] | None = None

    @property
    def rate(self) -> float | None:
        """right / graded, None where nothing was graded or some of it is still to be done."""
        graded = self.right + self.wrong
        return round(self.right / graded, 4) if graded and not self.unfinished else None

    @property
    def unfinished(self) -> bool:
        return any(kind not in LASTING for kind in self.failed or ())


_FORM, _MARKS, _PASSED = "form", "marks", "passed"


class Opinions:
    """Opinions by the place of their row, in a nameless file in `folder`; 8 bytes a row and kind in memory."""

    def __init__(self, folder: Path, rows: int) -> None:
        self._spool = Spool(folder)
        self._rows = rows
        self._at: dict[tuple[str, int], array[int]] = {}
        self._tags = Counter[str]()
        self._joined: Mapping[str, str] = {}

    def __len__(self) -> int:
        return self._rows

    def add_form(self, row: int, sample: int, opinion: Opinion) -> None:
        self._tags.update(opinion.found.get("tags", ()))
        self._add(_FORM, row, sample, opinion)

    def add_marks(self, row: int, sample: int, opinion: Opinion) -> None:
        """What the prompt about the row's lineage gave."""
        self._add(_MARKS, row, sample, opinion)

    def add_passed(self, row: int, passed: Passed) -> None:
        self._add(_PASSED, row, 0, passed)

    def _add(self, kind: str, row: int, sample: int, value: Opinion | Passed) -> None:
        places = self._at.get((kind, sample))
        if places is None:
            places = self._at[kind, sample] = array("Q", bytes(8 * self._rows))
        self._spool.add(orjson.dumps(value))
        places[row] = len(self._spool)

    def _get(self, kind: str, row: int, sample: int) -> dict[str, Any] | None:
        places = self._at.get((kind, sample))
        if places is None or not places[row]:
            return None
        found: dict[str, Any] = orjson.loads(self._spool[places[row] - 1])
        return found

    def finish(self) -> None:
        """All are in: join plural tags to their singulars where the data has both."""
        self._spool.flush()
        self._joined = singulars(self._tags)

    def of(self, row: int, sample: int = 0) -> Iterator[Opinion]:
        """The opinions about a row: the form's, the lineage's. sample 1: the second time."""
        for kind in (_FORM, _MARKS):
            found = self._get(kind, row, sample)
            if found is not None:
                yield Opinion(
                    tuple(found["asked"]), self._with_joined(found["found"]), found["failed"], found["strays"]
                )

    def passed(self, row: int) -> Passed | None:
        found = self._get(_PASSED, row, 0)
        return None if found is None else Passed(**found)

    def _with_joined(self, found: dict[str, Any]) -> dict[str, Any]:
        if self._joined and "tags" in found:
            tags = dict.fromkeys(self._joined.get(tag, tag) for tag in found["tags"])
            return found | {"tags": list(tags)}
        return found

    def attributes(self, row: int) -> dict[str, Any]:
        """All that is known of a row, by the names of attributes; {} for rows that were not drawn."""
        found: dict[str, Any] = {}
        for opinion in self.of(row):
            found |= opinion.found
        if "difficulty" in found:
            found["level"] = level(found["difficulty"])
        passed = self.passed(row)
        if passed is not None and passed.rate is not None:
            found |= {"pass_rate": passed.rate, "pass_samples": passed.right + passed.wrong}
        return found

    def close(self) -> None:
        self._spool.close()
