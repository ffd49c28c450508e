"""The 80 questions that Vicuna was first compared on (Chiang et al. 2023)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.task import Task, identity, text, text_list


def texts(row: Row) -> BenchmarkItem:
    asked = text(row.fields, "text") if "text" in row.fields else "\n\n".join(text_list(row.fields, "turns"))
    return BenchmarkItem(identity(row, "question_id"), asked)


TASK = Task(
    name="vicuna80",
    about="80 questions in nine categories",
    licence="Apache-2.0",
    files=("vicuna80", "vicuna_bench_question", "vicuna_bench"),
    texts=texts,
    home="github.com/lm-sys/FastChat (fastchat/llm_judge/data/vicuna_bench/question.jsonl)",
)
