"""Charts as inline SVG: no script, no style attributes (the page's policy forbids both), every text
and attribute escaped. Colours come from the page's style sheet by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from evollab.report.facts import Cell
from evollab.report.figures import duration, percent
from evollab.report.spread import Spread


def el(name: str, attributes: Mapping[str, object] | None = None, *children: object) -> Markup:
    """An element. Strings among the children are text; attribute values are escaped; None is left out."""
    given = "".join(
        f' {key}="{escape(_number(value))}"' for key, value in (attributes or {}).items() if value is not None
    )
    return Markup(f"<{name}{given}>{''.join(escape(child) for child in children)}</{name}>")


def _number(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def _svg(width: float, height: float, label: str, *children: object, fluid: bool = False, cls: str = "chart") -> Markup:
    """fluid: as wide as its place and `height` pixels high; x positions inside are percentages."""
    size = {"width": "100%", "height": height} if fluid else {"viewBox": f"0 0 {width:g} {height:g}"}
    return el("svg", {"class": cls, "role": "img", "aria-label": label, **size}, *children)


def _text(x: object, y: float, text: object, cls: str = "", anchor: str = "start") -> Markup:
    return el("text", {"x": x, "y": y, "class": cls or None, "text-anchor": None if anchor == "start" else anchor}, text)


# ---- where the attempts went: seeds, rounds, reasons ------------------------------------------------

_MOST_RULES = 6
_PITCH = 18.0


def _reasons(cell: Cell, order: Sequence[str]) -> list[tuple[str, int]]:
    """(rule, count) of a round in the common order; the rare ones together."""
    counts = [(rule, cell.dropped[rule]) for rule in order if cell.dropped.get(rule)]
    if len(counts) <= _MOST_RULES:
        return counts
    rest = counts[_MOST_RULES - 1 :]
    return [*counts[: _MOST_RULES - 1], (f"by {len(rest)} more rules", sum(n for _, n in rest))]


def flow_across(seeds: int, rounds: Sequence[Cell], rules: Sequence[str]) -> Markup:
    """Left to right, for wide screens: each round tries every seed's latest text once; kept children go
    on (and are data), dropped ones fall to their reason while their parent goes on in their place."""
    width, trunk, top, bar = 1080.0, 170.0, 54.0, 10.0
    step = (width - 186 - bar) / len(rounds)
    scale = trunk / max(seeds, *(cell.tried for cell in rounds))
    floor = top + trunk + 34
    below: list[Markup] = []
    above: list[Markup] = [
        el("rect", {"x": 0.0, "y": top, "width": bar, "height": seeds * scale, "class": "seed", "rx": 1.5}),
        _text(0, top - 28, "Seeds", "head"),
        _text(0, top - 11, f"{seeds:,}", "sub"),
    ]
    height = floor
    before = (0.0, top, seeds * scale, 0.0)
    for index, cell in enumerate(rounds):
        x = (index + 1) * step
        kept, lost = cell.kept * scale, cell.lost * scale
        reach = cell.tried / max(before[2] + before[3], 1e-9) * scale
        below.append(_across(before[0] + bar, before[1], before[2], x, top, before[2] * reach, "kept" if index else "seed"))
        if before[3]:
            old_y, new_y = before[1] + before[2], top + before[2] * reach
            below.append(_across(before[0] + bar, old_y, before[3], x, new_y, before[3] * reach, "again"))
        above += [
            el("rect", {"x": x, "y": top, "width": bar, "height": max(kept, 0.5), "class": "kept", "rx": 1.5}),
            el("rect", {"x": x, "y": top + kept, "width": bar, "height": lost, "class": "lost", "rx": 1.5}),
            _text(x, top - 28, f"Round {cell.round}", "head"),
            _text(x, top - 11, f"{cell.kept:,} of {cell.tried:,} kept · {percent(cell.kept / max(cell.tried, 1))}", "sub"),
        ]
        at, y = top + kept, floor
        for rule, count in _reasons(cell, rules):
            size = count * scale
            row = max(size, _PITCH)
            target = y + (row - size) / 2
            below.append(_across(x + bar, at, size, x + 62, target, size, "lost"))
            above.append(el("rect", {"x": x + 62, "y": target, "width": 4.0, "height": max(size, 1.0), "class": "lost"}))
            above.append(el("text", {"x": x + 72, "y": y + row / 2 + 4.5}, el("tspan", {"class": "count"}, f"{count:,}"), f" {rule}"))
            at, y = at + size, y + row + 2
        height = max(height, y)
        before = (x, top, kept, lost)
    x, y, kept, lost = before
    below.append(_fade(x + bar, y, kept, "kept"))
    below.append(_fade(x + bar, y + kept, lost, "again"))
    return _svg(width, height + 6, _told(seeds, rounds), *below, *above, cls="chart flow wide")


def _told(seeds: int, rounds: Sequence[Cell]) -> str:
    told = "; ".join(f"round {c.round}: {c.kept} of {c.tried} kept, {c.lost} dropped" for c in rounds)
    return f"{seeds} seeds; {told}. The table below holds the same numbers."


def _across(x0: float, y0: float, h0: float, x1: float, y1: float, h1: float, cls: str) -> Markup:
    """A ribbon between two upright edges."""
    mid = (x0 + x1) / 2
    path = (
        f"M{x0:.1f} {y0:.1f}C{mid:.1f} {y0:.1f} {mid:.1f} {y1:.1f} {x1:.1f} {y1:.1f}V{y1 + h1:.1f}"
        f"C{mid:.1f} {y1 + h1:.1f} {mid:.1f} {y0 + h0:.1f} {x0:.1f} {y0 + h0:.1f}Z"
    )
    return el("path", {"d": path, "class": f"ribbon {cls}"})


def _fade(x: float, y: float, height: float, cls: str) -> Markup:
    """A short tail with slanted end: it goes on from here."""
    if height <= 0:
        return Markup("")
    path = f"M{x:.1f} {y:.1f}h34l8 {height / 2:.1f}l-8 {height / 2:.1f}h-34Z"
    return el("path", {"d": path, "class": f"ribbon {cls}"})


def flow_down(seeds: int, rounds: Sequence[Cell], rules: Sequence[str]) -> Markup:
    """The same from top to bottom, for narrow screens and for many rounds."""
    width, trunk, bar = 360.0, 128.0, 9.0
    scale = trunk / max(seeds, *(cell.tried for cell in rounds))
    below: list[Markup] = []
    above: list[Markup] = [
        el("text", {"x": 0, "y": 13, "class": "head"}, "Seeds ", el("tspan", {"class": "sub"}, f"{seeds:,}")),
        el("rect", {"x": 0.0, "y": 22.0, "width": seeds * scale, "height": bar, "class": "seed", "rx": 1.5}),
    ]
    y = 22.0 + bar
    before = (seeds * scale, 0.0)
    for index, cell in enumerate(rounds):
        kept, lost = cell.kept * scale, cell.lost * scale
        start, y = y, y + (58 if index == 0 else max(58.0, (len(_reasons(rounds[index - 1], rules)) + 1) * _PITCH + 34))
        reach = cell.tried / max(sum(before), 1e-9) * scale
        below.append(_down(0, start, before[0], 0, y, before[0] * reach, "kept" if index else "seed"))
        if before[1]:
            below.append(_down(before[0], start, before[1], before[0] * reach, y, before[1] * reach, "again"))
        told = f"{cell.kept:,} of {cell.tried:,} kept · {percent(cell.kept / max(cell.tried, 1))}"
        above += [
            el("text", {"x": trunk + 16, "y": y + bar}, el("tspan", {"class": "head"}, f"Round {cell.round}  "), el("tspan", {"class": "sub"}, told)),
            el("rect", {"x": 0.0, "y": y, "width": max(kept, 0.5), "height": bar, "class": "kept", "rx": 1.5}),
            el("rect", {"x": kept, "y": y, "width": lost, "height": bar, "class": "lost", "rx": 1.5}),
        ]
        y += bar
        at, row = kept + lost, y + _PITCH
        for rule, count in _reasons(cell, rules):
            size = count * scale
            thick = min(size, _PITCH - 4)
            path = (
                f"M{at - size:.1f} {y:.1f}C{at - size:.1f} {row + thick / 2:.1f} {at - size:.1f} {row + thick / 2:.1f} {trunk + 18:.1f} {row + thick / 2:.1f}"
                f"V{row - thick / 2:.1f}C{at:.1f} {row - thick / 2:.1f} {at:.1f} {row - thick / 2:.1f} {at:.1f} {y:.1f}Z"
            )
            below.append(el("path", {"d": path, "class": "ribbon lost"}))
            above.append(el("rect", {"x": trunk + 18, "y": row - thick / 2, "width": 4.0, "height": max(thick, 1.0), "class": "lost"}))
            above.append(el("text", {"x": trunk + 28, "y": row + 4.5}, el("tspan", {"class": "count"}, f"{count:,}"), f" {rule}"))
            at, row = at - size, row + _PITCH
        before = (kept, lost)
    bottom = y + max(30.0, (len(_reasons(rounds[-1], rules)) + 1) * _PITCH)
    below.append(_down(0, y, before[0], 0, y + 26, before[0], "kept"))
    below.append(_down(before[0], y, before[1], before[0], y + 26, before[1], "again"))
    return _svg(width, bottom, _told(seeds, rounds), *below, *above, cls="chart flow narrow")


def _down(x0: float, y0: float, w0: float, x1: float, y1: float, w1: float, cls: str) -> Markup:
    """A ribbon between two level edges."""
    mid = (y0 + y1) / 2
    path = (
        f"M{x0:.1f} {y0:.1f}C{x0:.1f} {mid:.1f} {x1:.1f} {mid:.1f} {x1:.1f} {y1:.1f}H{x1 + w1:.1f}"
        f"C{x1 + w1:.1f} {mid:.1f} {x0 + w0:.1f} {mid:.1f} {x0 + w0:.1f} {y0:.1f}Z"
    )
    return el("path", {"d": path, "class": f"ribbon {cls}"})


# ---- distributions ---------------------------------------------------------------------------------

_BINS = 90
_RIDGE = 30.0


def ridges(rows: Sequence[tuple[str, Spread]], label: str, *, cls: str = "kept") -> Markup:
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
        parts += _ridge(name, spread, low, high, y, cls)
        y += _RIDGE + 32
    if low < 0:
        x = _at(0, low, high)
        parts.insert(0, el("line", {"x1": x, "x2": x, "y1": 14.0, "y2": y - 4, "class": "zero"}))
    ticks = _ticks(low, high)
    for index, value in enumerate(ticks):
        place = _share(value, low, high)
        anchor = "start" if index == 0 and place < 0.04 else "end" if place > 0.96 else "middle"
        parts.append(_text(_at(value, low, high), y + 12, _whole(value), "tick", anchor))
    told = "; ".join(f"{name}: median {spread.median}, n {spread.n}" for name, spread in rows)
    return _svg(0, y + 18, f"{label}. {told}", *parts, fluid=True, cls="chart ridges")


def _ridge(name: str, spread: Spread, low: int, high: int, y: float, cls: str) -> list[Markup]:
    base = y + 20 + _RIDGE
    shape = _shape(spread, low, high)
    points = "".join(f"L{i * 1000 / _BINS + 500 / _BINS:.1f} {_RIDGE - value * _RIDGE:.1f}" for i, value in enumerate(shape))
    area = el(
        "svg",
        {"x": 0, "y": base - _RIDGE, "width": "100%", "height": _RIDGE, "viewBox": f"0 0 1000 {_RIDGE:g}", "preserveAspectRatio": "none"},
        el("path", {"d": f"M0 {_RIDGE:g}{points}L1000 {_RIDGE:g}Z", "class": f"area {cls}"}),
    )
    q25, q50, q75 = (_at(spread.quantile(q), low, high) for q in (0.25, 0.5, 0.75))
    return [
        el("text", {"x": 0, "y": y + 13}, el("tspan", {"class": "head"}, name), el("tspan", {"class": "sub n"}, f"  n {spread.n:,}")),
        _text("100%", y + 13, f"median {_whole(spread.median)} · half {_range(spread)}", "sub", "end"),
        area,
        el("line", {"x1": 0, "x2": "100%", "y1": base, "y2": base, "class": "base"}),
        el("line", {"x1": q25, "x2": q75, "y1": base, "y2": base, "class": f"half {cls}"}),
        el("circle", {"cx": q50, "cy": base, "r": 4, "class": f"median {cls}"}),
    ]


def _range(spread: Spread) -> str:
    low, high = spread.quantile(0.25), spread.quantile(0.75)
    return f"{_whole(low)} to {_whole(high)}"


def _whole(value: int) -> str:
    return f"{value:,}".replace("-", "\u2212")


def _shape(spread: Spread, low: int, high: int) -> list[float]:
    """A smoothed histogram, its peak at 1. Values beyond the axis are counted at its ends."""
    bins = [0.0] * _BINS
    for value, count in spread.counts.items():
        bins[min(max(int(_share(value, low, high) * _BINS), 0), _BINS - 1)] += count
    for _ in range(3):
        padded = [bins[0], *bins, bins[-1]]
        bins = [(padded[i] + 2 * padded[i + 1] + padded[i + 2]) / 4 for i in range(_BINS)]
    peak = max(bins) or 1.0
    return [value / peak for value in bins]


def _share(value: float, low: float, high: float) -> float:
    return (min(max(value, low), high) - low) / ((high - low) or 1)


def _at(value: float, low: float, high: float) -> str:
    return f"{_share(value, low, high) * 100:.2f}%"


def _ticks(low: float, high: float) -> list[int]:
    """Four to seven round values between low and high."""
    size = 1
    for size in (m * 10**power for power in range(9) for m in (1, 2, 5)):
        if (high - low) / size <= 6:
            break
    first = int(-(-low // size)) * size
    return list(range(first, int(high) + 1, size))


# ---- small ones ------------------------------------------------------------------------------------


def bar(share: float, cls: str = "kept", label: str = "") -> Markup:
    """A bar for a table cell, filled to `share` of it."""
    return el(
        "svg",
        {"class": "bar", "width": "100%", "height": 6, "role": "img" if label else None, "aria-label": label or None, "aria-hidden": None if label else "true"},
        el("rect", {"width": "100%", "height": 6, "class": "track", "rx": 3}),
        el("rect", {"width": f"{min(max(share, 0), 1) * 100:.2f}%", "height": 6, "class": cls, "rx": 3}),
    )


def pace(counts: Sequence[int], seconds: float) -> Markup:
    """Replies a second over the working time, as an area."""
    if not counts or seconds <= 0:
        return Markup("")
    stretch = seconds / len(counts)
    peak = max(counts) or 1
    steps = "".join(f"V{60 - 54 * n / peak:.1f}H{(i + 1) * 1000 / len(counts):.1f}" for i, n in enumerate(counts))
    area = el(
        "svg", {"x": 0, "y": 14, "width": "100%", "height": 60, "viewBox": "0 0 1000 60", "preserveAspectRatio": "none"},
        el("path", {"d": f"M0 60{steps}V60Z", "class": "area kept"}),
    )  # fmt: skip
    label = f"Replies a second over {seconds:.0f} seconds of work; at most {peak / stretch:.2f}"
    return _svg(
        0, 94, label, area,
        el("line", {"x1": 0, "x2": "100%", "y1": 74, "y2": 74, "class": "base"}),
        _text("100%", 5, f"peak {peak / stretch:.3g} replies a second", "tick", "end"),
        _text(0, 90, "start", "tick"), _text("100%", 90, duration(seconds), "tick", "end"),
        fluid=True, cls="chart pace",
    )  # fmt: skip
