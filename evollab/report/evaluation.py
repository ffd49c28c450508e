"""evaluation.html: one self-contained page about one or several evaluations. It loads nothing, and shows foreign text
as text. Beside it a table in Markdown, for papers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from evollab.inert import inert, one_line
from evollab.report import evaluation_charts as charts
from evollab.report.document import fill
from evollab.report.evaluation_facts import Figure, TaskFacts, is_evaluation, read_evaluations
from evollab.report.figures import number
from evollab.report.marked import shown
from evollab.report.settings import flat
from evollab.runs import whole_file

__all__ = ["is_evaluation", "markdown", "render", "write_evaluation"]
PAGE = "evaluation.html"
TABLE = "evaluation.md"
_MOST_GROUPS = 60


@dataclass(frozen=True, slots=True)
class Group:
    """The pictures of one grouping of a task's questions: a radar or a curve where it has one, else lines."""

    name: str
    picture: Markup
    lines: Markup


def write_evaluation(folder: Path, out: Path | None = None, beside: Sequence[Path] = ()) -> Path:
    """Write the page of the evaluation in `folder`, with those in `beside` for comparison, to `out` (default:
    FOLDER/evaluation.html), and the table in Markdown beside it. Returns the page's path.

    The same files give the same bytes. Raises EvolError for folders that hold no evaluation.
    """
    tasks = read_evaluations([Path(folder), *map(Path, beside)])
    path = out or Path(folder) / PAGE
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(render(tasks))
    with whole_file(path.with_name(path.stem + ".md")) as file:
        file.write(markdown(tasks).encode("utf-8", "replace"))
    return path


def render(tasks: Sequence[TaskFacts]) -> bytes:
    """The page, UTF-8."""
    models = list(dict.fromkeys(one.model for task in tasks for one in task.outcomes))
    look = {model: at for at, model in enumerate(models)}
    filters: dict[str, Callable[..., Any]] = {
        "num": number, "text": shown, "safe_text": inert, "line": one_line, "told": charts.told, "ends": charts.ends,
    }  # fmt: skip
    return fill(
        "evaluation.html.j2",
        ["page.css", "analysis.css", "training.css", "evaluation.css"],
        "evaluation.js",
        filters,
        tasks=tasks,
        models=models,
        look={model: at % charts.LOOKS for model, at in look.items()},
        title=" and ".join(models[:3]) + (" and others" if len(models) > 3 else ""),
        warnings=_warnings(tasks),
        overview={task.name: _overview(task, look) for task in tasks},
        groups={task.name: _groups(task, look) for task in tasks},
        settings=_settings,
    )  # fmt: skip


def _overview(task: TaskFacts, look: dict[str, int]) -> Markup:
    return charts.intervals([(one.model, look[one.model], one.main) for one in task.outcomes], task.name)


def _groups(task: TaskFacts, look: dict[str, int]) -> list[Group]:
    found = []
    for name in dict.fromkeys(name for one in task.outcomes for name in one.groups):
        models = [(one.model, look[one.model], one.groups[name]) for one in task.outcomes if name in one.groups]
        title = f"{task.name} by {name}"
        picture = charts.curve(models, title) or charts.radar(models, title)
        rows = [
            (value if len(models) == 1 else f"{value}: {model}", at, table[value])
            for value in sorted({value for _, _, table in models for value in table})[:_MOST_GROUPS]
            for model, at, table in models
            if value in table
        ]
        found.append(Group(name, picture, charts.intervals(rows, title)))
    return found


def _warnings(tasks: Sequence[TaskFacts]) -> list[str]:
    """What a reader must know before the figures."""
    said = []
    for task in tasks:
        for model, names in task.unlike():
            said.append(f"{task.name}: {model} was measured with another {', '.join(names)} than "
                        f"{task.outcomes[0].model}; the two figures can't be compared")  # fmt: skip
        for one in task.outcomes:
            said += [f"{task.name}, {one.model}: {note}" for note in one.notes]
            if not one.complete:
                said.append(f"{task.name}, {one.model}: some calls failed for good; their answers are not counted")
    return said


def _settings(task: TaskFacts) -> list[tuple[str, list[tuple[str, str]]]]:
    """Model, and all that its figure depends on."""
    told = []
    for one in task.outcomes:
        values = {
            "grader": one.grader, "judge": one.judge, "reference": one.reference, "compat": one.compat,
            "prompt": one.prompt, "decoding": one.decoding, "data": one.data, "tools": one.tools,
            "versions": one.versions,
        }  # fmt: skip
        told.append((one.model, list(flat({name: value for name, value in values.items() if value}))[:80]))
    return told


def markdown(tasks: Sequence[TaskFacts]) -> str:
    """A table for papers: a row for each task and metric, a column for each model; * where settings differ."""
    models = list(dict.fromkeys(one.model for task in tasks for one in task.outcomes))
    lines = [
        "| task | figure | n | " + " | ".join(map(_cell, models)) + " |",
        "| --- | --- | ---: | " + " | ".join("---:" for _ in models) + " |",
    ]
    starred = False
    for task in tasks:
        other = {model for model, _ in task.unlike()}
        for name in dict.fromkeys(figure.name for one in task.outcomes for figure in one.metrics):
            row: dict[str, tuple[Figure, str]] = {}
            for one in task.outcomes:
                for figure in one.metrics:
                    if figure.name == name:
                        row[one.model] = figure, "*" if one.model in other else ""
            starred = starred or any(star for _, star in row.values())
            n = "/".join(dict.fromkeys(f"{figure.n:,}" for figure, _ in row.values()))
            cells = [_figure(*row[model]) if model in row else "" for model in models]
            lines.append(f"| {_cell(task.name)} | {_cell(name)} | {n} | {' | '.join(cells)} |")
    notes = ["", "Brackets: 95 % intervals."]
    if starred:
        notes.append("\\* measured with other settings than the first model: not comparable.")
    return "\n".join([*lines, *notes]) + "\n"


def _figure(figure: Figure, star: str) -> str:
    between = charts.ends(figure)
    return f"{charts.told(figure)}{star}" + (f" [{between.replace(' to ', ', ')}]" if between else "")


def _cell(name: str) -> str:
    return one_line(name, 60).replace("|", "\\|").replace("<", "&lt;")
