"""MMLU: multiple choice in 57 subjects (Hendrycks et al. 2021, 2009.03300)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.task import Task, chosen, text, text_list


def texts(row: Row) -> BenchmarkItem:
    choices = text_list(row.fields, "choices")
    right = chosen(choices, row.fields.get("answer"))
    return BenchmarkItem(str(row.number), text(row.fields, "question"), right, tuple(choices))


TASK = Task(
    name="mmlu",
    about="14,042 questions of multiple choice in 57 subjects",
    licence="MIT",
    hub=("cais/mmlu/all:test",),
    files=("mmlu", "mmlu_test"),
    texts=texts,
    home="github.com/hendrycks/test",
)
