"""HumanEval+: HumanEval with more tests and corrected solutions (Liu et al. 2023, 2305.01210)."""

from __future__ import annotations

from functools import partial

from evollab.data.rows import Row
from evollab.evals.code.given import Reading, reader
from evollab.evals.code.grade import GRADER, grade_code
from evollab.evals.code.passk import pass_metrics
from evollab.evals.code.plus import plus_problem
from evollab.evals.code.prompts import humaneval_prompts
from evollab.evals.task import Task, identity, text
from evollab.evals.tasks.humaneval import texts
from evollab.evals.trial import Question, Trial

READING = Reading("HumanEval/{}".format, 0, partial(plus_problem, mbpp=False))


def question(row: Row) -> Question:
    problem = plus_problem(row.fields, mbpp=False)
    return Question(identity(row, "task_id"), (text(row.fields, "prompt"),), problem)


TASK = Task(
    name="humaneval_plus",
    about="HumanEval's 164 functions with 80 times the tests",
    licence="Apache-2.0",
    hub=("evalplus/humanevalplus:test",),
    files=("humaneval_plus", "humanevalplus"),
    texts=texts,
    home="github.com/evalplus/humanevalplus_release",
    trial=Trial(
        question=question,
        prompts=humaneval_prompts(),
        grade=grade_code,
        grader=GRADER,
        metrics=pass_metrics,
        given=reader(READING),
        expected=164,
    ),
)
