"""Multiple choice by log-likelihood: which of the answers does the model find likeliest?

    row -> Question (gold: ChoiceQuestion) -> pairs of text before and answer -> log-likelihoods -> Mark

The texts are those of lm-eval's tasks, to the letter; it computes the log-likelihoods, too (see `harness`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from evollab.data.files import read_rows
from evollab.data.formats import BadFields
from evollab.data.rows import Row
from evollab.evals.trial import Mark, Question
from evollab.records import EvolError

Measure = Literal["acc", "acc_norm", "mc1"]
_HARNESS_SEED = 1234
"""With which lm-eval draws examples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceQuestion:
    """What is scored of a question.

    query: the text before the answers. answers: what may follow it, after a space. right: the number of the right one,
    from 0. openings: where the answers differ before a common continuation (WinoGrande), a text for each, and `answers`
    holds the continuation as often. group: its examples are of the same group. number: of its row, from 1.
    single: the answers that the question with one true answer is about (TruthfulQA, mc1), (): all. true: which answers
    are true, where several are (mc2); None: not among those.
    """

    query: str
    answers: tuple[str, ...]
    right: int
    openings: tuple[str, ...] = ()
    group: str = ""
    number: int = 0
    single: tuple[int, ...] = ()
    true: tuple[bool | None, ...] = ()

    @property
    def solved(self) -> str:
        """The question with its right answer, as an example for others."""
        return f"{self.openings[self.right] if self.openings else self.query} {self.answers[self.right]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """How a benchmark of multiple choice measures a model.

    question: from a row to a question whose gold is a `ChoiceQuestion`; None for a row that is no item; raises
    `BadFields`. shots: how many examples stand before a question. expected: how many questions the whole set has.
    metric: what counts. about: what the prompt looks like, for the result. example_files: what a local file of examples
    is called, without its ending; example_hub: ids on the hub. drawn: each question has examples of its own, drawn as
    lm-eval draws them; else all have the first ones of their group. heading: a text before the examples, of the
    group. groups: facts to give tables for.
    """

    question: Callable[[Row], Question | None]
    shots: int
    expected: int
    metric: Measure
    about: str
    example_files: tuple[str, ...] = ()
    example_hub: tuple[str, ...] = ()
    drawn: bool = False
    heading: Callable[[str], str] = lambda group: ""
    groups: tuple[str, ...] = ()


def choice_of(question: Question) -> ChoiceQuestion:
    assert isinstance(question.gold, ChoiceQuestion)
    return question.gold


def asked(name: str, choice: ChoiceQuestion, facts: dict[str, str] | None = None) -> Question:
    """The question of a choice. Raises BadFields where it can't be one."""
    if len(choice.answers) < 2:
        raise BadFields(f"{len(choice.answers)} answers to choose from; expected two or more")
    if not 0 <= choice.right < len(choice.answers):
        raise BadFields(f"the right answer is number {choice.right} of {len(choice.answers)}, counted from 0")
    if not all(answer.strip() for answer in choice.answers):
        raise BadFields("an answer is empty")
    return Question(name, (choice.query or choice.openings[choice.right],), choice, facts or {})


def read_examples(name: str, choices: Choices, places: Sequence[str], shots: int) -> list[ChoiceQuestion]:
    """The examples for a benchmark called `name`, out of files or hub ids; [] for no shots.

    Raises EvolError where there are none to be had, or fewer than `shots`: never are there silently fewer.
    """
    if not shots:
        return []
    files = ", ".join(f"{file}.jsonl" for file in choices.example_files)
    hint = f"put {files} into the folder of --benchmarks, or say --shots 0, which is another measurement"
    if not places:
        raise EvolError(f"{name} is asked with {shots} solved examples before each question, and none are here", hint)
    found: list[ChoiceQuestion] = []
    try:
        for place in places:
            for row in read_rows(place, reject=lambda bad: None):
                try:
                    question = choices.question(row)
                except BadFields:
                    continue
                if question is not None:
                    found.append(choice_of(question))
    except EvolError as error:
        why = f"{name} is asked with {shots} solved examples before each question, and {error.message}"
        raise EvolError(why, hint) from None
    if len(found) < shots:
        raise EvolError(f"{places[0]} has {len(found)} examples, and {name} is asked with {shots}", hint)
    return found


def prompts(
    choices: Choices, questions: Sequence[Question], examples: Sequence[ChoiceQuestion], shots: int
) -> list[list[tuple[str, str]]]:
    """For each question its answers as pairs of context and continuation, whose log-likelihood is asked for.

    Raises EvolError where a group has fewer examples than `shots`.
    """
    heads = _drawn if choices.drawn else _first
    told = heads(choices, questions, examples, shots)
    return [_pairs(choice_of(question), head) for question, head in zip(questions, told, strict=True)]


def _pairs(choice: ChoiceQuestion, head: str) -> list[tuple[str, str]]:
    befores = choice.openings or (choice.query,) * len(choice.answers)
    return [(f"{head}{before}", f" {answer}") for before, answer in zip(befores, choice.answers, strict=True)]


def _first(
    choices: Choices, questions: Sequence[Question], examples: Sequence[ChoiceQuestion], shots: int
) -> list[str]:
    groups: dict[str, list[ChoiceQuestion]] = {}
    for example in examples:
        groups.setdefault(example.group, []).append(example)
    heads: dict[str, str] = {}
    for group in dict.fromkeys(choice_of(question).group for question in questions):
        own = groups.get(group, [])
        if len(own) < shots:
            raise EvolError(
                f"{len(own)} examples for {group or 'the questions'}, and {shots} are to stand before each question",
                f"complete the file of examples, or say --shots {len(own)}, which is another measurement",
            )
        heads[group] = choices.heading(group) + _shown(own[:shots])
    return [heads[choice_of(question).group] for question in questions]


def _drawn(
    choices: Choices, questions: Sequence[Question], examples: Sequence[ChoiceQuestion], shots: int
) -> list[str]:
    """As lm-eval draws over a whole set in its order, so that a part of it has the same examples."""
    if not shots:
        return [choices.heading(choice_of(question).group) for question in questions]
    draw = random.Random(_HARNESS_SEED)
    last = max(choice_of(question).number for question in questions)
    picks = [draw.sample(range(len(examples)), shots) for _ in range(last)]
    heads = []
    for question in questions:
        choice = choice_of(question)
        heads.append(choices.heading(choice.group) + _shown([examples[at] for at in picks[choice.number - 1]]))
    return heads


def _shown(examples: Sequence[ChoiceQuestion]) -> str:
    return "".join(f"{example.solved}\n\n" for example in examples)


def mark(choice: ChoiceQuestion, likelihoods: Sequence[float], metric: Measure) -> Mark:
    """The mark of a question from the log-likelihood (natural logarithm, summed over tokens) of each answer.

    score: 1 where the likeliest is right (of equal ones the first counts, as in lm-eval); more: the same with
    log-likelihoods by character ("acc_norm"; where the metric is that one, "acc"), and the share of probability on true
    answers ("mc2").
    """
    single = choice.single or tuple(range(len(choice.answers)))
    plain = _best(likelihoods, single)
    # a likelihood of 0 for a text of no characters can't be: `asked` refuses empty answers
    by_length = _best([value / len(text) for value, text in zip(likelihoods, choice.answers, strict=True)], single)
    more: dict[str, float | None] = {}
    best = plain
    if choice.true:
        more["mc2"] = _share(likelihoods, choice.true)
    elif not choice.openings and len({len(answer) for answer in choice.answers}) > 1:
        more = {"acc_norm": float(by_length == choice.right)}
    if metric == "acc_norm":
        best = by_length
        more = {"acc": float(plain == choice.right)}
    chosen = choice.openings[best] if choice.openings else choice.answers[best]
    told = ", ".join(f"{value:.3f}" for value in likelihoods)
    return Mark(float(best == choice.right), extracted=chosen, reason=f"log-likelihoods {told}", more=more)


def _best(values: Sequence[float], among: Sequence[int]) -> int:
    return max(among, key=lambda at: (values[at], -at))


def _share(likelihoods: Sequence[float], true: Sequence[bool | None]) -> float:
    top = max(value for value, right in zip(likelihoods, true, strict=True) if right is not None)
    weights = [0.0 if right is None else math.exp(value - top) for value, right in zip(likelihoods, true, strict=True)]
    return math.fsum(weight for weight, right in zip(weights, true, strict=True) if right) / math.fsum(weights)
