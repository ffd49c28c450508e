"""The final answer of a response, and whether two are the same: exact numbers, choices, nothing by rounding."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

_LONGEST = 200
"""Characters that a final answer may have."""
_LOOKED_AT = 20_000
"""Characters at the end of a response in which it is looked for."""
_TAIL = 600
"""Characters at the end in which a number without a marker counts as the answer."""
_MARKED = re.compile(
    r"####[ \t]*([^\n]{1,400})"
    r"|\b(?:the|my)\s(?:final\s|correct\s|right\s)?answer\sis(?:\s?:|\b)[ \t]*([^\n]{1,400})"
    r"|^[\W_]{0,8}(?:final\s)?answer[*_]{0,3}\s?[:=][*_ \t]*([^\n]{1,400})",
    re.IGNORECASE | re.MULTILINE,
)
_BOXED = re.compile(r"\\f?box(?:ed)?\s?\{")
_INTEGER = r"(?:\d{1,3}(?:,\d{3})+|\d{1,100})"
_DECIMAL = rf"(?:{_INTEGER}(?:\.\d{{0,100}})?|\.\d{{1,100}})"
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?)\s?(?:(?P<whole>\d{{1,100}})\s(?P<part>\d{{1,100}})\s?/\s?(?P<of>\d{{1,100}})"
    rf"|(?P<top>{_DECIMAL})\s?/\s?(?P<below>{_DECIMAL})|(?P<plain>{_DECIMAL}))(?P<percent>\s?(?:%|percent\b))?"
)
_ENDS = re.compile(r"(?:\s?$|\.(?:\s|$)|[,;]\s|\s?\(|\s(?!(?:pi|e|i|k|n|x|y|z)\b)[^\W\d_][^\d=+*^\\<>(]*(?:$|\())")
"""What may stand behind a number that is the whole answer: nothing, a sentence's end, a bracket, a unit."""
_LOOSE = re.compile(rf"(?<![\w.,/^])-?{_DECIMAL}(?:/{_INTEGER})?%?(?![\w^/])")
_CHOICE = re.compile(r"(?:(?i:option|choice)\s)?\(?([A-J])\)?(?:[.):]?$|[.):]\s.{1,200}$)", re.DOTALL)
_WRAPPED = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox)\s?\{([^{}]{0,100})\}")
_FRACTION = re.compile(r"\\[dt]?frac\s?\{([^{}]{1,100})\}\s?\{([^{}]{1,100})\}")
_NOISE = re.compile(r"\\[!,;: ]|\\left|\\right|\^\s?\{?\\circ\}?|°|\\?\$|€|£|[*`]")
_LEFT = re.compile(r"^[a-zA-Z]{0,12}\s?=\s?")

Verdict = Literal["right", "wrong", "none", "unsure"]


@dataclass(frozen=True, slots=True)
class Number:
    """An exact number; percent: it stood before a percent sign (15 % is both 15 and 0.15)."""

    value: Fraction
    percent: bool = False

    def same(self, other: Number) -> bool:
        if self.value == other.value:
            return True
        if self.percent == other.percent:
            return False
        part, whole = (self, other) if self.percent else (other, self)
        return part.value / 100 == whole.value


def final_answer(text: str) -> str | None:
    r"""What the last of `#### ...`, `\boxed{...}`, "The answer is: ..." holds; None where there is none."""
    text = text[-_LOOKED_AT:]
    found, at = None, -1
    for match in _MARKED.finditer(text):
        found, at = match[match.lastindex or 0], match.start()
    for match in _BOXED.finditer(text):
        if match.start() > at and (inside := _braced(text, match.end())) is not None:
            found = inside
    return None if found is None else found.strip()[:_LONGEST] or None


def _braced(text: str, start: int) -> str | None:
    """The text from `start` to the brace that closes it."""
    depth = 1
    for at in range(start, min(len(text), start + 2 * _LONGEST)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if not depth:
            return text[start:at]
    return None


def tidied(text: str) -> str:
    """A final answer without the marks of LaTeX and markdown, without currency signs and a left side (x =)."""
    text = text[:_LONGEST].replace("{,}", ",").replace("−", "-").replace("\\%", "%").replace("\\ ", " ")
    text = _WRAPPED.sub(r"\1", text)
    text = _FRACTION.sub(r" \1/\2", text)
    text = " ".join(_NOISE.sub("", text).split())
    text = _LEFT.sub("", text.strip("[]:\"' "))
    return text[1:-1] if re.fullmatch(r"\([^()]+\)", text) and not re.fullmatch(r"\([A-Ja-j]\)", text) else text


def number(text: str) -> Number | None:
    """The number that a final answer is, exact: 1,234.5, 3/4, 1 1/2, -7, 15 %, 72 clips. None for anything else, also
    for what only begins with a number (3-4, 5x, 2^3, 12,34) and for a division by zero."""
    text = tidied(text)
    match = _NUMBER.match(text)
    if match is None or not _ENDS.match(text, match.end()):
        return None
    sign = -1 if match["sign"] == "-" else 1
    try:
        if match["whole"]:
            value = int(match["whole"]) + Fraction(int(match["part"]), int(match["of"]))
        elif match["top"]:
            value = _exact(match["top"]) / _exact(match["below"])
        else:
            value = _exact(match["plain"])
    except ZeroDivisionError:
        return None
    return Number(sign * value, bool(match["percent"]))


def _exact(text: str) -> Fraction:
    return Fraction(text.replace(",", "").rstrip(".") or "0")


def choice(text: str) -> str | None:
    """The letter from A to J that a final answer is: B, (B), B) 96 cm, "Option B"."""
    tidy = tidied(text)
    match = _CHOICE.match(tidy.rstrip("."))
    if match is None:
        match = re.match(r"\(([a-j])\)", tidy)
    return None if match is None else match[1].upper()


def checkable(reference: str) -> bool:
    """Whether a reference's final answer is a bare number or a choice, so that a rule can compare with it."""
    final = final_answer(reference)
    if final is None:
        return False
    if choice(final) is not None:
        return True
    exact = number(final)
    return exact is not None and not re.search(r"[^\W\d_]", re.sub(r"percent\b", "", tidied(final)))


def compare(reference: str, candidate: str) -> Verdict:
    """Is the candidate's final answer that of the reference?

    right, wrong; none: the candidate comes to no final answer; unsure: a rule can't tell. Never raises.
    """
    wanted, got = final_answer(reference), final_answer(candidate)
    if wanted is None:
        return "unsure"
    if got is not None and _bare(wanted) == _bare(got):
        return "right"
    if not checkable(reference):
        return "unsure"
    letter = choice(wanted)
    if letter is not None:
        said = choice(got if got is not None else candidate.strip().rpartition("\n")[2][-_LONGEST:])
        if said is None:
            return "unsure" if got is not None else "none"
        return "right" if said == letter else "wrong"
    exact = number(wanted)
    assert exact is not None  # checkable said so
    mine = number(got) if got is not None else _last_number(candidate)
    if mine is None:
        return "none" if got is None else "wrong"
    return "right" if exact.same(mine) else "wrong"


def _last_number(text: str) -> Number | None:
    loose = _LOOSE.findall(text[-_TAIL:].replace("$", ""))
    return number(loose[-1]) if loose else None


def _bare(text: str) -> str:
    return re.sub(r"\s", "", tidied(text)).rstrip(".").casefold()
