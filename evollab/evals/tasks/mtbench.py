"""MT-Bench: conversations of two turns in eight categories (Zheng et al. 2023, 2306.05685)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.task import Task, identity, text_list


def texts(row: Row) -> BenchmarkItem:
    return BenchmarkItem(
        identity(row, "question_id", "prompt_id"), "\n\n".join(text_list(row.fields, "turns", "prompt"))
    )


TASK = Task(
    name="mtbench",
    about="80 conversations of two turns",
    licence="Apache-2.0",
    hub=("HuggingFaceH4/mt_bench_prompts:train",),
    files=("mtbench", "mt_bench", "mt_bench_question"),
    texts=texts,
    home="github.com/lm-sys/FastChat (fastchat/llm_judge/data/mt_bench/question.jsonl)",
)
