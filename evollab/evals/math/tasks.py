"""The trials of the maths benchmarks: problems in words (one number is right) and competition problems (a formula)."""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from evollab.data.formats import BadFields
from evollab.data.rows import Row
from evollab.evals.math import compat as math_compat
from evollab.evals.math import competition as math_competition
from evollab.evals.math import words as math_words
from evollab.evals.math.given import reader
from evollab.evals.math.kind import kind_of
from evollab.evals.math.markers import boxes
from evollab.evals.math.number import exact
from evollab.evals.math.pool import Pool, pool
from evollab.evals.math.pool import Question as Algebra
from evollab.evals.math.prompts import FEW_SHOT, FORMULA, NUMBER, presets
from evollab.evals.task import identity, text
from evollab.evals.trial import Answer, Mark, Question, Tools, Trial, greedy

_SHORT = 400
"""Characters up to which a field without a box is an answer, not a solution."""
COMPAT = "compat wizardlm"


def words_trial(question: Callable[[Row], Question | None], expected: int) -> Trial:
    """The trial of a set of problems in words. question: see `Trial`; its gold is the number, as the data has it."""
    return Trial(
        question=question,
        prompts=presets(NUMBER, {"few-shot": FEW_SHOT}),
        grade=grade_words,
        grader="exact numbers 1",
        sampling=greedy(1024),
        given=reader(number_gold),
        expected=expected,
    )


def number_gold(value: Any) -> str | None:
    """The right number in a field: what stands behind ####, or the whole of it; None where that is no number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        value = str(int(value)) if value == int(value) else str(value)
    if not isinstance(value, str):
        return None
    value = value.rpartition("####")[2].strip()
    return value if exact(value) is not None else None


async def grade_words(answers: Sequence[Answer], tools: Tools) -> Sequence[Mark]:
    """Marks by `math_words`; see there for the rules."""
    return await asyncio.to_thread(_grade_words, answers, tools.compat)


def _grade_words(answers: Sequence[Answer], compat: str) -> list[Mark]:
    marks = []
    for answer in answers:
        gold = _gold(answer)
        spelt = None if answer.given is None or answer.given.gold is None else str(answer.given.gold)
        mark = math_words.mark(str(gold or ""), _said(answer), spelt)
        if compat == "wizardlm":
            mark = _with(mark, math_compat.gsm8k_verdict(_said(answer), str(gold or "")))
        marks.append(mark)
    return marks


def competition_question(row: Row) -> Question | None:
    """A row of MATH: problem, solution with a box, or answer; level and subject where it has them."""
    gold = formula_gold(row.fields.get("answer"))
    if gold is None and boxes(solution := text(row.fields, "solution")):
        gold = formula_gold(solution)
    if gold is None:
        raise BadFields("no right answer: neither an answer nor a \\boxed{} in the solution")
    problem = text(row.fields, "problem", "question")
    facts = {
        "level": str(row.fields.get("level", "")).removeprefix("Level "),
        "subject": str(row.fields.get("subject", row.fields.get("type", ""))),
        "answer": kind_of(gold[0], problem),
    }
    return Question(
        identity(row, "unique_id", "idx"), (problem,), gold, {name: value for name, value in facts.items() if value}
    )


def formula_gold(value: Any) -> list[str] | None:
    r"""The right answers in a field, any of which will do: the last box of a solution (and all of its boxes together,
    where they differ); a short answer; a list of these. None where there is none."""
    if isinstance(value, list):
        every = [one for item in value for one in formula_gold(item) or ()]
        return list(dict.fromkeys(every)) or None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return [str(value)]
    if not isinstance(value, str) or not value.strip():
        return None
    found = list(dict.fromkeys(boxes(value)))
    if found:
        last = boxes(value)[-1]
        return [last] if len(found) == 1 else [last, ", ".join(found)]
    return [" ".join(value.split())] if len(value) <= _SHORT else None


def competition_trial(expected: int) -> Trial:
    """The trial of MATH or a part of it."""
    return Trial(
        question=competition_question,
        prompts=presets(FORMULA, {}),
        grade=grade_competition,
        grader="exact rules 1, math-verify",
        sampling=greedy(2048),
        given=reader(formula_gold),
        expected=expected,
        groups=("level", "subject", "answer"),
    )


async def grade_competition(answers: Sequence[Answer], tools: Tools) -> Sequence[Mark]:
    """Marks by `math_competition`; see there for the rules. Raises EvolError without math-verify."""
    rows = [(_golds(answer), _said(answer)) for answer in answers]
    marks = await asyncio.to_thread(math_competition.marks, rows, tools.workers)
    tools.facts["math-verify"] = importlib.metadata.version("math-verify")
    if tools.compat == "wizardlm":
        verdicts = await asyncio.to_thread(_compat_verdicts, rows, tools.workers)
        marks = [_with(mark, verdict) for mark, verdict in zip(marks, verdicts, strict=True)]
    return marks


def _compat_verdicts(rows: Sequence[tuple[Sequence[str], str]], workers: int) -> list[bool | None]:
    with pool(workers) as opened, ThreadPoolExecutor(workers) as threads:
        return list(threads.map(lambda row: _compat_verdict(row[0], row[1], opened), rows))


def _compat_verdict(golds: Sequence[str], said: str, opened: Pool) -> bool | None:
    """None where the script's algebra ran out of the time that it has here; there it has no limit."""
    unknown = False

    def symbolic(answer: str, gold: str) -> bool:
        nonlocal unknown
        verdict = opened.one(Algebra((gold,), answer, compat=True))
        unknown = unknown or bool(verdict.failure)
        return verdict.same

    right = math_compat.math_verdict(said, golds[0] if golds else None, symbolic)
    return None if unknown and not right else right


def _with(mark: Mark, verdict: bool | None) -> Mark:
    more = {**mark.more, COMPAT: None if verdict is None else float(verdict)}
    return Mark(mark.score, mark.extracted, mark.reason, mark.failure, more)


def _gold(answer: Answer) -> Any:
    """What is right: as the question has it, else as the row does that the answer came in."""
    if answer.question.gold is None and answer.given is not None:
        return answer.given.gold
    return answer.question.gold


def _golds(answer: Answer) -> tuple[str, ...]:
    gold = _gold(answer)
    return tuple(gold) if isinstance(gold, (list, tuple)) else (str(gold),) if gold is not None else ()


def _said(answer: Answer) -> str:
    return answer.texts[-1] if answer.texts else ""
