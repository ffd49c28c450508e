"""Small pictures for the cells of tables. The number stands beside each, so they are no picture to a screen reader."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from evollab.report.analysis_charts import SERIES, Axis, interval
from evollab.report.analysis_facts import Estimate
from evollab.report.svg import el, level


def mark(one: Estimate, low: float, high: float) -> Markup:
    """A mean with its interval on a short axis, for a table's cell. The number stands beside it."""
    axis = Axis(low, high)
    ends = interval(one) or (one.mean, one.mean)
    return el(
        "svg",
        {"class": "mark", "width": "100%", "height": 14, "aria-hidden": "true"},
        level(7, "rail"),
        level(7, "whisker", axis.at(ends[0]), axis.at(ends[1])),
        el("circle", {"cx": axis.at(one.mean), "cy": 7, "r": 4, "class": "dot"}),
    )


def column(share: float, at: int) -> Markup:
    """A group's bar in a table's cell, filled to `share` of it."""
    filled = f"{min(max(share, 0), 1) * 100:.2f}%"
    return el(
        "svg",
        {"class": "bar", "width": "100%", "height": 5, "aria-hidden": "true"},
        el("rect", {"width": "100%", "height": 5, "class": "track", "rx": 2.5}),
        el("rect", {"width": filled, "height": 5, "class": f"fill g{at % SERIES}", "rx": 2.5}) if share > 0 else "",
    )


def alpha(value: float, least: float) -> Markup:
    """An agreement as a bar from 0 to 1, with a stroke where it begins to be enough."""
    filled, at = f"{min(max(value, 0), 1) * 100:.2f}%", f"{least * 100:.2f}%"
    parts = (
        el("rect", {"y": 4, "width": "100%", "height": 6, "class": "track", "rx": 3}),
        el("rect", {"y": 4, "width": filled, "height": 6, "class": "kept" if value >= least else "lost", "rx": 3}),
        el("line", {"x1": at, "x2": at, "y1": 0, "y2": 14, "class": "least"}),
    )
    return el("svg", {"class": "bar", "width": "100%", "height": 14, "aria-hidden": "true"}, *parts)


def stack(counts: Sequence[int], whole: int) -> Markup:
    """Groups side by side in one bar; its length is their share of `whole`."""
    parts: list[Markup] = []
    at = 0.0
    for group, count in enumerate(counts):
        size = max(count, 0) / max(whole, 1) * 100
        box = {"x": f"{at:.3f}%", "width": f"{size:.3f}%", "height": 6, "class": f"fill g{group % SERIES}"}
        parts.append(el("rect", box))
        at += size
    return el("svg", {"class": "bar", "width": "100%", "height": 6, "aria-hidden": "true"}, *parts)
