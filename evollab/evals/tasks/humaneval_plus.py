"""HumanEval+: HumanEval with more tests and corrected solutions (Liu et al. 2023, 2305.01210)."""

from __future__ import annotations

from evollab.evals.task import Task
from evollab.evals.tasks.humaneval import texts

TASK = Task(
    name="humaneval_plus",
    about="HumanEval's 164 functions with 80 times the tests",
    licence="Apache-2.0",
    hub=("evalplus/humanevalplus:test",),
    files=("humaneval_plus", "humanevalplus"),
    texts=texts,
    home="github.com/evalplus/humanevalplus_release",
)
