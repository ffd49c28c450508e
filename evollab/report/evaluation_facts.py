"""What evaluations left in their folders, for the page: results, and some answers with what the grader said."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from evollab import rng
from evollab.records import EvolError
from evollab.report.typed import read_typed

RESULT = "result.json"
_SHOWN = 12
"""Questions of a task that are shown with their answers."""
_MOST_LINES = 200_000


@dataclass(frozen=True, slots=True)
class Figure:
    """A `evals.metric.Metric` as it was written."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    unit: str = "%"
    method: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One model on one task: its result.json."""

    task: str
    model: str
    metric: str
    metrics: tuple[Figure, ...]
    about: str = ""
    groups: Mapping[str, Mapping[str, Figure]] = field(default_factory=dict[str, Mapping[str, Figure]])
    failures: Mapping[str, int] = field(default_factory=dict[str, int])
    notes: tuple[str, ...] = ()
    grader: str = ""
    judge: str = ""
    reference: str = ""
    compat: str = ""
    complete: bool = True
    samples: int = 1
    prompt: Any = None
    decoding: Any = None
    data: Any = None
    tools: Any = None
    versions: Any = None
    published: Any = None

    @property
    def main(self) -> Figure:
        return self.metrics[0]

    def settings(self) -> dict[str, str]:
        """What must be the same where two figures stand in one table."""
        prompt = self.prompt if isinstance(self.prompt, dict) else {}
        data = self.data if isinstance(self.data, dict) else {}
        told = {
            "prompt": prompt.get("digest"), "decoding": self.decoding, "data": data.get("digest"),
            "grader": self.grader, "judge": self.judge, "reference": self.reference, "samples": self.samples,
        }  # fmt: skip
        return {
            name: orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str).decode() for name, value in told.items()
        }


@dataclass(frozen=True, slots=True)
class Said:
    """One model's answer to a question, and what the grader says of it."""

    model: str
    text: str
    score: float | None
    extracted: str
    reason: str
    failure: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A question with the answers of all models that have one."""

    id: str
    asked: str
    facts: Mapping[str, str]
    said: tuple[Said, ...]


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """One task: an outcome for each model that was measured on it, in the order of the folders."""

    name: str
    outcomes: tuple[Outcome, ...]
    shown: tuple[Shown, ...]

    def unlike(self) -> list[tuple[str, list[str]]]:
        """The models whose settings are not those of the first, and which."""
        first = self.outcomes[0].settings()
        found = []
        for one in self.outcomes[1:]:
            own = one.settings()
            other = [name for name in first if own[name] != first[name]]
            if other:
                found.append((one.model, other))
        return found


def is_evaluation(folder: Path) -> bool:
    """Whether `evol eval` wrote the folder."""
    return (folder / "results.json").is_file() or any(folder.glob(f"*/{RESULT}"))


def read_evaluations(folders: Sequence[Path]) -> list[TaskFacts]:
    """The tasks of all folders, in the order of the first that has them. Raises EvolError for a folder without any, and
    for files that are none of ours."""
    found: dict[str, list[tuple[Outcome, Path]]] = {}
    for folder in folders:
        places = sorted(folder.glob(f"*/{RESULT}"))
        if not places:
            raise EvolError(f"{folder}: no evaluation in it (no TASK/{RESULT})", "evol eval MODEL TASKS --out FOLDER")
        for place in places:
            outcome = _outcome(place)
            found.setdefault(outcome.task, []).append((outcome, place.parent))
    return [TaskFacts(task, tuple(_named(ones)), tuple(_shown(ones))) for task, ones in found.items()]


def _named(ones: Sequence[tuple[Outcome, Path]]) -> Iterator[Outcome]:
    yield from (outcome for outcome, _ in ones)


def _outcome(place: Path) -> Outcome:
    try:
        value = orjson.loads(place.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise EvolError(f"{place}: {error}", "evaluate that task again with another --out") from None
    outcome = read_typed(Outcome, value, str(place))
    if not outcome.metrics:
        raise EvolError(f"{place}: no figure in it")
    return outcome


def _shown(ones: Sequence[tuple[Outcome, Path]]) -> list[Shown]:
    """Some questions: first those on which the models differ most, or answers that failed; always the same ones."""
    graded = [_graded(folder) for _, folder in ones]
    ranked: dict[str, float] = {}
    for name in graded[0]:
        scores = [rows[name].get("score") for rows in graded if name in rows]
        plain = [float(score) for score in scores if isinstance(score, (int, float))]
        apart = max(plain) - min(plain) if len(plain) > 1 else 0.0
        odd = any(rows[name].get("failure") for rows in graded if name in rows)
        ranked[name] = apart + 0.5 * odd + 0.4 * (bool(plain) and plain[0] == 0) + 0.3 * rng.uniform("shown", name)
    chosen = set(heapq.nlargest(_SHOWN, ranked, key=lambda name: (ranked[name], name)))
    answers = [_rows(folder / "answers.jsonl", chosen) for _, folder in ones]
    shown = []
    for name in (name for name in graded[0] if name in chosen):
        row = answers[0].get(name, {})
        said = [
            _said(outcome.model, texts.get(name), rows[name])
            for (outcome, _), texts, rows in zip(ones, answers, graded, strict=True)
            if name in rows
        ]
        turns = row.get("turns")
        asked = "\n\n".join(map(str, turns)) if isinstance(turns, list) else ""
        facts = row.get("facts")
        shown.append(Shown(name, asked, _texts(facts), tuple(said)))
    return shown


def _texts(facts: object) -> dict[str, str]:
    return {str(name): str(value) for name, value in facts.items()} if isinstance(facts, dict) else {}


def _said(model: str, answer: Mapping[str, Any] | None, row: Mapping[str, Any]) -> Said:
    texts = (answer or {}).get("texts")
    score = row.get("score")
    return Said(
        model,
        "\n\n".join(map(str, texts)) if isinstance(texts, list) else "",
        float(score) if isinstance(score, (int, float)) else None,
        str(row.get("extracted") or ""),
        str(row.get("reason") or ""),
        str(row.get("failure") or ""),
    )


def _graded(folder: Path) -> dict[str, dict[str, Any]]:
    return _rows(folder / "graded.jsonl", None)


def _rows(path: Path, wanted: set[str] | None) -> dict[str, dict[str, Any]]:
    """The first sample of each question. Lines that are no rows are passed over: a page shows what there is."""
    found: dict[str, dict[str, Any]] = {}
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file):
                if number > _MOST_LINES:
                    break
                try:
                    row = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(row, dict) and isinstance(row.get("id"), str) and (wanted is None or row["id"] in wanted):
                    found.setdefault(row["id"], row)
    except OSError:
        return {}
    return found
