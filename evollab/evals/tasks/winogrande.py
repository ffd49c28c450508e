"""WinoGrande: whom does the sentence mean? (Sakaguchi et al. 2019, 1907.10641). The test labels are
secret, so the validation set is what everybody reports."""

from __future__ import annotations

from typing import Any

from evollab.data.benchmark import BenchmarkItem
from evollab.data.formats import BadFields
from evollab.data.rows import Row
from evollab.evals.choices import ChoiceQuestion, Choices, asked
from evollab.evals.task import Task, chosen, text, text_list
from evollab.evals.trial import Question


def texts(row: Row) -> BenchmarkItem:
    """The sentence filled in rightly, of both common forms: sentence with a blank, option1, option2,
    answer "1" or "2"; and two context_options, continuation, gold."""
    if "sentence" in row.fields:
        answer = text(row.fields, "answer")
        if answer not in ("1", "2"):
            raise BadFields(f"answer is {answer!r}; expected 1 or 2")
        sentence = text(row.fields, "sentence").replace("_", text(row.fields, f"option{answer}"))
    else:
        begun = chosen(text_list(row.fields, "context_options"), row.fields.get("gold"))
        sentence = f"{begun} {text(row.fields, 'continuation')}"
    return BenchmarkItem(str(row.number), sentence)


def question(row: Row) -> Question:
    """The sentence up to the blank with either option in it; what is scored is the rest, which both have in common."""
    if "sentence" in row.fields:
        answer = text(row.fields, "answer")
        if answer not in ("1", "2"):
            raise BadFields(f"answer is {answer!r}; expected 1 or 2")
        before, blank, rest = text(row.fields, "sentence").partition("_")
        if not blank:
            raise BadFields("no blank (_) in the sentence")
        openings = [before + text(row.fields, f"option{number}") for number in (1, 2)]
        right: Any = int(answer) - 1
    else:
        openings = text_list(row.fields, "context_options")
        rest, right = text(row.fields, "continuation"), row.fields.get("gold")
        chosen(openings, right)
    answers = (rest.strip(),) * len(openings)
    choice = ChoiceQuestion(query="", answers=answers, right=right, openings=tuple(openings), number=row.number)
    return asked(str(row.number), choice)


TASK = Task(
    name="winogrande",
    about="1,267 sentences with a blank for one of two, the validation set",
    licence="CC-BY",
    hub=("allenai/winogrande/winogrande_xl:validation",),
    files=("winogrande", "winogrande_xl", "winogrande_validation"),
    texts=texts,
    trial=Choices(
        question=question,
        shots=5,
        expected=1267,
        metric="acc",
        about="the sentence up to the blank with an option in it; the rest of the sentence is scored",
        example_files=("winogrande_train",),
        example_hub=("allenai/winogrande/winogrande_xl:train",),
        drawn=True,
    ),
    home="winogrande.allenai.org",
)
