"""IFEval: instructions whose keeping a program can check (Zhou et al. 2023, 2311.07911)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.task import Task, identity, text


def texts(row: Row) -> BenchmarkItem:
    return BenchmarkItem(identity(row, "key"), text(row.fields, "prompt"))


TASK = Task(
    name="ifeval",
    about="541 prompts with constraints that a program can check",
    licence="Apache-2.0",
    hub=("google/IFEval:train",),
    files=("ifeval", "ifeval_input_data", "ifeval_input_data_541"),
    texts=texts,
    home="github.com/google-research/google-research/tree/master/instruction_following_eval",
)
