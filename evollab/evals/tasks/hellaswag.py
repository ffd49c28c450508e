"""HellaSwag: how does it go on? (Zellers et al. 2019, 1905.07830). The test labels are secret, so the
validation set is what everybody reports."""

from __future__ import annotations

import re

from evollab.data.benchmark import BenchmarkItem
from evollab.data.formats import BadFields
from evollab.data.rows import Row, kind
from evollab.evals.choices import ChoiceQuestion, Choices, asked
from evollab.evals.task import Task, chosen, identity, text, text_list
from evollab.evals.trial import Question

_BRACKETS = re.compile(r"\[[^\[\]\n]*\]")


def texts(row: Row) -> BenchmarkItem:
    """Context and right ending are the item: the wrong endings are made up by a model."""
    endings, label = _endings(row)
    context = text(row.fields, "ctx", "query")
    return BenchmarkItem(identity(row, "ind"), f"{context} {chosen(endings, label)}")


def question(row: Row) -> Question:
    """Activity and context, without the marks that WikiHow's pages left; a row with a query has it ready. Facts: the
    source, WikiHow or ActivityNet, where it is told."""
    endings, label = _endings(row)
    chosen(endings, label)
    query = row.fields.get("query")
    if not isinstance(query, str):
        context = f"{text(row.fields, 'ctx_a')} {text(row.fields, 'ctx_b').capitalize()}"
        query = plain(f"{text(row.fields, 'activity_label')}: {context}")
        endings = [plain(ending) for ending in endings]
    source = row.fields.get("source_id")
    facts = {"source": source.partition("~")[0]} if isinstance(source, str) else {}
    choice = ChoiceQuestion(query=query, answers=tuple(endings), right=label, number=row.number)
    return asked(identity(row, "ind"), choice, facts)


def plain(given: str) -> str:
    """A text without the marks in brackets; [title] ends a sentence."""
    return _BRACKETS.sub("", given.strip().replace(" [title]", ". ")).replace("  ", " ")


def _endings(row: Row) -> tuple[list[str], int]:
    endings = text_list(row.fields, "endings", "choices")
    label = row.fields.get("label", row.fields.get("gold"))
    if isinstance(label, str):
        if not (label.isascii() and label.isdigit()):
            raise BadFields(f"label is {label!r}; expected a digit")
        label = int(label[:3])
    if not isinstance(label, int) or isinstance(label, bool):
        raise BadFields(f"label is {kind(label)}; expected a digit")
    return endings, label


TASK = Task(
    name="hellaswag",
    about="10,042 beginnings to be continued, the validation set",
    licence="MIT",
    hub=("Rowan/hellaswag:validation",),
    files=("hellaswag", "hellaswag_val", "hellaswag_validation"),
    texts=texts,
    trial=Choices(
        question=question,
        shots=10,
        expected=10_042,
        metric="acc_norm",
        about="the activity, a colon, the context, and an ending",
        example_files=("hellaswag_train",),
        example_hub=("Rowan/hellaswag:train",),
        drawn=True,
        groups=("source",),
    ),
    home="github.com/rowanz/hellaswag",
)
