"""MMLU: multiple choice in 57 subjects (Hendrycks et al. 2021, 2009.03300)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.formats import BadFields
from evollab.data.rows import Row
from evollab.evals.choices import ChoiceQuestion, Choices, asked
from evollab.evals.task import Task, chosen, text, text_list
from evollab.evals.trial import Question

_LETTERS = "ABCD"


def texts(row: Row) -> BenchmarkItem:
    choices = text_list(row.fields, "choices")
    right = chosen(choices, row.fields.get("answer"))
    return BenchmarkItem(str(row.number), text(row.fields, "question"), right, tuple(choices))


def question(row: Row) -> Question:
    """The four answers stand in the query; their letters are scored. Facts: subject."""
    item = texts(row)
    if len(item.choices) != len(_LETTERS):
        raise BadFields(f"{len(item.choices)} choices; expected {len(_LETTERS)}")
    subject = text(row.fields, "subject")
    lines = [f"{letter}. {choice}" for letter, choice in zip(_LETTERS, item.choices, strict=True)]
    choice = ChoiceQuestion(
        query="\n".join([item.question.strip(), *lines, "Answer:"]), answers=tuple(_LETTERS),
        right=row.fields["answer"], group=subject, number=row.number,
    )  # fmt: skip
    return asked(item.id, choice, {"subject": subject})


def heading(subject: str) -> str:
    return f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"


TASK = Task(
    name="mmlu",
    about="14,042 questions of multiple choice in 57 subjects",
    licence="MIT",
    hub=("cais/mmlu/all:test",),
    files=("mmlu", "mmlu_test"),
    texts=texts,
    trial=Choices(
        question=question,
        shots=5,
        expected=14_042,
        metric="acc",
        about="a line about the subject, examples of the subject, the question, four lines A. to D., and Answer:",
        example_files=("mmlu_dev",),
        example_hub=("cais/mmlu/all:dev",),
        heading=heading,
        groups=("subject",),
    ),
    home="github.com/hendrycks/test",
)
