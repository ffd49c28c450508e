"""A judge's verdicts on the same pairs of answers, out of files of any making."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evollab.data.files import read_rows
from evollab.data.formats import BadFields
from evollab.data.rows import kind, names
from evollab.evals.people.comparisons import Comparison, Item
from evollab.evals.people.outputs import ASKED, IDS, key_of, texts_of
from evollab.evals.result import GRADED, read
from evollab.records import EvolError, Rejected

_NAMES = (("model_1", "model_2"), ("model_a", "model_b"), ("generator_1", "generator_2"))


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row: what was asked (`key`, see `outputs.key_of`; "" where only `id` tells), whose answers, which is better:
    1, 2, 0 for a tie, None where the judge's reply said nothing."""

    key: str
    id: str | None
    models: tuple[str, str]
    preference: int | None


@dataclass(slots=True)
class Verdicts:
    """A judge's verdicts on the comparisons of a study, by comparison. Asked more than once (the orders swapped), a
    judge that contradicts itself says tie.

    rows: usable ones. strange: on something that the study doesn't compare. unparsed: without a verdict.
    bad: rows that could not be read.
    """

    by_comparison: dict[str, int] = field(default_factory=dict[str, int])
    rows: int = 0
    strange: int = 0
    unparsed: int = 0
    bad: int = 0


def read_verdicts(file: str, comparisons: Sequence[Comparison], items: Sequence[Item]) -> Verdicts:
    """The verdicts of `file`, or of a task's folder of an evaluation, on `comparisons`.

    Items are known by what was asked, else by their id; models by name, in either order. Raises EvolError for what
    can't be read.
    """
    ids: dict[str, str] = {}
    for item in items:
        if item.name is not None:
            ids[item.name] = "" if item.name in ids else item.id
    known = {(one.item, frozenset((one.model_1, one.model_2))): one for one in comparisons}
    found, said = Verdicts(), dict[str, set[int]]()

    def count(row: Rejected) -> None:
        del row
        found.bad += 1

    source, as_verdict = _source(file)
    for row in read_rows(source, reject=count):
        try:
            verdict = as_verdict(row.fields)
        except BadFields:
            found.bad += 1
            continue
        found.rows += 1
        asked = verdict.key or ids.get(verdict.id or "", "")
        one = known.get((asked, frozenset(verdict.models)))
        if one is None:
            found.strange += 1
        elif verdict.preference is None:
            found.unparsed += 1
        else:
            swapped = verdict.models[0] != one.model_1
            said.setdefault(one.id, set()).add(
                3 - verdict.preference if swapped and verdict.preference else verdict.preference
            )
    found.by_comparison = {key: next(iter(one)) if len(one) == 1 else 0 for key, one in said.items()}
    return found


def _source(file: str) -> tuple[str, Callable[[Mapping[str, Any]], Verdict]]:
    """The file of rows, and how one is read. Raises EvolError for a folder in which no judge compared two models."""
    folder = Path(file)
    if not folder.is_dir():
        return file, verdict_of
    told = read(folder)
    models = told.get("model"), told.get("reference")
    if not all(isinstance(one, str) and one for one in models):
        raise EvolError(
            f"--judge {file}: no judge compared two models there",
            "expected a task's folder of evol eval with a reference model, or a file of rows that name both models",
        )
    return str(folder / GRADED), lambda fields: _graded(fields, (str(models[0]), str(models[1])))


def _graded(fields: Mapping[str, Any], models: tuple[str, str]) -> Verdict:
    """A row of an evaluation: its score is the share of the win that the judge gives to the first model."""
    score, own = fields.get("score"), fields.get("id")
    if not isinstance(own, str) or isinstance(score, (bool, str)) or fields.get("sample", 0):
        raise BadFields(f"no id, score and sample 0; the row has {names(fields)}")
    preference = None if score is None else 0 if score == 0.5 else 1 if score > 0.5 else 2
    return Verdict("", own, models, preference)


def verdict_of(fields: Mapping[str, Any]) -> Verdict:
    """A row: two models by name (`model_1`, `model_a` or `generator_1` ...); `preference` (1, 2, 0; 1 to 2 as
    AlpacaEval has it, 1.5 a tie) or `winner` (`model_a`, a model's name, `tie`). Raises BadFields."""
    for columns in _NAMES:
        first, second = (fields.get(column) for column in columns)
        if isinstance(first, str) and isinstance(second, str):
            break
    else:
        raise BadFields(f"no {' or '.join('/'.join(columns) for columns in _NAMES)}; the row has {names(fields)}")
    ids = [fields[name] for name in IDS if isinstance(fields.get(name), (str, int))]
    turns = texts_of(fields, ASKED)
    if not ids and not turns:
        raise BadFields(f"no id and no prompt; the row has {names(fields)}")
    if "winner" in fields:
        preference = _winner(fields["winner"], columns, (first, second))
    elif "preference" in fields:
        preference = _preference(fields["preference"])
    else:
        raise BadFields(f"no preference or winner; the row has {names(fields)}")
    return Verdict(key_of(turns) if turns else "", str(ids[0]) if ids else None, (first, second), preference)


def _winner(value: Any, columns: tuple[str, str], models: tuple[str, str]) -> int | None:
    if not isinstance(value, str):
        return None
    for number in (0, 1):
        if value in (columns[number], models[number]):
            return number + 1
    return 0 if value.startswith("tie") else None


def _preference(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadFields(f"field 'preference' is {kind(value)}; expected 1, 2 or 0")
    if value in (0, 1.5):
        return 0
    return (1 if value < 1.5 else 2) if 1 <= value <= 2 else None
