"""MBPP+: the well-formed part of MBPP with more tests (Liu et al. 2023, 2305.01210)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.task import Task, identity, text


def texts(row: Row) -> BenchmarkItem:
    return BenchmarkItem(
        identity(row, "task_id"), text(row.fields, "prompt"), text(row.fields, "canonical_solution", "code")
    )


TASK = Task(
    name="mbpp_plus",
    about="378 problems of MBPP, reworded, with 35 times the tests",
    licence="Apache-2.0",
    hub=("evalplus/mbppplus:test",),
    files=("mbpp_plus", "mbppplus"),
    texts=texts,
    home="github.com/evalplus/mbppplus_release",
)
