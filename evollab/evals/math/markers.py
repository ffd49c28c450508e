r"""Where a response says that it is done: `#### 18`, \boxed{18}, "The answer is: 18".

the last of them counts, unless the response takes it back ("The answer is 12. Wait, it's 15."): then it counts
for nothing, and the rule for responses without a marker reads what follows
what stands behind a next question that a model asked itself is no part of the response
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

LOOKED_AT = 40_000
"""Characters at the end of a response that are read."""
_CONTENT = 400
_HASH = re.compile(r"####(?!#)[ \t]*\n?(?=([^\n]{1,400}))")
_ANSWER = re.compile(
    r"\banswer(?:\s?\([^()\n]{0,40}\))?"
    r"(?:(?P<colon>[*_]{0,3}\s?:)|\s(?:is|was|will\sbe|would\sbe|should\sbe|must\sbe)\b\s?:?)[\s*_]{0,6}(?=([^\n]{1,400}))",
    re.IGNORECASE,
)
_BOXED = re.compile(r"\\f?box(?:ed)?\s?\{")
_HEADING = re.compile(r"\d{1,3}[.):]\s+\S|[a-z]", re.IGNORECASE)
_DENIED = re.compile(r"(?:not|in)?correct\b|not\b|wrong\b|right\b|given\b|found\b", re.IGNORECASE)
_SENTENCE = re.compile(
    r"\.(?=\s|$)|[.,;]\s(?=(?:so|because|since|wait|which|where|I|and|but)\b)|</s>|<\|", re.IGNORECASE
)
_TAKEN_BACK = re.compile(
    r"\b(?:wait|actually|oops|correction|scratch\sthat|on\ssecond\sthought|i\smade\s(?:a|an)\s(?:mistake|error)"
    r"|(?:is|was|are)\s(?:wrong|incorrect)|let\sme\s(?:correct|redo|recompute|recalculate|re-?check|fix))\b",
    re.IGNORECASE,
)
_AFTER = 40
"""Characters behind an answer in which taking it back has to begin."""
_NEXT = re.compile(
    r"^[ \t#*]{0,6}(?:Question|Q|Problem|Instruction|USER|Human)\b[^\n:]{0,12}:|^###\s?Instruction|^</s>", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Marked:
    """An answer with a marker. text: what it holds, to the end of its sentence. end: where that ends. taken_back:
    whether the response corrects it afterwards. weak: "Answer:" at the head of a text, which often means only that a
    text begins. boxed: by a box."""

    text: str
    start: int
    end: int
    taken_back: bool = False
    weak: bool = False
    boxed: bool = False


def marked(text: str) -> list[Marked]:
    """All marked answers, in their order."""
    found = [*_hashes(text), *_answers(text), *_boxes(text)]
    found.sort(key=lambda one: one.start)
    return [_judged(text, one) for one in found]


def body(text: str) -> str:
    """The response itself: its last 40,000 characters, up to a next question that stands behind a marked answer."""
    text = text[-LOOKED_AT:]
    found = marked(text)
    following = _NEXT.search(text, found[0].end) if found else None
    return text[: following.start()] if following else text


def _judged(text: str, one: Marked) -> Marked:
    back = _TAKEN_BACK.search(text[one.end : one.end + 2 * _AFTER])
    back = back if back is not None and back.start() < _AFTER else None
    taken = back is not None and any(character.isdigit() for character in text[one.end + back.end() :])
    return replace(one, taken_back=taken)


def _hashes(text: str) -> list[Marked]:
    """`#### 18`; not a heading of markdown (#### Step 1, #### 1. First)."""
    found = []
    for match in _HASH.finditer(text):
        content = match[1].partition("####")[0]
        if content.strip() and not _HEADING.match(content.strip()):
            found.append(Marked(content.strip(), match.start(), match.end() + len(content)))
    return found


def _answers(text: str) -> list[Marked]:
    found = []
    for match in _ANSWER.finditer(text):
        content = _sentence(match[2])
        if content and not _DENIED.match(content):
            start = match.start(2)
            weak = match["colon"] is not None and len(content) > 60
            found.append(Marked(content, match.start(), start + len(content), weak=weak))
    return found


def _boxes(text: str) -> list[Marked]:
    found = []
    for match in _BOXED.finditer(text):
        inside = _braced(text, match.end())
        if inside is not None and inside.strip():
            found.append(Marked(inside.strip(), match.start(), match.end() + len(inside) + 1, boxed=True))
    return found


def _sentence(line: str) -> str:
    """A line to the end of its first sentence; mathematics between dollars is never cut."""
    for match in _SENTENCE.finditer(line):
        if line.count("$", 0, match.start()) % 2 == 0 or line.count("$") % 2:
            return line[: match.start()].strip()
    return line.strip()


def _braced(text: str, start: int) -> str | None:
    """The text from `start` to the brace that closes it; None without one in 800 characters."""
    depth = 1
    for at in range(start, min(len(text), start + 2 * _CONTENT)):
        if text[at] in "{}" and text[at - 1] != "\\":
            depth += 1 if text[at] == "{" else -1
        if not depth:
            return text[start:at]
    return None


def boxes(solution: str) -> list[str]:
    r"""What the boxes of a reference solution hold, \boxed{5} or "\boxed 5", in their order."""
    return [one.text for one in _boxes(solution)] or re.findall(r"\\(?:boxed|fbox)\s+([^\s$.,]{1,100})", solution)
