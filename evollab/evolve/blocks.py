"""Material inside a prompt (code, tables, markup, data) that no rewriting may change.

`protect` takes it out and leaves markers; the evolver sees the material beside the prompt and moves
only the markers; `restore` puts it back, byte for byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"^\s{0,3}(`{3,}|~{3,})")
_OPENING = re.compile(r"^\s*<([A-Za-z][\w:.-]*)[^<>]*>")
_TABLE = re.compile(r"^\s*\|.*\|\s*$")


@dataclass(frozen=True, slots=True)
class Protected:
    """A text with markers, and what stands behind each marker, in order."""

    text: str
    markers: tuple[str, ...]
    blocks: tuple[str, ...]


def protect(text: str) -> Protected:
    """Take out fenced code, Markdown tables, multi-line markup and multi-line JSON. Linear in the
    length of the text."""
    if "\n" not in text:
        return Protected(text, (), ())
    label = "BLOCK"
    while f"[[{label} " in text:  # the text speaks of markers itself
        label += "S"
    lines = text.split("\n")
    out: list[str] = []
    blocks: list[str] = []
    at = 0
    while at < len(lines):
        end = _block_end(lines, at)
        if end > at:
            blocks.append("\n".join(lines[at:end]))
            out.append(f"[[{label} {len(blocks)}]]")
            at = end
        else:
            out.append(lines[at])
            at += 1
    return Protected("\n".join(out), tuple(f"[[{label} {n + 1}]]" for n in range(len(blocks))), tuple(blocks))


def _block_end(lines: list[str], at: int) -> int:
    """The line after the block that begins at line `at`; `at` itself when none does."""
    line = lines[at]
    if fence := _FENCE.match(line):
        closing = fence.group(1)
        for end in range(at + 1, len(lines)):
            if lines[end].strip().startswith(closing):
                return end + 1
        return at
    if _TABLE.match(line):
        end = at
        while end < len(lines) and _TABLE.match(lines[end]):
            end += 1
        return end if end - at >= 2 else at
    if opening := _OPENING.match(line[:2000]):
        closing = f"</{opening.group(1)}>"
        for end in range(at + 1, min(len(lines), at + 2000)):
            if closing in lines[end]:
                return end + 1
        return at
    if line.strip() in ("{", "["):
        closing = "}" if line.strip() == "{" else "]"
        for end in range(at + 1, len(lines)):
            if lines[end].rstrip().rstrip(";,") == closing:
                return end + 1
    return at


def restore(text: str, protected: Protected) -> str | None:
    """`text` with every marker replaced by its block; None when a block is lost or doubled.

    A block that the writer copied verbatim instead of its marker counts as kept.
    """
    blocks = dict(zip(protected.markers, protected.blocks, strict=True))
    for marker, block in blocks.items():
        if text.count(marker) + text.count(block) != 1:
            return None
    if not blocks:
        return text
    pattern = re.compile("|".join(map(re.escape, blocks)))
    return pattern.sub(lambda found: blocks[found.group()], text)


def fences(text: str) -> list[tuple[str, str]]:
    """(language tag, content) of every closed code fence in `text`."""
    found: list[tuple[str, str]] = []
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        if fence := _FENCE.match(lines[at]):
            end = _block_end(lines, at)
            if end > at:
                tag = lines[at].strip().lstrip(fence.group(1)[0]).strip().lower()
                found.append((tag, "\n".join(lines[at + 1 : end - 1])))
                at = end
                continue
        at += 1
    return found


def without_blocks(text: str) -> str:
    """`text` without its blocks, for counting words."""
    protected = protect(text)
    bare = protected.text
    for marker in protected.markers:
        bare = bare.replace(marker, "")
    return bare
