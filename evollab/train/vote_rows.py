"""Several answers to one question, from rows of any data set.

{"prompt": ..., "answers": [text, ...]}                       all of them in one row
{"id": 7, "prompt": ..., "answer": ...} and more of that id   one in each row, in whatever order the rows stand
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from evollab.data.final_answer import Number, choice, final_answer, number, tidied
from evollab.data.items import Item, RowOptions, read_items
from evollab.data.rowstep import RowFiles
from evollab.data.spool import Spool
from evollab.evals.math.number import numbers_in
from evollab.records import Message, digest

ANSWERS = "answers"
NOTHING = "nothing_asked"
UNANSWERED = "no_answer"
OTHER = "other_prompt"
_TAIL = 600
"""Characters at the end in which a number without a marker counts as the answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is voted on. line: where it stood first. turns: the last one is the user's. reference: what is right, None
    where that is not known."""

    line: int
    id: str | None
    turns: tuple[Message, ...]
    answers: tuple[str, ...]
    reference: str | None


@dataclass(slots=True)
class _Group:
    line: int
    prompt: str
    places: list[int] = field(default_factory=list[int])


def read_questions(
    source: str, options: RowOptions, reference: str, files: RowFiles, folder: Path
) -> Iterator[Question]:
    """The questions of `source` in the order in which they first come, one at a time; texts wait on disk in `folder`.

    reference: the column that tells what is right; "": the row's `reference`, or, beside a list of answers, its own
    answer. Rows that can't be used go to `files`. Raises EvolError as `read_items` does.
    """
    spool, groups = Spool(folder), dict[str, _Group]()
    try:
        for item in read_items(source, options, files.reject):
            _take(item, reference, spool, groups, files)
        spool.flush()
        for group in groups.values():
            yield _question(group, spool)
    finally:
        spool.close()


def _take(item: Item, reference: str, spool: Spool, groups: dict[str, _Group], files: RowFiles) -> None:
    last = max((number for number, turn in enumerate(item.messages) if turn.role == "user"), default=-1)
    if last < 0 or not item.prompt.strip():
        files.remove(item, NOTHING, detail="nothing is asked")
        return
    listed = item.fields.get(ANSWERS)
    answers = listed if isinstance(listed, list) else [item.response] if item.response else []
    if not answers or not all(isinstance(one, str) for one in answers):
        what = f"{ANSWERS} is no list of texts" if isinstance(listed, list) else f"neither {ANSWERS} nor an answer"
        files.remove(item, UNANSWERED, detail=what)
        return
    turns = item.messages[: last + 1]
    prompt = digest(*(turn.content for turn in turns))
    # Rows with a list are questions of their own, whatever id they share.
    key = f"line {item.number}" if isinstance(listed, list) else f"id {item.id}" if item.id is not None else prompt
    group = groups.setdefault(key, _Group(item.number, prompt))
    if group.prompt != prompt:
        files.remove(item, OTHER, detail=f"line {group.line} has the same id and asks something else")
        return
    right = item.fields.get(reference or "reference")
    if right is None and not reference and isinstance(listed, list):
        right = item.response or None
    known = None if right is None or isinstance(right, bool | list | dict) else str(right)
    told = {"id": item.id, "turns": [asdict(turn) for turn in turns], "answers": answers, "reference": known}
    group.places.append(len(spool))
    spool.add(orjson.dumps(told))


def _question(group: _Group, spool: Spool) -> Question:
    rows = [orjson.loads(spool[place]) for place in group.places]
    answers = tuple(answer for row in rows for answer in row["answers"])
    turns = tuple(Message(turn["role"], turn["content"]) for turn in rows[0]["turns"])
    reference = next((row["reference"] for row in rows if row["reference"] is not None), None)
    return Question(group.line, rows[0]["id"], turns, answers, reference)


def final_of(answer: str) -> str | None:
    r"""What an answer votes for: its final answer, written the same for all that are equal (0.5 and \frac{1}{2} are
    1/2, "Option B" is B); the last number where nothing marks it; None without either. Never raises."""
    final = final_answer(answer)
    if final is None:
        found = numbers_in(answer[-_TAIL:])
        return _written(found[-1]) if found else None
    if (letter := choice(final)) is not None:
        return letter
    exact = number(final)
    return _written(exact) if exact is not None else "".join(tidied(final).split()).rstrip(".").casefold() or None


def _written(found: Number) -> str:
    return str(found.value)
