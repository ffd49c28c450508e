"""MATH-500: the part of the MATH test set that PRM800K holds out (Lightman et al. 2023, 2305.20050)."""

from __future__ import annotations

from evollab.evals.math.tasks import competition_trial
from evollab.evals.task import Task
from evollab.evals.tasks.math import texts

TASK = Task(
    name="math500",
    about="500 problems of the MATH test set",
    licence="MIT",
    hub=("HuggingFaceH4/MATH-500:test",),
    files=("math500", "math_500", "math_500_test"),
    texts=texts,
    trial=competition_trial(500),
    home="github.com/openai/prm800k",
)
