"""Judges by program for the tests: they read the prompt as a model would, and have known faults."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from evollab.evals.trial import JudgePrompt

_PART = re.compile(r"^(@@[0-9a-f]{12}) (.+)$", re.MULTILINE)
Reply = Callable[[dict[str, str]], str | None]


def parts(prompt: str) -> dict[str, str]:
    """What stands between the lines that begin with the prompt's sign, by name."""
    sign = re.search(r"lines that begin with (@@[0-9a-f]{12})\.", prompt)
    assert sign is not None
    found: dict[str, str] = {}
    marks = [one for one in _PART.finditer(prompt) if one[1] == sign[1]]
    for at, one in enumerate(marks[:-1]):
        found[one[2]] = prompt[one.end() + 1 : marks[at + 1].start()].rstrip("\n")
    assert marks[-1][2] == "end of the data"
    return found


class Judge:
    """A judge (`trial.Asked`) that replies by program to the parts of each prompt, and keeps what it was asked."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.prompts: list[JudgePrompt] = []

    async def __call__(self, prompts: Sequence[JudgePrompt]) -> Sequence[str | None]:
        self.prompts += prompts
        return [self.reply(parts(one.messages[-1].content)) for one in prompts]


def worth(text: str) -> float:
    """How good an answer is: what stands behind "worth" in it."""
    found = re.search(r"worth (\d+)", text)
    return float(found[1]) if found else 0.0


def fair(shown: dict[str, str]) -> str:
    a, b = worth(shown["answer A"]), worth(shown["answer B"])
    return f"I compared both.\n[[{'C' if a == b else 'A' if a > b else 'B'}]]"


def first(shown: dict[str, str]) -> str:
    """Always the one shown first."""
    return "The first is better.\n[[A]]"


def longer(shown: dict[str, str]) -> str:
    a, b = len(shown["answer A"]), len(shown["answer B"])
    return f"[[{'C' if a == b else 'A' if a > b else 'B'}]]"


def marks(shown: dict[str, str]) -> str:
    return f"Both marked.\n[[{worth(shown['answer A']):g}]] [[{worth(shown['answer B']):g}]]"


def garbage(shown: dict[str, str]) -> str:
    return "As an AI model I can't compare these. 7/10?"
