"""Outputs made elsewhere: rows of any harness, matched with a task's questions."""

from __future__ import annotations

import hashlib
import json
import lzma
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evollab.data.files import read_rows
from evollab.data.formats import BadFields
from evollab.data.rows import Row, kind, names
from evollab.evals.trial import Answer, Given, Question, Trial
from evollab.records import EvolError, Rejected

IDS = ("task_id", "question_id", "id", "idx", "key", "unique_id")
ASKED = ("instruction", "prompt", "question", "problem", "text", "Instruction")
ANSWERS = (
    "texts", "completion", "completions", "generation", "generations", "response", "responses", "output", "outputs",
    "answer", "prediction", "model_output", "resps", "solution",
)  # fmt: skip
"""Columns in which an id, what was asked, and answers are looked for, the likeliest first."""
_WHOLE = 256 << 20


@dataclass(frozen=True, slots=True)
class Outputs:
    """A file of outputs, matched. answers: in the order of the questions, samples numbered. unknown: rows that answer
    no question of the task. missing: questions without an answer. rejected: rows that can't be read."""

    answers: Sequence[Answer]
    unknown: int
    missing: int
    rejected: Sequence[Rejected]
    counts: Mapping[str, int] = field(default_factory=dict[str, int])


def read_outputs(file: str, trial: Trial, questions: Sequence[Question]) -> Outputs:
    """Match the rows of `file` with the questions; a row that says itself what is right needs none.

    A row with several answers gives as many samples. Raises EvolError where no row is an answer to anything.
    """
    by_id = {question.id: question for question in questions}
    by_text = {_plain(question.turns[0]): question for question in questions}
    rejected: list[Rejected] = []
    groups: dict[str, list[Answer]] = defaultdict(list)
    named: dict[str, int] = {}
    unknown = 0
    for row in _rows(file, rejected):
        try:
            given = list(_given(row, trial))
        except BadFields as error:
            rejected.append(Rejected(file, row.number, str(error), ""))
            continue
        for one in given:
            question = _question(one, row, by_id, by_text, named)
            if question is None:
                unknown += 1
                continue
            sample = len(groups[question.id])
            groups[question.id].append(Answer(question, one.texts, sample, given=one))
    if not groups:
        raise EvolError(
            f"{file}: none of its {unknown + len(rejected):,} rows answers a question of this task"
            + (f" ({rejected[0].reason})" if rejected else ""),
            "rows need an id or the text of the question, and the answer: "
            '{"task_id": "HumanEval/0", "completion": "..."}',
        )
    order = {question.id: at for at, question in enumerate(questions)}
    known = sorted(groups, key=lambda name: order.get(name, len(order)))
    answers = [answer for name in known for answer in groups[name]]
    missing = sum(question.id not in groups for question in questions)
    return Outputs(answers, unknown, missing, rejected, Counter(str(len(found)) for found in groups.values()))


def _question(
    given: Given, row: Row, by_id: Mapping[str, Question], by_text: Mapping[str, Question], named: dict[str, int]
) -> Question | None:
    found = by_id.get(given.id) if given.id is not None else None
    if found is None and given.text is not None:
        found = by_text.get(_plain(given.text))
    if found is not None:
        return found
    if given.gold is None and given.mark is None:
        return None
    own = given.id if given.id is not None else _named(given.text, row.number, named)
    return Question(own, (given.text or "",), given.gold, given.facts)


def _named(text: str | None, number: int, named: dict[str, int]) -> str:
    """An id made of what was asked, the same in every file. A set may ask the same thing twice: `named` says which row
    has an id, and another row gets the next one."""
    if text is None:
        return f"row {number}"
    first = hashlib.blake2b(_plain(text).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    found, times = first, 1
    while named.setdefault(found, number) != number:
        times += 1
        found = f"{first}-{times}"
    return found


def _given(row: Row, trial: Trial) -> Iterator[Given]:
    if trial.given is not None:
        found = trial.given(row)
        yield from (found,) if isinstance(found, Given) else found or ()
        return
    yield from usual(row)


def usual(row: Row) -> Iterator[Given]:
    """The answers in a row with the usual columns (`IDS`, `ASKED`, `ANSWERS`), one for each sample in it. Raises
    BadFields."""
    fields = row.fields
    identity = next((str(fields[name]) for name in IDS if isinstance(fields.get(name), (str, int))), None)
    asked = next((fields[name] for name in ASKED if isinstance(fields.get(name), str)), None)
    if (turns := list(_fastchat(fields.get("choices")))) and (identity or asked):
        yield from (Given(identity, asked, one) for one in turns)
        return
    column = next((name for name in ANSWERS if fields.get(name) is not None), None)
    if column is None:
        raise BadFields(f"no answer: expected a column {', '.join(ANSWERS)}; the row has {names(fields)}")
    if identity is None and asked is None:
        raise BadFields(f"neither an id ({', '.join(IDS)}) nor what was asked; the row has {names(fields)}")
    for texts in answers_in(fields[column], column):
        yield Given(identity, asked, texts)


def _fastchat(choices: Any) -> Iterator[tuple[str, ...]]:
    """The turns of each choice, where that is what it is: {"index": 0, "turns": ["...", "..."]}."""
    for choice in choices if isinstance(choices, list) else ():
        turns = choice.get("turns") if isinstance(choice, dict) else None
        if isinstance(turns, list) and turns and all(isinstance(one, str) for one in turns):
            yield tuple(turns)


def answers_in(value: Any, column: str) -> Iterator[tuple[str, ...]]:
    """A text is one answer; a list of texts is one sample each, but in the column `texts` one turn each; of lists in a
    list the first texts count (lm-eval's `resps`). Raises BadFields."""
    if isinstance(value, str):
        yield (value,)
        return
    if not isinstance(value, list) or not value:
        raise BadFields(f"column {column!r} is {kind(value)}; expected a text or a list of texts")
    parts = [one[0] if isinstance(one, list) and one else one for one in value]
    if not all(isinstance(one, str) for one in parts):
        raise BadFields(f"column {column!r} is a list with other things than texts in it")
    if column == "texts":
        yield tuple(parts)
    else:
        yield from ((one,) for one in parts)


def _rows(file: str, rejected: list[Rejected]) -> Iterator[Row]:
    """The rows of a file; a JSON list of lists (one list of samples for each question, in the task's order) becomes
    rows {"position": n, "generations": [...]}."""
    listed = _lists(Path(file))
    if listed is None:
        yield from read_rows(file, reject=rejected.append)
        return
    for at, samples in enumerate(listed):
        yield Row(at + 1, {"position": at, "generations": samples})


def _lists(path: Path) -> list[list[Any]] | None:
    try:
        if path.suffix not in (".json", ".xz") or not path.is_file() or path.stat().st_size > _WHOLE:
            return None
        data = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
        found = json.loads(data) if data.lstrip()[:2].replace(b"\n", b"").startswith(b"[") else None
    except (OSError, ValueError, lzma.LZMAError):
        return None
    return found if isinstance(found, list) and found and all(isinstance(one, list) for one in found) else None


def _plain(text: str) -> str:
    """What two texts have in common that differ in white space only."""
    return " ".join(text.split())
