"""What judging would take, before anything is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evollab.data.items import Item
from evollab.data.judge_options import JudgeOptions
from evollab.data.judge_prompts import LINEAGE, MOST_TOGETHER, TOGETHER, asked, form_prompt, grade_prompt
from evollab.data.passrate import how
from evollab.llm.budget import Price
from evollab.llm.limits import Limits
from evollab.llm.watching import seconds
from evollab.records import Message

_BYTES_A_TOKEN = 4
_FORM_TOKENS = 12
"""Tokens of one line of a filled form, its name included; a judge that reasons first writes many times that."""
_SPEED = 50
"""Tokens that a server is taken to write in a second, for one reply."""
_LATENCY = 0.5
"""Seconds that it is taken to need before the first."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """By rule of thumb: four bytes make a token, replies as short as asked for, answers as long as the responses in
    the data. usd: None where a price is not known."""

    rows: int
    drawn: int
    calls: int
    tokens_in: int
    tokens_out: int
    usd: float | None
    seconds: float

    def __str__(self) -> str:
        usd = "not known: give --price IN,OUT" if self.usd is None else f"about ${self.usd:,.2f}"
        tokens = f"{self.tokens_in + self.tokens_out:,} ({self.tokens_in:,} in, {self.tokens_out:,} out)"
        return "\n".join(
            [
                f"{self.drawn:,} of {self.rows:,} rows, nothing asked yet:",
                f"  calls   about {self.calls:,}",
                f"  tokens  about {tokens}",
                f"  money   {usd}",
                f"  time    about {seconds(self.seconds)}, at {_SPEED} tokens a second for each reply",
            ]
        )


@dataclass(slots=True)
class _Sum:
    """Calls to one model."""

    calls: float = 0.0
    tokens_in: float = 0.0
    tokens_out: float = 0.0

    def add(self, calls: float, size: float, reply: float) -> None:
        """So many calls, each of a prompt of `size` bytes and a reply of `reply` tokens."""
        self.calls += calls
        self.tokens_in += calls * (size / _BYTES_A_TOKEN + 1)
        self.tokens_out += calls * reply

    def join(self, other: _Sum, share: float) -> None:
        """Take over a share of other calls."""
        self.calls += share * other.calls
        self.tokens_in += share * other.tokens_in
        self.tokens_out += share * other.tokens_out

    def cost(self, price: Price | None) -> float | None:
        return (None if self.calls else 0.0) if price is None else price.cost(int(self.tokens_in), int(self.tokens_out))


def estimate(
    items: Iterable[Item], options: JudgeOptions, price: Price | None = None, target_price: Price | None = None
) -> Estimate:
    """Read all rows and say what asking about them would take. price, target_price: of the judge, of the target. With
    --judge-sample the means over all rows are scaled. Asks no model."""
    judge, target, alone = _Sum(), _Sum(), _Sum()
    lineages, sizes, rows = Counter[str](), 0, 0
    for item in items:
        rows += 1
        if options.with_model:
            if item.root and "difficulty" in options.what:
                lineages[item.root] += 1
                sizes += _bytes(asked(item.messages, TOGETHER // MOST_TOGETHER))
            _form(alone if item.root and options.what == ("difficulty",) else judge, item.messages, options)
        if options.target:
            _pass(judge, target, item.messages, options)
    several = [count for count in lineages.values() if count > 1]
    prompts = sum(-(-count // MOST_TOGETHER) for count in several)
    judge.join(alone, 1 - sum(several) / (lineages.total() or 1))  # asked for where a lineage has one row alone
    if prompts:
        judge.add(prompts, len(LINEAGE) + sizes / prompts, 4 * sum(several) / prompts)
    share = min(1.0, (options.judge_sample or rows) / rows) if rows else 0.0
    return _scaled(rows, share, judge, target, options, (price, target_price))


def _form(judge: _Sum, turns: Sequence[Message], options: JudgeOptions) -> None:
    lines = [name for name in options.what if name != "quality" or turns[-1].role == "assistant"]
    if lines:
        judge.add(1 + options.self_agreement, _bytes(form_prompt(turns, lines)), _FORM_TOKENS * len(lines))


def _pass(judge: _Sum, target: _Sum, turns: Sequence[Message], options: JudgeOptions) -> None:
    way = how(turns, judged=bool(options.with_model))
    if way is None:
        return
    reference = turns[-1].content
    size = sum(_bytes(turn.content) for turn in turns[:-1])
    target.add(options.samples, size, min(options.target_tokens, _bytes(reference) / _BYTES_A_TOKEN))
    if way == "judge":
        judge.add(options.samples, _bytes(grade_prompt(turns[:-1], reference, reference)), 4)


def _scaled(
    rows: int, share: float, judge: _Sum, target: _Sum, options: JudgeOptions, prices: tuple[Price | None, Price | None]
) -> Estimate:
    costs = [judge.cost(prices[0]), target.cost(prices[1])]
    calls = share * (judge.calls + target.calls)
    tokens_in = share * (judge.tokens_in + target.tokens_in)
    tokens_out = share * (judge.tokens_out + target.tokens_out)
    at_once = options.concurrency or Limits().concurrency
    time = (calls * _LATENCY + tokens_out / _SPEED) / at_once
    time = max(time, 60 * calls / options.rpm if options.rpm else 0.0)
    time = max(time, 60 * (tokens_in + tokens_out) / options.tpm if options.tpm else 0.0)
    known = [cost for cost in costs if cost is not None]
    usd = share * sum(known) if len(known) == len(costs) else None
    return Estimate(rows, round(share * rows), round(calls), round(tokens_in), round(tokens_out), usd, time)


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
