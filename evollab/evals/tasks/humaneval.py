"""HumanEval: Python functions to complete (Chen et al. 2021, 2107.03374)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.code.given import Reading, reader
from evollab.evals.code.grade import GRADER, grade_code
from evollab.evals.code.passk import pass_metrics
from evollab.evals.code.problem import humaneval_problem
from evollab.evals.code.prompts import humaneval_prompts
from evollab.evals.task import Task, identity, text
from evollab.evals.trial import Question, Trial

READING = Reading("HumanEval/{}".format, 0, humaneval_problem)


def texts(row: Row) -> BenchmarkItem:
    # By task id: six entry points occur twice.
    return BenchmarkItem(
        identity(row, "task_id"), text(row.fields, "prompt"), text(row.fields, "canonical_solution", "code")
    )


def question(row: Row) -> Question:
    problem = humaneval_problem(row.fields)
    return Question(identity(row, "task_id"), (problem.prompt,), problem)


TASK = Task(
    name="humaneval",
    about="164 Python functions to complete from signature and docstring",
    licence="MIT",
    hub=("openai/openai_humaneval:test",),
    files=("humaneval",),
    texts=texts,
    home="github.com/openai/human-eval",
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
