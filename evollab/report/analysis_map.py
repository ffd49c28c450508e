"""The map of a data set: rows as dots where their meaning puts them, as one static picture; a script lets the reader
touch it."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from evollab.inert import one_line
from evollab.report.analysis_facts import Breadth
from evollab.report.svg import el

WIDE = 1000
_MARGIN = 24
_LAYERS = 8
"""Dots are drawn in so many mixed layers, lest the last group hide the others."""
TEXT = 170
"""Characters of a row's text that the map holds."""
HUES = 10
_CELL = 20
_SPARSE = 1000
"""Dots of which fewer may be larger."""


@dataclass(frozen=True, slots=True)
class Map:
    """picture: the map. facets: a small one for each group. points: what its script reads: [x, y, group, cluster,
    text] in columns. hues: the colour of each cluster, such that neighbours differ. high: its height, where it is WIDE
    wide."""

    picture: Markup
    facets: tuple[Markup, ...]
    points: dict[str, Any]
    hues: tuple[int, ...]
    high: int


def draw_map(breadth: Breadth, names: Sequence[str]) -> Map:
    """The map of `breadth`, with a number at the middle of each cluster."""
    points = breadth.points
    xs, ys, high = _placed(points.x, points.y)
    groups = points.group or (0,) * len(xs)
    centres = _centres(xs, ys, points.cluster, len(breadth.clusters))
    hues = _hues(centres, [cluster.size for cluster in breadth.clusters])
    dots = _dots(xs, ys, groups, points.cluster, hues)
    labels = [
        el("text", {"x": x, "y": y + 7, "text-anchor": "middle", "class": "label", "data-k": at}, at + 1)
        for at, centre in enumerate(centres)
        if centre
        for x, y in [centre]
    ]
    told = f"Map of {len(xs)} rows in {len(breadth.clusters)} clusters"
    if names and points.group:
        told += "; " + ", ".join(f"{name}: {groups.count(at)}" for at, name in enumerate(names))
    shape = {
        "viewBox": f"0 0 {WIDE} {high}",
        "class": f"chart map{' sparse' if len(xs) < _SPARSE else ''}",
        "role": "img",
        "aria-label": told,
        "id": "map",
    }
    texts = [one_line(text, TEXT) for text in points.text]
    columns = {"x": xs, "y": ys, "g": list(groups), "k": list(points.cluster), "t": texts}
    facets = _facets(xs, ys, groups, names, high) if points.group else ()
    return Map(el("svg", shape, *dots, *labels), facets, columns, tuple(hues), high)


def _placed(x: Sequence[float], y: Sequence[float]) -> tuple[list[int], list[int], int]:
    """Whole places in a picture WIDE wide; one scale for both directions."""
    if not x:
        return [], [], WIDE // 2
    left, low = min(x), min(y)
    wide, tall = max(x) - left, max(y) - low
    scale = (WIDE - 2 * _MARGIN) / (max(wide, tall) or 1.0)
    across = (WIDE - wide * scale) / 2
    high = max(round(tall * scale) + 2 * _MARGIN, WIDE // 2)
    down = (high - tall * scale) / 2
    return [round(across + (one - left) * scale) for one in x], [round(down + (one - low) * scale) for one in y], high


def _dots(
    xs: Sequence[int], ys: Sequence[int], groups: Sequence[int], clusters: Sequence[int], hues: Sequence[int]
) -> list[Markup]:
    """A path for all dots of one group and cluster in one layer: round ends of lines that have no length."""
    order = list(range(len(xs)))
    random.Random(0).shuffle(order)
    paths: dict[tuple[int, int, int], list[str]] = defaultdict(list)
    for place, at in enumerate(order):
        paths[place * _LAYERS // len(order), groups[at], clusters[at]].append(f"M{xs[at]} {ys[at]}h0")
    return [
        el(
            "path",
            {"d": "".join(steps), "class": f"dots g{group} h{hues[cluster]}", "data-g": group, "data-k": cluster},
        )
        for (_, group, cluster), steps in sorted(paths.items())
    ]


def _facets(
    xs: Sequence[int], ys: Sequence[int], groups: Sequence[int], names: Sequence[str], high: int
) -> tuple[Markup, ...]:
    """Each group for itself, before the land that all of them cover."""
    land = sorted({(x // _CELL, y // _CELL) for x, y in zip(xs, ys, strict=True)})
    shape = "".join(f"M{x * _CELL} {y * _CELL}h{_CELL}v{_CELL}h-{_CELL}z" for x, y in land)
    box = {"viewBox": f"0 0 {WIDE} {high}", "class": "chart facet", "role": "img"}
    found: list[Markup] = []
    for at, name in enumerate(names):
        own = "".join(f"M{x} {y}h0" for x, y, group in zip(xs, ys, groups, strict=True) if group == at)
        found.append(
            el(
                "svg",
                {**box, "aria-label": f"{name} alone on the map"},
                el("path", {"d": shape, "class": "land"}),
                el("path", {"d": own, "class": f"dots g{at}"}),
            )
        )
    return tuple(found)


def _centres(
    xs: Sequence[int], ys: Sequence[int], clusters: Sequence[int], count: int
) -> list[tuple[float, float] | None]:
    """Where each cluster's number stands: at the medians of its dots. None where it has none."""
    members: list[list[int]] = [[] for _ in range(count)]
    for at, cluster in enumerate(clusters):
        members[cluster].append(at)
    found: list[tuple[float, float] | None] = []
    for own in members:
        if not own:
            found.append(None)
            continue
        x, y = sorted(xs[at] for at in own)[len(own) // 2], sorted(ys[at] for at in own)[len(own) // 2]
        found.append((float(x), float(y)))
    return _apart(found)


def _apart(places: list[tuple[float, float] | None], step: float = 30.0) -> list[tuple[float, float] | None]:
    """Numbers that would lie on each other, moved up or down."""
    taken: list[tuple[float, float]] = []
    moved: list[tuple[float, float] | None] = []
    for place in places:
        if place is None:
            moved.append(None)
            continue
        x, y = place
        for shift in (0.0, step, -step, 2 * step, -2 * step):
            if all(abs(x - a) > 36 or abs(y + shift - b) >= step for a, b in taken):
                y += shift
                break
        taken.append((x, y))
        moved.append((x, y))
    return moved


def _hues(centres: Sequence[tuple[float, float] | None], sizes: Sequence[int]) -> list[int]:
    """A colour for each cluster, the largest first: the one whose nearest bearer is farthest away."""
    hues = [0] * len(centres)
    given: list[tuple[tuple[float, float], int]] = []
    for at in sorted(range(len(centres)), key=lambda at: -sizes[at]):
        own = centres[at]
        if own is None:
            continue
        far = [min((_far(own, other) for other, hue in given if hue == tone), default=1e9) for tone in range(HUES)]
        hues[at] = max(range(HUES), key=lambda tone: (far[tone], -tone))
        given.append((own, hues[at]))
    return hues


def _far(one: tuple[float, float], other: tuple[float, float]) -> float:
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2
