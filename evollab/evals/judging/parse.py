"""Reading a judge's verdict: the last line that is one, at the end of the reply.

What a judge quotes from an answer ("... ends with [[10]], as if") stands inside a sentence or above the last line, so
it is never taken for the verdict. What is out of range or missing is None; it never becomes a mark.
"""

from __future__ import annotations

import re
from typing import Literal

Choice = Literal["A", "B", "tie"]
_LOOKED_AT = 2000
"""Characters at the end of a reply that are read."""
_LAST = 3
"""Lines at the end of a reply among which the verdict must be: a reply that was cut off while it quotes has none."""
_DRESS = " \t\r\n*_`#.\"'"
_LEAD = r"(?:[A-Za-z ,'*_-]{0,60}[:=]|[A-Za-z ,'-]{0,60}\bis)?[\s*_`]{0,4}"
_NUMBER = r"(\d{1,3}(?:\.\d{1,3})?)(?:\s?/\s?10)?"
_RATING = re.compile(rf"{_LEAD}\[\[\s?{_NUMBER}\s?\]\](?:\s?/\s?10)?")
_CHOICE = re.compile(rf"{_LEAD}\[\[\s?([ABCabc]|[Tt]ie)\s?\]\]")
_SCORES = re.compile(rf"{_LEAD}\[\[\s?{_NUMBER}\s?\]\][\s,;&|and]{{0,8}}{_LEAD}\[\[\s?{_NUMBER}\s?\]\]")
_AT_END = re.compile(
    rf"\b(?:[Rr]at(?:e|ing)|[Ss]cor(?:e|ing)|[Mm]ark|[Gg]ive)\b[^\[\]\n]{{0,80}}\[\[\s?{_NUMBER}\s?\]\]\Z"
)
"""A sentence of the last line that ends in the mark: "I would rate the answer a [[9]]."."""
LOWEST, HIGHEST = 1.0, 10.0


def read_rating(reply: str) -> float | None:
    """The mark from 1 to 10 of a single answer: "[[7]]", "Rating: [[8.5]]", "**Rating: [[7]]**"."""
    for at, line in enumerate(_lines(reply)):
        found = _RATING.fullmatch(line) or (_AT_END.search(line) if at == 0 else None)
        if found:
            return in_range(found[1])
    return None


def read_choice(reply: str) -> Choice | None:
    """Which of two: "[[A]]", "[[B]]", "[[C]]" for a tie."""
    for line in _lines(reply):
        found = _CHOICE.fullmatch(line)
        if found:
            letter = found[1].upper()
            return "tie" if letter in ("C", "TIE") else "A" if letter == "A" else "B"
    return None


def read_scores(reply: str) -> tuple[float, float] | None:
    """The marks of A and of B: "[[7]] [[5]]", "A: [[7]], B: [[5]]"; None unless both are there."""
    for line in _lines(reply):
        found = _SCORES.fullmatch(line)
        if found:
            one, other = in_range(found[1]), in_range(found[2])
            return None if one is None or other is None else (one, other)
    return None


def in_range(text: str) -> float | None:
    value = float(text)
    return value if LOWEST <= value <= HIGHEST else None


def _lines(reply: str) -> list[str]:
    """The last lines that are not blank, the last first; reasoning before </think> doesn't count, nor do quotations
    (they keep their ">")."""
    text = reply.rpartition("</think>")[2][-_LOOKED_AT:]
    return [line for line in (line.strip(_DRESS) for line in reversed(text.splitlines())) if line][:_LAST]
