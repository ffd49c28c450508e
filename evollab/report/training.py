"""training.html: one self-contained page about a training, for whoever has to decide whether its model is any good.
Like the page of a run it loads nothing, runs nothing but its own script, and shows foreign text as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evollab.inert import inert, one_line
from evollab.report import training_tables as tables
from evollab.report import training_views as views
from evollab.report.analysis_charts import neat
from evollab.report.document import fill, for_script
from evollab.report.figures import duration, number, percent
from evollab.report.marked import shown
from evollab.report.settings import flat
from evollab.report.svg import bar
from evollab.report.training_charts import SMOOTHED, share_told
from evollab.report.training_facts import TrainingFacts, is_training, read_training
from evollab.runs import whole_file

__all__ = ["is_training", "render", "write_training"]
PAGE = "training.html"
_MOST_PICTURES = 40


def write_training(folder: Path, out: Path | None = None) -> Path:
    """Write the page of the training in `folder` to `out` (default: FOLDER/training.html) and return its path.

    The same files give the same bytes; it can be asked for while training runs. Raises EvolError for a folder that
    no training made.
    """
    folder = Path(folder)
    page = render(read_training(folder))
    path = out or folder / PAGE
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(page)
    return path


def render(facts: TrainingFacts) -> bytes:
    """The page, UTF-8."""
    filters: dict[str, Callable[..., Any]] = {
        "num": number, "pct": percent, "took": duration, "text": shown, "safe_text": inert, "line": one_line,
        "neat": neat, "share": share_told,
    }  # fmt: skip
    loss, rest = views.pictures(facts)
    rest = rest[:_MOST_PICTURES]
    stages, counts = tables.stages(facts), tables.row_counts(facts)
    return fill(
        "training.html.j2",
        ["page.css", "analysis.css", "training.css"],
        "training.js",
        filters,
        facts=facts,
        what=views.what(facts),
        lead=views.lead(facts),
        cards=views.cards(facts),
        warnings=views.warnings(facts),
        sections=_sections(facts, bool(loss or rest), bool(stages), bool(counts or facts.left_out)),
        loss=loss,
        pictures=rest,
        points=for_script(views.for_reading([*([loss] if loss else []), *rest])),
        stages=stages,
        counts=counts,
        bar=bar,
        smoothed=SMOOTHED,
        options=_flat(facts.get("config")),
        sources=_flat(facts.get("inputs")),
        machine=_flat(facts.get("machine")),
        versions=_flat(facts.get("versions")),
        times=_flat(facts.get("times")),
        held_out=_flat(facts.get("held_out")),
    )


def _flat(found: Any) -> dict[str, str]:
    return dict(list(flat(found))[:200]) if isinstance(found, Mapping) else {}


def _sections(facts: TrainingFacts, curves: bool, stages: bool, rows: bool) -> list[tuple[str, str]]:
    """Id and title of each section that the page has."""
    there = (
        ("curves", "Curves", curves),
        ("slices", "Slices", stages),
        ("samples", "Answers", bool(facts.conversations or facts.drawn)),
        ("rows", "Rows", rows),
        ("how", "How", True),
    )
    return [(id_, title) for id_, title, held in there if held]
