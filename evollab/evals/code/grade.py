"""Grading programs: each answer's program is taken out of its text and run against the problem's tests.

A test that the sandbox could not run says nothing of the program: its mark has no score.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

from evollab.evals.code.extract import Extracted, extract_code
from evollab.evals.code.passk import uneven
from evollab.evals.code.problem import Problem
from evollab.evals.trial import Answer, Mark, Tools
from evollab.sandbox.program import Outcome, Program

GRADER = "sandbox 1"
_AT_ONCE = 256
"""Programs that are laid out in memory together; each carries its tests, up to some 200 kB."""
NO_CODE = "no code"
NO_TESTS = "no tests"
INFRA = "infra_error"


class Runs(Protocol):
    """What of a sandbox is used."""

    def run(self, programs: Sequence[Program]) -> list[Outcome]: ...


async def grade_code(answers: Sequence[Answer], tools: Tools) -> Sequence[Mark]:
    """A `Grader`: 1 where all tests pass, with the score of the first tests alone as "base" where there are more.
    Raises EvolError where programs can't be isolated and `tools.unsafe_sandbox` is not set."""
    told = uneven(answers)
    if told:
        tools.facts.setdefault("notes", []).append(told)
    return await asyncio.to_thread(_in_sandbox, answers, tools)


def _in_sandbox(answers: Sequence[Answer], tools: Tools) -> list[Mark]:
    from evollab.sandbox import sandbox

    with sandbox(tools.workers, unsafe=tools.unsafe_sandbox) as box:
        tools.facts["isolation"] = box.isolation
        return marks_of(answers, box)


def marks_of(answers: Sequence[Answer], box: Runs) -> list[Mark]:
    """A mark for each answer. Of equal programs for one problem one is run."""
    marks: list[Mark] = []
    known: dict[tuple[str, str], Mark] = {}
    for start in range(0, len(answers), _AT_ONCE):
        some = answers[start : start + _AT_ONCE]
        found = [_program(answer) for answer in some]
        todo: dict[tuple[str, str], tuple[Problem, Extracted]] = {}
        for answer, (problem, code) in zip(some, found, strict=True):
            key = (answer.question.id, code.code)
            if key not in known:
                todo[key] = (problem, code)
        known.update(zip(todo, _run(list(todo.values()), box), strict=True))
        marks += [known[answer.question.id, code.code] for answer, (_, code) in zip(some, found, strict=True)]
    return marks


def _program(answer: Answer) -> tuple[Problem, Extracted]:
    problem = answer.question.gold
    if not isinstance(problem, Problem):
        problem = Problem()
    code = extract_code(answer.texts[-1] if answer.texts else "", problem.prompt, problem.entry)
    if problem.setup and code.code:
        code = Extracted(f"{problem.setup}\n{code.code}", code.how)
    return problem, code


def _run(found: Sequence[tuple[Problem, Extracted]], box: Runs) -> list[Mark]:
    """The tests of each problem, then, for those that pass, its further tests."""
    marks: dict[int, Mark] = {}
    first: dict[int, Program] = {}
    for at, (problem, code) in enumerate(found):
        if not problem.test and not problem.plus:
            marks[at] = Mark(None, code.code, "the problem has no tests", NO_TESTS)
        elif not code.code:
            marks[at] = Mark(0.0, "", "no Python in the answer", NO_CODE, _base(problem, 0.0))
        else:
            entry = problem.entry if problem.called else None
            first[at] = Program(code.code, problem.test, entry, problem.timeout)
    base = dict(zip(first, box.run(list(first.values())), strict=True))
    more = {
        at: Program(found[at][1].code, found[at][0].plus, found[at][0].entry if found[at][0].plus_called else None,
                    found[at][0].plus_timeout)
        for at, outcome in base.items() if outcome.verdict == "passed" and found[at][0].plus
    }  # fmt: skip
    plus = dict(zip(more, box.run(list(more.values())), strict=True)) if more else {}
    for at, outcome in base.items():
        problem, code = found[at]
        marks[at] = _mark(problem, code, outcome, plus.get(at))
    return [marks[at] for at in range(len(found))]


def _mark(problem: Problem, code: Extracted, base: Outcome, plus: Outcome | None) -> Mark:
    last = plus or base
    score = None if last.verdict == INFRA else float(last.verdict == "passed")
    known = None if base.verdict == INFRA else float(base.verdict == "passed")
    failure = "" if last.verdict in ("passed", "failed") else last.verdict
    words = [f"{'further tests ' if plus else ''}{last.verdict}", last.detail.strip(" :"), f"code: {code.how}"]
    return Mark(score, code.code, _joined(words), failure, _base(problem, known))


def _base(problem: Problem, score: float | None) -> dict[str, float | None]:
    return {"base": score} if problem.plus else {}


def _joined(words: Iterable[str]) -> str:
    return "; ".join(word for word in words if word)
