"""ARC-Easy: the science questions that retrieval gets right (Clark et al. 2018, 1803.05457)."""

from __future__ import annotations

from evollab.evals.choices import Choices
from evollab.evals.task import Task
from evollab.evals.tasks.arc_challenge import question, texts

TASK = Task(
    name="arc_easy",
    about="2,376 science questions of multiple choice, the easy ones",
    licence="CC-BY-SA-4.0",
    hub=("allenai/ai2_arc/ARC-Easy:test",),
    files=("arc_easy", "arc_easy_test"),
    texts=texts,
    trial=Choices(
        question=question,
        shots=0,
        expected=2_376,
        metric="acc_norm",
        about="Question: ..., Answer:, and the text of an answer",
        example_files=("arc_easy_train",),
        example_hub=("allenai/ai2_arc/ARC-Easy:train",),
        drawn=True,
    ),
    home="allenai.org/data/arc",
)
