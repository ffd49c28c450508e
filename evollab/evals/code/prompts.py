"""How a programming problem is put: presets, by name. What they give is held in tests/snapshots/code_prompts.txt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evollab.evals.code.problem import Problem
from evollab.evals.trial import Prompt, Question
from evollab.records import Message

_STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""What ends a function that goes on from its head (Chen et al. 2021, section 2.1)."""
_STOP_WORDS = ('\n"""', "\nclass", "\nassert", "\nprint", "\nif")
"""The same after a problem in words, whose answer begins with a `def` of its own; all at the margin, so that nothing
inside a function ends it."""
_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
_ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "{gap}### Instruction:\n{asked}\n\n### Response:"
)
_SCRIPT = "Create a Python script for this problem:\n"


def humaneval_prompts() -> dict[str, Prompt]:
    """Presets for functions to complete."""

    def alpaca(question: Question) -> str:
        return _ALPACA.format(gap="\n", asked=_SCRIPT + _tabs(question.turns[0]))

    return _presets(_function, alpaca, lambda question: question.turns[0], _STOP)


def mbpp_prompts() -> dict[str, Prompt]:
    """Presets for problems in words with asserts, all of which are shown."""

    def alpaca(question: Question) -> str:
        told = f"\n{question.turns[0]}\nTest examples:" + "".join(f"\n{one}" for one in _asserts(question))
        return _ALPACA.format(gap="", asked=_SCRIPT + _tabs(told))

    return _presets(_words, alpaca, _docstring, _STOP_WORDS)


def mbpp_plus_prompts() -> dict[str, Prompt]:
    """Presets for MBPP+, which shows one assert."""

    def alpaca(question: Question) -> str:
        asserts = "\n".join(_asserts(question))
        told = (
            f"{question.turns[0]} Your code should satisfy the following assertion:\n"
            f"```python\n{asserts}\n```"
        )  # fmt: skip
        return _ALPACA.format(gap="\n", asked=_tabs(told))

    return _presets(_words, alpaca, _docstring, _STOP_WORDS)


def _presets(
    told: Callable[[Question], str], alpaca: Callable[[Question], str], bare: Callable[[Question], str],
    stop: tuple[str, ...],
) -> dict[str, Prompt]:  # fmt: skip
    def chat(question: Question, said: Sequence[str]) -> tuple[Message, ...]:
        return (Message("user", told(question)),)

    return {
        "chat": Prompt("a chat message that asks for a code block", chat),
        "completion": Prompt("the bare prompt, for base models", _alone(bare), stop),
        "alpaca": Prompt("Alpaca's format as WizardCoder's scripts fill it, tabs for four spaces", _alone(alpaca)),
        "vicuna": Prompt("Vicuna 1.1's format", _alone(lambda q: f"{_SYSTEM} USER: {told(q)} ASSISTANT:")),
    }


def _alone(ask: Callable[[Question], str]) -> Callable[[Question, Sequence[str]], str]:
    return lambda question, said: ask(question)


def _function(question: Question) -> str:
    return (
        "Complete this Python function. Answer with the whole function, and the imports that it needs, "
        f"in one code block.\n\n```python\n{question.turns[0].strip()}\n```"
    )


def _words(question: Question) -> str:
    asserts = "\n".join(_asserts(question))
    return (
        f"{question.turns[0].strip()}\n\nThe code has to pass this:\n\n```python\n{asserts}\n```\n\n"
        "Answer with Python code in one code block."
    )


def _docstring(question: Question) -> str:
    return "\n".join(['"""', question.turns[0], *_asserts(question), '"""', ""])


def _asserts(question: Question) -> tuple[str, ...]:
    problem = question.gold
    return problem.asserts if isinstance(problem, Problem) else ()


def _tabs(text: str) -> str:
    return text.replace("    ", "\t")
