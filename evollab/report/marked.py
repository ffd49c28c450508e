"""Foreign texts for a page: inert, cut, escaped, and with what differs between two of them marked."""

from __future__ import annotations

from markupsafe import Markup, escape

from evollab.inert import cut, inert
from evollab.records import Instruction
from evollab.report import svg
from evollab.report.diff import compare

TEXT = 900
_COMPARED = 6000
_REMOVED = 90
_UNCHANGED = 360


def changed(child: Instruction, parent: Instruction | None, limit: int = TEXT) -> Markup:
    """The child's text with what came marked <ins> and what went <del>; plain where all is new."""
    return compared(child, parent, limit)[0]


def compared(child: Instruction, parent: Instruction | None, limit: int) -> tuple[Markup, bool]:
    """The marked text, and whether it is new as a whole (and so not marked)."""
    text, left = cut(inert(child.prompt), _COMPARED)
    change = compare(cut(inert(parent.prompt), _COMPARED)[0], text) if parent else None
    if change is None or change.rewrite:
        return _limited([("same", text)], limit, left), change is not None
    return _limited([(piece.kind, piece.text) for piece in change.pieces], limit, left), False


def _limited(pieces: list[tuple[str, str]], limit: int, left: int) -> Markup:
    """The pieces until `limit` characters of the text are out; `left`: characters cut off before.

    A long stretch that stayed as it was is shown by its two ends: it stands in full at the parent.
    """
    out: list[Markup] = []
    for kind, text in pieces:
        if kind == "removed":
            if limit > 0:
                gone, more = cut(text, _REMOVED)
                out.append(svg.el("del", {}, gone + ("…" if more else "")))
            continue
        if kind == "same" and len(pieces) > 1 and len(text) > _UNCHANGED and limit > 0:
            start, _ = cut(text, _UNCHANGED // 3)
            end = text[-_UNCHANGED // 3 :].partition(" ")[2]
            out += [escape(start), _aside(f" … {len(text) - len(start) - len(end):,} characters as before … ")]
            out.append(escape(end))
            limit -= len(start) + len(end)
            continue
        head, more = cut(text, max(limit, 0))
        limit -= len(text)
        left += more
        bare = head.strip() if kind == "added" else ""
        if bare:  # white space around an addition isn't marked
            before = head.index(bare)
            out += [escape(head[:before]), svg.el("ins", {}, bare), escape(head[before + len(bare) :])]
        else:
            out.append(escape(head))
    if left:
        out.append(_aside(f" … {left:,} more characters"))
    return Markup("").join(out)


def side_by_side(old: str, new: str, limit: int = TEXT) -> tuple[Markup, Markup]:
    """Two texts, what only the first has in <del>, what only the second has in <ins>. Where too little is the same,
    nothing is marked."""
    (one, left), (other, more) = cut(inert(old), limit), cut(inert(new), limit)
    change = compare(one, other)
    if change.rewrite:
        return _limited([("same", one)], limit, left), _limited([("same", other)], limit, more)
    return (
        _side([(piece.kind, piece.text) for piece in change.pieces if piece.kind != "added"], "del", left),
        _side([(piece.kind, piece.text) for piece in change.pieces if piece.kind != "removed"], "ins", more),
    )


def _side(pieces: list[tuple[str, str]], tag: str, left: int) -> Markup:
    out: list[Markup] = []
    for kind, text in pieces:
        bare = text.strip()
        if kind == "same" or not bare:
            out.append(escape(text))
            continue
        before = text.index(bare)
        out += [escape(text[:before]), svg.el(tag, {}, bare), escape(text[before + len(bare) :])]
    if left:
        out.append(_aside(f" … {left:,} more characters"))
    return Markup("").join(out)


def _aside(words: str) -> Markup:
    return svg.el("span", {"class": "more"}, words)


def shown(text: str | None, limit: int = TEXT) -> Markup:
    """Foreign text, inert and cut."""
    head, left = cut(inert(text or ""), limit)
    return _limited([("same", head)], limit, left)
