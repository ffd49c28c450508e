"""ARC-Easy: the science questions that retrieval gets right (Clark et al. 2018, 1803.05457)."""

from __future__ import annotations

from evollab.evals.task import Task
from evollab.evals.tasks.arc_challenge import texts

TASK = Task(
    name="arc_easy",
    about="2,376 science questions of multiple choice, the easy ones",
    licence="CC-BY-SA-4.0",
    hub=("allenai/ai2_arc/ARC-Easy:test",),
    files=("arc_easy", "arc_easy_test"),
    texts=texts,
    home="allenai.org/data/arc",
)
