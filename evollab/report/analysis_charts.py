"""The pictures of an analysis: how numbers lie, by group; how difficulty rises. As `svg`: static, escaped, fluid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from evollab.inert import one_line
from evollab.report.analysis_facts import Distribution, Estimate, Numeric
from evollab.report.figures import big
from evollab.report.svg import el, fluid, level, stretched, text

_HIGH = 84.0
_STRIP = 36.0
_FEW = 12
_ROW = 27.0
_TOP = 8.0
MARKS = frozenset({"difficulty", "quality"})
"""Marks from 1 to 10, whichever of them were given."""
SERIES = 8
"""Colours for groups that there are."""


@dataclass(frozen=True, slots=True)
class Axis:
    """From a number to its place between the ends of an axis, 0 to 1. `marks`: whole values, one a bin."""

    low: float
    high: float
    log: bool = False
    marks: bool = False

    @classmethod
    def of(cls, one: Numeric) -> Axis:
        if one.name in MARKS:
            return cls(0.5, 10.5, marks=True)
        steps = {round(after - before, 9) for before, after in pairwise(one.edges)}
        marks = steps == {1.0} and one.edges[0] % 1 == 0.5 and len(one.edges) <= _FEW + 1
        return cls(one.edges[0], one.edges[-1], one.scale == "log", marks)

    def share(self, value: float) -> float:
        """Values beyond the ends are at the ends."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def at(self, value: float) -> str:
        return f"{self.share(value) * 100:.2f}%"

    def ticks(self) -> list[float]:
        """At most seven round values."""
        if self.marks:
            first, last = math.ceil(self.low), math.floor(self.high)
            return [float(value) for value in range(first, last + 1, 1 if last - first < 10 else 2)]
        if self.log:
            return _thin([value for value in _decades() if self.low <= value <= self.high], self)
        size = _size(self.high - self.low, 6)
        first = math.ceil(self.low / size - 1e-9)
        return [step * size for step in range(first, math.floor(self.high / size + 1e-9) + 1)]


def _decades() -> Iterator[float]:
    for power in range(-6, 16):
        for factor in (1, 2, 5):
            yield float(f"{factor}e{power}")


def _thin(values: list[float], axis: Axis) -> list[float]:
    """Those that stand a seventh of the axis apart."""
    kept: list[float] = []
    for value in values:
        if not kept or axis.share(value) - axis.share(kept[-1]) > 0.14:
            kept.append(value)
    return kept


def _size(length: float, most: int) -> float:
    """The round step with which at most `most` of them fit."""
    return next((size for size in _decades() if length / size <= most), length)


def neat(value: float) -> str:
    """A number with three digits or so that matter, and a true minus."""
    size = abs(value)
    if size >= 100_000:
        return big(round(value))
    digits = 0 if size >= 100 else 1 if size >= 20 else 2
    told = f"{value:,.{digits}f}" if size >= 0.095 or not value else f"{value:.2g}"
    return (told.rstrip("0").rstrip(".") if "." in told and "e" not in told else told).replace("-", "\u2212")


def interval(one: Distribution | Estimate) -> tuple[float, float] | None:
    """The 95 % interval of the mean: the one that came with it, else 1.96 standard errors."""
    if one.low is not None and one.high is not None:
        return one.low, one.high
    if isinstance(one, Distribution) and one.n > 1:
        half = 1.96 * one.sd / math.sqrt(one.n)
        return one.mean - half, one.mean + half
    return None


def centred(one: Distribution | Estimate) -> str:
    """The mean and half its interval's width, as "4.81 ± 0.08": as many digits as that width lets matter."""
    ends = interval(one)
    half = (ends[1] - ends[0]) / 2 if ends else 0.0
    if half < 1e-9:
        return neat(one.mean)
    digits = min(max(math.ceil(-math.log10(half)), 0), 5)
    return f"{one.mean:,.{digits}f} \u00b1 {half:,.{digits}f}".replace("-", "\u2212")


def between(one: Distribution | Estimate) -> str:
    """The interval's ends, with as many digits as its width lets matter; "" where there is none."""
    ends = interval(one)
    if ends is None:
        return ""
    low, high = ends
    digits = min(max(math.ceil(math.log10(5 / (high - low))), 0), 4) if high - low > 1e-9 else 2
    return f"{low:,.{digits}f}\u2013{high:,.{digits}f}".replace("-", "\u2212")


def histogram(one: Numeric, names: Sequence[str], title: str) -> Markup:
    """All rows as bars from zero; below, on the same axis, each group's spread: the inner 80 % thin, the inner half
    thick, a dot for the median."""
    axis = Axis.of(one)
    peak = max(*one.overall.counts, 1)
    line = _size(peak, 2)
    line_at = 12 + _HIGH * (1 - line / peak)
    parts = [
        level(line_at, "grid") if line < peak else Markup(""),
        stretched(12, _HIGH, _bars(one, axis, peak), "bars"),
        text("100%", line_at - 4, big(round(line)), "tick", "end") if line < peak else Markup(""),
        level(12 + _HIGH, "base"),
    ]
    parts += [_tick(axis, value, 12 + _HIGH + 16) for value in axis.ticks()]
    y = 12 + _HIGH + 40
    parts.append(text("100%", y, "median \u00b7 mean \u00b1 95 %", "tick", "end"))
    told: list[str] = []
    for at, (name, spread) in enumerate(_spreads(one, names)):
        y += _STRIP if at else 20
        parts += _strip(name, spread, axis, y, at)
        told.append(f"{name}: median {neat(spread.p50)}, mean {neat(spread.mean)}, n {spread.n}")
    return fluid(y + 18, f"{title}. {'; '.join(told)}", *parts, cls="dist")


def _spreads(one: Numeric, names: Sequence[str]) -> list[tuple[str, Distribution]]:
    if not one.by_group:
        return [("all rows", one.overall)]
    return [(name, spread) for name, spread in zip(names, one.by_group, strict=True) if spread and spread.n]


def _bars(one: Numeric, axis: Axis, peak: int) -> str:
    gap = 14.0 if axis.marks else 1.2
    steps: list[str] = []
    for (low, high), count in zip(pairwise(one.edges), one.overall.counts, strict=True):
        if count > 0:
            start, end = axis.share(low) * 1000 + gap / 2, axis.share(high) * 1000 - gap / 2
            steps.append(
                f"M{start:.1f} {_HIGH:g}V{_HIGH * (1 - count / peak):.1f}H{max(end, start + 0.5):.1f}V{_HIGH:g}Z"
            )
    return "".join(steps)


def _tick(axis: Axis, value: float, y: float) -> Markup:
    place = axis.share(value)
    anchor = None if place < 0.03 else "end" if place > 0.97 else "middle"
    return text(axis.at(value), y, big(round(value)) if value >= 10_000 else neat(value), "tick", anchor)


def _strip(name: str, one: Distribution, axis: Axis, y: float, at: int) -> list[Markup]:
    own = f"g{at % SERIES}"
    line = y + 11
    return [
        text(0, y, one_line(name, 16), "head"),
        text("100%", y, f"{neat(one.p50)} \u00b7 {centred(one)}", "sub", "end"),
        level(line, "rail"),
        level(line, f"reach {own}", axis.at(one.p10), axis.at(one.p90)),
        level(line, f"inner {own}", axis.at(one.p25), axis.at(one.p75)),
        el("circle", {"cx": axis.at(one.p50), "cy": line, "r": 4.5, "class": f"dot {own}"}),
    ]


def depth(one: Numeric, names: Sequence[str], title: str, *, ordered: bool) -> Markup:
    """How difficulty moves from group to group: each group's bars lie on their side (the longest of all fills its
    column), the dot is the mean with its 95 % interval, and a line joins the means
    of groups that have an order."""
    axis = Axis.of(one)
    groups = [(at, name, spread) for at, (name, spread) in enumerate(zip(names, one.by_group, strict=True)) if spread]
    count = len(groups)
    high = _ROW * 10
    longest = max(max(spread.counts) / max(spread.n, 1) for _, _, spread in groups) or 1.0

    def y_of(value: float) -> float:
        return _TOP + high * (1 - axis.share(value))

    parts = [*_bands(y_of)]
    for value in axis.ticks():
        parts += [level(y_of(value), "grid"), text(-10, y_of(value) + 4, neat(value), "tick", "end")]
    means: list[Markup] = []
    told: list[str] = []
    for place, (at, name, spread) in enumerate(groups):
        start = place / count
        for (low, top), held in zip(pairwise(one.edges), spread.counts, strict=True):
            share = held / max(spread.n, 1)
            if share > 0:
                box = {
                    "x": _part(start), "y": y_of(top) + 1.5, "width": _part(share / longest * 0.82 / count),
                    "height": y_of(low) - y_of(top) - 3, "class": f"lying g{at % SERIES}",
                }  # fmt: skip
                parts.append(el("rect", box, el("title", {}, f"{name}: {share:.1%}")))
        parts.append(
            el("line", {"x1": _part(start), "x2": _part(start), "y1": _TOP, "y2": _TOP + high, "class": "spine"})
        )
        if ordered and place + 1 < count:
            means.append(_joined(start, (place + 1) / count, y_of(spread.mean), y_of(groups[place + 1][2].mean)))
        ends = interval(spread)
        if ends:
            means.append(_whisker(start, y_of(ends[0]), y_of(ends[1])))
        means += [
            el("circle", {"cx": _part(start), "cy": y_of(spread.mean), "r": 5.5, "class": f"dot g{at % SERIES}"}),
            *_named(start, high, name, spread, count),
        ]
        told.append(f"{name}: mean {spread.mean:.2f} ({between(spread)}), n {spread.n}")
    return fluid(_TOP + high + 62, f"{title}. {'; '.join(told)}", *parts, *means, cls="depth")


def _beside(y: float, name: str) -> Markup:
    """A word to the right of the picture, where its frame leaves room."""
    return el("text", {"x": "100%", "y": y + 4, "dx": 12, "class": "tick beside"}, name)


def _part(share: float) -> str:
    return f"{share * 100:.3f}%"


def _bands(y_of: Callable[[float], float]) -> list[Markup]:
    """The three levels of difficulty."""
    levels = (("hard", 7.5, 10.5), ("medium", 4.5, 7.5), ("easy", 0.5, 4.5))
    parts: list[Markup] = []
    for name, low, high in levels:
        box = {"x": 0, "y": y_of(high), "width": "100%", "height": y_of(low) - y_of(high), "class": f"band {name}"}
        parts += [el("rect", box), _beside(y_of((low + high) / 2), name)]
    return parts


def _joined(start: float, end: float, y: float, to: float) -> Markup:
    return el("line", {"x1": _part(start), "x2": _part(end), "y1": y, "y2": to, "class": "joined"})


def _whisker(x: float, y: float, to: float) -> Markup:
    return el("line", {"x1": _part(x), "x2": _part(x), "y1": y, "y2": to, "class": "whisker"})


def _named(start: float, high: float, name: str, spread: Distribution, count: int) -> list[Markup]:
    """What stands below a column: its name, the mean, the interval and the rows, as far as there is room."""
    parts = [
        text(_part(start), _TOP + high + 20, one_line(name, 14 if count <= 5 else 9), "head"),
        text(_part(start), _TOP + high + 39, f"{spread.mean:.2f}", "mean"),
    ]
    more = f"tick n{' crowded' if count > 5 else ''}"
    return [*parts, text(_part(start), _TOP + high + 56, between(spread), more)]
