"""Games: two answers before a judge, in both orders. What the judge says in one order only is a tie.

Both orders cost twice, and take the position out: a judge that always prefers the first answer gives ties alone. The
first paper showed one order, by turns ("alternate"); that hides the bias in the mean but leaves it in each verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from evollab.evals.judging.parse import Choice, read_choice, read_scores
from evollab.evals.judging.prompts import asked, pair_prompt, scores_prompt
from evollab.evals.trial import Asked, JudgePrompt

UNPARSED = "unparsed"
FAILED = "judge failed"
Winner = Literal["first", "second", "tie"]
"""first, second or tie: of the two answers as they were given, not as they were shown."""

_Prompt = Callable[[Sequence[str], Sequence[str], Sequence[str], Sequence[str]], str]


@dataclass(frozen=True, slots=True)
class Match:
    """What is judged: the user's turns, and two answers with a text for each turn. reference: what is right."""

    turns: tuple[str, ...]
    first: tuple[str, ...]
    second: tuple[str, ...]
    reference: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Games:
    """Two games of one match. forward: the winner as told where the first answer was shown first; backward: where it
    was shown second; None where there is no verdict, and `failure` says of which kind. marks: the first's and the
    second's mark in both orders, where marks were asked for. said: the replies."""

    forward: Winner | None
    backward: Winner | None
    failure: str = ""
    marks: tuple[tuple[float, float], ...] = ()
    said: tuple[str | None, ...] = ()

    @property
    def winner(self) -> Winner | None:
        """Of both games together: who won both, else a tie; None where one has no verdict."""
        if self.forward is None or self.backward is None:
            return None
        return self.forward if self.forward == self.backward else "tie"

    @property
    def consistent(self) -> bool | None:
        return None if self.forward is None or self.backward is None else self.forward == self.backward

    @property
    def score(self) -> float | None:
        """The first's: 1 won, 0.5 tie, 0 lost."""
        return None if self.winner is None else {"first": 1.0, "tie": 0.5, "second": 0.0}[self.winner]

    @property
    def means(self) -> tuple[float, float] | None:
        """The first's and the second's mark, averaged over both orders; None unless both are there."""
        if len(self.marks) < 2:
            return None
        return sum(one for one, _ in self.marks) / 2, sum(two for _, two in self.marks) / 2


async def choices(matches: Sequence[Match], judge: Asked) -> list[Games]:
    """Each match played in both orders, by verdicts A, B or tie."""
    replies = await _replies(matches, judge, pair_prompt)
    found = []
    for forward, backward in replies:
        one = None if forward is None else _won(read_choice(forward), swapped=False)
        other = None if backward is None else _won(read_choice(backward), swapped=True)
        found.append(Games(one, other, _failure((forward, backward), (one, other)), (), (forward, backward)))
    return found


async def scored(matches: Sequence[Match], judge: Asked) -> list[Games]:
    """Each match marked in both orders, each answer from 1 to 10; the higher mark wins a game."""
    replies = await _replies(matches, judge, scores_prompt)
    found = []
    for forward, backward in replies:
        one = None if forward is None else read_scores(forward)
        other = None if backward is None else read_scores(backward)
        turned = None if other is None else (other[1], other[0])
        marks = tuple(pair for pair in (one, turned) if pair is not None)
        failure = _failure((forward, backward), (one, turned))
        found.append(Games(_higher(one), _higher(turned), failure, marks, (forward, backward)))
    return found


async def _replies(matches: Sequence[Match], judge: Asked, prompt: _Prompt) -> list[tuple[str | None, str | None]]:
    prompts = []
    for match in matches:
        for one, other in ((match.first, match.second), (match.second, match.first)):
            prompts.append(JudgePrompt(asked(prompt(match.turns, one, other, match.reference))))
    replies = list(await judge(prompts))
    return list(zip(replies[::2], replies[1::2], strict=True))


def _won(choice: Choice | None, *, swapped: bool) -> Winner | None:
    if choice is None or choice == "tie":
        return choice
    return "first" if (choice == "A") != swapped else "second"


def _higher(marks: tuple[float, float] | None) -> Winner | None:
    if marks is None:
        return None
    return "tie" if marks[0] == marks[1] else "first" if marks[0] > marks[1] else "second"


def _failure(replies: Sequence[str | None], read: Sequence[object]) -> str:
    if any(reply is None for reply in replies):
        return FAILED
    return UNPARSED if any(one is None for one in read) else ""
