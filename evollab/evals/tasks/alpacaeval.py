"""AlpacaEval: instructions whose answers are compared with a reference model's (Li et al. 2023)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.task import Task, text


def texts(row: Row) -> BenchmarkItem:
    # A model's answer is no solution: others may well write the same.
    return BenchmarkItem(str(row.number), text(row.fields, "instruction"))


TASK = Task(
    name="alpacaeval",
    about="805 instructions from five sets",
    licence="CC-BY-NC-4.0",
    files=(
        "alpacaeval", "alpaca_eval", "alpaca_eval_gpt4_baseline", "alpaca_eval_805_gpt4_1106_preview",
        "alpaca_eval_805_text_davinci_003",
    ),
    texts=texts,
    home="huggingface.co/datasets/tatsu-lab/alpaca_eval (alpaca_eval.json)",
)  # fmt: skip
