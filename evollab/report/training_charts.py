"""Curves over the steps of a training. As `svg`: static, escaped, fluid; a script may add a line at one step.

Long runs are drawn by stretches of steps: their mean as the line, their least and greatest as the band behind it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from evollab.report.analysis_charts import Axis, neat
from evollab.report.figures import percent
from evollab.report.svg import el, fluid, level, stretched, text
from evollab.report.training_facts import Series

MOST_POINTS = 400
SMOOTHED = 16
"""Points from which on a smoothed line is drawn over the single values."""
_APART = 17.0


@dataclass(frozen=True, slots=True)
class Curve:
    """A series in a picture. look: class for its colour; label: what people call it in this picture; sparse: of few
    measurements, which are drawn as dots; exact: without chance, and so never smoothed."""

    series: Series
    label: str
    look: str
    sparse: bool = False
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """The steps from left to right, the values from `low` to `high`. cut: values above, which are drawn at the top."""

    steps: tuple[int, int]
    low: float
    high: float
    cut: int = 0

    def x(self, step: float) -> float:
        """Share of the width."""
        first, last = self.steps
        return (step - first) / ((last - first) or 1)

    def y(self, value: float, height: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / ((self.high - self.low) or 1)
        return height * (1 - share)


def scale_of(curves: Sequence[Curve], *, zero: bool, most: float | None = None) -> Scale:
    """The scale on which all curves fit. zero: it begins at 0; most: what no value exceeds (1 for shares). A few
    values far above all others don't press the rest to the ground: they are cut."""
    values = sorted(value for curve in curves for _, value in curve.series.points)
    steps = [step for curve in curves for step, _ in (curve.series.points[0], curve.series.points[-1])]
    low, high = values[0], values[-1]
    usual = values[int((len(values) - 1) * 0.98)]
    cut = 0
    if len(values) >= 25 and high - usual > 3 * (usual - low) > 0:
        high = usual + 0.15 * (usual - low)
        cut = sum(value > high for value in values)
    if zero and low >= 0:
        low = 0.0
    room = (high - low) * 0.06 or abs(high) * 0.05 or 0.5
    bottom = low if zero and low == 0 else low - room
    top = high + room
    if most is not None:
        top = min(top, most) if high < most else most
    if values[0] >= 0:
        bottom = max(bottom, 0.0)
    return Scale((min(steps), max(steps)), bottom, top, cut)


def binned(points: Sequence[tuple[int, float]], most: int = MOST_POINTS) -> list[tuple[float, float, float, float]]:
    """At most `most` stretches of points: (middle step, mean, least, greatest)."""
    size = -(-len(points) // most)
    made = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        values = [value for _, value in part]
        made.append((sum(step for step, _ in part) / len(part), sum(values) / len(values), min(values), max(values)))
    return made


def smoothed(values: Sequence[float]) -> list[float]:
    """The mean of each value and its neighbours, two or one part in 25 of all in either direction."""
    reach = max(2, len(values) // 25)
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    ends = [(max(0, at - reach), min(len(values), at + reach + 1)) for at in range(len(values))]
    return [(sums[end] - sums[start]) / (end - start) for start, end in ends]


def chart(
    curves: Sequence[Curve], title: str, height: float, *, scale: Scale, told: Callable[[float], str] = neat,
    marks: Sequence[int] = (), ends: Callable[[float], str] | None = None,
) -> Markup:  # fmt: skip
    """The picture of some curves. told: how a value is written on the axis; marks: steps at which an upright line
    stands, and after which curves begin anew; ends: at each line's end its name and value there, so
    written. Left of it there must be room for the axis, below for the steps."""
    axis = Axis(scale.low, scale.high)
    parts: list[Markup] = []
    values = [value for value in axis.ticks() if scale.low <= value <= scale.high]
    for value in values[:: 2 if len(values) > 5 and height < 150 else 1]:
        y = scale.y(value, height)
        parts += [level(y, "grid"), text(-8, y + 4, told(value), "tick", "end")]
    for mark in marks:
        at = f"{scale.x(mark) * 100:.2f}%"
        parts.append(el("line", {"x1": at, "x2": at, "y1": 0, "y2": height, "class": "mark-line"}))
    for curve in curves:
        for part in _parts(curve.series.points, marks):
            parts += _drawn(curve, part, scale, height)
    parts.append(level(height, "base"))
    parts += _step_ticks(scale, height + 17)
    if ends is not None:
        parts += _ends(curves, scale, height, ends, marks)
    said = "; ".join(
        f"{curve.label}: {told(curve.series.points[0][1])} at step {curve.series.points[0][0]:,}, "
        f"{told(curve.series.last)} at step {curve.series.points[-1][0]:,}"
        for curve in curves
    )
    return fluid(height + 22, f"{title} by step. {said}", *parts, cls="curves")


def _path(points: Sequence[tuple[float, float]], scale: Scale, height: float) -> str:
    if len(points) == 1:  # a dash, so that it can be seen
        x, y = scale.x(points[0][0]) * 1000, scale.y(points[0][1], height)
        return f"M{max(x - 6, 0):.1f} {y:.1f}H{x + 6:.1f}"
    return "M" + "L".join(f"{scale.x(step) * 1000:.1f} {scale.y(value, height):.1f}" for step, value in points)


def _parts(points: Sequence[tuple[int, float]], marks: Sequence[int]) -> Iterator[Sequence[tuple[int, float]]]:
    for after, until in pairwise((-math.inf, *sorted(marks), math.inf)):
        part = [point for point in points if after < point[0] <= until]
        if part:
            yield part


def _drawn(curve: Curve, points: Sequence[tuple[int, float]], scale: Scale, height: float) -> list[Markup]:
    if curve.sparse and len(points) <= 60:
        look = f"{curve.look} dot"
        dots = [
            el("circle", {"cx": f"{scale.x(step) * 100:.2f}%", "cy": scale.y(value, height), "r": 4, "class": look})
            for step, value in points
        ]
        return (
            dots
            if len(points) == 1
            else [stretched(0, height, _path(points, scale, height), f"{curve.look} line"), *dots]
        )
    line = _line(curve, points)
    drawn = stretched(0, height, _path(line, scale, height), f"{curve.look} line")
    bins = binned(points)
    if len(bins) < len(points):
        up = [(step, high) for step, _, _, high in bins]
        down = [(step, low) for step, _, low, _ in reversed(bins)]
        around = _path(up, scale, height) + "L" + _path(down, scale, height)[1:] + "Z"
        return [stretched(0, height, around, f"{curve.look} around"), drawn]
    if _even(curve, len(bins)):
        return [stretched(0, height, _path(points, scale, height), f"{curve.look} single"), drawn]
    return [drawn]


def _even(curve: Curve, count: int) -> bool:
    """Whether a curve of so many points is smoothed."""
    return count >= SMOOTHED and not curve.exact and not (curve.sparse and count <= 60)


def _line(curve: Curve, points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """What is drawn as the line of these points."""
    bins = binned(points)
    steps, values = [step for step, _, _, _ in bins], [mean for _, mean, _, _ in bins]
    return list(zip(steps, smoothed(values) if _even(curve, len(bins)) else values, strict=True))


def _step_ticks(scale: Scale, y: float) -> list[Markup]:
    first, last = scale.steps
    if first == last:
        return [text("50%", y, f"step {last:,}", "tick", "middle")]
    round_ = [value for value in Axis(first, last).ticks() if value % 1 == 0]
    inner = [value for value in round_ if 0.1 < scale.x(value) < 0.82]
    apart = (round_[1] - round_[0]) * -(-len(inner) // 3) if len(round_) > 1 and inner else 1
    middle = [value for value in inner if value % apart == 0]
    parts = [text(0, y, f"{first:,}", "tick"), text("100%", y, f"step {last:,}", "tick", "end")]
    return parts + [text(f"{scale.x(value) * 100:.2f}%", y, f"{value:,.0f}", "tick", "middle") for value in middle]


def _ends(
    curves: Sequence[Curve], scale: Scale, height: float, told: Callable[[float], str], marks: Sequence[int]
) -> list[Markup]:
    """At the end of each line its value and name, kept apart from each other."""
    lines = ((_line(curve, list(_parts(curve.series.points, marks))[-1])[-1][1], curve) for curve in curves)
    parts, free = [], -math.inf
    for y, value, curve in sorted(((scale.y(value, height), value, curve) for value, curve in lines), key=_height):
        free = max(y + 4, free)
        named = el("tspan", {"class": "head"}, told(value)), f" {curve.label}"
        parts.append(el("text", {"x": "100%", "dx": 10, "y": free, "class": f"{curve.look} end"}, *named))
        free += _APART
    return parts


def _height(one: tuple[float, float, Curve]) -> float:
    return one[0]


def change(before: float | None, after: float | None, ends: tuple[float, float] | None) -> Markup:
    """A share before (ring) and after (dot, with its interval) on a rail from 0 to 1, for a table's cell. The numbers
    stand beside it."""
    axis = Axis(0, 1)
    parts = [level(7, "rail"), el("line", {"x1": "50%", "x2": "50%", "y1": 2, "y2": 12, "class": "half-way"})]
    if ends is not None:
        parts.append(level(7, "whisker", axis.at(ends[0]), axis.at(ends[1])))
    if before is not None:
        parts.append(el("circle", {"cx": axis.at(before), "cy": 7, "r": 3.5, "class": "ring"}))
    if after is not None:
        parts.append(el("circle", {"cx": axis.at(after), "cy": 7, "r": 4.5, "class": "c0 dot"}))
    return el("svg", {"class": "mark", "width": "100%", "height": 14, "aria-hidden": "true"}, *parts)


def share_told(value: float) -> str:
    return percent(value) if value in {0, 1} or abs(value) >= 0.1 else f"{value:.1%}"


def small_told(value: float) -> str:
    """A learning rate: few digits, powers of ten."""
    if value == 0:
        return "0"
    head, _, power = f"{value:.1e}".partition("e")
    return f"{head.removesuffix('.0')}e{int(power)}".replace("-", "\u2212")
