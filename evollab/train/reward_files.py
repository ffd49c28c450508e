"""Rows for reward models on disk: what is read, what is put aside, what is counted.

removed.jsonl     rows that are not trained: {"reason", "line", "id", "detail", "row"}
rejected.jsonl    what could not be read: a `records.Rejected` a line
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evollab.data.files import read_rows
from evollab.data.formats import SHAPES, BadFields
from evollab.data.items import RowOptions, as_json
from evollab.data.rows import Row, excerpt
from evollab.data.rowstep import REJECTED, REMOVED, RowFiles
from evollab.records import EvolError, Rejected
from evollab.runs import whole_file
from evollab.train.rows import LONG, Unusable

if TYPE_CHECKING:
    import pyarrow

_BATCH = 500
_NAMED = 10


@dataclass(slots=True)
class RewardCounts:
    """What became of the rows. train, held_out: pairs, or answers with steps. more: what else is counted."""

    rows: int = 0
    train: int = 0
    held_out: int = 0
    rejected: int = 0
    tokens: int = 0
    """Tokens of all texts that are kept."""
    reasons: Counter[str] = field(default_factory=Counter[str])
    more: Counter[str] = field(default_factory=Counter[str])
    lines: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """The first few lines, by reason."""
    first: str = ""
    """What was wrong with the first row that is not trained."""

    def remember(self, reason: str, line: int) -> None:
        lines = self.lines.setdefault(reason, [])
        if len(lines) < _NAMED:
            lines.append(line)

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows, "train": self.train, "held_out": self.held_out, "rejected": self.rejected,
            "tokens": self.tokens, "removed": dict(self.reasons), **self.more, "lines": self.lines,
        }  # fmt: skip


def told(counts: Mapping[str, Any], folder: Path) -> list[str]:
    """Sentences for people about rows that are not trained, from `RewardCounts.to_json`."""
    sentences = [
        f"note: {count:,} rows are left out as {reason} (lines {_some(counts, reason, count)}); see {folder / REMOVED}"
        for reason, count in counts["removed"].items()
    ]
    if counts["rejected"]:
        sentences.append(f"note: {counts['rejected']:,} rows could not be read; see {folder / REJECTED}")
    return sentences


def _some(counts: Mapping[str, Any], reason: str, count: int) -> str:
    lines = counts["lines"].get(reason, [])
    return ", ".join(map(str, lines)) + (" ..." if count > len(lines) else "")


def take_rows(source: str, folder: Path, options: RowOptions, take: Callable[[Row], None], hint: str) -> RewardCounts:
    """Give each row of `source` to `take`, which raises BadFields for what it can't read and `rows.Unusable` for what
    is not to be trained; write the two files of `folder`. Raises EvolError at the first unreadable row with `strict`.
    """
    counts = RewardCounts()
    named = None if options.format in SHAPES else options.format
    with contextlib.ExitStack() as stack:
        removed, rejected = (stack.enter_context(whole_file(folder / name)) for name in (REMOVED, REJECTED))
        files = RowFiles(io.BytesIO(), removed, rejected)
        for row in read_rows(source, format=named, strict=options.strict, reject=files.reject):
            try:
                take(row)
            except BadFields as error:
                place = f"{source}:{row.number}: {error}"
                if options.strict:
                    raise EvolError(place, hint) from None
                counts.first = counts.first or place
                files.reject(Rejected(Path(source).name, row.number, str(error), excerpt(as_json(row.fields))))
                continue
            except Unusable as unusable:
                id_ = row.fields.get("id")
                files.put_aside(as_json(row.fields), row.number, id_, unusable.reason, detail=unusable.detail)
                counts.remember(unusable.reason, row.number)
                counts.first = counts.first or f"{source}:{row.number}: {unusable.detail}"
            counts.rows += 1
        counts.reasons, counts.rejected = files.reasons, files.bad
    return counts


def check(source: str, counts: RewardCounts, what: str, stops: Sequence[str], eval_share: float, hint: str) -> None:
    """Raise EvolError where the rows are not what was asked for. stops: the reasons that may not occur. hint: what a
    row needs."""
    found = {reason: counts.reasons[reason] for reason in stops if counts.reasons[reason]}
    if found:
        named = counts.to_json()
        lines = "; ".join(f"{n:,} {reason} (lines {_some(named, reason, n)})" for reason, n in found.items())
        raise EvolError(
            f"{counts.first} [{sum(found.values()):,} rows can't be trained: {lines}]",
            "a greater --max-length, or --too-long drop"
            if LONG in found
            else "mend them, or leave them out with --allow-unusable",
        )
    if not counts.train:
        raise EvolError(
            f"{excerpt(source, 100)}: no {what} are left to train" + (f" ({counts.first})" if counts.first else ""),
            "a smaller --eval-share" if counts.held_out else hint,
        )
    if eval_share and not counts.held_out:
        raise EvolError(
            f"--eval-share {eval_share:g} holds out none of {counts.train:,} {what}",
            "a greater share, or --eval-share 0",
        )


class ArrowFile:
    """An Arrow stream, written some rows at a time. columns: name -> how Arrow calls its type."""

    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        self._path, self._columns = path, columns
        self._rows: list[Mapping[str, Any]] = []
        self.count = 0

    def __enter__(self) -> ArrowFile:
        import pyarrow

        self._stack = contextlib.ExitStack()
        file = self._stack.enter_context(whole_file(self._path))
        kinds = {name: _type(kind) for name, kind in self._columns.items()}
        self._schema: pyarrow.Schema = pyarrow.schema(list(kinds.items()))
        self._writer = self._stack.enter_context(pyarrow.ipc.new_stream(file, self._schema))
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self._flush()
        self._stack.__exit__(*error)

    def add(self, row: Mapping[str, Any]) -> int:
        """Write a row; gives its number, from 0."""
        self._rows.append(row)
        if len(self._rows) == _BATCH:
            self._flush()
        self.count += 1
        return self.count - 1

    def _flush(self) -> None:
        import pyarrow

        self._writer.write_batch(pyarrow.RecordBatch.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()


def _type(kind: str) -> Any:
    import pyarrow

    inner = kind.removeprefix("list:")
    made = pyarrow.type_for_alias(inner)
    return made if inner == kind else pyarrow.list_(made)


def open_arrow(path: Path) -> Any:
    """What `ArrowFile` wrote, as a memory-mapped `datasets.Dataset`."""
    from datasets import Dataset

    return Dataset.from_file(str(path))
