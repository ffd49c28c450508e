"""The reward of RLEIF: what the instruction is worth times what the answer's steps are, times whether it is right.

r = r_I x r_A x v (WizardMath, 2308.09583; the third factor is ours). r_I is the instruction reward model's score of
the prompt, r_A the process reward model's of the answer's steps made one, v 1 where the final answer is that of the
reference and 0 elsewhere. All lie in [0, 1]: two bad scores never make a good reward. What is left out counts as 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evollab.data.final_answer import checkable, compare, final_answer
from evollab.records import Message
from evollab.train.scoring import aggregate

VERIFIERS = ("none", "math", "code")
FACTORS = ("irm", "prm", "verified")
_SHORT = 200
"""Characters up to which a reference without a marked answer is taken for the answer itself."""

InstructionScores = Callable[[Sequence[Sequence[Message]]], list[float]]
"""Prompts -> a score of each in [0, 1]; `scoring.InstructionScorer` is one."""
StepScores = Callable[[Sequence[Sequence[Message]], Sequence[str]], list[list[float]]]
"""Prompts, an answer to each -> scores of the answer's steps in [0, 1]; `scoring.StepScorer` is one."""


@dataclass(frozen=True, slots=True)
class Scorers:
    """The reward models; None: that factor is left out."""

    instruction: InstructionScores | None = None
    steps: StepScores | None = None


@dataclass(frozen=True, slots=True)
class Factors:
    """A reward and what it is the product of; None: left out."""

    reward: float
    irm: float | None = None
    prm: float | None = None
    verified: float | None = None


def product(irm: float | None = None, prm: float | None = None, verified: float | None = None) -> Factors:
    """The factors multiplied. Raises ValueError for one outside [0, 1] (NaN is), since a product of such rewards
    would no longer put good above bad."""
    reward = 1.0
    for name, value in zip(FACTORS, (irm, prm, verified), strict=True):
        if value is None:
            continue
        if not 0 <= value <= 1:
            raise ValueError(f"the factor {name} is {value}; expected 0 to 1")
        reward *= value
    return Factors(reward, irm, prm, verified)


@dataclass(frozen=True, slots=True)
class Rewards:
    """How answers are rewarded. steps: scores of steps, None to leave that factor out. how: one of
    `scoring.AGGREGATIONS`. verifier: one of VERIFIERS that can run here (none, math)."""

    steps: StepScores | None
    how: str = "min"
    verifier: str = "none"

    def __call__(
        self,
        prompts: Sequence[Sequence[Message]],
        answers: Sequence[str],
        references: Sequence[str | None],
        instruction: Sequence[float | None],
    ) -> list[Factors]:
        """The factors of each answer. references: what is right, None where that is not known, which is wrong to a
        verifier. instruction: r_I of each prompt, scored before, once; None leaves it out."""
        scores: list[float | None] = [None] * len(answers)
        if self.steps is not None:
            scores = [aggregate(steps, self.how) for steps in self.steps(prompts, answers)]
        verified: list[float | None] = [None] * len(answers)
        if self.verifier == "math":
            verified = [
                float(reference is not None and same_answer(reference, answer))
                for reference, answer in zip(references, answers, strict=True)
            ]
        return [product(*factors) for factors in zip(instruction, scores, verified, strict=True)]


def verifiable(reference: str | None) -> bool:
    """Whether `same_answer` can tell right from wrong by this reference: it ends in a marked answer, or is short and
    one itself, and that is a number or a choice from A to J."""
    return reference is not None and checkable(_marked(reference))


def same_answer(reference: str, answer: str) -> bool:
    """Whether an answer comes to the reference's final answer, as exact numbers (1,234 = 1234, 0.5 = 1/2) or as the
    same choice. An answer that comes to none, or to something that a rule can't read, is wrong. Never raises.

    Where nothing marks the final answer (`#### 7`, `\\boxed{7}`, "The answer is 7"), the last number counts.
    """
    return compare(_marked(reference), answer) == "right"


def _marked(reference: str) -> str:
    text = reference.strip()
    if final_answer(text) is None and len(text) <= _SHORT and "\n" not in text:
        return f"#### {text}"
    return text
