r"""Exact numbers in answers to maths problems: 1,234,567, 1e5, 3/4, 2\frac{1}{2}, -$8.60, 15 %, 72 clips.

Nothing is rounded, and no number is read out of what only begins with one (2x, 3-4, 1101_4, "6, -2").
"""

from __future__ import annotations

import re
from fractions import Fraction

from evollab.data.final_answer import Number

LONGEST = 400
"""Characters that an answer may have; what is longer is no number, and is compared as text alone."""
_INTEGER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,100})"
_DECIMAL = rf"(?:{_INTEGER}(?:\.\d{{0,100}})?|\.\d{{1,100}})"
_TEN = r"\s?(?:\\times|\\cdot|×|·|x|\*)\s?10\s?(?:\^|\*\*)\s?\{?\s?"
_POWER = rf"(?:[eE](?P<e>[+-]?\d{{1,3}})(?!\d)|{_TEN}(?P<ten>[+-]?\d{{1,3}})\s?\}}?(?!\d))"
_SOME_POWER = _POWER.replace("?P<e>", "").replace("?P<ten>", "")
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?)\s?(?:(?P<whole>\d{{1,100}})\s(?P<part>\d{{1,100}})\s?/\s?(?P<of>\d{{1,100}})"
    rf"|(?P<top>{_DECIMAL})\s?/\s?(?P<below>{_DECIMAL})|(?P<plain>{_DECIMAL}){_POWER}?)"
    r"(?P<percent>\s?%|\s?percent\b)?"
)
_LAST = re.compile(
    rf"(?<![\w.^\\])(?:-\s?)?\$?(?:{_DECIMAL}\s?/\s?{_INTEGER}(?![\d/])|{_DECIMAL}{_SOME_POWER}?)(?:\s?%)?"
    r"(?![_^]|(?:st|nd|rd|th)\b)"
)
_UNIT = re.compile(
    r"(?:\s[^\W\d_]{2}[^\d=+*<>(){}\[\]\\,;^_]{0,80}|(?:km|cm|mm|kg|mg|ml|lbs?|ft|mph|hrs?|mins?))", re.IGNORECASE
)
_NO_UNIT = re.compile(r"\b(?:and|or|plus|minus|times|pi|sqrt|log|ln|sin|cos|tan|xy|ab|to)\b", re.IGNORECASE)
_TEXT = re.compile(r"\\(?:text|textrm|textbf|mbox|mathrm|mathbf|operatorname)\s?\{([^{}]{0,100})\}")
_TEXT_UNIT = re.compile(
    r"(?<=[\w}%)])\s*\\(?:text|textrm|textit|mbox|mathrm)\s?\{\s*(?!and\b|or\b)[^{}\d]{0,60}\}"
    r"(?:\^\s?(?:\{\s?\d\s?\}|\d))?\s*\.?$"
)
_MEASURED = re.compile(r"\d|\\pi")
_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{\s*([^{}]{1,100}?)\s*\}|(\d))\s*(?:\{\s*([^{}]{1,100}?)\s*\}|(\d))")
_NOISE = re.compile(
    r"\\[!,;: ]|\\left(?![a-z])|\\right(?![a-z])|\^\s?\{?\s?\\circ\s?\}?|°|\\?\$|[€£¥₹]|\\displaystyle|~"
)
_COMMA = re.compile(r"\d,\d{3}(?!\d)")
_LEFT = re.compile(r"^[a-zA-Z]{1,12}\s?=\s?")


def without_unit(text: str) -> str:
    r"""`text` without a unit in \text{...} at its end."""
    bare = _TEXT_UNIT.sub("", text)
    return bare if _MEASURED.search(bare) else text


def exact(text: str) -> Number | None:
    """The number that `text` is, with or without a unit or currency; None for anything else, also for a division by
    zero and for more than 400 characters."""
    if len(text) > LONGEST:
        return None
    tidy = _tidy(text)
    match = _NUMBER.match(tidy)
    if match is None:
        return None
    rest = tidy[match.end() :].rstrip(". ")
    if rest and (not _UNIT.fullmatch(rest) or _NO_UNIT.search(rest)):
        return None
    return _value(match)


def may_be_list(text: str) -> bool:
    """Whether a comma in `text` that looks like one of thousands may part two numbers: 70,110 (but not 70{,}110)."""
    return _COMMA.search(text) is not None


def numbers_in(text: str) -> list[Number]:
    """All numbers in a text, in their order."""
    found = (exact(match[0].strip()) for match in _LAST.finditer(text.replace("−", "-").replace("{,}", ",")))
    return [one for one in found if one is not None]


def _tidy(text: str) -> str:
    text = text.replace("{,}", ",").replace("−", "-").replace("–", "-").replace("\\%", "%")
    text = without_unit(text.strip().strip("*_`").strip())
    text = _FRACTION.sub(lambda m: f" {m[1] or m[2]}/{m[3] or m[4]}", _TEXT.sub(r" \1 ", text))
    text = " ".join(_NOISE.sub("", text).split()).strip("*_`\"': ").removeprefix("\\(").removesuffix("\\)").strip()
    text = _LEFT.sub("", text)
    return text[1:-1] if re.fullmatch(r"\([^(),]+\)", text) else text


def _value(match: re.Match[str]) -> Number | None:
    try:
        if match["whole"]:
            value = int(match["whole"]) + Fraction(int(match["part"]), int(match["of"]))
        elif match["top"]:
            value = _fraction(match["top"]) / _fraction(match["below"])
        else:
            value = _fraction(match["plain"]) * Fraction(10) ** int(match["e"] or match["ten"] or 0)
    except ZeroDivisionError:
        return None
    return Number(-value if match["sign"] == "-" else value, bool(match["percent"]))


def _fraction(text: str) -> Fraction:
    return Fraction(text.replace(",", "").rstrip(".") or "0")
