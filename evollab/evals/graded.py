"""An evaluation folder as `evol eval` leaves it: what was measured, how, and every question's scores.

Of the answers nothing is kept but numbers and groups, so that memory grows with the questions, not with their length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from evollab.data.rows import excerpt, kind
from evollab.evals.judging.ratio import OWN, REFERENCE
from evollab.evals.result import ANSWERS, GRADED, RESULT
from evollab.evals.result import read as read_result
from evollab.records import EvolError, digest

_AGAIN = "evaluate that task again"


@dataclass(slots=True)
class Scored:
    """A question's scores, added up. of: how many, or for a ratio the sum of the reference's. unscored: answers that
    got no score. facts: the groups it counts in. asked: digest of what was asked, "" where nothing tells."""

    total: float = 0.0
    of: float = 0.0
    unscored: int = 0
    facts: dict[str, str] = field(default_factory=dict[str, str])
    asked: str = ""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One model on one task. result: its result.json. questions: by id. times: what turns a score into the figure's
    unit."""

    folder: Path
    result: Mapping[str, Any]
    questions: Mapping[str, Scored]
    times: float

    @property
    def task(self) -> str:
        return str(self.result["task"])

    @property
    def model(self) -> str:
        return str(self.result.get("model", ""))

    @property
    def unit(self) -> str:
        return str(self.result.get("unit", "%"))

    @property
    def value(self) -> float | None:
        """The figure made anew from the scores; None without any."""
        total = sum(one.total for one in self.questions.values())
        of = sum(one.of for one in self.questions.values())
        return self.times * total / of if of else None

    def settings(self) -> dict[str, Any]:
        """All that must be the same where two models are compared."""
        prompt, data = self.result.get("prompt"), self.result.get("data")
        return {
            "prompt": prompt.get("digest") if isinstance(prompt, dict) else prompt,
            "decoding": self.result.get("decoding") or {}, "samples": self.result.get("samples"),
            "data": data.get("digest") if isinstance(data, dict) else data,
            "grader": self.result.get("grader") or "", "judge": self.result.get("judge") or "",
            "reference": self.result.get("reference") or "", "figure": [self.result.get("metric"), self.unit],
        }  # fmt: skip


def read_evaluations(folder: Path) -> dict[str, Evaluated]:
    """Every task in `folder` (or the one that it is), by name. Raises EvolError where there is none, and for files that
    aren't what `evol eval` writes."""
    places = [folder] if (folder / RESULT).is_file() else sorted(path.parent for path in folder.glob(f"*/{RESULT}"))
    if not places:
        raise EvolError(
            f"{folder} holds no evaluation: no {RESULT} in it or in a folder of it",
            f"evol eval MODEL TASK --out {folder}",
        )
    found: dict[str, Evaluated] = {}
    for place in places:
        one = read_evaluation(place)
        if one.task in found:
            raise EvolError(
                f"{folder} holds two results of {one.task}: {found[one.task].folder.name} and {place.name}",
                "name the folder of the one that you mean",
            )
        found[one.task] = one
    return found


def read_evaluation(folder: Path) -> Evaluated:
    """One task's folder. Raises EvolError where it isn't whole."""
    result = read_result(folder)
    if not isinstance(result.get("task"), str):
        raise EvolError(f"{folder / RESULT} doesn't name its task", _AGAIN)
    ratio = result.get("unit") == "ratio"
    scale = result.get("scale") or 1.0
    questions: dict[str, Scored] = {}
    for place, row in _rows(folder / GRADED):
        _add(questions, row, ratio, place)
    if (folder / ANSWERS).is_file():
        for _, row in _rows(folder / ANSWERS):
            one, turns = questions.get(str(row.get("id"))), row.get("turns")
            if one is not None and isinstance(turns, list) and any(turns):
                one.asked = digest(*turns)
    times = 100.0 if ratio else 100.0 / scale if result.get("unit", "%") == "%" else 1.0
    return Evaluated(folder, result, questions, times)


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row, and its place for messages."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.isspace():
                    continue
                row = orjson.loads(line)
                if not isinstance(row, dict):
                    raise EvolError(f"{path}:{number}: expected an object, found {kind(row)}", _AGAIN)
                yield f"{path}:{number}", row
    except OSError as error:
        raise EvolError(f"{path}: {error.strerror or error}", _AGAIN) from None
    except orjson.JSONDecodeError as error:
        raise EvolError(f"{path}: {excerpt(str(error), 80)}", _AGAIN) from None


def _add(questions: dict[str, Scored], row: dict[str, Any], ratio: bool, place: str) -> None:
    try:
        one = questions.setdefault(str(row["id"]), Scored())
        score, more = row["score"], row.get("more") or {}
        if score is None or (ratio and (more.get(OWN) is None or more.get(REFERENCE) is None)):
            one.unscored += 1
        elif ratio:
            one.total, one.of = one.total + float(more[OWN]), one.of + float(more[REFERENCE])
        else:
            one.total, one.of = one.total + float(score), one.of + 1
        one.facts.update({str(name): excerpt(str(value), 80) for name, value in (row.get("facts") or {}).items()})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EvolError(
            f"{place}: not a graded answer ({excerpt(str(error), 80)}); expected an object with id, score and facts",
            _AGAIN,
        ) from None
