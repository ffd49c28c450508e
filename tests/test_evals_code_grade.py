"""Answers graded: what is run, what is counted, and the sandbox's verdicts on small problems of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from evollab.data.rows import Row
from evollab.evals.code.grade import grade_code, marks_of
from evollab.evals.sources import find_task
from evollab.evals.trial import Answer, Mark, Question, Tools, Trial
from evollab.sandbox.program import Outcome, Program, Verdict

HUMANEVAL: dict[str, Any] = {
    "task_id": "HumanEval/900", "entry_point": "second", "canonical_solution": "    return first(values[1:])\n",
    "prompt": "def first(values):\n    return values[0]\n\n\ndef second(values):\n    ''' The second value. '''\n",
    "test": "def check(candidate):\n    assert candidate([1, 2, 3]) == 2\n    assert candidate('ab') == 'b'\n",
}  # fmt: skip
PLUS: dict[str, Any] = HUMANEVAL | {"base_input": [[[1, 2, 3]], ["ab"]], "plus_input": [[[[0], [0.5]]]], "atol": 0}
MBPP: dict[str, Any] = {
    "task_id": 12, "text": "Write a function to swap a pair.", "test_setup_code": "LIMIT = 9",
    "code": "def swap(pair):\r\n    assert LIMIT\r\n    return (pair[1], pair[0])",
    "test_list": ["assert swap((1, 2)) == (2, 1)", "assert swap((LIMIT, 0)) == (0, 9)"],
}  # fmt: skip


class Box:
    """Verdicts by what stands in the code; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Program] = []

    def run(self, programs: Sequence[Program]) -> list[Outcome]:
        self.asked += programs
        return [Outcome(self._verdict(one), "why", 0.1) for one in programs]

    def _verdict(self, program: Program) -> Verdict:
        for word in ("timeout", "infra_error", "crashed"):
            if word in program.code:
                return "timeout" if word == "timeout" else "infra_error" if word == "infra_error" else "crashed"
        return "failed" if "x = 1" in program.code else "passed"


def answers(row: dict[str, Any], task: str, *texts: str) -> list[Answer]:
    trial = find_task(task).trial
    assert isinstance(trial, Trial)
    question = trial.question(Row(1, row))
    assert question is not None
    return [Answer(question, (text,), sample) for sample, text in enumerate(texts)]


def test_verdicts_become_marks() -> None:
    texts = ("    return 1", "    x = 'timeout'", "    x = 'infra_error'", "    x = 'crashed'", "    x = 1", "No.")
    found = marks_of(answers(HUMANEVAL, "humaneval", *texts), Box())
    assert [(one.score, one.failure) for one in found] == [
        (1.0, ""), (0.0, "timeout"), (None, "infra_error"), (0.0, "crashed"), (0.0, ""), (0.0, "no code"),
    ]  # fmt: skip
    assert found[0].reason == "passed; why; code: continued"
    assert found[0].extracted == HUMANEVAL["prompt"] + "    return 1\n"


def test_equal_programs_are_run_once_and_limits_are_the_reference_s() -> None:
    box = Box()
    found = marks_of(answers(HUMANEVAL, "humaneval", *["    return 1"] * 300, "    return 2"), box)
    assert len(found) == 301
    assert [(one.timeout, one.entry) for one in box.asked] == [(3.0, "second")] * 2


def test_further_tests_are_run_where_the_first_are_passed() -> None:
    box = Box()
    found = marks_of(answers(PLUS, "humaneval_plus", "    return 1", "    x = 1", "No."), box)
    assert [(one.score, dict(one.more)) for one in found] == [
        (1.0, {"base": 1.0}), (0.0, {"base": 0.0}), (0.0, {"base": 0.0}),
    ]  # fmt: skip
    assert len(box.asked) == 3
    assert found[0].reason.startswith("further tests passed")


def test_setup_comes_before_the_program_and_the_tests() -> None:
    box = Box()
    marks_of(answers(MBPP, "mbpp", "```\ndef swap(pair):\n    return pair\n```"), box)
    (asked,) = box.asked
    assert asked.code == "LIMIT = 9\ndef swap(pair):\n    return pair"
    assert asked.test.startswith("LIMIT = 9\nassert swap((1, 2))")
    assert asked.entry is None


def test_a_problem_without_tests_says_nothing() -> None:
    (found,) = marks_of([Answer(Question("x", ("",)), ("def f(): return 1",))], Box())
    assert found == Mark(None, "def f(): return 1", "the problem has no tests", "no tests")


def graded(given: Sequence[Answer]) -> tuple[list[Mark], dict[str, Any]]:
    tools = Tools(workers=2)
    return list(asyncio.run(grade_code(given, tools))), tools.facts


def test_the_sandbox_grades_all_four_benchmarks() -> None:
    right = {"humaneval": HUMANEVAL, "humaneval_plus": PLUS, "mbpp": MBPP}
    given = [one for task, row in right.items() for one in answers(row, task, str(row.get("code", "")) or
             row["canonical_solution"])]  # fmt: skip
    mbpp_plus = {
        "task_id": "Mbpp/12", "entry_point": "swap", "prompt": '"""\nSwap.\nassert swap((1, 2)) == (2, 1)\n"""\n',
        "canonical_solution": "def swap(pair):\n    return (pair[1], pair[0])", "atol": 0, "base_input": [[[1, 2]]],
        "assertion": "assert swap((1, 2)) == (2, 1)", "plus_input": [[[[], "x"]], [[0.5, 1.5]]],
    }  # fmt: skip
    given += answers(
        mbpp_plus, "mbpp_plus", "def swap(p):\n    a, b = p\n    return (b, a)", "def swap(p):\n    return p[::-1]"
    )
    given += answers(mbpp_plus, "mbpp_plus", "def swap(p):\n    return list(p)[::-1]")
    found, facts = graded(given)
    assert [one.score for one in found] == [1.0] * 5 + [0.0], [one.reason for one in found]
    assert facts["isolation"] in ("full", "landlock", "rlimits")
    assert "notes" not in facts or "not all questions" in facts["notes"][0]


def test_wrong_hanging_and_forging_programs() -> None:
    texts = (
        "    return values[0]", "    while True:\n        pass", "    import os\n    os._exit(0)",
        "    class Yes:\n        def __eq__(self, other):\n            return True\n    return Yes()",
        "    return values[1] if len(values) else print('passed')",
    )  # fmt: skip
    found, _ = graded(answers(HUMANEVAL, "humaneval", *texts))
    assert [one.score for one in found] == [0.0, 0.0, 0.0, 0.0, 1.0], [one.reason for one in found]
    assert [one.failure for one in found[:3]] == ["", "timeout", "crashed"]
