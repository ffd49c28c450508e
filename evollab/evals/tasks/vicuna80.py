"""The 80 questions that Vicuna was first compared on (Chiang et al. 2023)."""

from __future__ import annotations

from evollab.data.benchmark import BenchmarkItem
from evollab.data.rows import Row
from evollab.evals.judging import ratio as judge_ratio
from evollab.evals.judging.asking import PROMPTS, gold_of, plain
from evollab.evals.judging.prompts import digest
from evollab.evals.judging.ratio import given
from evollab.evals.task import Task, identity, text, text_list
from evollab.evals.trial import Question, Trial


def texts(row: Row) -> BenchmarkItem:
    asked = text(row.fields, "text") if "text" in row.fields else "\n\n".join(text_list(row.fields, "turns"))
    return BenchmarkItem(identity(row, "question_id"), asked)


def question(row: Row) -> Question:
    """Facts: category. Gold: the reference answer, where the row holds one."""
    turns = (text(row.fields, "text"),) if "text" in row.fields else tuple(text_list(row.fields, "turns"))
    facts = {"category": str(row.fields["category"])} if row.fields.get("category") else {}
    return Question(identity(row, "question_id"), turns, gold_of(row), facts)


TRIAL = Trial(
    question=question,
    prompts=PROMPTS,
    grade=judge_ratio.grade,
    grader=f"marks of both answers from 1 to 10 in both orders, own prompt {digest()}",
    sampling=plain,
    metrics=judge_ratio.metrics,
    scale=judge_ratio.SCALE,
    given=given,
    needs_judge=True,
    needs_reference=True,
    expected=80,
    groups=("category",),
)
TASK = Task(
    name="vicuna80",
    about="80 questions in nine categories",
    licence="Apache-2.0",
    files=("vicuna80", "vicuna_bench_question", "vicuna_bench"),
    texts=texts,
    home="github.com/lm-sys/FastChat (fastchat/llm_judge/data/vicuna_bench/question.jsonl)",
    trial=TRIAL,
)
