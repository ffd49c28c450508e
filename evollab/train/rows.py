"""Rows of any data set as token ids and masks, on disk; nothing vanishes without being counted.

rows/train.arrow    {"input_ids", "mask", "line", "id"}: memory-mapped while training
rows/eval.arrow     the same, of the rows held out
removed.jsonl       rows that are not trained: {"reason", "line", "id", "detail", "row"}
rejected.jsonl      what could not be read: a `records.Rejected` a line
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evollab import rng
from evollab.chat import Renderer
from evollab.data.items import Item, RowOptions, read_items
from evollab.data.rows import excerpt
from evollab.data.rowstep import REJECTED, REMOVED, RowFiles
from evollab.records import EvolError, Message, digest
from evollab.runs import whole_file

if TYPE_CHECKING:
    import pyarrow

TOO_LONG = ("cut", "turns", "drop", "stop")
_GIVEN = ("input", "Input", "context", "Context")
_BATCH = 500
_NAMED = 10
NOTHING = "nothing_trained"
"""No assistant turn that says anything."""
UNRENDERED = "not_rendered"
"""The format has no place for the conversation."""
LONG = "too_long"
"""Longer than the limit, and not to be cut, or cut before anything that is trained."""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A row ready to be trained: its ids, for each 1 where it is trained, its line, id and lineage."""

    ids: Sequence[int]
    mask: Sequence[int]
    line: int
    id: str | None = None
    root: str = ""
    cut: bool = False


class Unusable(Exception):
    """Why a row is not trained: a reason of this file, and words."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Reader:
    """How rows become ids. max_length: tokens that a row may have. too_long: one of TOO_LONG, what becomes
    of longer ones: cut (at the limit, mid-answer, without an EOS that isn't there), turns (whole turns go
    until the rest fits), drop, or stop."""

    renderer: Renderer
    rows: RowOptions
    max_length: int
    too_long: str = "cut"

    def token_row(self, item: Item) -> TokenRow:
        """One row. Raises Unusable."""
        turns = item.messages
        last = max((number for number, turn in enumerate(turns) if turn.role == "assistant"), default=-1)
        if last < 0:
            raise Unusable(NOTHING, "no turn of the assistant")
        turns = turns[: last + 1]  # what users say after the last answer teaches nothing
        blank = next((n for n, t in enumerate(turns) if t.role == "assistant" and not t.content.strip()), None)
        if blank is not None:
            raise Unusable(NOTHING, f"turn {blank + 1}, the assistant's, is empty")
        ids, mask = self._render(turns, item)
        cut = len(ids) > self.max_length
        if cut:
            ids, mask = self._shortened(turns, item, len(ids), ids, mask)
        return TokenRow(ids, mask, item.number, item.id, item.root or digest(turns[0].content, item.prompt), cut)

    def _render(self, turns: Sequence[Message], item: Item) -> tuple[list[int], list[int]]:
        try:
            made = self.renderer.render(turns, input=given(item, self.rows.mapping()))
        except EvolError as error:
            raise Unusable(UNRENDERED, error.message) from None
        return made.ids, made.mask

    def _shortened(
        self, turns: Sequence[Message], item: Item, length: int, ids: list[int], mask: list[int]
    ) -> tuple[list[int], list[int]]:
        told = f"{length:,} tokens, {self.max_length:,} at most"
        if self.too_long == "turns":
            answers = [number for number, turn in enumerate(turns) if turn.role == "assistant"]
            for end in reversed(answers[:-1]):
                ids, mask = self._render(turns[: end + 1], item)
                if len(ids) <= self.max_length:
                    return ids, mask
            raise Unusable(LONG, f"{told}, and so is its first answer with what it answers")
        if self.too_long != "cut":
            raise Unusable(LONG, told)
        ids, mask = ids[: self.max_length], mask[: self.max_length]
        if not any(mask):
            raise Unusable(LONG, f"{told}: nothing of an answer is left")
        return ids, mask


def given(item: Item, mapping: Mapping[str, str]) -> str:
    """The material below the last user turn, where the row has it in a field of its own."""
    for name in (mapping["input"],) if "input" in mapping else _GIVEN:
        value = item.fields.get(name)
        if isinstance(value, str) and value and item.prompt.endswith(f"\n\n{value}"):
            return value
    return ""


@dataclass(slots=True)
class Counts:
    """What became of the rows."""

    rows: int = 0
    train: int = 0
    held_out: int = 0
    cut: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])
    tokens: int = 0
    """Tokens of the rows to train on, without padding."""
    trained: int = 0
    """Those of them that are trained."""
    lines: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """The first few lines, by reason."""
    first: str = ""
    """What was wrong with the first row that is not trained."""

    def remember(self, reason: str, line: int) -> None:
        self.lines.setdefault(reason, [])
        if len(self.lines[reason]) < _NAMED:
            self.lines[reason].append(line)

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows, "train": self.train, "held_out": self.held_out, "cut": self.cut,
            "rejected": self.rejected, **{name: self.reasons[name] for name in (LONG, NOTHING, UNRENDERED)},
            "tokens": self.tokens, "trained_tokens": self.trained, "lines": self.lines,
        }  # fmt: skip


def told(counts: Mapping[str, Any], folder: Path) -> list[str]:
    """Sentences for people about rows that are not trained as they came, from `Counts.to_json`."""
    words = {
        "cut": "rows were cut at the limit", LONG: "rows are longer than the limit, left out",
        NOTHING: "rows have nothing to train, left out",
        UNRENDERED: "rows have turns that the format has no place for, left out",
    }  # fmt: skip
    sentences = []
    for reason, text in words.items():
        if counts[reason]:
            where = "" if reason == "cut" else f"; see {folder / REMOVED}"
            sentences.append(f"note: {counts[reason]:,} {text} (lines {_some(counts, reason)}){where}")
    if counts["rejected"]:
        sentences.append(f"note: {counts['rejected']:,} rows could not be read; see {folder / REJECTED}")
    return sentences


def _some(counts: Mapping[str, Any], reason: str) -> str:
    lines = counts["lines"].get(reason, [])
    return ", ".join(map(str, lines)) + (" ..." if counts[reason] > len(lines) else "")


def write_rows(
    source: str, folder: Path, reader: Reader, *, allow_unusable: bool = False, eval_share: float = 0.0, seed: int = 0
) -> Counts:
    """Turn the rows of `source` into `folder`/rows/train.arrow and eval.arrow; see the top of this file.

    eval_share: the part of lineages (or, without them, prompts) that is held out, the same for a seed.
    Raises EvolError, after all rows were looked at, for rows that can't be rendered or have nothing to train
    (unless `allow_unusable`), for long ones where `too_long` is stop, and where nothing is left to train.
    """
    counts = Counts()
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        train = stack.enter_context(_ArrowRows(folder / "rows" / "train.arrow"))
        held_out = stack.enter_context(_ArrowRows(folder / "rows" / "eval.arrow"))
        removed = stack.enter_context(whole_file(folder / REMOVED))
        rejected = stack.enter_context(whole_file(folder / REJECTED))
        files = RowFiles(io.BytesIO(), removed, rejected)
        for item in read_items(source, reader.rows, files.reject):
            counts.rows += 1
            try:
                row = reader.token_row(item)
            except Unusable as error:
                files.remove(item, error.reason, detail=error.detail)
                counts.remember(error.reason, item.number)
                counts.first = counts.first or f"{source}:{item.number}: {error.detail}"
                continue
            if row.cut:
                counts.cut += 1
                counts.remember("cut", item.number)
            if eval_share and rng.uniform(seed, "held out", row.root) < eval_share:
                held_out.add(row)
                counts.held_out += 1
                continue
            train.add(row)
            counts.train += 1
            counts.tokens += len(row.ids)
            counts.trained += sum(row.mask)
        counts.reasons, counts.rejected = files.reasons, files.bad
    _check(source, counts, reader, allow_unusable, eval_share)
    return counts


def _check(source: str, counts: Counts, reader: Reader, allow_unusable: bool, eval_share: float) -> None:
    """Raise EvolError where the rows are not what was asked for."""
    stops = [] if allow_unusable else [NOTHING, UNRENDERED]
    stops += [LONG] if reader.too_long == "stop" else []
    found = {reason: counts.reasons[reason] for reason in stops if counts.reasons[reason]}
    if found:
        named = counts.to_json()
        lines = "; ".join(f"{count:,} {reason} (lines {_some(named, reason)})" for reason, count in found.items())
        raise EvolError(
            f"{counts.first} [{sum(found.values()):,} rows can't be trained: {lines}]",
            "mend them, or leave them out with --allow-unusable"
            if LONG not in found
            else "a greater --max-length, or --too-long cut, turns or drop",
        )
    if not counts.train:
        raise EvolError(
            f"{excerpt(source, 100)}: no row is left to train" + (f" ({counts.first})" if counts.first else ""),
            "a smaller --eval-share" if counts.held_out else "",
        )
    if eval_share and not counts.held_out:
        raise EvolError(
            f"--eval-share {eval_share:g} holds out none of {counts.train:,} rows", "a greater share, or --eval-data"
        )


class _ArrowRows:
    """An Arrow stream of rows, written some at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[TokenRow] = []

    def __enter__(self) -> _ArrowRows:
        import pyarrow

        self._stack = contextlib.ExitStack()
        file = self._stack.enter_context(whole_file(self._path))
        self._schema: pyarrow.Schema = pyarrow.schema(
            [
                ("input_ids", pyarrow.list_(pyarrow.int32())), ("mask", pyarrow.list_(pyarrow.int8())),
                ("line", pyarrow.int64()), ("id", pyarrow.string()),
            ]
        )  # fmt: skip
        self._writer = self._stack.enter_context(pyarrow.ipc.new_stream(file, self._schema))
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self._flush()
        self._stack.__exit__(*error)

    def add(self, row: TokenRow) -> None:
        self._rows.append(row)
        if len(self._rows) == _BATCH:
            self._flush()

    def _flush(self) -> None:
        import pyarrow

        columns = [[row.ids for row in self._rows], [row.mask for row in self._rows]]
        facts = [[row.line for row in self._rows], [row.id for row in self._rows]]
        arrays = [
            pyarrow.array(values, kind) for values, kind in zip([*columns, *facts], self._schema.types, strict=True)
        ]
        self._writer.write_batch(pyarrow.record_batch(arrays, schema=self._schema))
        self._rows.clear()


def open_rows(folder: Path, name: str) -> Any:
    """The rows `name` (train or eval) that `write_rows` left in `folder`, as a memory-mapped
    `datasets.Dataset`; None where it holds none."""
    from datasets import Dataset

    rows = Dataset.from_file(str(folder / "rows" / f"{name}.arrow"))
    return rows if len(rows) else None
