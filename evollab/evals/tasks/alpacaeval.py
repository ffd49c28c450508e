"""AlpacaEval: instructions whose answers are compared with a reference model's (Li et al. 2023)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.judging import winrate as judge_winrate
from evollab.evals.judging.asking import PROMPTS, plain
from evollab.evals.judging.difficulty import COLUMN, FILE, number
from evollab.evals.judging.prompts import digest
from evollab.evals.task import Task, text
from evollab.evals.trial import Question, Trial


def texts(row: Row) -> BenchmarkItem:
    # A model's answer is no solution: others may well write the same.
    return BenchmarkItem(str(row.number), text(row.fields, "instruction"))


def question(row: Row) -> Question:
    """Facts: dataset; the instruction's difficulty, where the row has it. Gold: a baseline's answer and whose it is:
    its length is needed where annotations hold the model's answer alone."""
    output, generator = row.fields.get("output"), row.fields.get("generator")
    facts = {"dataset": str(row.fields["dataset"])} if row.fields.get("dataset") else {}
    difficulty = number(row.fields.get(COLUMN))
    if difficulty is not None:
        facts["difficulty"] = repr(difficulty)
    gold = None
    if isinstance(output, str) and isinstance(generator, str):
        gold = {"output": output, "generator": generator}
    return Question(str(row.number), (text(row.fields, "instruction"),), gold, facts)


TRIAL = Trial(
    question=question,
    prompts=PROMPTS,
    grade=judge_winrate.grade,
    grader=f"pairwise in both orders, disagreement is a tie, own prompt {digest()}",
    sampling=plain,
    metrics=judge_winrate.metrics,
    given=judge_winrate.given,
    needs_judge=True,
    needs_reference=True,
    reference_files=(
        "alpaca_eval_gpt4_baseline", "alpaca_eval_805_gpt4_1106_preview", "alpaca_eval_805_text_davinci_003",
    ),
    expected=805,
    groups=("dataset",),
    reads=(FILE,),
)  # fmt: skip
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
    trial=TRIAL,
)  # fmt: skip
