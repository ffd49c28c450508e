"""ARC-Challenge: science questions that retrieval gets wrong (Clark et al. 2018, 1803.05457)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.formats import BadFields
from evollab.data.rows import Row
from evollab.evals.choices import ChoiceQuestion, Choices, asked
from evollab.evals.task import Task, chosen, identity, text, text_list
from evollab.evals.trial import Question


def texts(row: Row) -> BenchmarkItem:
    """Both common forms: question, choices {text, label}, answerKey; and query, choices, gold."""
    given = row.fields.get("choices")
    gold = row.fields.get("gold")
    if isinstance(given, dict):
        choices, labels = text_list(given, "text"), text_list(given, "label")
        right = text(row.fields, "answerKey")
        if right not in labels:
            raise BadFields(f"answerKey is {right!r}; expected one of {', '.join(labels)}")
        gold = labels.index(right)
    else:
        choices = text_list(row.fields, "choices")
    question = text(row.fields, "question", "query").removeprefix("Question: ")
    return BenchmarkItem(identity(row, "id"), question, chosen(choices, gold), tuple(choices))


def question(row: Row) -> Question:
    item = texts(row)
    choice = ChoiceQuestion(
        query=f"Question: {item.question}\nAnswer:", answers=item.choices, right=item.choices.index(item.answer),
        number=row.number,
    )  # fmt: skip
    return asked(item.id, choice)


TASK = Task(
    name="arc_challenge",
    about="1,172 science questions of multiple choice, the hard ones",
    licence="CC-BY-SA-4.0",
    hub=("allenai/ai2_arc/ARC-Challenge:test",),
    files=("arc_challenge", "arc_challenge_test"),
    texts=texts,
    trial=Choices(
        question=question,
        shots=25,
        expected=1_172,
        metric="acc_norm",
        about="Question: ..., Answer:, and the text of an answer",
        example_files=("arc_challenge_train",),
        example_hub=("allenai/ai2_arc/ARC-Challenge:train",),
        drawn=True,
    ),
    home="allenai.org/data/arc",
)
