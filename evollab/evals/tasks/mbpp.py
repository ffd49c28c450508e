"""MBPP: short Python problems, the test set of 500 (Austin et al. 2021, 2108.07732)."""

from __future__ import annotations

import dataclasses

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.code.given import Reading, reader
from evollab.evals.code.grade import GRADER, grade_code
from evollab.evals.code.passk import pass_metrics
from evollab.evals.code.problem import mbpp_problem, signature
from evollab.evals.code.prompts import mbpp_prompts
from evollab.evals.task import Task, identity, text
from evollab.evals.trial import Question, Trial

TEST = range(11, 511)
"""Task ids of the test set; a file of all 974 holds prompts, validation and training rows besides."""
LONG_ASSERTS = "493"
"""Its asserts are longer than all the others together: prompts show the function's head in their place."""
READING = Reading(str, TEST.start, mbpp_problem)


def texts(row: Row) -> BenchmarkItem | None:
    if not _tested(row):
        return None
    return BenchmarkItem(
        identity(row, "task_id"), text(row.fields, "text", "prompt"), text(row.fields, "code", "canonical_solution")
    )


def question(row: Row) -> Question | None:
    if not _tested(row):
        return None
    problem = mbpp_problem(row.fields)
    name = identity(row, "task_id")
    if name == LONG_ASSERTS and problem.entry:
        head = signature(text(row.fields, "code"), problem.entry)
        problem = dataclasses.replace(problem, asserts=(head,) if head else problem.asserts)
    return Question(name, (text(row.fields, "text", "prompt"),), problem)


def _tested(row: Row) -> bool:
    number = row.fields.get("task_id")
    return not isinstance(number, int) or number in TEST


TASK = Task(
    name="mbpp",
    about="500 short Python problems",
    licence="CC-BY-4.0",
    hub=("google-research-datasets/mbpp/full:test",),
    files=("mbpp", "mbpp_test"),
    texts=texts,
    home="github.com/google-research/google-research/tree/master/mbpp",
    trial=Trial(
        question=question,
        prompts=mbpp_prompts(),
        grade=grade_code,
        grader=GRADER,
        metrics=pass_metrics,
        given=reader(READING),
        expected=500,
    ),
)
