"""What changed from a parent's text to its child's, word by word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["same", "added", "removed"]
MOST_EDITS = 400
"""Texts further apart than this are called a rewrite; it bounds the work to about 40 ms a pair."""
# Chinese and Japanese have no spaces, so each character counts as a word there. Words are cut at 64
# characters: a text of 100 kB without a space must not be one indivisible word.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(rf"\s*(?:[{_CJK}]|[^\W{_CJK}]{{1,64}}|[^\w\s])|\s+")


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text that stayed, came or went. Same and added pieces, joined, are the child's text."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """The pieces from a parent to a child. `rewrite`: too little stayed for a comparison to help."""

    pieces: tuple[Piece, ...]
    rewrite: bool
    added: int
    removed: int


def compare(old: str, new: str) -> Change:
    """The word diff from `old` to `new`; `added` and `removed` count words (punctuation is none)."""
    before, after = _TOKEN.findall(old), _TOKEN.findall(new)
    runs = _tidy(_runs(before, after))
    words: dict[Kind, int] = {"same": 0, "added": 0, "removed": 0}
    for kind, tokens in runs:
        words[kind] += sum(_is_word(token) for token in tokens)
    larger = max(words["same"] + words["added"], words["same"] + words["removed"])
    pieces = tuple(Piece(kind, "".join(tokens)) for kind, tokens in runs)
    return Change(pieces, larger >= 4 and words["same"] < larger / 4, words["added"], words["removed"])


Run = tuple[Kind, list[str]]


def _is_word(token: str) -> bool:
    return token[-1].isalnum() or token[-1] == "_"


def _runs(before: list[str], after: list[str]) -> list[Run]:
    a, b = [t.strip() for t in before], [t.strip() for t in after]
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
        end += 1
    stop_a, stop_b = len(a) - end, len(b) - end
    runs: list[Run] = [("same", after[:start])]
    kinds = _shortest(a[start:stop_a], b[start:stop_b])
    i, j = start, start
    for kind in kinds:
        if runs[-1][0] != kind:
            runs.append((kind, []))
        if kind == "removed":
            runs[-1][1].append(before[i])
        else:
            runs[-1][1].append(after[j])
        i += kind != "added"
        j += kind != "removed"
    runs.append(("same", after[stop_b:]))
    return [run for run in runs if run[1]]


def _shortest(a: list[str], b: list[str]) -> list[Kind]:
    """The kinds of a shortest edit script from `a` to `b` (Myers 1986, O(ND)); removals first."""
    if not a or not b:
        return _all_new(a, b)
    furthest: dict[int, int] = {1: 0}
    trail: list[dict[int, int]] = []
    for edits in range(min(len(a) + len(b), MOST_EDITS) + 1):
        trail.append(dict(furthest))
        for k in range(-edits, edits + 1, 2):
            down = k == -edits or (k != edits and furthest[k - 1] < furthest[k + 1])
            x = furthest[k + 1] if down else furthest[k - 1] + 1
            while x < len(a) and x - k < len(b) and a[x] == b[x - k]:
                x += 1
            furthest[k] = x
            if x >= len(a) and x - k >= len(b):
                return _walk_back(trail, len(a), len(b))
    return _all_new(a, b)


def _all_new(a: list[str], b: list[str]) -> list[Kind]:
    gone: list[Kind] = ["removed"]
    new: list[Kind] = ["added"]
    return gone * len(a) + new * len(b)


def _walk_back(trail: list[dict[int, int]], x: int, y: int) -> list[Kind]:
    kinds: list[Kind] = []
    for edits in range(len(trail) - 1, -1, -1):
        reach, k = trail[edits], x - y
        down = k == -edits or (k != edits and reach[k - 1] < reach[k + 1])
        came = k + 1 if down else k - 1
        start_x = reach[came] if edits else 0
        start_y = start_x - came if edits else 0
        while x > start_x and y > start_y:
            kinds.append("same")
            x, y = x - 1, y - 1
        if edits:
            kinds.append("added" if down else "removed")
            x, y = start_x, start_y
    return kinds[::-1]


def _tidy(runs: list[Run]) -> list[Run]:
    """Make it readable: a stray "the" that stayed between two larger changes joins them, and within
    one change what went stands before what came."""
    tidy: list[Run] = []
    removed: list[str] = []
    added: list[str] = []

    def flush() -> None:
        if removed:
            tidy.append(("removed", list(removed)))
        if added:
            tidy.append(("added", list(added)))
        removed.clear()
        added.clear()

    for index, (kind, tokens) in enumerate(runs):
        if kind == "removed":
            removed += tokens
        elif kind == "added":
            added += tokens
        elif _is_stray(tokens, max(len(removed), len(added)), runs[index + 1 : index + 3]):
            removed += tokens
            added += tokens
        else:
            flush()
            tidy.append((kind, tokens))
    flush()
    return _slid(tidy)


def _slid(runs: list[Run]) -> list[Run]:
    """Make `x<. More y>.` into `x. <More y.>`: an addition that begins with the mark that follows it
    reads better one mark later. The text stays the same."""
    for index in range(1, len(runs) - 1):
        (kind_before, before), (kind, added), (kind_after, after) = runs[index - 1 : index + 2]
        if kind != "added" or kind_before != "same" or kind_after != "same":
            continue
        while after and not _is_word(added[0]) and added[0].strip() == after[0].strip():
            before.append(added.pop(0))
            added.append(after.pop(0))
    return [run for run in runs if run[1]]


def _is_stray(tokens: list[str], before: int, following: list[Run]) -> bool:
    after = max((len(t) for kind, t in following if kind != "same"), default=0)
    return len(tokens) <= 2 and len(tokens) < before and len(tokens) < after
