"""HumanEval: Python functions to complete (Chen et al. 2021, 2107.03374)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.task import Task, identity, text


def texts(row: Row) -> BenchmarkItem:
    # By task id: six entry points occur twice.
    return BenchmarkItem(
        identity(row, "task_id"), text(row.fields, "prompt"), text(row.fields, "canonical_solution", "code")
    )


TASK = Task(
    name="humaneval",
    about="164 Python functions to complete from signature and docstring",
    licence="MIT",
    hub=("openai/openai_humaneval:test",),
    files=("humaneval",),
    texts=texts,
    home="github.com/openai/human-eval",
)
