"""Rankings of instructions as pairs of token rows, on disk: what an instruction reward model learns from.

    {..., "root_id": "seed-7", "quality": 8}                 graded: --score quality; all pairs of a group
    {"ranked": [best, ..., worst]}                           all pairs of the list
    {"chosen": better, "rejected": worse, "margin": 0.5}     one pair

An instruction is a text, or a list of turns that ends with the user's. Files in OUT/rows:

texts.arrow                     {"input_ids", "line"}: the instructions
pairs-train.arrow, -eval        {"chosen", "rejected", "margin"}: numbers of texts
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from evollab import rng
from evollab.chat import Renderer
from evollab.data import formats, strata
from evollab.data.formats import BadFields, Fields
from evollab.data.items import RowOptions, evolved
from evollab.data.rows import Row, excerpt, kind, names
from evollab.records import EvolError, Message, Source, digest
from evollab.train.reward_files import ArrowFile, RewardCounts, check, open_arrow, take_rows
from evollab.train.rows import LONG, UNRENDERED, Unusable

NO_SCORE = "no_score"
"""No number in the field of the score."""
NO_GROUP = "no_group"
"""Nothing in the field of the group: with whom it would be compared can't be told."""
SAME = "identical"
"""The two texts are the same: nothing is preferred."""
MOST_IN_GROUP = 1000
_LINEAGE_ROW = {"id", "root_id", "parent_id", "round", "operation", "text"}
_HINT = "a row needs ranked, or chosen and rejected, or a score: --score FIELD"


@dataclass(frozen=True, slots=True)
class GradeReader:
    """How rankings become pairs. score, group: fields, found as `evol analyse` leaves them, too. least_gap: by how
    much two scores must differ to make a pair. margin: m of the loss, for pairs whose row names none."""

    renderer: Renderer
    rows: RowOptions
    max_length: int
    too_long: str = "drop"
    score: str | None = None
    group: str = "root_id"
    least_gap: float = 0.0
    margin: float = 0.0

    def ids(self, turns: Sequence[Message]) -> list[int]:
        """An instruction as its reader gets it, up to where an answer would begin. Raises Unusable."""
        try:
            ids = self.renderer.render(turns, generation_prompt=True).ids
        except EvolError as error:
            raise Unusable(UNRENDERED, error.message) from None
        if len(ids) > self.max_length:
            raise Unusable(LONG, f"{len(ids):,} tokens, {self.max_length:,} at most")
        return ids


@dataclass(frozen=True, slots=True)
class Ranking:
    """Instructions in order, the best first; the group that they are held out with; m of the loss, None: as set."""

    texts: tuple[tuple[Message, ...], ...]
    group: str
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class Graded:
    """One instruction with its score."""

    text: tuple[Message, ...]
    group: str
    score: float


def read_grade(fields: Fields, score: str | None, group: str) -> Ranking | Graded:
    """What a row says. Raises BadFields, and Unusable for a graded row without score or group."""
    named = strata.value_of(fields, group)
    lineage = str(named) if isinstance(named, (str, int)) and not isinstance(named, bool) else ""
    if "ranked" in fields:
        listed = fields["ranked"]
        if not isinstance(listed, list) or len(listed) < 2:
            raise BadFields(f"field 'ranked' is {kind(listed)}; expected a list of two instructions or more")
        texts = tuple(_turns(one, f"ranked[{number}]") for number, one in enumerate(listed))
        return Ranking(texts, lineage or _digest(texts))
    if "chosen" in fields and "rejected" in fields:
        texts = (_turns(fields["chosen"], "chosen"), _turns(fields["rejected"], "rejected"))
        value = fields.get("margin")
        margin = None if value is None else _number(value, "margin")
        return Ranking(texts, lineage or _digest(texts), margin)
    if score is None:
        raise BadFields(f"no field ranked, or chosen and rejected; the row has {names(fields)}")
    shape = evolved if fields.keys() >= _LINEAGE_ROW else formats.detect(fields)
    if shape is None:
        raise BadFields(f"no instruction; the row has {names(fields)}")
    text = _asked(formats.to_conversation(shape(fields), Source("", 0)).messages)
    try:
        number = strata.number(strata.lookup(fields, score), score)
    except (strata.Missing, strata.Unusable) as error:
        raise Unusable(NO_SCORE, str(error)) from None
    if not lineage:
        raise Unusable(NO_GROUP, f"nothing in the field {excerpt(group, 60)}, by which rows are compared")
    return Graded(text, lineage, number)


def _number(value: Any, name: str) -> float:
    try:
        return strata.number(value, name)
    except strata.Unusable as error:
        raise BadFields(str(error)) from None


def _turns(value: Any, name: str) -> tuple[Message, ...]:
    """An instruction: a text, or turns of which the last is the user's."""
    if isinstance(value, str):
        if not value.strip():
            raise BadFields(f"{name} is empty; expected text")
        return (Message("user", value),)
    if not isinstance(value, list):
        raise BadFields(f"{name} is {kind(value)}; expected text, or a list of turns")
    turns = formats.read_turns(name, {name: value}).turns
    if not turns or turns[-1].role != "user":
        raise BadFields(f"{name} does not end with a user turn; expected instructions, not answers")
    return _asked(turns)


def _asked(turns: Sequence[Message]) -> tuple[Message, ...]:
    """Without what follows the last user turn."""
    last = max((number for number, turn in enumerate(turns) if turn.role == "user"), default=-1)
    if last < 0 or not turns[last].content.strip():
        raise BadFields("no user turn that says anything")
    return tuple(turns[: last + 1])


def _digest(texts: Sequence[Sequence[Message]]) -> str:
    return digest(*sorted(turn.content for turns in texts for turn in turns))


@dataclass(slots=True)
class _Member:
    """The graded texts of one group: 24 bytes each."""

    scores: array[float] = field(default_factory=lambda: array("d"))
    numbers: array[int] = field(default_factory=lambda: array("q"))
    prints: array[int] = field(default_factory=lambda: array("q"))


class _Writer:
    """Takes rows, writes texts and pairs."""

    def __init__(self, reader: GradeReader, folder: Path, share: float, seed: int, stack: contextlib.ExitStack) -> None:
        self._reader, self._share, self._seed = reader, share, seed
        self._texts = stack.enter_context(
            ArrowFile(folder / "texts.arrow", {"input_ids": "list:int32", "line": "int64"})
        )
        columns = {"chosen": "int64", "rejected": "int64", "margin": "float64"}
        self._train, self._eval = (
            stack.enter_context(ArrowFile(folder / f"pairs-{name}.arrow", columns)) for name in ("train", "eval")
        )
        self._groups: dict[str, _Member] = {}
        self.tokens = 0

    def take(self, row: Row) -> None:
        """One row. Raises BadFields, Unusable."""
        found = read_grade(row.fields, self._reader.score, self._reader.group)
        if isinstance(found, Graded):
            ids = self._reader.ids(found.text)
            member = self._groups.setdefault(found.group, _Member())
            if len(member.scores) == MOST_IN_GROUP:
                raise EvolError(
                    f"the group {excerpt(found.group, 60)} has more than {MOST_IN_GROUP:,} rows, and each would be "
                    "compared with each",
                    "another --group: rows that were made of the same seed, or answer the same need",
                )
            member.scores.append(found.score)
            member.numbers.append(self._text(ids, row.number))
            member.prints.append(hash(tuple(ids)))
            return
        made = [self._reader.ids(text) for text in found.texts]
        for better, worse in combinations(range(len(made)), 2):
            if made[better] == made[worse]:
                raise Unusable(SAME, f"the texts in places {better + 1} and {worse + 1} are the same")
        numbers = [self._text(ids, row.number) for ids in made]
        margin = self._reader.margin if found.margin is None else found.margin
        for chosen, rejected in combinations(numbers, 2):
            self._pair(found.group, chosen, rejected, margin)

    def finish(self) -> dict[str, int]:
        """Make the pairs of graded rows; says how many groups there are, and how many gave no pair."""
        silent = 0
        for group, member in self._groups.items():
            before = self._train.count + self._eval.count
            order = sorted(range(len(member.scores)), key=lambda one: (-member.scores[one], member.numbers[one]))
            for better, worse in combinations(order, 2):
                gap = member.scores[better] - member.scores[worse]
                if gap > 0 and gap >= self._reader.least_gap and member.prints[better] != member.prints[worse]:
                    self._pair(group, member.numbers[better], member.numbers[worse], self._reader.margin)
            silent += before == self._train.count + self._eval.count
        return {"groups": len(self._groups), "groups_without_pairs": silent} if self._groups else {}

    @property
    def counts(self) -> tuple[int, int]:
        return self._train.count, self._eval.count

    def _text(self, ids: Sequence[int], line: int) -> int:
        self.tokens += len(ids)
        return self._texts.add({"input_ids": ids, "line": line})

    def _pair(self, group: str, chosen: int, rejected: int, margin: float) -> None:
        held_out = self._share and rng.uniform(self._seed, "held out", group) < self._share
        (self._eval if held_out else self._train).add({"chosen": chosen, "rejected": rejected, "margin": margin})


def write_grades(
    source: str, folder: Path, reader: GradeReader, *, allow_unusable: bool = False, eval_share: float = 0.0,
    seed: int = 0,
) -> RewardCounts:  # fmt: skip
    """Turn the rankings of `source` into the files of `folder`/rows; see the top of this file.

    eval_share: the part of groups that is held out, the same for a seed. Raises EvolError, after all rows were looked
    at, for rows that can't be rendered or compared (unless `allow_unusable`), and where no pair is left to train.
    """
    rows = folder / "rows"
    rows.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        writer = _Writer(reader, rows, eval_share, seed, stack)
        counts = take_rows(source, folder, reader.rows, writer.take, _HINT)
        counts.more.update(writer.finish())
        counts.train, counts.held_out = writer.counts
        counts.tokens = writer.tokens
    stops = [] if allow_unusable else [SAME, UNRENDERED, NO_SCORE, NO_GROUP]
    check(source, counts, "pairs", [*stops, *([LONG] if reader.too_long == "stop" else [])], eval_share, _HINT)
    return counts


class Pairs:
    """Pairs of texts {"chosen_ids", "rejected_ids", "margin"}, read from disk one at a time."""

    def __init__(self, texts: Any, pairs: Any) -> None:
        self._texts, self._pairs = texts, pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, number: int) -> Mapping[str, Any]:
        pair = self._pairs[number]
        chosen, rejected = (self._texts[pair[side]]["input_ids"] for side in ("chosen", "rejected"))
        return {"chosen_ids": chosen, "rejected_ids": rejected, "margin": pair["margin"]}


def open_grades(folder: Path, name: str) -> Pairs | None:
    """The pairs `name` (train or eval) that `write_grades` left in `folder`; None where it holds none."""
    pairs = open_arrow(folder / "rows" / f"pairs-{name}.arrow")
    return Pairs(open_arrow(folder / "rows" / "texts.arrow"), pairs) if len(pairs) else None
