"""The final number of a response to a problem in words (GSM8K, MultiArith), by three rules.

    strict    the last marked answer that holds a number; one that is taken back counts for nothing
    flexible  the last number of the response, wherever it stands
    score     strict where something is marked and stands, else flexible
    string    the rule of Kojima et al. 2022 (2205.11916): the first number behind their cue "the answer (arabic
              numerals) is", else behind the last marker, commas taken out, equal to the gold answer as text
    numeric   the same number, equal to the gold answer as a number

A number equals another only exactly: 17.6 is not 18, and 0.5 is not 50, but 50 % is both 50 and 0.5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from evollab.data.final_answer import Number
from evollab.evals.math.markers import Marked, body, marked
from evollab.evals.math.number import exact, numbers_in
from evollab.evals.trial import Mark

_CUE = "(arabic numerals) is"
_FIRST = re.compile(r"-?\d{1,400}\.?\d{0,400}")


@dataclass(frozen=True, slots=True)
class Read:
    """What a response comes to. marked: the number at its marker, None where nothing marked stands. last: the last
    number. string: what Kojima's rule reads, "" for nothing. taken_back: the last marked answer was corrected."""

    marked: Number | None
    last: Number | None
    string: str
    taken_back: bool = False

    @property
    def final(self) -> Number | None:
        return self.marked if self.marked is not None else self.last


def read(text: str) -> Read:
    """The final number of a response. Never raises; linear in the length of the text."""
    text = body(text)
    found = [one for one in marked(text) if not (one.weak and text[one.end :].strip())]
    numbers = [(one, value) for one in found if (value := _value(one)) is not None]
    taken_back = bool(numbers) and numbers[-1][0].taken_back
    every = numbers_in(text)
    return Read(
        numbers[-1][1] if numbers and not taken_back else None,
        every[-1] if every else None,
        _string(text, found),
        taken_back,
    )


def _value(one: Marked) -> Number | None:
    """The number in a marked answer: the whole of it, else the first number behind its last equals sign, else its first
    number ("42 + 66 = 108", "Mary has 5 apples for 3 days")."""
    whole = exact(one.text)
    if whole is not None:
        return whole
    inside = numbers_in(one.text.rpartition("=")[2]) or numbers_in(one.text)
    return inside[0] if inside else None


def _string(text: str, found: list[Marked]) -> str:
    behind = text.rpartition(_CUE)[2] if _CUE in text else found[-1].text if found else ""
    first = _FIRST.search(behind.replace(",", ""))
    return first[0].removesuffix(".") if first else ""


def mark(gold: str, text: str, spelt: str | None = None) -> Mark:
    """The mark of one response against the gold answer, as it stands in the data ("10,800"). spelt: as the outputs
    themselves spell it, where they do; the rule "string" compares with that."""
    got = read(text)
    right = exact(gold)
    if right is None:
        return Mark(None, reason=f"the gold answer {gold[:60]!r} is no number", failure="bad gold")
    more: dict[str, float | None] = {
        "strict": float(got.marked is not None and got.marked.same(right)),
        "flexible": float(got.last is not None and got.last.same(right)),
        "string": float(got.string == (gold if spelt is None else spelt).strip()),
        "numeric": float(got.string != "" and Fraction(got.string) == right.value),
    }
    final = got.final
    if final is None:
        return Mark(0.0, reason="no number in the response", failure="no answer", more=more)
    how = "marked" if got.marked is not None else "the last number" + (" after a correction" if got.taken_back else "")
    return Mark(float(final.same(right)), written(final), f"read {written(final)} ({how}); right is {gold}", more=more)


def written(number: Number) -> str:
    """A number as people write it."""
    return f"{number.value}{' %' if number.percent else ''}"
