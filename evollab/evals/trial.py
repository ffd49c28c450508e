"""How a benchmark measures a model: what it asks, how the answers are graded, which figures come of it.

    row of the benchmark -> Question -> (prompt preset) messages -> Answer -> (grader) Mark -> Metrics

A grader works on all answers at once, so that it can keep a pool of processes, a sandbox or a judge busy. It never
raises for what a model wrote.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from evollab.data.rows import Row
from evollab.evals.metric import Metric
from evollab.llm import Sampling
from evollab.records import Message


@dataclass(frozen=True, slots=True)
class Question:
    """One item as it is asked.

    id: the item's own. turns: what the user says, turn by turn (MT-Bench has two). gold: what the grader needs, any
    JSON value. facts: the groups that it counts in, {"skill": "Math", "level": "hard"}.
    """

    id: str
    turns: tuple[str, ...]
    gold: Any = None
    facts: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Answer:
    """One sample of a model's answers to a question: a text for each turn.

    cut: the limit of tokens ended the last text; it is graded as it is, and counted. failure: the class of call that
    failed for good (`evollab.llm.Failure`); such an answer has no text, no mark, and is counted apart.
    given: the row that it came in, for outputs made elsewhere.
    """

    question: Question
    texts: tuple[str, ...]
    sample: int = 0
    cut: bool = False
    failure: str = ""
    given: Given | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """What a grader says of one answer.

    score: 0 to 1, or on the judge's scale; None: not to be told (the judge's reply can't be parsed, the sandbox
    failed), never put down as 0. failure: the class of what went wrong, counted in the result ("no answer" with
    score 0 where nothing could be extracted, "unparsed" with None). extracted: what was read out of the answer.
    reason: for people. more: scores by further rules, by name ("flexible", "compat wizardlm").
    """

    score: float | None
    extracted: str = ""
    reason: str = ""
    failure: str = ""
    more: Mapping[str, float | None] = field(default_factory=dict[str, "float | None"])


Marked = tuple[Answer, Mark]


@dataclass(frozen=True, slots=True)
class Given:
    """What a row of outputs made elsewhere holds.

    id, text: which item it answers, by its id or by the text of what was asked; one of them will do. texts: the
    answer, a text for each turn. gold: where the row itself says what is right. mark: where the row is a judgement
    already (an annotation with its preference), nothing is graded. published: the verdict published with it, to be
    compared with ours. facts: groups, where the row has them.
    """

    id: str | None
    text: str | None
    texts: tuple[str, ...]
    gold: Any = None
    mark: Mark | None = None
    published: float | None = None
    facts: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Prompt:
    """A way to put a question, written into the result.

    ask: from the question and the answers so far to chat messages, or to a text to go on with. stop: texts that end
    an answer to it.
    """

    about: str
    ask: Callable[[Question, Sequence[str]], tuple[Message, ...] | str]
    stop: tuple[str, ...] = ()


class Asked(Protocol):
    """A judge: replies to prompts, kept in the run's store, side by side. None where a call failed for good."""

    async def __call__(self, prompts: Sequence[JudgePrompt]) -> Sequence[str | None]: ...


@dataclass(frozen=True, slots=True)
class JudgePrompt:
    """What a judge is asked. sample: numbers repeated draws of the same prompt."""

    messages: tuple[Message, ...]
    max_tokens: int = 2048
    temperature: float = 0.0
    sample: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a grader may use.

    judge: None where none was named; `judge_name` says who. reference: answers of a reference model by question id,
    {} where none was given; `reference_name` says whose. compat: also grade as this published script does
    ("wizardlm"), "" for none. workers: processes to keep busy. unsafe_sandbox: run programs even without isolation.
    seed: for draws. note: hears what a person should know. facts: a grader puts in what the result should tell (which
    isolation, which version).
    """

    model_name: str = ""
    judge: Asked | None = None
    judge_name: str = ""
    reference: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    reference_name: str = ""
    compat: str = ""
    workers: int = 2
    unsafe_sandbox: bool = False
    seed: int = 0
    note: Callable[[str], None] = print
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


Grader = Callable[[Sequence[Answer], Tools], Awaitable[Sequence[Mark]]]
"""One mark for each answer, in their order. Raises EvolError for a tool that is missing (a judge, an extra)."""


def greedy(tokens: int) -> Callable[[Question], Sampling]:
    """The sampling of most tasks: temperature 0, at most `tokens` tokens."""
    sampling = Sampling(0.0, 1.0, tokens)
    return lambda question: sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How a benchmark measures a model.

    question: from a row; None for a row that is no item; raises `BadFields`. prompts: presets by name, the first is
    the default. sampling: for a question, where the options say nothing else. grade: see `Grader`. grader: its name
    and version, for the result. metrics: from all marked answers, the first figure is the task's own; None: the mean
    of the scores in percent, called `main`. scale: the highest score, 1 unless a judge marks otherwise. given: reads
    outputs made elsewhere, one for each sample in a row; raises `BadFields`; None: `evals.outputs` knows the usual
    columns.
    needs_judge, needs_reference: what must be named. reference_files: what a local copy of a reference's answers is
    called, without its ending. expected: how many items the whole set has. groups: the facts to give tables for. reads:
    environment variables that name files its figures depend on.
    """

    question: Callable[[Row], Question | None]
    prompts: Mapping[str, Prompt]
    grade: Grader
    grader: str
    sampling: Callable[[Question], Sampling] = field(default_factory=lambda: greedy(1024))
    metrics: Callable[[Sequence[Marked]], Sequence[Metric]] | None = None
    main: str = "accuracy"
    scale: float = 1.0
    given: Callable[[Row], Given | Sequence[Given] | None] | None = None
    needs_judge: bool = False
    needs_reference: bool = False
    reference_files: tuple[str, ...] = ()
    expected: int | None = None
    groups: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
