"""GSM8K: grade-school problems in words (Cobbe et al. 2021, 2110.14168)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.task import Task, text


def texts(row: Row) -> BenchmarkItem:
    return BenchmarkItem(str(row.number), text(row.fields, "question"), text(row.fields, "answer"))


TASK = Task(
    name="gsm8k",
    about="1,319 grade-school problems in words",
    licence="MIT",
    hub=("openai/gsm8k/main:test",),
    files=("gsm8k", "gsm8k_test"),
    texts=texts,
    home="github.com/openai/grade-school-math",
)
