"""The reward of RLEIF: what the instruction is worth times what the answer's steps are, times whether it is right.

r = r_I x r_A x v (WizardMath, 2308.09583; the third factor is ours). r_I is the instruction reward model's score of
the prompt, r_A the process reward model's of the answer's steps made one, v 1 where a verifier finds the
answer right and 0 elsewhere. All lie in [0, 1]: two bad scores never make a good reward. What is left out counts as 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evollab.records import Message
from evollab.train.scoring import aggregate
from evollab.train.verifiers import Verifier

FACTORS = ("irm", "prm", "verified")

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
    `scoring.AGGREGATIONS`. verifier: None to leave that factor out."""

    steps: StepScores | None
    how: str = "min"
    verifier: Verifier | None = None

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
        if self.verifier is not None:
            verified = [*self.verifier(answers, references)]
        return [product(*factors) for factors in zip(instruction, scores, verified, strict=True)]
