"""How benchmarks with a judge ask their questions: prompts by preset, temperatures, the judge itself."""

from __future__ import annotations

from collections.abc import Sequence

from evollab.data.rows import Row
from evollab.evals.judging.family import self_family
from evollab.evals.trial import Asked, Prompt, Question, Tools
from evollab.llm import Sampling
from evollab.records import EvolError, Message

VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions."
)
ALPACA = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
"""Vicuna's and Alpaca's formats: what such models were trained on, word for word."""
TEMPERATURES = {
    "writing": 0.7, "roleplay": 0.7, "extraction": 0.0, "math": 0.0, "coding": 0.0, "reasoning": 0.0, "stem": 0.1,
    "humanities": 0.1,
}  # fmt: skip
"""MT-Bench's, by category (FastChat's llm_judge)."""


def chat(question: Question, said: Sequence[str]) -> tuple[Message, ...]:
    messages = []
    for turn, answer in zip(question.turns, said, strict=False):
        messages += [Message("user", turn), Message("assistant", answer)]
    return (*messages, Message("user", question.turns[len(said)]))


def vicuna(question: Question, said: Sequence[str]) -> str:
    before = "".join(
        f"USER: {turn} ASSISTANT: {answer}</s>" for turn, answer in zip(question.turns, said, strict=False)
    )
    return f"{VICUNA} {before}USER: {question.turns[len(said)]} ASSISTANT:"


def alpaca(question: Question, said: Sequence[str]) -> str:
    turns = [
        f"### Instruction:\n{turn}\n\n### Response:\n{answer}\n\n"
        for turn, answer in zip(question.turns, said, strict=False)
    ]
    return f"{ALPACA}{''.join(turns)}### Instruction:\n{question.turns[len(said)]}\n\n### Response:\n"


PROMPTS = {
    "chat": Prompt("messages, in the model's own chat template", chat),
    "vicuna": Prompt("a text in Vicuna's format, as WizardLM 13B to 70B were trained", vicuna, ("</s>", "USER:")),
    "alpaca": Prompt("a text in Alpaca's format", alpaca, ("### Instruction:",)),
}


def by_category(question: Question) -> Sampling:
    """1,024 tokens at the category's temperature, 0.7 for unknown ones."""
    return Sampling(TEMPERATURES.get(question.facts.get("category", ""), 0.7), 1.0, 1024)


def plain(question: Question) -> Sampling:
    """Greedy, 2,048 tokens."""
    return Sampling(0.0, 1.0, 2048)


def gold_of(row: Row) -> dict[str, list[str]] | None:
    """What a question's row itself says is right, in the column reference: a text for each turn. None without."""
    found = row.fields.get("reference")
    if not isinstance(found, list) or not found or not all(isinstance(one, str) for one in found):
        return None
    return {"reference": found}


def judge_of(tools: Tools) -> Asked:
    """The judge; a judge of the contestant's or the reference's family is noted in the result. Raises EvolError for
    none."""
    if tools.judge is None:
        raise EvolError("this benchmark needs a judge", "--judge openai:NAME, of another family than the model's")
    warning = self_family(tools.judge_name, tools.model_name, tools.reference_name)
    if warning:
        remember(tools, warning)
    return tools.judge


def remember(tools: Tools, note: str) -> None:
    """Tell a person now, and every reader of the result."""
    notes = tools.facts.setdefault("notes", [])
    if note not in notes:
        notes.append(note)
        tools.note(f"note: {note}")
