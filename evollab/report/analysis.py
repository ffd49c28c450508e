"""analysis.html: one self-contained page about a data set. Like the page of a run it loads nothing, runs nothing but
its own script, and shows foreign text as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evollab.data.judge_report import LEAST_ALPHA
from evollab.inert import inert, one_line
from evollab.report import analysis_views as views
from evollab.report import sampled
from evollab.report.analysis_cells import alpha, mark, stack
from evollab.report.analysis_charts import between, depth, histogram, neat
from evollab.report.analysis_facts import AnalysisFacts, Numeric, read_facts
from evollab.report.analysis_map import Map, draw_map
from evollab.report.attributes import NUMBERS, UNSHOWN, kind_title, number_title, rank
from evollab.report.document import fill, for_script
from evollab.report.figures import big, duration, number, percent, usd
from evollab.report.marked import shown
from evollab.report.sampled import Sampled, read_sample
from evollab.report.settings import flat
from evollab.report.svg import bar
from evollab.runs import whole_file

PAGE = "analysis.html"
_MOST = 40
"""Attributes that are shown of each sort."""


def write_analysis(folder: Path, out: Path | None = None, samples: Sequence[Path] = ()) -> Path:
    """Write the page of the analysis in `folder` to `out` (default: FOLDER/analysis.html) and return its path.

    samples: folders of samples drawn from the same data, each shown before and after. The same files give the same
    bytes. Raises EvolError for a folder without analysis.json, and for files that are not whole.
    """
    folder = Path(folder)
    return _write(render(read_facts(folder), [read_sample(one) for one in samples]), out or folder / PAGE)


def write_sample(folder: Path, out: Path | None = None) -> Path:
    """Write a page about a sample alone, out of its sample.json, to `out` (default: FOLDER/sample.html)."""
    folder = Path(folder)
    one = read_sample(folder)
    facts = AnalysisFacts(name=one.data or folder.name, rows=one.rows)
    return _write(render(facts, [one]), out or folder / "sample.html")


def _write(page: bytes, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(page)
    return path


def render(facts: AnalysisFacts, samples: Sequence[Sampled] = ()) -> bytes:
    """The page, UTF-8."""
    filters: dict[str, Callable[..., Any]] = {
        "num": number, "big": big, "usd": usd, "pct": percent, "took": duration, "text": shown, "safe_text": inert,
        "line": one_line, "neat": neat, "narrow": views.narrow, "between": between,
    }  # fmt: skip
    names = tuple(one_line(name, 40) for name in facts.groups.names) if facts.groups else ()
    drawn = draw_map(facts.breadth, names) if facts.breadth and facts.breadth.points.x else None
    hard = facts.number("difficulty")
    numbers, constants = _numbers(facts)
    ordered = facts.groups is None or facts.groups.by == "round"
    return fill(
        "analysis.html.j2",
        ["page.css", "analysis.css"],
        "analysis.js",
        filters,
        facts=facts,
        names=names,
        ordered=ordered,
        sections=_sections(facts, samples),
        lead=views.lead(facts),
        cards=views.cards(facts),
        risen=views.risen(facts) if ordered else "",
        depth=depth(hard, names, "Difficulty by group", ordered=ordered) if hard and _several(hard) else "",
        map=drawn,
        points=for_script(_points(drawn, names), plain=True),
        kinds=views.kinds(facts)[:_MOST],
        skills=facts.kind("skills"),
        tags=facts.kind("tags"),
        flags=views.flag_rows(facts)[:_MOST],
        share_rows=views.share_rows,
        kind_title=kind_title,
        numbers=numbers,
        constants=constants,
        number_title=number_title,
        histogram=histogram,
        repeats=views.pairs(facts.duplicates.examples, names) if facts.duplicates else [],
        leaks=views.leaks(facts.contamination) if facts.contamination else [],
        samples=samples,
        rungs=sampled.rungs,
        left_out=sampled.left_out,
        mark=mark,
        stack=stack,
        alpha=alpha,
        least=LEAST_ALPHA,
        bar=bar,
        options=dict(flat(facts.options)),
    )


def _several(one: Numeric) -> bool:
    return sum(spread is not None for spread in one.by_group) > 1


def _numbers(facts: AnalysisFacts) -> tuple[list[Numeric], list[Numeric]]:
    """The numeric attributes that have a picture among the distributions, and those that are the same in all rows."""
    held = [one for one in facts.numeric if one.overall.n and one.name not in UNSHOWN]
    held.sort(key=lambda one: rank(one.name, NUMBERS))
    constant = [one for one in held if one.overall.min == one.overall.max and not one.overall.missing]
    return [one for one in held if one not in constant][:_MOST], constant[:_MOST]


def _points(drawn: Map | None, names: Sequence[str]) -> dict[str, Any]:
    return {} if drawn is None else {"names": list(names), **drawn.points}


def _sections(facts: AnalysisFacts, samples: Sequence[Sampled]) -> list[tuple[str, str]]:
    """Id and title of each section that the page has."""
    hard = facts.number("difficulty")
    there = (
        ("depth", "Difficulty", bool(hard and _several(hard))),
        ("breadth", "Map", facts.breadth is not None),
        ("content", "Content", any(one.n for one in facts.categorical)),
        ("spread", "Distributions", any(_numbers(facts))),
        ("repeats", "Duplicates", facts.duplicates is not None),
        ("leaks", "Contamination", facts.contamination is not None),
        ("judge", "Judge", facts.judge is not None),
        ("sample", "Sample", bool(samples)),
        ("how", "How", bool(facts.command or facts.options or facts.models or facts.started or facts.versions)),
    )
    return [(id_, title) for id_, title, held in there if held]
