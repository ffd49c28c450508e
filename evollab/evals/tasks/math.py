"""MATH: competition problems, the test set of 5,000 (Hendrycks et al. 2021, 2103.03874)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.math.tasks import competition_trial
from evollab.evals.task import Task, identity, text

SUBJECTS = (
    "algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory", "prealgebra",
    "precalculus",
)  # fmt: skip


def texts(row: Row) -> BenchmarkItem:
    return BenchmarkItem(
        identity(row, "unique_id", "idx"), text(row.fields, "problem", "question"), text(row.fields, "solution")
    )


TASK = Task(
    name="math",
    about="5,000 competition problems in seven subjects",
    licence="MIT",
    hub=tuple(f"EleutherAI/hendrycks_math/{subject}:test" for subject in SUBJECTS),
    files=("math", "math_test", "math_test_5000"),
    texts=texts,
    trial=competition_trial(5000),
    home="github.com/hendrycks/math",
)
