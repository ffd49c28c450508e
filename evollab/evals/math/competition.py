r"""Grading answers to competition problems (MATH, MATH-500): what a response's answer is, and whether it is right.

    strict    the last marked answer (\boxed{}, "The answer is", ####); several boxes of one sentence are one answer
    flexible  the last formula between dollars, or the last number, wherever it stands; of a response that is nothing
              but one formula or word, all of it
    score     strict where something is marked and stands, else flexible

Exact rules first (math_equal.py), then math-verify in a pool of processes (math_pool.py). An exception there and a
time-out are wrong, never right, and counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evollab.evals.math.equal import same
from evollab.evals.math.markers import Marked, body, boxes, marked
from evollab.evals.math.number import exact, numbers_in
from evollab.evals.math.pool import Question, Verdict, pool
from evollab.evals.math.words import written
from evollab.evals.trial import Mark

_SPAN = re.compile(
    r"(?<!\\)\$\$((?:\\.|[^$\\]){1,800})\$\$|(?<!\\)\$((?:\\.|[^$\\\n]){1,400})\$|\\\((.{1,400}?)\\\)|\\\[(.{1,800}?)\\\]",
    re.DOTALL,
)
_FORMAL = re.compile(r"[\d\\$]|^\W*[A-Z]\W*$")
_TAIL = 2000
_JOINT = re.compile(r"[\s$]*(?:,|;|,?\s?and|,?\s?or|\\text\{\s?(?:and|or)\s?\})?[\s$]*", re.IGNORECASE)
_LONGEST = 400
_BARE = 200
_COMMANDS = re.compile(r"\\[a-zA-Z]+")
_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True, slots=True)
class Read:
    """What a response comes to. marked: the marked answer, None where none stands. last: its last formula or number.
    taken_back: the last marked answer was corrected."""

    marked: str | None
    last: str | None
    taken_back: bool = False

    @property
    def final(self) -> str | None:
        return self.marked if self.marked is not None else self.last


def read(text: str) -> Read:
    """The answers of a response. Never raises; linear in the length of the text."""
    text = body(text)
    found = [one for one in marked(text) if not (one.weak and text[one.end :].strip())]
    if any(one.boxed for one in found):  # "the answer is positive" says nothing beside a box
        found = [one for one in found if one.boxed or _FORMAL.search(one.text)]
    taken_back = bool(found) and found[-1].taken_back
    return Read(None if taken_back or not found else _joined(text, found), _last(text), taken_back)


def _joined(text: str, found: Sequence[Marked]) -> str:
    r"""The last marked answer, with those boxes before it that only "and" or a comma parts from it."""
    answer = [_formula(found[-1].text)]
    for one, after in zip(reversed(found[:-1]), reversed(found), strict=False):
        between = text[one.end : after.start]
        if not (one.boxed and after.boxed):
            break
        if not between.strip(" $") or len(between) > 40 or not _JOINT.fullmatch(between):
            break
        answer.insert(0, _formula(one.text))
    return ", ".join(dict.fromkeys(answer))


def _formula(text: str) -> str:
    """A marked answer without the words around its formula and without markdown."""
    text = text.strip().strip("*_`").strip()
    spans = [next(part for part in match.groups() if part) for match in _SPAN.finditer(text)]
    if len(spans) == 1:
        return _unboxed(spans[0])
    if len(spans) > 1 and not re.search(r"[a-z]{3}", re.sub(r"\band\b|\bor\b", "", _SPAN.sub("", text))):
        return ", ".join(map(_unboxed, spans))
    return _unboxed(spans[-1]) if spans else _unboxed(text)


def _unboxed(text: str) -> str:
    found = boxes(text)
    return (found[-1] if found else text).strip().rstrip(".").strip()


def _last(text: str) -> str | None:
    if _is_bare(text.strip()):
        return _unboxed(text)
    text = text[-_TAIL:]
    end, last = 0, None
    for match in _SPAN.finditer(text):
        end, last = match.end(), _unboxed(next(part for part in match.groups() if part))
    behind = numbers_in(text[end:])
    return written(behind[-1]) if behind else last


def _is_bare(text: str) -> bool:
    """Whether a whole response is nothing but an answer: a number with its unit, a formula, or one word."""
    if not text or len(text) > _BARE or "\n" in text or "$" in text or "\\(" in text or "\\[" in text:
        return False
    return text.isalpha() or exact(text) is not None or not _WORD.search(_COMMANDS.sub(" ", text))


def candidates(answer: str) -> tuple[str, ...]:
    """The answer, and what stands behind its last equals sign, where it is a chain (2 + 3 = 5)."""
    tail = answer.rpartition("=")[2].strip()
    return (answer,) if tail == answer or not tail or "\\begin" in answer else (answer, tail)


def first_look(golds: Sequence[str], answer: str) -> bool | tuple[Question, ...]:
    """The verdict on an answer where exact rules have one, else what algebra is to be asked."""
    questions: list[Question] = []
    for candidate in candidates(answer):
        verdicts = [same(gold, candidate) for gold in golds]
        if any(verdicts):
            return True
        undecided = tuple(gold for gold, verdict in zip(golds, verdicts, strict=True) if verdict is None)
        if undecided and len(candidate) <= _LONGEST:
            questions.append(Question(undecided, candidate))
    return tuple(questions) or False


def decide(looked: bool | tuple[Question, ...], verdicts: Mapping[Question, Verdict]) -> Verdict:
    """The verdict on an answer after algebra was asked. failure: of algebra, where nothing made the answer right."""
    if isinstance(looked, bool):
        return Verdict(looked)
    asked = [verdicts[question] for question in looked]
    if any(verdict.same for verdict in asked):
        return Verdict(True)
    return Verdict(False, next((verdict.failure for verdict in asked if verdict.failure), ""))


def marks(rows: Sequence[tuple[Sequence[str], str]], workers: int) -> list[Mark]:
    """The marks of responses: (right answers, any of which will do; response). Starts processes where it needs algebra.

    Raises EvolError where math-verify is not installed.
    """
    reads = [read(text) for _, text in rows]
    looks: dict[tuple[tuple[str, ...], str], bool | tuple[Question, ...]] = {}
    for (golds, _), got in zip(rows, reads, strict=True):
        for answer in (got.marked, got.last):
            if answer is not None and (tuple(golds), answer) not in looks:
                looks[tuple(golds), answer] = first_look(golds, answer)
    questions = [question for looked in looks.values() if isinstance(looked, tuple) for question in looked]
    with pool(workers) as opened:
        verdicts = dict(zip(questions, opened.all(questions), strict=True))

    def verdict(golds: Sequence[str], answer: str | None) -> Verdict | None:
        return None if answer is None else decide(looks[tuple(golds), answer], verdicts)

    return [
        _mark(golds, got, verdict(golds, got.marked), verdict(golds, got.last))
        for (golds, _), got in zip(rows, reads, strict=True)
    ]


def _mark(golds: Sequence[str], got: Read, strict: Verdict | None, flexible: Verdict | None) -> Mark:
    if not any(gold.strip() for gold in golds):
        return Mark(None, reason="there is no right answer to compare with", failure="bad gold")
    more: dict[str, float | None] = {
        "strict": float(strict is not None and strict.same), "flexible": float(flexible is not None and flexible.same),
    }  # fmt: skip
    final = strict if strict is not None else flexible
    if got.final is None or final is None:
        return Mark(0.0, reason="no answer in the response", failure="no answer", more=more)
    how = "marked" if strict is not None else "the last formula" + (" after a correction" if got.taken_back else "")
    reason = f"read {got.final[:100]} ({how}); right is {' or '.join(golds)[:200]}"
    failure = f"math-verify: {final.failure}" if final.failure else ""
    return Mark(float(final.same), got.final[:_LONGEST], reason, failure, more)
