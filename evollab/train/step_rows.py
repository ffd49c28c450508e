"""Answers with labelled steps as token rows, on disk: what a process reward model learns from.

    {"prompt": text or turns, "completions": [step, ...], "labels": [label, ...]}     TRL's shape

Labels: true and false; 1, 0, -1 for correct, unsure, wrong; or numbers with a decimal point from 0.0 to 1.0, the
probability of being correct; null for a step that nobody judged. Files in OUT/rows:

train.arrow, eval.arrow     {"input_ids", "ends", "truths", "line"}: places of the last tokens of labelled steps; for
                            each of them the probabilities of `scoring.STEP_LABELS`, one after another
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from evollab import rng
from evollab.data import formats
from evollab.data.formats import BadFields, Fields
from evollab.data.items import RowOptions
from evollab.data.rows import Row, excerpt, kind, names
from evollab.records import EvolError, Message, digest
from evollab.train.reward_files import ArrowFile, RewardCounts, check, open_arrow, take_rows
from evollab.train.rows import LONG, UNRENDERED, Unusable
from evollab.train.steps import SEPARATOR, StepCoder, steps_of

NO_LABEL = "no_label"
"""No step of the answer has a label."""
LABELS = ("three-way", "binary")
_HINT = 'a row needs "prompt", "completions": [step, ...] and "labels": [1, 0, -1 ...]'
_THREE_WAY = {1: (0.0, 0.0, 1.0), 0: (0.0, 1.0, 0.0), -1: (1.0, 0.0, 0.0)}
_CORRECT, _WRONG = _THREE_WAY[1], _THREE_WAY[-1]
Truth = tuple[float, float, float]
"""The probabilities of wrong, unsure and correct."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A prompt, the steps of an answer as `steps_of` cuts them, what is true of each; None: not judged.
    recut: some step was several by that segmentation."""

    prompt: tuple[Message, ...]
    steps: tuple[str, ...]
    truths: tuple[Truth | None, ...]
    recut: bool


@dataclass(frozen=True, slots=True)
class StepReader:
    """How answers become token rows. labels: three-way, or binary where whole numbers are 1 and 0 for correct and
    wrong (Math-Shepherd and others)."""

    code: StepCoder
    rows: RowOptions
    max_length: int
    too_long: str = "drop"
    labels: str = "three-way"


def read_answer(fields: Fields, labels: str = "three-way") -> Answer:
    """A row's answer. Raises BadFields.

    Steps are cut anew by `steps_of`. Where a given step becomes several, its label goes to the last of them, and to
    those before if it says correct: which part of a wrong step is wrong nobody said.
    """
    for name in ("prompt", "completions", "labels"):
        if name not in fields:
            raise BadFields(f"no field {name}; the row has {names(fields)}")
    given, told = fields["completions"], fields["labels"]
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise BadFields(f"field 'completions' is {kind(given)}; expected a list of texts, the steps")
    if not isinstance(told, list) or len(told) != len(given):
        what = f"{len(told)} labels" if isinstance(told, list) else kind(told)
        raise BadFields(f"field 'labels' is {what}; expected a list of {len(given)}, one for each step")
    bare = [step.strip() for step in given]
    if not all(bare) or not bare:
        place = next((number for number, step in enumerate(bare) if not step), 0)
        raise BadFields(f"completions[{place}] is empty; expected a step")
    truths = [_truth(label, f"labels[{number}]", labels) for number, label in enumerate(told)]
    steps = steps_of(SEPARATOR.join(bare))
    recut = steps != bare
    return Answer(_prompt(fields), tuple(steps), tuple(_moved(bare, truths, steps) if recut else truths), recut)


def _truth(label: Any, name: str, labels: str) -> Truth | None:
    if label is None:
        return None
    if isinstance(label, bool):
        return _CORRECT if label else _WRONG
    if isinstance(label, int) and labels == "binary" and label in (0, 1):
        return _CORRECT if label else _WRONG
    if isinstance(label, int) and labels == "three-way" and label in _THREE_WAY:
        return _THREE_WAY[label]
    if isinstance(label, float) and 0 <= label <= 1:
        return 1 - label, 0.0, label
    expected = "1, 0 or -1" if labels == "three-way" else "1 or 0"
    raise BadFields(f"{name} is {excerpt(str(label), 40)}; expected {expected}, true or false, 0.0 to 1.0, or null")


def _moved(given: Sequence[str], truths: Sequence[Truth | None], steps: Sequence[str]) -> list[Truth | None]:
    """The labels of `given` for the same text cut into `steps`: a label goes to the step in which its own ends. The
    worst of several counts."""
    ends, own = (list(accumulate(len("".join(part.split())) for part in parts)) for parts in (given, steps))
    moved: list[Truth | None] = []
    before = 0
    for end in own:
        here = [truth for truth, place in zip(truths, ends, strict=True) if before < place <= end]
        if here:
            judged = [truth for truth in here if truth is not None]
            moved.append(min(judged, key=lambda truth: truth[2]) if judged else None)
        else:  # the middle of a given step
            around = truths[bisect_left(ends, end)]
            moved.append(around if around == _CORRECT else None)
        before = end
    return moved


def _prompt(fields: Fields) -> tuple[Message, ...]:
    value = fields["prompt"]
    if isinstance(value, str):
        if not value.strip():
            raise BadFields("the prompt is empty; expected text")
        return (Message("user", value),)
    if not isinstance(value, list):
        raise BadFields(f"field 'prompt' is {kind(value)}; expected text, or a list of turns")
    turns = formats.read_turns("prompt", {"prompt": value}).turns
    if not turns or turns[-1].role in ("assistant", "system"):
        raise BadFields("the prompt does not end with a user turn")
    return turns


class _Writer:
    """Takes rows, writes answers."""

    def __init__(self, reader: StepReader, folder: Path, share: float, seed: int, stack: contextlib.ExitStack) -> None:
        self._reader, self._share, self._seed = reader, share, seed
        columns = {"input_ids": "list:int32", "ends": "list:int32", "truths": "list:float", "line": "int64"}
        self._train, self._eval = (
            stack.enter_context(ArrowFile(folder / f"{name}.arrow", columns)) for name in ("train", "eval")
        )
        self.tokens = 0
        self.more: Counter[str] = Counter(steps=0, recut=0)

    def take(self, row: Row) -> None:
        """One row. Raises BadFields, Unusable."""
        answer = read_answer(row.fields, self._reader.labels)
        if not any(truth is not None for truth in answer.truths):
            raise Unusable(NO_LABEL, "no step has a label")
        try:
            made = self._reader.code(answer.prompt, answer.steps)
        except EvolError as error:
            raise Unusable(UNRENDERED, error.message) from None
        if len(made.ids) > self._reader.max_length:
            raise Unusable(LONG, f"{len(made.ids):,} tokens, {self._reader.max_length:,} at most")
        known = [(end, truth) for end, truth in zip(made.ends, answer.truths, strict=True) if truth is not None]
        self.tokens += len(made.ids)
        self.more["steps"] += len(known)
        self.more["recut"] += answer.recut
        # No prompt may be both trained and held out.
        named = row.fields.get("root_id")
        root = named if isinstance(named, str) and named else digest(*(turn.content for turn in answer.prompt))
        held_out = self._share and rng.uniform(self._seed, "held out", root) < self._share
        (self._eval if held_out else self._train).add(
            {
                "input_ids": made.ids, "ends": [end for end, _ in known],
                "truths": [share for _, truth in known for share in truth], "line": row.number,
            }
        )  # fmt: skip

    @property
    def counts(self) -> tuple[int, int]:
        return self._train.count, self._eval.count


def write_steps(
    source: str, folder: Path, reader: StepReader, *, allow_unusable: bool = False, eval_share: float = 0.0,
    seed: int = 0,
) -> RewardCounts:  # fmt: skip
    """Turn the labelled answers of `source` into the files of `folder`/rows; see the top of this file.

    eval_share: the part of lineages (or, without them, prompts) that is held out, the same for a seed. Raises
    EvolError, after all rows were looked at, for rows without a label or that can't be rendered (unless
    `allow_unusable`), and where no answer is left to train.
    """
    rows = folder / "rows"
    rows.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        writer = _Writer(reader, rows, eval_share, seed, stack)
        counts = take_rows(source, folder, reader.rows, writer.take, _HINT)
        counts.train, counts.held_out = writer.counts
        counts.tokens, counts.more = writer.tokens, writer.more
    stops = [] if allow_unusable else [NO_LABEL, UNRENDERED]
    check(source, counts, "answers", [*stops, *([LONG] if reader.too_long == "stop" else [])], eval_share, _HINT)
    return counts


def open_steps(folder: Path, name: str) -> Any:
    """The answers `name` (train or eval) that `write_steps` left in `folder`, as a memory-mapped `datasets.Dataset`;
    None where it holds none."""
    rows = open_arrow(folder / "rows" / f"{name}.arrow")
    return rows if len(rows) else None
