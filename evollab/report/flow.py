"""The survival picture: seeds flow through the rounds, dropped children fall to their rule.

Each round tries every seed's latest text once. Kept children go on (and are data); a dropped child
falls, and its parent goes on in its place. So the stream keeps its width, and what falls is extra.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from evollab.inert import one_line
from evollab.report.facts import Cell
from evollab.report.figures import percent
from evollab.report.svg import NAME, drawing, el, text

_MOST_RULES = 6
_PITCH = 18.0
Reasons = list[tuple[str, int]]


def flow_across(seeds: int, rounds: Sequence[Cell], rules: Sequence[str]) -> Markup:
    """Left to right, for wide screens; `rules` is the order in which reasons are listed."""
    width, trunk, top, bar = 1080.0, 170.0, 54.0, 10.0
    step = min((width - 186 - bar) / len(rounds), 420.0)
    scale = trunk / max(seeds, *(cell.tried for cell in rounds))
    height = floor = top + trunk + 34
    below: list[Markup] = []
    above = [_bar(0, top, bar, seeds * scale, "seed"), *_titles(0, top, "Seeds", f"{seeds:,}")]
    before = (seeds * scale, 0.0)
    for index, cell in enumerate(rounds):
        x = (index + 1) * step
        kept, lost = cell.kept * scale, cell.lost * scale
        reach = cell.tried * scale / max(sum(before), 1e-9)
        start = index * step + bar
        below.append(_across(start, top, before[0], x, top, before[0] * reach, "kept" if index else "seed"))
        below.append(_across(start, top + before[0], before[1], x, top + before[0] * reach, before[1] * reach, "again"))
        above += [_bar(x, top, bar, kept, "kept"), _bar(x, top + kept, bar, lost, "lost")]
        above += _titles(x, top, f"Round {cell.round}", _kept_of(cell))
        at, y = top + kept, floor
        for rule, count in _reasons(cell, rules):
            size = count * scale
            row = max(size, _PITCH)
            target = y + (row - size) / 2
            below.append(_across(x + bar, at, size, x + 62, target, size, "lost"))
            above += [_bar(x + 62, target, 4, size, "lost"), _counted(x + 72, y + row / 2 + 4.5, rule, count)]
            at, y = at + size, y + row + 2
        height = max(height, y)
        before = (kept, lost)
    end = len(rounds) * step + bar
    below += [_tail(end, top, before[0], "kept"), _tail(end, top + before[0], before[1], "again")]
    return drawing(width, height + 6, _told(seeds, rounds), *below, *above, cls="flow wide")


def flow_down(seeds: int, rounds: Sequence[Cell], rules: Sequence[str]) -> Markup:
    """The same from top to bottom, for narrow screens and for many rounds."""
    trunk, bar = 128.0, 9.0
    scale = trunk / max(seeds, *(cell.tried for cell in rounds))
    below: list[Markup] = []
    above = [_named(0, 13, "Seeds", f"{seeds:,}"), _bar(0, 22, seeds * scale, bar, "seed")]
    y, room = 22 + bar, 50.0
    before = (seeds * scale, 0.0)
    for index, cell in enumerate(rounds):
        kept, lost = cell.kept * scale, cell.lost * scale
        reach = cell.tried * scale / max(sum(before), 1e-9)
        start, y = y, y + room
        below.append(_down(0, start, before[0], 0, y, before[0] * reach, "kept" if index else "seed"))
        below.append(_down(before[0], start, before[1], before[0] * reach, y, before[1] * reach, "again"))
        above.append(_named(trunk + 16, y + bar, f"Round {cell.round}", _kept_of(cell)))
        above += [_bar(0, y, kept, bar, "kept"), _bar(kept, y, lost, bar, "lost")]
        y += bar
        at, row = kept + lost, y + _PITCH
        reasons = _reasons(cell, rules)
        for rule, count in reasons:
            size = count * scale
            thick = min(size, _PITCH - 4)
            below.append(_turn(at - size, at, y, trunk + 18, row - thick / 2, row + thick / 2))
            above += [_bar(trunk + 18, row - thick / 2, 4, thick, "lost"), _counted(trunk + 28, row + 4.5, rule, count)]
            at, row = at - size, row + _PITCH
        before = (kept, lost)
        room = max(50.0, (len(reasons) + 1) * _PITCH + 26)
    below.append(_down(0, y, before[0], 0, y + 26, before[0], "kept"))
    below.append(_down(before[0], y, before[1], before[0], y + 26, before[1], "again"))
    return drawing(360, y + max(30.0, room - 26), _told(seeds, rounds), *below, *above, cls="flow narrow")


def _reasons(cell: Cell, order: Sequence[str]) -> Reasons:
    """(rule, count) of a round in the common order; the rare ones together."""
    counts = [(rule, cell.dropped[rule]) for rule in order if cell.dropped.get(rule)]
    if len(counts) <= _MOST_RULES:
        return counts
    rest = counts[_MOST_RULES - 1 :]
    return [*counts[: _MOST_RULES - 1], (f"by {len(rest)} more rules", sum(count for _, count in rest))]


def _told(seeds: int, rounds: Sequence[Cell]) -> str:
    told = "; ".join(f"round {c.round}: {c.kept} of {c.tried} kept, {c.lost} dropped" for c in rounds)
    return f"{seeds} seeds; {told}. The table below holds the same numbers."


def _kept_of(cell: Cell) -> str:
    return f"{cell.kept:,} of {cell.tried:,} kept · {percent(cell.kept / max(cell.tried, 1))}"


def _titles(x: float, top: float, head: str, sub: str) -> list[Markup]:
    return [text(x, top - 28, head, "head"), text(x, top - 11, sub, "sub")]


def _named(x: float, y: float, head: str, sub: str) -> Markup:
    spans = el("tspan", {"class": "head"}, f"{head}  "), el("tspan", {"class": "sub"}, sub)
    return el("text", {"x": x, "y": y}, *spans)


def _counted(x: float, y: float, rule: str, count: int) -> Markup:
    return el("text", {"x": x, "y": y}, el("tspan", {"class": "count"}, f"{count:,}"), f" {one_line(rule, NAME)}")


def _bar(x: float, y: float, width: float, height: float, cls: str) -> Markup:
    """Never thinner than can be seen, unless there is nothing."""
    if not width or not height:
        return Markup("")
    size = {"width": max(width, 1.0), "height": max(height, 1.0)}
    return el("rect", {"x": x, "y": y, **size, "class": cls, "rx": 1.5})


def _ribbon(path: str, cls: str) -> Markup:
    return el("path", {"d": path, "class": f"ribbon {cls}"})


def _across(x0: float, y0: float, h0: float, x1: float, y1: float, h1: float, cls: str) -> Markup:
    """A ribbon between two upright edges."""
    if not h0:
        return Markup("")
    mid = f"{(x0 + x1) / 2:.1f}"
    return _ribbon(
        f"M{x0:.1f} {y0:.1f}C{mid} {y0:.1f} {mid} {y1:.1f} {x1:.1f} {y1:.1f}V{y1 + h1:.1f}"
        f"C{mid} {y1 + h1:.1f} {mid} {y0 + h0:.1f} {x0:.1f} {y0 + h0:.1f}Z",
        cls,
    )


def _down(x0: float, y0: float, w0: float, x1: float, y1: float, w1: float, cls: str) -> Markup:
    """A ribbon between two level edges."""
    if not w0:
        return Markup("")
    mid = f"{(y0 + y1) / 2:.1f}"
    return _ribbon(
        f"M{x0:.1f} {y0:.1f}C{x0:.1f} {mid} {x1:.1f} {mid} {x1:.1f} {y1:.1f}H{x1 + w1:.1f}"
        f"C{x1 + w1:.1f} {mid} {x0 + w0:.1f} {mid} {x0 + w0:.1f} {y0:.1f}Z",
        cls,
    )


def _turn(left: float, right: float, y: float, x1: float, top: float, bottom: float) -> Markup:
    """A ribbon that leaves a level edge downwards and arrives at an upright edge."""
    return _ribbon(
        f"M{left:.1f} {y:.1f}Q{left:.1f} {bottom:.1f} {x1:.1f} {bottom:.1f}V{top:.1f}"
        f"Q{right:.1f} {top:.1f} {right:.1f} {y:.1f}Z",
        "lost",
    )


def _tail(x: float, y: float, height: float, cls: str) -> Markup:
    """A short end with a point: it could go on from here."""
    if not height:
        return Markup("")
    return _ribbon(f"M{x:.1f} {y:.1f}h34l8 {height / 2:.1f}l-8 {height / 2:.1f}h-34Z", cls)
