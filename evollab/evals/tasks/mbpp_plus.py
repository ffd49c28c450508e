"""MBPP+: the well-formed part of MBPP with more tests (Liu et al. 2023, 2305.01210)."""

from __future__ import annotations

from functools import partial

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.code.given import Reading, reader
from evollab.evals.code.grade import GRADER, grade_code
from evollab.evals.code.passk import pass_metrics
from evollab.evals.code.plus import plus_problem, told_in
from evollab.evals.code.prompts import mbpp_plus_prompts
from evollab.evals.task import Task, identity, text
from evollab.evals.trial import Question, Trial

READING = Reading("Mbpp/{}".format, None, partial(plus_problem, mbpp=True))


def texts(row: Row) -> BenchmarkItem:
    return BenchmarkItem(
        identity(row, "task_id"), text(row.fields, "prompt"), text(row.fields, "canonical_solution", "code")
    )


def question(row: Row) -> Question:
    name = identity(row, "task_id")
    problem = plus_problem(row.fields, mbpp=True)
    return Question(f"Mbpp/{name}" if name.isdecimal() else name, (told_in(text(row.fields, "prompt")),), problem)


TASK = Task(
    name="mbpp_plus",
    about="378 problems of MBPP, reworded, with 35 times the tests",
    licence="Apache-2.0",
    hub=("evalplus/mbppplus:test",),
    files=("mbpp_plus", "mbppplus"),
    texts=texts,
    home="github.com/evalplus/mbppplus_release",
    trial=Trial(
        question=question,
        prompts=mbpp_plus_prompts(),
        grade=grade_code,
        grader=GRADER,
        metrics=pass_metrics,
        given=reader(READING),
        expected=378,
    ),
)
