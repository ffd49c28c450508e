"""What tells a right answer from a wrong one, for `train rleif --verifier` and for prompts held out.

math   the final answer is the reference's: exact rules (evals/math/equal.py); where they can't tell, math-verify in
       processes of its own, if it is installed
code   the program in the answer passes the row's tests in the sandbox; see `code_verifier`
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from evollab.data.final_answer import choice, compare
from evollab.data.items import Item
from evollab.evals.math.checker import right_answer
from evollab.evals.math.competition import decide, first_look, read
from evollab.evals.math.normal import is_word, normal
from evollab.evals.math.number import exact
from evollab.evals.math.pool import Pool, Question, pool
from evollab.train import machine

VERIFIERS = ("none", "math", "code")
_COMMANDS = re.compile(r"\\(?:text|mbox|mathrm)\s?\{[^{}]{0,200}\}|\\[a-zA-Z]{1,30}")
_PROSE = re.compile(r"[^\W\d_]{3,}[^\w\n]{1,3}[^\W\d_]{3,}")


class Verifier(Protocol):
    """Says which answers are right. about: what its verdicts depend on, for step.json."""

    about: dict[str, Any]

    def reference(self, item: Item, column: str, answer: str | None) -> str | None:
        """What says what is right, of a row: in `column`, or ("") where such rows have it. answer: the row's own."""
        ...

    def comparable(self, reference: str | None) -> bool:
        """Whether right can be told from wrong by this reference."""
        ...

    def __call__(self, answers: Sequence[str], references: Sequence[str | None]) -> list[float]:
        """1 for each answer that is right, 0 for the others, and where the reference is not comparable. Never raises
        for what a model wrote."""
        ...


def algebra() -> bool:
    """Whether math-verify is installed, so that formulas can be compared."""
    return importlib.util.find_spec("math_verify") is not None


class MathVerifier:
    """By final answers. opened: processes that do algebra; None: exact rules alone."""

    def __init__(self, opened: Pool | None = None) -> None:
        self._pool = opened
        self.about: dict[str, Any] = {"algebra": opened is not None}

    def reference(self, item: Item, column: str, answer: str | None) -> str | None:
        """The text or number in the column, else the row's own answer."""
        if not column:
            return answer
        value = item.fields.get(column)
        return None if value is None or isinstance(value, bool | list | dict) else str(value)

    def comparable(self, reference: str | None) -> bool:
        """Whether the reference ends in a marked answer, or is short and one itself, and that is a number, a choice
        from A to J or, with algebra, a formula."""
        gold = right_answer(reference or "")
        if gold is None:
            return False
        if exact(gold) is not None or choice(gold) is not None:
            return True
        return self._pool is not None and _formula(gold)

    def __call__(self, answers: Sequence[str], references: Sequence[str | None]) -> list[float]:
        looked = [
            _look(reference, answer) if self.comparable(reference) else False
            for answer, reference in zip(answers, references, strict=True)
        ]
        questions = list(dict.fromkeys(one for look in looked if isinstance(look, tuple) for one in look))
        if self._pool is None or not questions:
            return [float(look is True) for look in looked]
        verdicts = dict(zip(questions, self._pool.all(questions), strict=True))
        return [float(decide(look, verdicts).same) for look in looked]


def same_answer(reference: str, answer: str) -> bool:
    """Whether an answer comes to the reference's final answer, by exact rules alone: as exact numbers (1,234 = 1234,
    0.5 = 1/2), as the same choice, as the same formula written otherwise. An answer that comes to none, or that a rule
    can't read, is wrong. Never raises.

    Where nothing marks the final answer (`#### 7`, `\\boxed{7}`, "The answer is 7"), or it is taken back, the last
    number or formula counts.
    """
    return _look(reference, answer) is True


def verifiable(reference: str | None) -> bool:
    """Whether exact rules can tell right from wrong by this reference."""
    return MathVerifier().comparable(reference)


def _look(reference: str | None, answer: str) -> bool | tuple[Question, ...]:
    gold = right_answer(reference or "")
    if gold is None:
        return False
    if choice(gold) is not None and exact(gold) is None:
        return compare(f"#### {gold}", answer) == "right"
    final = read(answer).final
    return False if final is None else first_look((gold,), final)


def _formula(gold: str) -> bool:
    """Whether a final answer is mathematics, and no sentence."""
    form = normal(gold)
    return bool(form) and not is_word(form) and not _PROSE.search(_COMMANDS.sub(" ", gold))


@contextlib.contextmanager
def math_verifier() -> Iterator[MathVerifier]:
    """The verifier of final answers, with algebra where math-verify is installed; its processes start when they are
    needed, and end with the block."""
    if not algebra():
        yield MathVerifier()
        return
    with pool(max(1, (os.cpu_count() or 1) // machine.world_size())) as opened:
        yield MathVerifier(opened)
