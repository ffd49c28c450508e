"""Charts as inline SVG: no script, no style attributes (the page's policy forbids both), every text
and attribute escaped. Colours come from the page's style sheet by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from evollab.inert import inert, one_line
from evollab.report.figures import duration
from evollab.report.spread import Spread

_BINS = 90
_RIDGE = 30.0
_BETWEEN = 32.0
NAME = 20
"""Characters of a name that pictures have room for."""


def el(name: str, attributes: Mapping[str, object] | None = None, *children: object) -> Markup:
    """An element. Attribute values, and children that are no Markup, are text: made inert and escaped.
    Attributes that are None are left out."""
    given = "".join(f' {key}="{_safe(value)}"' for key, value in (attributes or {}).items() if value is not None)
    return Markup(f"<{name}{given}>{''.join(map(_safe, children))}</{name}>")


def _safe(value: object) -> Markup:
    if isinstance(value, Markup):
        return value
    return escape(f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else inert(str(value)))


def text(x: object, y: float, words: object, cls: str = "", anchor: str | None = None) -> Markup:
    return el("text", {"x": x, "y": y, "class": cls or None, "text-anchor": anchor}, words)


def drawing(width: float, height: float, label: str, *children: object, cls: str) -> Markup:
    """A picture that keeps its proportions; `label` is what it says, in words."""
    shape = {"viewBox": f"0 0 {width:g} {height:g}"}
    return el("svg", {"class": f"chart {cls}", "role": "img", "aria-label": label, **shape}, *children)


def fluid(height: float, label: str, *children: object, cls: str) -> Markup:
    """A picture as wide as its place, `height` pixels high; x positions inside are per cents, so that
    letters keep their size on every screen."""
    shape = {"width": "100%", "height": height}
    return el("svg", {"class": f"chart {cls}", "role": "img", "aria-label": label, **shape}, *children)


def stretched(y: float, height: float, path: str, cls: str) -> Markup:
    """A shape drawn in a box 1000 wide, stretched to the width that there is."""
    box = {"viewBox": f"0 0 1000 {height:g}", "preserveAspectRatio": "none"}
    shape = el("path", {"d": path, "class": cls})
    return el("svg", {"x": 0, "y": y, "width": "100%", "height": height, **box}, shape)


def level(y: float, cls: str, start: str = "0", end: str = "100%") -> Markup:
    return el("line", {"x1": start, "x2": end, "y1": y, "y2": y, "class": cls})


def ridges(rows: Sequence[tuple[str, Spread]], label: str) -> Markup:
    """One shape a row on a common axis: the distribution, its middle half, its median.

    The axis ends at the 99th percentile of the widest row (1st, where there are values below zero).
    """
    rows = [(name, spread) for name, spread in rows if spread.n]
    if not rows:
        return Markup("")
    high = max(spread.quantile(0.99) for _, spread in rows) + 1
    low = min(0, *(spread.quantile(0.01) for _, spread in rows))
    parts: list[Markup] = []
    y = 0.0
    for name, spread in rows:
        parts += _ridge(name, spread, low, high, y)
        y += _RIDGE + _BETWEEN
    if low < 0:
        x = _at(0, low, high)
        parts.insert(0, el("line", {"x1": x, "x2": x, "y1": 14.0, "y2": y - 4, "class": "zero"}))
    for value in ticks(low, high):
        place = _share(value, low, high)
        anchor = None if place < 0.04 else "end" if place > 0.96 else "middle"
        parts.append(text(_at(value, low, high), y + 12, _whole(value), "tick", anchor))
    told = "; ".join(f"{name}: median {spread.median}, n {spread.n}" for name, spread in rows)
    return fluid(y + 18, f"{label}. {told}", *parts, cls="ridges")


def _ridge(name: str, spread: Spread, low: int, high: int, y: float) -> list[Markup]:
    base = y + 20 + _RIDGE
    points = "".join(
        f"L{(i + 0.5) * 1000 / _BINS:.1f} {_RIDGE - value * _RIDGE:.1f}"
        for i, value in enumerate(_shape(spread, low, high))
    )
    q25, q50, q75 = (spread.quantile(share) for share in (0.25, 0.5, 0.75))
    named = el("tspan", {"class": "head"}, one_line(name, NAME)), el("tspan", {"class": "sub n"}, f"  n {spread.n:,}")
    figures = f"median {_whole(q50)} · half {_whole(q25)} to {_whole(q75)}"
    return [
        el("text", {"x": 0, "y": y + 13}, *named),
        text("100%", y + 13, figures, "sub", "end"),
        stretched(base - _RIDGE, _RIDGE, f"M0 {_RIDGE:g}{points}L1000 {_RIDGE:g}Z", "area"),
        level(base, "base"),
        level(base, "half", _at(q25, low, high), _at(q75, low, high)),
        el("circle", {"cx": _at(q50, low, high), "cy": base, "r": 4, "class": "median"}),
    ]


def _whole(value: int) -> str:
    return f"{value:,}".replace("-", "\u2212")


def _shape(spread: Spread, low: int, high: int) -> list[float]:
    """A smoothed histogram, its peak at 1. Values beyond the axis are counted at its ends."""
    bins = [0.0] * _BINS
    for value, count in spread.counts.items():
        bins[min(int(_share(value, low, high) * _BINS), _BINS - 1)] += count
    for _ in range(3):
        padded = [bins[0], *bins, bins[-1]]
        bins = [(padded[i] + 2 * padded[i + 1] + padded[i + 2]) / 4 for i in range(_BINS)]
    peak = max(bins) or 1.0
    return [value / peak for value in bins]


def _share(value: float, low: float, high: float) -> float:
    return (min(max(value, low), high) - low) / ((high - low) or 1)


def _at(value: float, low: float, high: float) -> str:
    return f"{_share(value, low, high) * 100:.2f}%"


def ticks(low: int, high: int) -> list[int]:
    """At most seven round values between low and high."""
    sizes = (factor * 10**power for power in range(18) for factor in (1, 2, 5))
    size = next((size for size in sizes if (high - low) / size <= 6), high - low)
    return list(range(-(-low // size) * size, high + 1, size))


def bar(share: float) -> Markup:
    """A bar for a table cell, filled to `share` of it. The number stands beside it."""
    filled = f"{min(max(share, 0), 1) * 100:.2f}%"
    return el(
        "svg",
        {"class": "bar", "width": "100%", "height": 6, "aria-hidden": "true"},
        el("rect", {"width": "100%", "height": 6, "class": "track", "rx": 3}),
        el("rect", {"width": filled, "height": 6, "class": "kept", "rx": 3}),
    )


def pace(counts: Sequence[int], seconds: float) -> Markup:
    """Replies in equal stretches of `seconds` of work, as an area."""
    if not counts or seconds <= 0:
        return Markup("")
    peak = max(counts)
    fastest = f"peak {peak * len(counts) / seconds:,.3g} replies a second"
    steps = "".join(f"V{60 - 54 * n / peak:.1f}H{(i + 1) * 1000 / len(counts):.1f}" for i, n in enumerate(counts))
    return fluid(
        94,
        f"Replies over {duration(seconds)} of work; {fastest}",
        text("100%", 5, fastest, "tick", "end"),
        stretched(14, 60, f"M0 60{steps}V60Z", "area"),
        level(74, "base"),
        text(0, 90, "start", "tick"),
        text("100%", 90, duration(seconds), "tick", "end"),
        cls="pace",
    )
