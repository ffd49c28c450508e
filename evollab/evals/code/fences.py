"""Code fences in what a model wrote: the blocks, and the stretches between them."""

from __future__ import annotations

from dataclasses import dataclass

_MARKS = ("```", "~~~")
_WORD = 24


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some lines of a text. fenced: they stood between fences; a last fence need not be closed."""

    text: str
    fenced: bool


def stretches(text: str) -> list[Stretch]:
    """The text in its order, without the lines that are fences; stretches of blank lines are left out.

    Looser than CommonMark, because models are: any indentation; an opening fence may stand at the end of a line of
    prose, a closing one at the end of a line of code; a second opening fence with a tag ends the block before it.
    """
    found: list[Stretch] = []
    lines: list[str] = []
    fence = ""

    def end(fenced: bool) -> None:
        if any(line.strip() for line in lines):
            found.append(Stretch("\n".join(lines), fenced))
        lines.clear()

    for line in text.split("\n"):
        if fence:
            last, closes, opens = _closing(line, fence)
            if last is not None:
                lines.append(last)
            if closes:
                end(True)
                fence = fence if opens else ""
        else:
            before, opened = _opening(line)
            if before is not None:
                lines.append(before)
            if opened:
                end(False)
                fence = opened
    end(bool(fence))
    return found


def _opening(line: str) -> tuple[str | None, str]:
    """What of the line stands before the fence (None: nothing), and the fence it opens, "" for none."""
    bare = line.strip()
    for mark in _MARKS:
        if bare.startswith(mark):
            run = _run(bare)
            if mark[0] not in bare[len(run) :]:
                return None, run
    head, mark, tail = line.rpartition("```")
    if mark and "`" not in head and _is_tag(tail.strip()):
        return head, mark
    return line, ""


def _closing(line: str, fence: str) -> tuple[str | None, bool, bool]:
    """What of the line is still code, whether the block ends, and whether the next one begins with the same line."""
    bare = line.strip()
    if bare.startswith(fence):
        rest = bare[len(_run(bare)) :].strip()
        if not rest:
            return None, True, False
        if fence[0] not in rest and _is_tag(rest):
            return None, True, True
    if fence == "```" and bare.endswith(fence) and "`" not in bare[:-3]:
        return line.rstrip()[:-3], True, False
    return line, False, False


def _run(text: str) -> str:
    return text[: len(text) - len(text.lstrip(text[0]))]


def _is_tag(text: str) -> bool:
    return len(text) <= _WORD and all(one.isalnum() or one in "+#._-{}" for one in text)
