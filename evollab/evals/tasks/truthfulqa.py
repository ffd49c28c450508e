"""TruthfulQA: questions that people answer wrongly (Lin et al. 2021, 2109.07958)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.task import Task, text


def texts(row: Row) -> BenchmarkItem:
    return BenchmarkItem(
        str(row.number), text(row.fields, "question", "Question"), text(row.fields, "best_answer", "Best Answer")
    )


TASK = Task(
    name="truthfulqa",
    about="817 questions that many people answer wrongly",
    licence="Apache-2.0",
    hub=("truthfulqa/truthful_qa/generation:validation",),
    files=("truthfulqa", "truthful_qa"),
    texts=texts,
    home="github.com/sylinrl/TruthfulQA",
)
