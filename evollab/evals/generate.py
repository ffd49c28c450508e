"""Asking a model the questions of a task, and a judge about the answers: every reply through the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from evollab import rng
from evollab.evals.options import EvalOptions
from evollab.evals.trial import Answer, JudgePrompt, Prompt, Question, Trial
from evollab.llm import CallFailed, Reply, Request, Sampling
from evollab.llm.session import Opened, Session
from evollab.llm.stop import Stopped
from evollab.llm.watching import money, seconds, watched
from evollab.records import Message

LASTING = {"bad_request", "content_filter", "empty"}
"""Failures that asking again can't mend; all others wait for the next start."""
_WIDER = 1.25
T = TypeVar("T")


@dataclass(slots=True)
class Progress:
    """How far one task is; shown while calls are made."""

    what: str
    total: int
    done: int = 0
    unfinished: int = 0
    """Calls that wait for the next start."""
    started: float = field(default_factory=time.monotonic)


def sampling_of(trial: Trial, prompt: Prompt, options: EvalOptions, question: Question) -> Sampling:
    """How the answer to a question is decoded: the task's way, where the options say nothing else."""
    own = trial.sampling(question)
    return Sampling(
        own.temperature if options.temperature is None else options.temperature,
        own.top_p if options.top_p is None else options.top_p,
        options.reply_tokens or own.max_tokens,
        (*own.stop, *prompt.stop),
    )


def request_of(
    trial: Trial, prompt: Prompt, options: EvalOptions, question: Question, said: Sequence[str], sample: int
) -> Request:
    """The request for the next turn of a question, after the answers `said`."""
    asked = prompt.ask(question, said)
    sampling = sampling_of(trial, prompt, options, question)
    seed = None
    if options.send_seed and sampling.temperature > 0:
        seed = rng.integer(options.seed, "eval", question.id, len(said), sample) >> 33
    if isinstance(asked, str):
        return Request((), asked, sampling, seed, sample, "answer")
    messages = asked
    if options.system and messages[0].role != "system":
        messages = (Message("system", options.system), *messages)
    return Request(messages, None, sampling, seed, sample, "answer")


async def answers_of(
    questions: Sequence[Question], trial: Trial, prompt: Prompt, options: EvalOptions, opened: Session, model: Opened,
    progress: Progress,
) -> list[Answer]:  # fmt: skip
    """All samples of all questions, in their order. Those whose calls wait for the next start have failure "waits".
    Raises EvolError for the fault that ended the run."""

    async def one(place: tuple[Question, int]) -> Answer:
        return await _answer(place[0], place[1], trial, prompt, options, model, progress)

    places = [(question, sample) for question in questions for sample in range(options.samples)]
    return await side_by_side(places, one, opened, model, progress)


async def _answer(
    question: Question, sample: int, trial: Trial, prompt: Prompt, options: EvalOptions, model: Opened,
    progress: Progress,
) -> Answer:  # fmt: skip
    said: list[str] = []
    cut = False
    for _ in question.turns:
        request = request_of(trial, prompt, options, question, said, sample)
        try:
            reply = await model.ask(request)
        except CallFailed as failed:
            if failed.kind == "truncated" and failed.reply is not None:
                reply, cut = failed.reply, True
            elif failed.kind == "empty":
                reply = Reply("")  # it had its say
            else:
                progress.unfinished += failed.kind not in LASTING
                return Answer(question, (), sample, failure=failed.kind if failed.kind in LASTING else "waits")
        except Stopped:
            progress.unfinished += 1
            return Answer(question, (), sample, failure="waits")
        said.append(reply.text)
    return Answer(question, tuple(said), sample, cut)


@dataclass(frozen=True, slots=True)
class Judging:
    """A judge for graders (`trial.Asked`)."""

    opened: Session
    model: Opened
    options: EvalOptions
    progress: Progress

    async def __call__(self, prompts: Sequence[JudgePrompt]) -> Sequence[str | None]:
        self.progress.total += len(prompts)

        async def one(prompt: JudgePrompt) -> str | None:
            tokens = min(prompt.max_tokens, self.options.judge_tokens)
            request = Request(
                prompt.messages, None, Sampling(prompt.temperature, 1.0, tokens), None, prompt.sample, "judge"
            )
            try:
                return (await self.model.ask(request)).text
            except CallFailed as failed:
                if failed.kind == "truncated" and failed.reply is not None:
                    return failed.reply.text
                self.progress.unfinished += failed.kind not in LASTING
            except Stopped:
                self.progress.unfinished += 1
            return None

        return await side_by_side(prompts, one, self.opened, self.model, self.progress)


A = TypeVar("A")


async def side_by_side(
    things: Sequence[A], one: Callable[[A], Awaitable[T]], opened: Session, model: Opened, progress: Progress
) -> list[T]:
    """`one` of each thing, so many at once that no place of the model stays empty; results in the order of things."""
    results: dict[int, T] = {}
    waiting: Iterable[tuple[int, A]] = iter(enumerate(things))

    async def worker() -> None:
        for at, thing in waiting:
            results[at] = await one(thing)
            progress.done += 1

    async with watched(_ticker(opened, model, progress), opened.stop):
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(int(model.limiter.limits.concurrency * _WIDER) + 2):
                    group.create_task(worker())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
    if opened.stop.error is not None:
        raise opened.stop.error
    return [results[at] for at in range(len(things))]


def _ticker(opened: Session, model: Opened, progress: Progress) -> Callable[[], str]:
    def line() -> str:
        elapsed = time.monotonic() - progress.started
        paid, done, total = opened.store.totals, progress.done, progress.total
        parts = [
            f"{progress.what} {done:,}/{total:,}",
            f"{(opened.tally.kept + opened.tally.found) / max(elapsed, 1e-9):,.1f} calls/s",
            f"{paid.tokens_in + paid.tokens_out:,} tokens",
            money(paid.usd, bool(opened.unpriced)),
            model.limiter.state,
            f"{seconds(elapsed * (total - done) / done)} left" if 0 < done < total else "",
        ]
        return " | ".join(part for part in parts if part)

    return line
