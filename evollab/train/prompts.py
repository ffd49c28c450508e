"""Rows of any data set as prompts to be answered; nothing vanishes without being counted.

rows/train.arrow    {"prompt": token ids, "messages": the turns as JSON, "reference", "line", "id", "number"}
rows/eval.arrow     the same, of the prompts held out
removed.jsonl       rows that are not asked: {"reason", "line", "id", "detail", "row"}
rejected.jsonl      what could not be read: a `records.Rejected` a line
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from evollab import rng
from evollab.chat import Renderer
from evollab.data.items import Item, RowOptions, read_items
from evollab.data.rows import excerpt
from evollab.data.rowstep import REJECTED, REMOVED, RowFiles
from evollab.records import EvolError, Message, digest
from evollab.runs import whole_file
from evollab.train.rows import LONG, NOTHING, UNRENDERED, Unusable, given
from evollab.train.verifiers import MathVerifier, Verifier

if TYPE_CHECKING:
    import pyarrow

UNVERIFIABLE = "no_reference"
"""A verifier was asked for, and the row has no reference that it can compare with."""
_BATCH = 500
_NAMED = 10


@dataclass(frozen=True, slots=True)
class PromptRow:
    """A prompt: its ids with the beginning of an answer, its turns, what is right (None: not known), where it stood."""

    prompt: Sequence[int]
    turns: Sequence[Message]
    reference: str | None
    line: int
    id: str | None
    root: str


@dataclass(frozen=True, slots=True)
class PromptReader:
    """How rows become prompts. max_prompt: tokens that one may have. reference: the column that tells what is right;
    "": the row's own answer. verifier: what may be asked whether an answer is right; needed: rows whose reference tells
    it nothing are left out."""

    renderer: Renderer
    rows: RowOptions
    max_prompt: int
    reference: str = ""
    verifier: Verifier = MathVerifier()  # noqa: RUF009 - holds nothing
    needed: bool = False

    def prompt_row(self, item: Item) -> PromptRow:
        """One row: its turns up to the last one of the user. Raises Unusable."""
        last = max((number for number, turn in enumerate(item.messages) if turn.role == "user"), default=-1)
        if last < 0 or not item.messages[last].content.strip():
            raise Unusable(NOTHING, "nothing is asked")
        turns, after = item.messages[: last + 1], item.messages[last + 1 :]
        try:
            ids = self.renderer.render(turns, generation_prompt=True, input=given(item, self.rows.mapping())).ids
        except EvolError as error:
            raise Unusable(UNRENDERED, error.message) from None
        if len(ids) > self.max_prompt:
            raise Unusable(LONG, f"{len(ids):,} tokens, {self.max_prompt:,} at most")
        answer = after[0].content if len(after) == 1 and after[0].role == "assistant" else None
        reference = self.verifier.reference(item, self.reference, answer)
        if self.needed and not self.verifier.comparable(reference):
            what = "no reference" if reference is None else f"can't be compared with: {excerpt(reference[-60:], 60)!r}"
            raise Unusable(UNVERIFIABLE, what)
        root = item.root or digest(*(turn.content for turn in turns if turn.role == "user"))
        return PromptRow(ids, turns, reference, item.number, item.id, root)


@dataclass(slots=True)
class PromptCounts:
    """What became of the rows."""

    rows: int = 0
    train: int = 0
    held_out: int = 0
    referenced: int = 0
    """Prompts held out whose answers the verifier can compare with a reference."""
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])
    lines: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """The first few lines, by reason."""
    first: str = ""
    """What was wrong with the first row that is not asked."""

    def to_json(self) -> dict[str, Any]:
        reasons = {name: self.reasons[name] for name in _WORDS}
        numbers = {name: getattr(self, name) for name in ("rows", "train", "held_out", "referenced", "rejected")}
        return {**numbers, **reasons, "lines": self.lines}


_WORDS = {
    LONG: "prompts are longer than the limit", NOTHING: "rows ask nothing",
    UNRENDERED: "rows have turns that the format has no place for",
    UNVERIFIABLE: "rows have no reference that a rule can compare with",
}  # fmt: skip


def told(counts: Mapping[str, Any], folder: Path) -> list[str]:
    """Sentences for people about rows that are not asked, from `PromptCounts.to_json`."""
    sentences = []
    for reason, text in _WORDS.items():
        if counts[reason]:
            lines = counts["lines"][reason]
            more = " ..." if counts[reason] > len(lines) else ""
            where = f"(lines {', '.join(map(str, lines))}{more}); see {folder / REMOVED}"
            sentences.append(f"note: {counts[reason]:,} {text}, left out {where}")
    if counts["rejected"]:
        sentences.append(f"note: {counts['rejected']:,} rows could not be read; see {folder / REJECTED}")
    return sentences


def write_prompts(
    source: str, folder: Path, reader: PromptReader, *, eval_share: float = 0.0, seed: int = 0
) -> PromptCounts:
    """Turn the rows of `source` into `folder`/rows/train.arrow and eval.arrow; see the top of this file.

    eval_share: the part of lineages (or, without them, prompts) that is held out, the same for a seed.
    Raises EvolError where nothing is left to train, or nothing to hold out.
    """
    counts = PromptCounts()
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        train = stack.enter_context(_ArrowPrompts(folder / "rows" / "train.arrow"))
        held_out = stack.enter_context(_ArrowPrompts(folder / "rows" / "eval.arrow"))
        removed = stack.enter_context(whole_file(folder / REMOVED))
        rejected = stack.enter_context(whole_file(folder / REJECTED))
        files = RowFiles(io.BytesIO(), removed, rejected)
        for item in read_items(source, reader.rows, files.reject):
            counts.rows += 1
            try:
                row = reader.prompt_row(item)
            except Unusable as error:
                files.remove(item, error.reason, detail=error.detail)
                lines = counts.lines.setdefault(error.reason, [])
                lines += [item.number] if len(lines) < _NAMED else []
                counts.first = counts.first or f"{source}:{item.number}: {error.detail}"
                continue
            if eval_share and rng.uniform(seed, "held out", row.root) < eval_share:
                held_out.add(row)
                counts.held_out += 1
                counts.referenced += reader.verifier.comparable(row.reference)
            else:
                train.add(row)
                counts.train += 1
        counts.reasons, counts.rejected = files.reasons, files.bad
    _check(source, counts, eval_share)
    return counts


def _check(source: str, counts: PromptCounts, eval_share: float) -> None:
    if not counts.train:
        raise EvolError(
            f"{excerpt(source, 100)}: no prompt is left to train" + (f" ({counts.first})" if counts.first else ""),
            "a smaller --eval-share" if counts.held_out else "",
        )
    if eval_share and not counts.held_out:
        raise EvolError(
            f"--eval-share {eval_share:g} holds out none of {counts.train:,} prompts",
            "a greater share; or --eval-share 0, and nothing watches for reward hacking",
        )


def turns_of(messages: str) -> tuple[Message, ...]:
    """The turns of a prompt in rows/train.arrow."""
    return tuple(Message(turn["role"], turn["content"]) for turn in orjson.loads(messages))


class _ArrowPrompts:
    """An Arrow stream of prompts, written some at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, Any]] = []
        self._count = 0

    def __enter__(self) -> _ArrowPrompts:
        import pyarrow

        self._stack = contextlib.ExitStack()
        file = self._stack.enter_context(whole_file(self._path))
        text, number = pyarrow.string(), pyarrow.int64()
        self._schema: pyarrow.Schema = pyarrow.schema(
            [
                ("prompt", pyarrow.list_(pyarrow.int32())), ("messages", text), ("reference", text),
                ("line", number), ("id", text), ("number", number),
            ]
        )  # fmt: skip
        self._writer = self._stack.enter_context(pyarrow.ipc.new_stream(file, self._schema))
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self._flush()
        self._stack.__exit__(*error)

    def add(self, row: PromptRow) -> None:
        messages = orjson.dumps([asdict(turn) for turn in row.turns]).decode()
        self._rows.append(
            {
                "prompt": row.prompt, "messages": messages, "reference": row.reference, "line": row.line,
                "id": row.id, "number": self._count,
            }
        )  # fmt: skip
        self._count += 1
        if len(self._rows) == _BATCH:
            self._flush()

    def _flush(self) -> None:
        import pyarrow

        self._writer.write_batch(pyarrow.RecordBatch.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()
