"""The pictures of an evaluation: figures with their intervals, a radar of skills, curves over difficulty. As `svg`:
static, escaped, fluid."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from markupsafe import Markup

from evollab.inert import one_line
from evollab.report.evaluation_facts import Figure
from evollab.report.svg import NAME, drawing, el, fluid, level, text

LOOKS = 4
"""Colours for models; further ones begin anew."""
_ROW = 26.0
_LEVELS = {"easy": 1.0, "medium": 2.0, "hard": 3.0}
_RADIUS = 190.0
_FEWEST_SKILLS = 5


def told(figure: Figure) -> str:
    """82.1 %, 7.92."""
    if figure.value is None:
        return "–"
    return f"{figure.value:.2f}" if figure.unit == "points" else f"{figure.value:.1f} %"


def ends(figure: Figure) -> str:
    """80.0 to 84.1, "" without an interval."""
    if figure.low is None or figure.high is None:
        return ""
    digits = 2 if figure.unit == "points" else 1
    return f"{figure.low:.{digits}f} to {figure.high:.{digits}f}"


def top_of(figures: Sequence[Figure]) -> float:
    """The highest value of the common axis."""
    highest = max((value for one in figures for value in (one.value, one.high) if value is not None), default=0.0)
    if any(one.unit == "points" for one in figures):
        return 10.0 if highest > 1 else 1.0
    return 100.0 if highest <= 100 else math.ceil(highest / 20) * 20.0


def intervals(rows: Sequence[tuple[str, int, Figure]], label: str) -> Markup:
    """A line for each (name, look, figure): a dot at the value, a stroke over its interval, on one axis from 0."""
    rows = [row for row in rows if row[2].value is not None]
    if not rows:
        return Markup("")
    top = top_of([figure for _, _, figure in rows])
    parts: list[Markup] = []
    height = len(rows) * (_ROW + 14)
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = f"{tick * 100:.2f}%"
        parts.append(el("line", {"x1": at, "x2": at, "y1": 4, "y2": height + 2, "class": "grid"}))
        anchor = None if tick == 0 else "end" if tick == 1 else "middle"
        parts.append(text(at, height + 16, f"{tick * top:g}", "tick", anchor))
    for number, (name, look, figure) in enumerate(rows):
        y = number * (_ROW + 14) + 30
        parts += [
            el("text", {"x": 0, "y": y - 12, "class": "sub"}, one_line(name, 40)),
            text("100%", y - 12, f"{told(figure)}  ({ends(figure) or 'no interval'}; n {figure.n:,})", "sub", "end"),
            *_whisker(figure, y, top, look),
        ]
    words = "; ".join(f"{name}: {told(figure)} ({ends(figure)})" for name, _, figure in rows)
    return fluid(height + 20, f"{label}. {words}", *parts, cls="intervals")


def _whisker(figure: Figure, y: float, top: float, look: int) -> list[Markup]:
    assert figure.value is not None
    own = f"c{look % LOOKS}"
    at = f"{min(max(figure.value / top, 0), 1) * 100:.2f}%"
    parts = []
    if figure.low is not None and figure.high is not None:
        low, high = (f"{min(max(value / top, 0), 1) * 100:.2f}%" for value in (figure.low, figure.high))
        parts.append(el("line", {"x1": low, "x2": high, "y1": y, "y2": y, "class": f"reach {own}"}))
    return [*parts, el("circle", {"cx": at, "cy": y, "r": 5, "class": f"dot {own}"})]


def ordered(values: Sequence[str]) -> list[tuple[float, str]] | None:
    """The values as points on a line, where they are levels or numbers; None where they are names."""
    found = []
    for value in values:
        match = re.fullmatch(r"(?:level\s*)?(\d{1,3})", value.strip().casefold())
        place = _LEVELS.get(value.strip().casefold()) if match is None else float(match[1])
        if place is None:
            return None
        found.append((place, value))
    return sorted(found) if len(found) > 1 else None


def curve(models: Sequence[tuple[str, int, Mapping[str, Figure]]], label: str) -> Markup:
    """The figure by level: a line for each model, a stroke over each interval."""
    places = ordered(sorted({value for _, _, table in models for value in table}))
    if places is None:
        return Markup("")
    top = top_of([figure for _, _, table in models for figure in table.values()])
    height, parts = 170.0, list[Markup]()
    for tick in (0.0, 0.5, 1.0):
        y = height * (1 - tick) + 10
        parts += [level(y, "grid"), text(-8, y + 4, f"{tick * top:g}", "tick", "end")]
    low, high = places[0][0], places[-1][0]
    x = {value: 4 + 92 * (place - low) / ((high - low) or 1) for place, value in places}
    for value in (value for _, value in places):
        parts.append(text(f"{x[value]:.2f}%", height + 28, one_line(value, NAME), "tick", "middle"))
    for _, look, table in models:
        points = [(x[value], table[value]) for _, value in places if value in table and table[value].value is not None]
        for (x1, one), (x2, other) in pairwise(points):
            parts.append(
                el(
                    "line",
                    {
                        "x1": f"{x1:.2f}%", "x2": f"{x2:.2f}%", "y1": _y(one.value, top, height),
                        "y2": _y(other.value, top, height), "class": f"line c{look % LOOKS}",
                    },
                )
            )  # fmt: skip
        for at, one in points:
            place = f"{at:.2f}%"
            if one.low is not None and one.high is not None:
                y1, y2 = _y(one.low, top, height), _y(one.high, top, height)
                parts.append(
                    el("line", {"x1": place, "x2": place, "y1": y1, "y2": y2, "class": f"reach c{look % LOOKS}"})
                )
            parts.append(
                el("circle", {"cx": place, "cy": _y(one.value, top, height), "r": 4, "class": f"dot c{look % LOOKS}"})
            )
    words = "; ".join(
        f"{name}: " + ", ".join(f"{value} {told(table[value])}" for _, value in places if value in table)
        for name, _, table in models
    )
    return fluid(height + 34, f"{label}. {words}", *parts, cls="levels")


def _y(value: float | None, top: float, height: float) -> float:
    return 10 + height * (1 - min(max((value or 0.0) / top, 0), 1))


def radar(models: Sequence[tuple[str, int, Mapping[str, Figure]]], label: str) -> Markup:
    """A spoke for each skill, a shape for each model. Empty for fewer than five skills."""
    skills = sorted({skill for _, _, table in models for skill in table})
    if len(skills) < _FEWEST_SKILLS:
        return Markup("")
    top = top_of([figure for _, _, table in models for figure in table.values()])
    width, height = 2 * _RADIUS + 260, 2 * _RADIUS + 70
    centre = width / 2, height / 2
    parts: list[Markup] = []
    for ring in (0.25, 0.5, 0.75, 1.0):
        points = " ".join(_point(centre, at, len(skills), ring) for at in range(len(skills)))
        parts.append(el("polygon", {"points": points, "class": "ring"}))
        if ring < 1:  # the outermost would stand in the way of the first skill
            parts.append(text(centre[0] + 4, centre[1] - ring * _RADIUS - 3, f"{ring * top:g}", "tick"))
    for at, skill in enumerate(skills):
        x, y = _place(centre, at, len(skills), 1.0)
        parts.append(el("line", {"x1": centre[0], "y1": centre[1], "x2": x, "y2": y, "class": "grid"}))
        side = math.sin(2 * math.pi * at / len(skills))
        # at top and bottom names lie side by side: every other one stands further out
        x, y = _place(centre, at, len(skills), 1.13 if abs(side) < 0.45 and at % 2 else 1.06)
        anchor = "middle" if abs(side) < 0.15 else "start" if side > 0 else "end"
        parts.append(text(round(x, 1), round(y + 4, 1), one_line(skill, NAME), "tick", anchor))
    for _, look, table in models:
        shares = [min(max((table[skill].value or 0.0) / top, 0), 1) if skill in table else 0.0 for skill in skills]
        points = " ".join(_point(centre, at, len(skills), share) for at, share in enumerate(shares))
        parts.append(el("polygon", {"points": points, "class": f"shape c{look % LOOKS}"}))
    words = "; ".join(
        f"{name}: " + ", ".join(f"{skill} {told(table[skill])}" for skill in skills if skill in table)
        for name, _, table in models
    )
    return drawing(width, height, f"{label}. {words}", *parts, cls="radar")


def _place(centre: tuple[float, float], at: int, count: int, share: float) -> tuple[float, float]:
    angle = 2 * math.pi * at / count
    return centre[0] + share * _RADIUS * math.sin(angle), centre[1] - share * _RADIUS * math.cos(angle)


def _point(centre: tuple[float, float], at: int, count: int, share: float) -> str:
    x, y = _place(centre, at, count, share)
    return f"{x:.1f},{y:.1f}"
