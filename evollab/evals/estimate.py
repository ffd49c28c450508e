"""What an evaluation would ask and cost, before anything is asked."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evollab.evals.contestant import Contestant
from evollab.evals.options import EvalOptions
from evollab.evals.trial import Question
from evollab.inert import inert
from evollab.llm import Request
from evollab.llm.budget import Price, estimate_tokens
from evollab.llm.session import session

_REPLY = 0.4
"""Share of the tokens that an answer may have which it is taken to use."""
_JUDGE_CALLS = 2
_JUDGE_TOKENS = 250
_SHOWN = 1500

Asked = tuple[str, str, Sequence[Request], Sequence[Question], bool]
"""Task, prompt preset, the first request of each question, the questions, whether a judge reads the answers."""


@dataclass(frozen=True, slots=True)
class Line:
    """One task: calls and tokens by rule of thumb, and its first request as it would be sent."""

    task: str
    prompt: str
    questions: int
    calls: int
    tokens_in: int
    tokens_out: int
    usd: float | None
    example: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """Four bytes make a token; an answer uses two fifths of what it may have."""

    lines: Sequence[Line]

    def __str__(self) -> str:
        told = ["nothing asked yet; by rule of thumb:"]
        for line in self.lines:
            usd = "price unknown: --price IN,OUT" if line.usd is None else f"about ${line.usd:,.2f}"
            told.append(
                f"  {line.task}: {line.questions:,} questions, about {line.calls:,} calls, "
                f"{line.tokens_in + line.tokens_out:,} tokens, {usd}"
            )
        for line in self.lines:
            told += ["", f"first request of {line.task} (prompt {line.prompt}):", inert(line.example)]
        return "\n".join(told)


async def estimate(asked: Sequence[Asked], who: Contestant | None, options: EvalOptions) -> Estimate:
    """Raises EvolError for models that can't be opened."""
    prices: dict[str, Price | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with session(Path(folder), options) as opened:
            if who is not None:
                model = await opened.model(who.spec, at=who.at, key_env=options.model_key_env)
                prices["model"] = model.ask.price
            if options.judge:
                prices["judge"] = (await opened.model(options.judge)).ask.price
    return Estimate([_line(one, prices, options) for one in asked])


def _line(one: Asked, prices: dict[str, Price | None], options: EvalOptions) -> Line:
    task, prompt, requests, questions, judged = one
    turns = sum(len(question.turns) for question in questions)
    calls = turns * options.samples if "model" in prices else 0
    each = [(estimate_tokens(request.body("")), request.sampling.max_tokens * _REPLY) for request in requests]
    share = turns / max(1, len(questions)) * options.samples
    tokens_in = int(sum(one for one, _ in each) * share) if calls else 0
    tokens_out = int(sum(out for _, out in each) * share) if calls else 0
    usd: float | None = 0.0
    if calls:
        price = prices["model"]
        usd = None if price is None else price.cost(tokens_in, tokens_out)
    if judged and "judge" in prices:
        more = turns * options.samples * _JUDGE_CALLS
        read, said = int(more * 2.5 * sum(out for _, out in each) / max(1, len(each))), more * _JUDGE_TOKENS
        calls, tokens_in, tokens_out = calls + more, tokens_in + read, tokens_out + said
        price = prices["judge"]
        usd = None if usd is None or price is None else usd + price.cost(read, said)
    first = requests[0] if requests else None
    example = ""
    if first is not None:
        example = (
            first.prompt if first.prompt is not None else "\n".join(f"[{m.role}] {m.content}" for m in first.messages)
        )
    return Line(task, prompt, len(questions), calls, tokens_in, tokens_out, usd, example[:_SHOWN])
