"""BIG-Bench Hard: 27 tasks that models were bad at (Suzgun et al. 2022, 2210.09261)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.task import Task, text

TASKS = (
    "boolean_expressions", "causal_judgement", "date_understanding", "disambiguation_qa", "dyck_languages",
    "formal_fallacies", "geometric_shapes", "hyperbaton", "logical_deduction_five_objects",
    "logical_deduction_seven_objects", "logical_deduction_three_objects", "movie_recommendation",
    "multistep_arithmetic_two", "navigate", "object_counting", "penguins_in_a_table",
    "reasoning_about_colored_objects", "ruin_names", "salient_translation_error_detection", "snarks",
    "sports_understanding", "temporal_sequences", "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects", "tracking_shuffled_objects_three_objects", "web_of_lies",
    "word_sorting",
)  # fmt: skip


def texts(row: Row) -> BenchmarkItem:
    task = row.fields.get("task")
    name = f"{task}/{row.number}" if isinstance(task, str) else str(row.number)
    return BenchmarkItem(name, text(row.fields, "input"), text(row.fields, "target"))


TASK = Task(
    name="bbh",
    about="6,511 items of 27 tasks",
    licence="MIT",
    hub=tuple(f"lukaemon/bbh/{task}:test" for task in TASKS),
    files=("bbh", "bbh_27", "big_bench_hard"),
    texts=texts,
    home="github.com/suzgunmirac/BIG-Bench-Hard",
)
