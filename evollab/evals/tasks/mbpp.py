"""MBPP: short Python problems, the test set of 500 (Austin et al. 2021, 2108.07732)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.task import Task, identity, text

TEST = range(11, 511)
"""Task ids of the test set; a file of all 974 holds prompts, validation and training rows besides."""


def texts(row: Row) -> BenchmarkItem | None:
    number = row.fields.get("task_id")
    if isinstance(number, int) and number not in TEST:
        return None
    return BenchmarkItem(
        identity(row, "task_id"), text(row.fields, "text", "prompt"), text(row.fields, "code", "canonical_solution")
    )


TASK = Task(
    name="mbpp",
    about="500 short Python problems",
    licence="CC-BY-4.0",
    hub=("google-research-datasets/mbpp/full:test",),
    files=("mbpp", "mbpp_test"),
    texts=texts,
    home="github.com/google-research/google-research/tree/master/mbpp",
)
