"""GSM8K: grade-school problems in words (Cobbe et al. 2021, 2110.14168)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.formats import BadFields
from evollab.data.rows import Row
from evollab.evals.math.tasks import number_gold, words_trial
from evollab.evals.task import Task, text
from evollab.evals.trial import Question


def texts(row: Row) -> BenchmarkItem:
    return BenchmarkItem(str(row.number), text(row.fields, "question"), text(row.fields, "answer"))


def question(row: Row) -> Question:
    gold = number_gold(text(row.fields, "answer"))
    if gold is None:
        raise BadFields("no number behind #### in the answer")
    return Question(str(row.number), (text(row.fields, "question"),), gold)


TASK = Task(
    name="gsm8k",
    about="1,319 grade-school problems in words",
    licence="MIT",
    hub=("openai/gsm8k/main:test",),
    files=("gsm8k", "gsm8k_test"),
    texts=texts,
    trial=words_trial(question, 1319),
    home="github.com/openai/grade-school-math",
)
