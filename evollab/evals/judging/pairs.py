"""Pairs of answers with the verdict of people: what a judge is tried on.

Read by their columns, as LLMBar (Zeng et al. 2023, 2310.07641), PandaLM (Wang et al. 2023, 2306.05087) and Auto-J (Li
et al. 2023, 2310.05470) publish them, or plainly:

    input, output_1, output_2, label            1 or 2
    instruction, input, response1, response2, annotator1, annotator2, ...     1, 2 or 0 for a tie: the majority counts
    prompt, response 1, response 2, label       0 the first, 1 the second, 2 a tie
    instruction, first, second, label           first, second or tie
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evollab.data.files import read_rows
from evollab.data.formats import BadFields
from evollab.data.rows import excerpt, kind, names
from evollab.evals.judging.difficulty import number
from evollab.evals.judging.games import Match, Winner
from evollab.evals.task import text
from evollab.records import EvolError, Rejected

_ANNOTATOR = re.compile(r"annotator_?\d{1,3}\Z")
_HINT = "rows need a request, two answers and a label: instruction, first, second, label (first, second or tie)"
_CODES: Mapping[str, Mapping[str, Winner]] = {
    "llmbar": {"1": "first", "2": "second", "0": "tie"},
    "pandalm": {"1": "first", "2": "second", "0": "tie", "tie": "tie"},
    "autoj": {"0": "first", "1": "second", "2": "tie"},
    "plain": {"first": "first", "second": "second", "tie": "tie"},
}
"""What a set's labels mean."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair with people's verdict. id: the row's own, else its number. facts: subset, annotators agreed."""

    id: str
    match: Match
    label: Winner
    facts: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Pairs:
    """A file of pairs. undecided: rows whose annotators have no majority. rejected: rows that can't be used."""

    name: str
    pairs: Sequence[Pair]
    undecided: int
    rejected: Sequence[Rejected]


def read_pairs(file: str) -> Pairs:
    """Raises EvolError for a file without any pair."""
    found: list[Pair] = []
    rejected: list[Rejected] = []
    undecided = 0
    for row in read_rows(file, reject=rejected.append):
        try:
            pair = _pair(row.fields, str(row.number))
        except BadFields as error:
            rejected.append(Rejected(file, row.number, str(error), ""))
            continue
        if pair is None:
            undecided += 1
        else:
            found.append(pair)
    if not found:
        why = f" ({rejected[0].reason})" if rejected else ""
        raise EvolError(f"{file}: no row of it is a pair with people's verdict{why}", _HINT)
    return Pairs(Path(file).name.partition(".")[0], found, undecided, rejected)


def _pair(fields: Mapping[str, Any], place: str) -> Pair | None:
    if "output_1" in fields and "label" in fields:
        match = _match(text(fields, "input", "instruction"), fields, "output_1", "output_2")
        return Pair(place, match, winner(fields["label"], "llmbar"), _subset(fields, "subset"))
    if "response 1" in fields:
        match = _match(text(fields, "prompt", "instruction"), fields, "response 1", "response 2")
        return Pair(place, match, winner(fields.get("label"), "autoj"), _subset(fields, "scenario"))
    if "response1" in fields:
        return _annotated(fields, place)
    if "first" in fields:
        match = _match(text(fields, "instruction", "prompt", "input"), fields, "first", "second")
        return Pair(place, match, winner(fields.get("label"), "plain"), _subset(fields, "subset"))
    raise BadFields(f"no two answers; the row has {names(fields)}")


def _annotated(fields: Mapping[str, Any], place: str) -> Pair | None:
    request, material = text(fields, "instruction"), fields.get("input")
    if isinstance(material, str) and material.strip():
        request = f"{request}\n\n{material}"
    said = [winner(value, "pandalm") for name, value in fields.items() if _ANNOTATOR.match(name)]
    if not said:
        raise BadFields(f"no annotator; the row has {names(fields)}")
    ranked = Counter(said).most_common()
    if len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
        return None
    name = fields.get("idx")
    facts = {"annotators": "agreed" if len(ranked) == 1 else "did not agree"}
    match = _match(request, fields, "response1", "response2")
    return Pair(place if name is None else str(name), match, ranked[0][0], facts)


def _match(request: str, fields: Mapping[str, Any], first: str, second: str) -> Match:
    return Match((request,), (_answer(fields, first),), (_answer(fields, second),))


def _answer(fields: Mapping[str, Any], column: str) -> str:
    """A text; an answer "True" or "12" that lost its quotes on its way is one, too."""
    value = fields.get(column)
    return str(value) if isinstance(value, (bool, int, float)) else text(fields, column)


def _subset(fields: Mapping[str, Any], name: str) -> dict[str, str]:
    return {"subset": str(fields[name])} if isinstance(fields.get(name), str) else {}


def winner(value: object, code: str) -> Winner:
    """What a label says in a set's code; 1, "1" and 1.0 are the same. Raises BadFields for what it doesn't have."""
    meant = _CODES[code]
    found = number(value)
    word = str(int(found)) if found is not None and found.is_integer() else str(value).strip().casefold()
    if word not in meant:
        shown = excerpt(str(value), 40) if isinstance(value, (str, int, float)) else kind(value)
        raise BadFields(f"the label is {shown}; expected {', '.join(meant)}")
    return meant[word]


def read_verdicts(file: str) -> tuple[dict[str, Winner], dict[str, str]]:
    """A judge's published verdicts by id (PandaLM's form: idx, gpt_result or result or label of 1, 2, Tie), and what
    stands in the rows that hold none. Raises EvolError where no row holds one."""
    found: dict[str, Winner] = {}
    dirt: dict[str, str] = {}
    rejected: list[Rejected] = []
    for row in read_rows(file, reject=rejected.append):
        name = row.fields.get("idx", row.fields.get("id", row.number))
        column = next((one for one in _verdict_columns(row.fields)), None)
        try:
            found[str(name)] = winner(row.fields.get(column or ""), "pandalm")
        except BadFields:
            dirt[str(name)] = excerpt(str(row.fields.get(column or "")), 20)
    if not found:
        raise EvolError(f"{file}: no row holds a verdict", "rows need idx and gpt_result (or result): 1, 2 or Tie")
    return found, dirt


def _verdict_columns(fields: Mapping[str, Any]) -> list[str]:
    return [name for name in ("gpt_result", "result", "pandalm_result", "verdict", "label") if name in fields]
