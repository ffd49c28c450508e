"""What an evaluation leaves: answers, grades, and the result with all that it depends on.

FOLDER/<task>/answers.jsonl   what the model said, a row for each sample
FOLDER/<task>/graded.jsonl    what the grader said of it
FOLDER/<task>/result.json     the figures, and how they were made
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from evollab.data.rows import excerpt
from evollab.evals.metric import Metric
from evollab.evals.trial import Answer, Mark, Marked, Trial
from evollab.records import EvolError
from evollab.runs import whole_file, write_json

ANSWERS = "answers.jsonl"
GRADED = "graded.jsonl"
RESULT = "result.json"
_FEWEST = 2
"""Questions that a group needs to get a figure of its own."""


def figures(trial: Trial, marked: Sequence[Marked]) -> list[Metric]:
    """The figures of a task, its own first. Raises EvolError where they can't be made."""
    from evollab.evals.stats import score_metric

    counted = [(answer, mark) for answer, mark in marked if mark.score is not None]
    if trial.metrics is not None:
        return list(trial.metrics(marked))
    scores = [float(mark.score or 0.0) for _, mark in counted]
    clusters = [answer.question.id for answer, _ in counted]
    found = [score_metric(trial.main, scores, clusters=clusters, scale=trial.scale)]
    for name in dict.fromkeys(name for _, mark in counted for name in mark.more):
        pairs = [(answer, mark.more[name]) for answer, mark in counted if mark.more.get(name) is not None]
        values = [float(value or 0.0) for _, value in pairs]
        same = [answer.question.id for answer, _ in pairs]
        found.append(score_metric(name, values, clusters=same, scale=trial.scale))
    return found


def by_group(trial: Trial, marked: Sequence[Marked]) -> dict[str, dict[str, Metric]]:
    """The task's own figure for each value of each fact in `trial.groups`."""
    tables: dict[str, dict[str, Metric]] = {}
    for name in trial.groups:
        values: dict[str, list[Marked]] = {}
        for answer, mark in marked:
            if name in answer.question.facts:
                values.setdefault(answer.question.facts[name], []).append((answer, mark))
        tables[name] = {
            value: figures(trial, some)[0] for value, some in sorted(values.items()) if len(some) >= _FEWEST
        }
    return {name: table for name, table in tables.items() if table}


def failures(marked: Sequence[Marked]) -> dict[str, int]:
    """What went wrong, by class: of answers and of grades; "cut" are answers that their limit ended."""
    counts = Counter[str]()
    for answer, mark in marked:
        if mark.failure:
            counts[mark.failure] += 1
        counts["cut"] += answer.cut
    return {name: count for name, count in sorted(counts.items()) if count}


def disagreement(marked: Sequence[Marked]) -> dict[str, Any] | None:
    """How our verdicts compare with those that were published with the rows; None where none were."""
    pairs = [
        (answer, mark.score, answer.given.published)
        for answer, mark in marked
        if answer.given is not None and answer.given.published is not None and mark.score is not None
    ]
    if not pairs:
        return None
    other = [
        {"id": answer.question.id, "ours": ours, "published": theirs}
        for answer, ours, theirs in pairs
        if ours != theirs
    ]
    return {"compared": len(pairs), "differ": len(other), "items": other[:200]}


def write(folder: Path, marked: Sequence[Marked], result: Mapping[str, Any]) -> None:
    """All three files; each appears whole."""
    with whole_file(folder / ANSWERS) as file:
        file.writelines(orjson.dumps(row) + b"\n" for row in answer_rows(answer for answer, _ in marked))
    with whole_file(folder / GRADED) as file:
        file.writelines(orjson.dumps(_graded(answer, mark)) + b"\n" for answer, mark in marked)
    write_json(folder / RESULT, result)


def answer_rows(answers: Iterator[Answer]) -> Iterator[dict[str, Any]]:
    for answer in answers:
        yield {
            "id": answer.question.id, "sample": answer.sample, "turns": answer.question.turns, "texts": answer.texts,
            "cut": answer.cut, "failure": answer.failure, "facts": dict(answer.question.facts),
        }  # fmt: skip


def _graded(answer: Answer, mark: Mark) -> dict[str, Any]:
    row = {
        "id": answer.question.id, "sample": answer.sample, "score": mark.score, "failure": mark.failure,
        "extracted": mark.extracted, "reason": mark.reason, "more": dict(mark.more),
        "facts": dict(answer.question.facts),
    }  # fmt: skip
    if answer.given is not None and answer.given.published is not None:
        row["published"] = answer.given.published
    return row


def digest(*parts: object) -> str:
    """16 hex digits over what prompts or settings say."""
    return hashlib.blake2b(orjson.dumps(parts, default=str), digest_size=8).hexdigest()


def told(metric: Metric) -> dict[str, Any]:
    return dataclasses.asdict(metric)


def line(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result as `--json` prints it."""
    names = ("task", "model", "metric", "value", "unit", "n", "interval", "metrics", "failures", "grader", "complete")
    return {name: result[name] for name in names if name in result}


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """The results for people: a line for each task, then what they should know."""
    rows = [("task", "figure", "value", "95 % interval", "n")]
    notes: list[str] = []
    for result in results:
        task = excerpt(str(result["task"]), 40)
        for at, metric in enumerate(result["metrics"]):
            rows.append((task if at == 0 else "", metric["name"], shown(metric), between(metric), f"{metric['n']:,}"))
        lost = ", ".join(f"{count:,} {name}" for name, count in result["failures"].items())
        if lost:
            notes.append(f"{task}: {lost}")
        notes += [f"{task}: {note}" for note in result.get("notes", ())]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if at < 2 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, *([""] if notes else []), *(f"note: {note}" for note in notes)])


def shown(metric: Mapping[str, Any]) -> str:
    """82.1 %, 7.92 points."""
    if metric["value"] is None:
        return "-"
    return f"{metric['value']:.2f}" if metric["unit"] == "points" else f"{metric['value']:.1f} %"


def between(metric: Mapping[str, Any]) -> str:
    if metric["low"] is None or metric["high"] is None:
        return "-"
    digits = 2 if metric["unit"] == "points" else 1
    return f"{metric['low']:.{digits}f} to {metric['high']:.{digits}f}"


def read(folder: Path) -> dict[str, Any]:
    """The result of a task's folder. Raises EvolError where it is none."""
    try:
        found = orjson.loads((folder / RESULT).read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise EvolError(f"{folder / RESULT}: {error}", "evaluate that task again with another --out") from None
    if not isinstance(found, dict) or "metrics" not in found:
        raise EvolError(f"{folder / RESULT} is no result of evol eval")
    return found
