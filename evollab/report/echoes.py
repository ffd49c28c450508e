"""Where two texts say the same: the words of runs that both have, marked in each."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from evollab.inert import cut, inert
from evollab.report import svg

_WORD = re.compile(r"[^\W_]{1,64}")
_LOOKED_AT = 20_000
Span = tuple[int, int]


def echoes(one: str, other: str, run: int, limit: int) -> tuple[Markup, Markup]:
    """Both texts with every run of at least `run` words that stands in both in <mark>, whatever the case and the
    marks between. Of a text that is longer than `limit` characters the part with the first run is shown."""
    texts = [cut(inert(text), _LOOKED_AT)[0] for text in (one, other)]
    words = [[(match[0].casefold(), match.start(), match.end()) for match in _WORD.finditer(text)] for text in texts]
    runs = [_runs([word for word, _, _ in said], run) for said in words]
    both = set(runs[0]) & set(runs[1])
    shown: list[Markup] = []
    for text, said, own, whole in zip(texts, words, runs, (one, other), strict=True):
        spans = _spans(said, [at for at, key in enumerate(own) if key in both], run)
        shown.append(_marked(text, spans, limit, max(len(whole) - _LOOKED_AT, 0)))
    return shown[0], shown[1]


def _runs(said: list[str], run: int) -> list[tuple[str, ...]]:
    return [tuple(said[at : at + run]) for at in range(len(said) - run + 1)]


def _spans(said: list[tuple[str, int, int]], begins: list[int], run: int) -> list[Span]:
    """From the first character of each run to its last; runs that touch are one."""
    spans: list[Span] = []
    last = -1
    for at in begins:
        end = said[at + run - 1][2]
        if spans and at <= last:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((said[at][1], end))
        last = at + run
    return spans


def _marked(text: str, spans: list[Span], limit: int, left: int) -> Markup:
    begin = 0
    if len(text) > limit and spans and spans[0][1] > limit:
        begin = text.rfind(" ", 0, max(spans[0][0] - limit // 5, 0)) + 1
    end = min(begin + limit, len(text))
    out: list[Markup] = [svg.el("span", {"class": "more"}, f"{begin:,} characters before … ")] if begin else []
    at = begin
    for start, stop in spans:
        start, stop = max(start, begin), min(stop, end)
        if start < stop:
            out += [escape(text[at:start]), svg.el("mark", {}, text[start:stop])]
            at = stop
    out.append(escape(text[at:end]))
    left += len(text) - end
    if left:
        out.append(svg.el("span", {"class": "more"}, f" … {left:,} more characters"))
    return Markup("").join(out)
