"""`evol compare A B`: two evaluations, question by question, with intervals and tests.

OUT/comparison.json   everything
OUT/comparison.md     the tables, for papers
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evollab.data.rows import excerpt
from evollab.evals import compare_table
from evollab.evals.graded import Evaluated, Scored, read_evaluations
from evollab.evals.paired import Pair, Paired, holm, paired
from evollab.evals.resampling import LEVEL
from evollab.llm.option import option
from evollab.records import EvolError
from evollab.runs import whole_file, write_json

_FEWEST = 2
_MOST_GROUPS = 40
"""Values of a fact up to which it makes a table without being asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """What `evol compare` is told."""

    on: tuple[str, ...] = option("tasks, parted by commas, repeatable; default: all that both have", (), metavar="TASK")
    by: tuple[str, ...] = option(
        "facts of the questions to compare by (skill, level, ...), repeatable; default: all with few values",
        (), metavar="FACT",
    )  # fmt: skip
    anyway: bool = option("test also where the two were not measured alike", False)
    seed: int = option("number that draws depend on", 0, metavar="N")
    json: bool = option("print the comparison as JSON instead of tables", False)

    def names(self) -> list[str]:
        """The tasks of --on."""
        return [name for part in self.on for name in part.split(",") if name]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: a task, or a group of its questions.

    All in the figure's unit. a, b, difference (a - b), low, high, detectable: None where nothing can be told. p: None
    where nothing was tested; adjusted: after Holm, over the rows of its table. only_a, only_b: questions that one
    alone got right, of single verdicts. needed: questions that it takes to show the difference seen.
    """

    name: str
    n: int
    a: float | None
    b: float | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    error: float | None = None
    method: str = ""
    p: float | None = None
    adjusted: float | None = None
    test: str = ""
    only_a: int | None = None
    only_b: int | None = None
    detectable: float | None = None
    needed: int | None = None


@dataclass(frozen=True, slots=True)
class TaskComparison:
    """Two models on one task. unlike: settings that differ; where there are any, `row` holds no test unless it was
    asked for. missing_a: questions that B has and A hasn't; unscored_a: questions of both where A has no score.
    other: ids that stand for another question in B than in A. groups: by fact, a row for each value."""

    task: str
    metric: str
    unit: str
    row: Row
    unlike: tuple[str, ...]
    missing_a: int
    missing_b: int
    unscored_a: int
    unscored_b: int
    other: int
    groups: Mapping[str, Sequence[Row]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """All tasks that both have. only_a, only_b: tasks that one alone has."""

    model_a: str
    model_b: str
    folder_a: str
    folder_b: str
    tasks: Sequence[TaskComparison]
    only_a: Sequence[str]
    only_b: Sequence[str]
    level: float = LEVEL

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return compare_table.text(self)


def compare(a: Path, b: Path, options: CompareOptions, out: Path | None = None) -> Comparison:
    """Compare the evaluations in the folders `a` and `b`; write comparison.json and comparison.md into `out`, where
    one is given. Raises EvolError for folders without evaluations, tasks and facts that there aren't, and where the
    two have no task in common."""
    left, right = read_evaluations(a), read_evaluations(b)
    names = _chosen(left, right, options.names(), (a, b))
    found = [_task(left[name], right[name], options) for name in names]
    facts = {fact for one in names for scored in left[one].questions.values() for fact in scored.facts}
    for fact in options.by:
        if fact not in facts:
            raise EvolError(
                f"--by {excerpt(fact, 40)}: no question has it; there are: {', '.join(sorted(facts)) or 'none'}"
                + _nearest(fact, facts)
            )
    comparison = Comparison(
        _model(left, names), _model(right, names), str(a), str(b), _adjusted_tasks(found),
        sorted(left.keys() - right.keys()), sorted(right.keys() - left.keys()),
    )  # fmt: skip
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "comparison.json", comparison.told())
        with whole_file(out / "comparison.md") as file:
            file.write(compare_table.markdown(comparison).encode())
    return comparison


def _chosen(
    left: Mapping[str, Evaluated], right: Mapping[str, Evaluated], on: Sequence[str], folders: tuple[Path, Path]
) -> list[str]:
    shared = [name for name in left if name in right]
    if not shared:
        raise EvolError(
            f"nothing to compare: {folders[0]} has {', '.join(left)}; {folders[1]} has {', '.join(right)}",
            "evaluate both models on the same tasks",
        )
    for name in on:
        if name not in shared:
            where = "neither has" if name not in left and name not in right else "only one has"
            raise EvolError(
                f"--on {excerpt(name, 40)}: {where} it; both have: {', '.join(shared)}" + _nearest(name, shared)
            )
    return list(dict.fromkeys(on)) or shared


def _nearest(name: str, names: Sequence[str] | set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(names), 1)
    return f" (did you mean {near[0]}?)" if near else ""


def _model(evaluations: Mapping[str, Evaluated], names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(evaluations[name].model for name in names))


def _task(a: Evaluated, b: Evaluated, options: CompareOptions) -> TaskComparison:
    mine, theirs = a.settings(), b.settings()
    unlike = tuple(name for name, value in mine.items() if value != theirs[name])
    test = not unlike or options.anyway
    common = [one for one in a.questions if one in b.questions]
    shared = [one for one in common if _same(a.questions[one], b.questions[one])]
    scored = [one for one in shared if a.questions[one].of and b.questions[one].of]
    pairs = {one: _pair(a.questions[one], b.questions[one]) for one in scored}
    row = _row(a.task, list(pairs.values()), a.times, options.seed) if test else Row(a.task, 0, a.value, b.value)
    return TaskComparison(
        a.task, str(a.result.get("metric", "score")), a.unit, row, unlike,
        missing_a=len(b.questions) - len(common), missing_b=len(a.questions) - len(common),
        unscored_a=sum(not a.questions[one].of for one in shared),
        unscored_b=sum(not b.questions[one].of for one in shared), other=len(common) - len(shared),
        groups=_groups(a, pairs, options) if test else {}, notes=tuple(_notes(a) + _notes(b) + _versions(a, b)),
    )  # fmt: skip


def _same(a: Scored, b: Scored) -> bool:
    """Whether two questions with one id are one."""
    return a.asked == b.asked or not (a.asked and b.asked)


def _pair(a: Scored, b: Scored) -> Pair:
    return Pair(a.total, a.of, b.total, b.of)


def _row(name: str, pairs: Sequence[Pair], times: float, seed: int) -> Row:
    found = paired(pairs, seed=seed)
    if found is None:
        return Row(name, 0, None, None)
    return _in_unit(name, found, times)


def _in_unit(name: str, found: Paired, times: float) -> Row:
    def scaled(value: float | None) -> float | None:
        return None if value is None else times * value

    return Row(
        name, found.n, times * found.a, times * found.b, times * found.difference, scaled(found.low),
        scaled(found.high), scaled(found.error), found.method, found.p, None, found.test, found.only_a, found.only_b,
        scaled(found.detectable), found.needed,
    )  # fmt: skip


def _groups(a: Evaluated, pairs: Mapping[str, Pair], options: CompareOptions) -> dict[str, Sequence[Row]]:
    facts: dict[str, dict[str, list[Pair]]] = {}
    for one, pair in pairs.items():
        for name, value in a.questions[one].facts.items():
            facts.setdefault(name, {}).setdefault(value, []).append(pair)
    tables: dict[str, Sequence[Row]] = {}
    for name in options.by or sorted(facts):
        values = facts.get(name, {})
        if (name in options.by and values) or 1 < len(values) <= _MOST_GROUPS:
            rows = [
                _row(value, some, a.times, options.seed)
                for value, some in sorted(values.items(), key=lambda one: _by_number(one[0]))
                if len(some) >= _FEWEST
            ]
            tables[name] = _adjusted(rows)
    return {name: rows for name, rows in tables.items() if rows}


def _by_number(value: str) -> tuple[int, str]:
    """2 before 10."""
    return (len(value), value) if value.isdecimal() else (0, value)


def _adjusted(rows: Sequence[Row]) -> list[Row]:
    """With Holm's p over these rows."""
    tested = [row for row in rows if row.p is not None]
    raised = dict(zip(map(id, tested), holm([row.p or 0.0 for row in tested]), strict=True))
    return [dataclasses.replace(row, adjusted=raised.get(id(row))) for row in rows]


def _adjusted_tasks(tasks: Sequence[TaskComparison]) -> list[TaskComparison]:
    rows = _adjusted([one.row for one in tasks])
    return [dataclasses.replace(one, row=row) for one, row in zip(tasks, rows, strict=True)]


def _notes(one: Evaluated) -> list[str]:
    """Where what is compared is not the figure that stands in the result."""
    value, said = one.value, one.result.get("value")
    if not isinstance(said, int | float) or value is None or abs(value - said) <= 0.0005 * max(1.0, abs(said)):
        return []
    return [
        f"{one.model}: its {one.result.get('metric')} is {said:.4g}, the mean of its scores {value:.4g}; the latter is "
        "what is compared"
    ]


def _versions(a: Evaluated, b: Evaluated) -> list[str]:
    mine, theirs = a.result.get("versions") or {}, b.result.get("versions") or {}
    other = [name for name in mine if name in theirs and mine[name] != theirs[name]]
    return [f"measured with other versions: {name} {mine[name]} and {theirs[name]}" for name in other]
