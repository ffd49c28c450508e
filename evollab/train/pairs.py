"""Preference rows as token ids and masks, on disk; nothing vanishes without being counted.

rows/train.arrow    {"prompt_ids", "chosen_ids", "rejected_ids", "chosen_mask", "rejected_mask", "line", "id", "root",
                    "margin", "difficulty"}: memory-mapped while training
rows/eval.arrow     the same, of the pairs held out
removed.jsonl       rows that are not trained: {"reason", "line", "id", "detail", "row"}
rejected.jsonl      what could not be read: a `records.Rejected` a line
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evollab import rng
from evollab.chat import Renderer
from evollab.data.files import read_rows
from evollab.data.formats import MAP_HINT, SHAPES, BadFields
from evollab.data.items import RowOptions, as_json
from evollab.data.rows import Row, excerpt
from evollab.data.rowstep import REJECTED, REMOVED, RowFiles
from evollab.records import EvolError, Message, Rejected, digest
from evollab.runs import whole_file
from evollab.train.preferences import Preference, read_preference
from evollab.train.rows import LONG, NOTHING, UNRENDERED, Unusable

if TYPE_CHECKING:
    import pyarrow

TOO_LONG = ("drop", "cut", "stop")
SAME = "identical"
"""Chosen and rejected are the same: nothing is preferred."""
_BATCH = 500
_NAMED = 10


@dataclass(frozen=True, slots=True)
class PairRow:
    """A pair ready to be trained: the ids of the prompt and of the two answers behind it, for each id of an
    answer 1 where it is trained; its line, id and lineage; what it is ordered by."""

    prompt_ids: Sequence[int]
    chosen_ids: Sequence[int]
    rejected_ids: Sequence[int]
    chosen_mask: Sequence[int]
    rejected_mask: Sequence[int]
    line: int
    id: str | None
    root: str
    margin: float | None
    difficulty: float | None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class PairReader:
    """How preferences become ids. max_length: tokens that a prompt with an answer may have. too_long: one of
    TOO_LONG, what becomes of longer ones: drop, cut (the answer at the limit, without an EOS), or stop."""

    renderer: Renderer
    rows: RowOptions
    max_length: int
    too_long: str = "drop"

    def pair_row(self, pair: Preference, line: int) -> PairRow:
        """One pair; the ids of the prompt are the first ids of both. Raises Unusable."""
        for name, turns in (("chosen", pair.chosen), ("rejected", pair.rejected)):
            if not all(turn.content.strip() for turn in turns if turn.role == "assistant"):
                raise Unusable(NOTHING, f"the {name} answer is empty")
        single = len(pair.chosen) == len(pair.rejected) == 1
        given = pair.input if single else ""  # Alpaca's heading for it is the last user turn's
        try:
            prompt = self.renderer.render(pair.prompt, generation_prompt=True, input=given).ids
            made = [self._answer(pair.prompt, turns, given, prompt) for turns in (pair.chosen, pair.rejected)]
        except EvolError as error:
            raise Unusable(UNRENDERED, error.message) from None
        longest = len(prompt) + max(len(ids) for ids, _ in made)
        cut = longest > self.max_length
        if cut:
            told = f"{longest:,} tokens, {self.max_length:,} at most"
            room = self.max_length - len(prompt)
            if self.too_long != "cut":
                raise Unusable(LONG, told)
            if room < 1 or not all(any(mask[:room]) for _, mask in made):
                raise Unusable(LONG, f"{told}: nothing of an answer is left")
            made = [(ids[:room], mask[:room]) for ids, mask in made]
        if made[0][0] == made[1][0]:
            what = "the same as far as the limit" if cut else "the same"
            raise Unusable(SAME, f"chosen and rejected are {what}")
        # No prompt may be both trained and held out: it counts as a lineage where the row names none.
        root = pair.root or digest(*(turn.content for turn in pair.prompt if turn.role == "user"))
        (chosen, chosen_mask), (rejected, rejected_mask) = made
        return PairRow(
            prompt, chosen, rejected, chosen_mask, rejected_mask, line, pair.id, root, pair.margin, pair.difficulty, cut
        )

    def _answer(
        self, prompt: Sequence[Message], turns: Sequence[Message], given: str, ids: list[int]
    ) -> tuple[list[int], list[int]]:
        whole = self.renderer.render([*prompt, *turns], input=given)
        if whole.ids[: len(ids)] != ids:
            raise EvolError("the prompt with an answer does not begin with the ids of the prompt")
        return whole.ids[len(ids) :], whole.mask[len(ids) :]


@dataclass(slots=True)
class PairCounts:
    """What became of the rows."""

    rows: int = 0
    train: int = 0
    held_out: int = 0
    cut: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])
    tokens: int = 0
    """Tokens of the pairs to train on, a prompt counted with each of its answers."""
    trained: int = 0
    with_margin: int = 0
    with_difficulty: int = 0
    lines: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """The first few lines, by reason."""
    first: str = ""
    """What was wrong with the first row that is not trained."""

    def remember(self, reason: str, line: int) -> None:
        self.lines.setdefault(reason, [])
        if len(self.lines[reason]) < _NAMED:
            self.lines[reason].append(line)

    def add(self, row: PairRow) -> None:
        """Count a pair to train on."""
        self.train += 1
        self.tokens += 2 * len(row.prompt_ids) + len(row.chosen_ids) + len(row.rejected_ids)
        self.trained += sum(row.chosen_mask) + sum(row.rejected_mask)
        self.with_margin += row.margin is not None
        self.with_difficulty += row.difficulty is not None

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows, "train": self.train, "held_out": self.held_out, "cut": self.cut,
            "rejected": self.rejected, **{name: self.reasons[name] for name in (LONG, NOTHING, UNRENDERED, SAME)},
            "tokens": self.tokens, "trained_tokens": self.trained, "with_margin": self.with_margin,
            "with_difficulty": self.with_difficulty, "lines": self.lines,
        }  # fmt: skip


def told(counts: Mapping[str, Any], folder: Path) -> list[str]:
    """Sentences for people about pairs that are not trained as they came, from `PairCounts.to_json`."""
    words = {
        "cut": "pairs were cut at the limit", LONG: "pairs are longer than the limit, left out",
        NOTHING: "pairs have an empty answer, left out",
        SAME: "pairs prefer nothing (both answers are the same), left out",
        UNRENDERED: "pairs have turns that the format has no place for, left out",
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


def write_pairs(
    source: str,
    folder: Path,
    reader: PairReader,
    *,
    allow_unusable: bool = False,
    eval_share: float = 0.0,
    seed: int = 0,
) -> PairCounts:
    """Turn the preference rows of `source` into `folder`/rows/train.arrow and eval.arrow; see the top of this file.

    eval_share: the part of lineages (or, without them, prompts) that is held out, the same for a seed.
    Raises EvolError, after all rows were looked at, for pairs that prefer nothing, are empty or can't be rendered
    (unless `allow_unusable`), for long ones where `too_long` is stop, and where nothing is left to train.
    """
    counts = PairCounts()
    mapping = reader.rows.mapping()
    named = None if reader.rows.format in SHAPES else reader.rows.format
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        train, held_out = (
            stack.enter_context(_ArrowPairs(folder / "rows" / f"{name}.arrow")) for name in ("train", "eval")
        )
        removed, rejected = (stack.enter_context(whole_file(folder / name)) for name in (REMOVED, REJECTED))
        files = RowFiles(io.BytesIO(), removed, rejected)
        for row in read_rows(source, format=named, strict=reader.rows.strict, reject=files.reject):
            try:
                pair = read_preference(row.fields, mapping)
            except BadFields as error:
                _reject(source, row, str(error), files, counts, reader.rows.strict)
                continue
            counts.rows += 1
            try:
                made = reader.pair_row(pair, row.number)
            except Unusable as unusable:
                files.put_aside(as_json(row.fields), row.number, pair.id, unusable.reason, detail=unusable.detail)
                counts.remember(unusable.reason, row.number)
                counts.first = counts.first or f"{source}:{row.number}: {unusable.detail}"
                continue
            if made.cut:
                counts.cut += 1
                counts.remember("cut", row.number)
            if eval_share and rng.uniform(seed, "held out", made.root) < eval_share:
                held_out.add(made)
                counts.held_out += 1
            else:
                train.add(made)
                counts.add(made)
        counts.reasons, counts.rejected = files.reasons, files.bad
    _check(source, counts, reader, allow_unusable, eval_share)
    return counts


def _reject(source: str, row: Row, why: str, files: RowFiles, counts: PairCounts, strict: bool) -> None:
    place = f"{source}:{row.number}: {why}"
    if strict:
        raise EvolError(place, MAP_HINT)
    counts.first = counts.first or place
    files.reject(Rejected(Path(source).name, row.number, why, excerpt(as_json(row.fields))))


def _check(source: str, counts: PairCounts, reader: PairReader, allow_unusable: bool, eval_share: float) -> None:
    """Raise EvolError where the pairs are not what was asked for."""
    stops = [] if allow_unusable else [SAME, NOTHING, UNRENDERED]
    stops += [LONG] if reader.too_long == "stop" else []
    found = {reason: counts.reasons[reason] for reason in stops if counts.reasons[reason]}
    if found:
        named = counts.to_json()
        lines = "; ".join(f"{count:,} {reason} (lines {_some(named, reason)})" for reason, count in found.items())
        raise EvolError(
            f"{counts.first} [{sum(found.values()):,} pairs can't be trained: {lines}]",
            "a greater --max-length, or --too-long drop or cut"
            if LONG in found
            else "mend them, or leave them out with --allow-unusable",
        )
    if not counts.train:
        raise EvolError(
            f"{excerpt(source, 100)}: no pair is left to train" + (f" ({counts.first})" if counts.first else ""),
            "a smaller --eval-share" if counts.held_out else "a row needs a prompt, chosen and rejected",
        )
    if eval_share and not counts.held_out:
        raise EvolError(
            f"--eval-share {eval_share:g} holds out none of {counts.train:,} pairs",
            "a greater share, or --eval-share 0",
        )


class _ArrowPairs:
    """An Arrow stream of pairs, written some at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> _ArrowPairs:
        import pyarrow

        self._stack = contextlib.ExitStack()
        file = self._stack.enter_context(whole_file(self._path))
        ids, mask = pyarrow.list_(pyarrow.int32()), pyarrow.list_(pyarrow.int8())
        self._schema: pyarrow.Schema = pyarrow.schema(
            [
                ("prompt_ids", ids), ("chosen_ids", ids), ("rejected_ids", ids), ("chosen_mask", mask),
                ("rejected_mask", mask), ("line", pyarrow.int64()), ("id", pyarrow.string()),
                ("root", pyarrow.string()), ("margin", pyarrow.float64()), ("difficulty", pyarrow.float64()),
            ]
        )  # fmt: skip
        self._writer = self._stack.enter_context(pyarrow.ipc.new_stream(file, self._schema))
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self._flush()
        self._stack.__exit__(*error)

    def add(self, row: PairRow) -> None:
        told = dataclasses.asdict(row)
        del told["cut"]
        self._rows.append(told)
        if len(self._rows) == _BATCH:
            self._flush()

    def _flush(self) -> None:
        import pyarrow

        self._writer.write_batch(pyarrow.RecordBatch.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()
