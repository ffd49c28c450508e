"""A comparison as people read it: in the terminal and as Markdown for papers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evollab.data.rows import excerpt

if TYPE_CHECKING:
    from evollab.evals.compare import Comparison, Row, TaskComparison

_WIDEST = 32
_UNITS = {"%": "%", "points": "points", "ratio": "% of the reference's"}
_SURE = 0.05


def text(found: Comparison) -> str:
    """Who is compared, a table of the tasks, one of each fact, what a reader must know."""
    lines = [
        f"A: {excerpt(found.model_a, 80)} ({found.folder_a})",
        f"B: {excerpt(found.model_b, 80)} ({found.folder_b})",
    ]
    lines += ["", *aligned([_HEAD, *(_cells(one.row, one) for one in found.tasks)])]
    for one in found.tasks:
        for fact, rows in one.groups.items():
            head = (f"{one.task} by {excerpt(fact, _WIDEST)}", *_HEAD[1:])
            lines += ["", *aligned([head, *(_cells(row, one) for row in rows)])]
    lines += ["", *_LEGEND, *(f"note: {note}" for note in notes(found))]
    return "\n".join(lines)


def markdown(found: Comparison) -> str:
    """The same as tables for papers."""
    lines = [f"A: {plain(found.model_a)}  ", f"B: {plain(found.model_b)}", ""]
    lines += piped([_HEAD, *(_cells(one.row, one) for one in found.tasks)])
    for one in found.tasks:
        for fact, rows in one.groups.items():
            lines += ["", f"{plain(one.task)} by {plain(fact)}", ""]
            lines += piped([_HEAD, *(_cells(row, one) for row in rows)])
    lines += ["", " ".join(_LEGEND), ""]
    lines += [f"- {plain(note)}" for note in notes(found)]
    return "\n".join(lines).rstrip() + "\n"


_HEAD = ("", "n", "A", "B", "A - B", "95 %", "p", "p (Holm)", "visible from")
_LEGEND = (
    "A - B: paired difference, with a 95 % bootstrap interval over questions. p: McNemar's exact test, or swaps of the",
    "two; Holm's is raised for the number of rows in the table, and * marks those below 0.05. visible from: the",
    "difference that this many questions show with a power of 80 %.",
)


def _cells(row: Row, task: TaskComparison) -> tuple[str, ...]:
    name = excerpt(row.name, _WIDEST) + (f", {_UNITS.get(task.unit, '')}" if row is task.row else "")
    if row.difference is None and task.unlike:
        unlike = f"not alike: {', '.join(task.unlike)}"
        return (name, "", _number(row.a, task.unit), _number(row.b, task.unit), unlike, "", "", "", "")
    between = "-"
    if row.low is not None and row.high is not None:
        between = f"{_signed(row.low, task.unit)} to {_signed(row.high, task.unit)}"
    sure = "*" if row.adjusted is not None and row.adjusted < _SURE else ""
    return (
        name, f"{row.n:,}", _number(row.a, task.unit), _number(row.b, task.unit),
        _signed(row.difference, task.unit), between, _chance(row.p), _chance(row.adjusted) + sure,
        _number(row.detectable, task.unit),
    )  # fmt: skip


def notes(found: Comparison) -> list[str]:
    """What a reader must know: what was left out, what isn't alike, how many questions it would take."""
    told = []
    for one in found.tasks:
        before = f"{one.task}: "
        if one.unlike:
            how = "tested anyway" if one.row.difference is not None else "--anyway tests it all the same"
            told.append(f"{before}not measured alike ({', '.join(one.unlike)}); {how}")
        told += [
            f"{before}{count:,} {'question' if count == 1 else 'questions'} {what}; left out"
            for count, what in (
                (one.missing_a, "only B has"), (one.missing_b, "only A has"), (one.unscored_a, "A has no score for"),
                (one.unscored_b, "B has no score for"), (one.other, "with one id ask B something else than A"),
            ) if count
        ]  # fmt: skip
        row = one.row
        if row.adjusted is not None and row.adjusted >= _SURE and row.needed is not None:
            told.append(
                f"{before}{row.needed:,} questions would show a difference as small as this; there are {row.n:,}"
            )
        if row.only_a is not None:
            told.append(f"{before}A alone is right on {row.only_a:,}, B alone on {row.only_b:,}")
        told += [f"{before}{note}" for note in one.notes]
    for who, names in (("A", found.only_a), ("B", found.only_b)):
        if names:
            told.append(f"only {who} has {', '.join(names)}")
    return told


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of text: the first column to the left, the others to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]


def piped(rows: Sequence[Sequence[str]]) -> list[str]:
    """The same in Markdown."""
    lines = ["| " + " | ".join(plain(cell) for cell in row) + " |" for row in rows]
    return [lines[0], "| --- |" + " ---: |" * (len(rows[0]) - 1), *lines[1:]]


def plain(text: str) -> str:
    """For Markdown: nothing in it that makes a cell, a tag or a link."""
    return "".join("\\" + sign if sign in "|<>[]`*_\\" else sign for sign in excerpt(text, 200))


def _number(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.2f}" if unit == "points" else f"{value:.1f}"


def _signed(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    shown = f"{value:+.2f}" if unit == "points" else f"{value:+.1f}"
    return shown[1:] if not float(shown) else shown


def _chance(p: float | None) -> str:
    return "-" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
