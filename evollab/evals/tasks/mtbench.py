"""MT-Bench: conversations of two turns in eight categories (Zheng et al. 2023, 2306.05685)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.judging import single as judge_single
from evollab.evals.judging.asking import PROMPTS, by_category, gold_of
from evollab.evals.judging.prompts import digest
from evollab.evals.judging.published import category, given
from evollab.evals.task import Task, identity, text_list
from evollab.evals.trial import Question, Trial


def texts(row: Row) -> BenchmarkItem:
    return BenchmarkItem(
        identity(row, "question_id", "prompt_id"), "\n\n".join(text_list(row.fields, "turns", "prompt"))
    )


WITH_REFERENCE = ("math", "reasoning", "coding")
"""Categories whose judge sees reference answers."""


def question(row: Row) -> Question:
    """Facts: category. Gold: the reference answers that some questions hold, by turn."""
    name = identity(row, "question_id", "prompt_id")
    turns = tuple(text_list(row.fields, "turns", "prompt"))
    found = row.fields.get("category") or category(name)
    return Question(name, turns, gold_of(row) if found in WITH_REFERENCE else None, {"category": str(found)})


TRIAL = Trial(
    question=question,
    prompts=PROMPTS,
    grade=judge_single.grade,
    grader=f"single grading from 1 to 10, own prompt {digest()}",
    sampling=by_category,
    metrics=judge_single.metrics,
    scale=judge_single.SCALE,
    given=given,
    needs_judge=True,
    reference_files=("mtbench_reference", "mt_bench_reference", "mt_bench_reference_gpt_4"),
    expected=80,
    groups=("category",),
)
TASK = Task(
    name="mtbench",
    about="80 conversations of two turns",
    licence="Apache-2.0",
    hub=("HuggingFaceH4/mt_bench_prompts:train",),
    files=("mtbench", "mt_bench", "mt_bench_question"),
    texts=texts,
    home="github.com/lm-sys/FastChat (fastchat/llm_judge/data/mt_bench/question.jsonl)",
    trial=TRIAL,
)
