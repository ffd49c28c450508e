"""IFEval: instructions whose keeping a program can check (Zhou et al. 2023, 2311.07911)."""

from __future__ import annotations

from evollab.chat import VICUNA_SYSTEM
from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.ifeval.grade import given, gold_of, grade, metrics
from evollab.evals.task import Task, identity, text
from evollab.evals.trial import Prompt, Question, Trial, greedy
from evollab.records import Message


def texts(row: Row) -> BenchmarkItem:
    return BenchmarkItem(identity(row, "key"), text(row.fields, "prompt"))


def question(row: Row) -> Question:
    """Gold: the instructions with their arguments. Facts: how many there are."""
    gold = gold_of(row.fields)
    return Question(identity(row, "key"), (text(row.fields, "prompt"),), gold, {"instructions": str(len(gold))})


TASK = Task(
    name="ifeval",
    about="541 prompts with constraints that a program can check",
    licence="Apache-2.0",
    hub=("google/IFEval:train",),
    files=("ifeval", "ifeval_input_data", "ifeval_input_data_541"),
    texts=texts,
    trial=Trial(
        question=question,
        prompts={
            "chat": Prompt(
                about="the prompt alone, as a user's message",
                ask=lambda question, said: (Message("user", question.turns[0]),),
            ),
            "vicuna": Prompt(
                about="Vicuna v1.1, the prompt alone",
                ask=lambda question, said: f"{VICUNA_SYSTEM} USER: {question.turns[0]} ASSISTANT:",
            ),
        },
        grade=grade,
        grader="IFEval's 25 instructions 1",
        sampling=greedy(1280),
        metrics=metrics,
        given=given,
        expected=541,
        groups=("instructions",),
    ),
    home="github.com/google-research/google-research/tree/master/instruction_following_eval",
)
