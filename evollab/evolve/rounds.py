"""The loop. A seed's lineage is the unit of work: its rounds run in order, lineages side by side."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Literal

from evollab import rng
from evollab.evolve.blocks import without_blocks
from evollab.evolve.eliminate import ALL_CHECKS, PAPER_CHECKS, Attempt, bad_response, first_objection
from evollab.evolve.gain import added_nothing, judge_prompt, read_verdict
from evollab.evolve.operation import Domain, Format, Operation, Shape
from evollab.evolve.rewrite import Proposal, propose, too_long
from evollab.llm import CallFailed, Model, Reply, Request, Sampling
from evollab.llm.stop import Stopped
from evollab.records import Dropped, Instruction, Message, digest
from evollab.words import count_words

_SLACK = 1.5
_JUDGING = Sampling(temperature=0.0, top_p=1.0, max_tokens=128)
_LASTING = ("bad_request", "content_filter", "truncated")
"""Failures that asking again can't mend; the others leave a lineage unfinished, for the next start."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides what one lineage becomes, resolved from the options."""

    domain: Domain
    operations: tuple[Operation, ...]
    weights: tuple[float, ...]
    rounds: int
    seed: int
    shape: Shape
    judging: Literal["model", "rule"]
    flow: Literal["eager", "thrifty"]
    thorough: bool
    added_words: int
    evolving: Sampling
    answering: Sampling
    send_seed: bool
    answer_seeds: str
    evolver: Model
    answerer: Model
    judge: Model
    names: dict[str, str]

    def place(self, *place: object) -> int | None:
        """The seed to send with a request made at this place (31 bits: some servers take no more)."""
        return rng.integer(self.seed, *place) >> 33 if self.send_seed else None


@dataclass(slots=True)
class Lineage:
    """A seed and what came of it. `unfinished`: it was stopped, or a call failed that may succeed
    another time; the next start goes on from the replies kept."""

    kept: list[Instruction]
    dropped: list[Dropped] = field(default_factory=list[Dropped])
    unfinished: str = ""


@dataclass(slots=True)
class _Paid:
    """Tokens paid for one child so far."""

    tokens_in: int = 0
    tokens_out: int = 0

    def add(self, reply: Reply | None) -> None:
        if reply is not None:
            self.tokens_in += reply.tokens_in
            self.tokens_out += reply.tokens_out


class _Drop(Exception):
    def __init__(self, rule: str, detail: str, text: str, reply: str) -> None:
        super().__init__(rule)
        self.rule, self.detail, self.text, self.reply = rule, detail, text, reply


async def lineage(plan: Plan, seed: Instruction) -> Lineage:
    """Grow one seed for `plan.rounds` rounds. A dropped child leaves its parent to try again in the
    next round. Never raises for what a model did."""
    result = Lineage([seed])
    parent = seed
    try:
        if plan.answer_seeds == "all" or (plan.answer_seeds == "missing" and not seed.response):
            result.kept[0] = await _answer_seed(plan, seed)
        for number in range(1, plan.rounds + 1):
            line = tuple(one.text for one in result.kept)
            child = await _generation(plan, parent, line, number)
            if isinstance(child, Dropped):
                result.dropped.append(child)
            else:
                result.kept.append(child)
                parent = child
    except Stopped:
        result.unfinished = "stopped"
    except CallFailed as failure:
        result.unfinished = str(failure)
    return result


async def _generation(plan: Plan, parent: Instruction, line: tuple[str, ...], number: int) -> Instruction | Dropped:
    root = parent.root_id
    operation = rng.choose(plan.operations, plan.weights, plan.seed, root, number, "operation")
    formats = operation.formats
    form = formats[rng.integer(plan.seed, root, number, "format") % len(formats)] if formats else None
    paid = _Paid()
    verdicts: dict[str, str] = {}
    text, given, reply = "", "", ""
    try:
        proposal = await _evolve(plan, parent, line, number, operation, form, paid)
        text, given, reply = proposal.text, proposal.input, proposal.reply
        child = _child(parent, operation, number, text, given)
        verdict = None if plan.flow == "eager" else await _gain(plan, parent, child, number, paid, verdicts)
        if verdict is not None:
            raise _Drop(*verdict, text, reply)
        response = await _answer(plan, child, paid, "answer", number)
        if plan.flow == "eager":
            verdict = await _gain(plan, parent, child, number, paid, verdicts)
            if verdict is not None:
                raise _Drop(*verdict, text, reply)
        objection = bad_response(child, response, thorough=plan.thorough)
        if objection is not None:
            child = dataclasses.replace(child, response=response)
            raise _Drop(*objection, text, reply)
    except _Drop as drop:
        child = _child(parent, operation, number, drop.text, given)
        return Dropped(_account(plan, child, paid, verdicts, None), drop.rule, drop.detail, drop.reply)
    except CallFailed as failure:
        if failure.kind not in _LASTING:
            raise
        rule = "truncated" if failure.kind == "truncated" else "call_failed"
        cut = failure.reply.text if failure.reply else ""
        child = _child(parent, operation, number, text or cut, given)
        return Dropped(_account(plan, child, paid, verdicts, None), rule, str(failure), reply or cut)
    return _account(plan, child, paid, verdicts, response)


async def _evolve(
    plan: Plan, parent: Instruction, line: tuple[str, ...], number: int, operation: Operation, form: Format | None,
    paid: _Paid,
) -> Proposal:  # fmt: skip
    """A child's text that no cheap check objects to. Raises _Drop."""
    checks = ALL_CHECKS if plan.thorough else PAPER_CHECKS
    budget = plan.added_words if plan.thorough else 0
    proposal, over = None, 0
    for _ in range(2):
        complaint = too_long(over, math.ceil(budget * _SLACK)) if proposal else ""
        proposal = await propose(plan, parent, number, operation, form, first=proposal, complaint=complaint)
        paid.add(proposal.paid)
        if not proposal.reply.strip():
            raise _Drop("empty", "blank reply", "", proposal.reply)
        if proposal.problem:
            raise _Drop(*proposal.problem, proposal.text, proposal.reply)
        attempt = Attempt(parent, line, operation, plan.domain, proposal.text, form if plan.shape == "paper" else None)
        objection = first_objection(attempt, checks)
        if objection is not None:
            raise _Drop(*objection, proposal.text, proposal.reply)
        over = words_over(parent, proposal.text, operation, budget) if budget else 0
        if over <= 0:
            return proposal
    assert proposal is not None
    raise _Drop("over_budget", f"{over} words over, asked twice", proposal.text, proposal.reply)


def words_over(parent: Instruction, text: str, operation: Operation, added_words: int) -> int:
    """How many words the child has above what it may have (0 or less: within the budget). In depth:
    1.5 times `added_words` more than its parent, blocks not counted; in breadth: twice its parent."""
    before, after = count_words(without_blocks(parent.text)), count_words(without_blocks(text))
    slack = math.ceil(added_words * _SLACK)
    if operation.kind == "breadth":
        return after - max(2 * count_words(parent.prompt), before + slack)
    return after - before - slack


async def _gain(
    plan: Plan, parent: Instruction, child: Instruction, number: int, paid: _Paid, verdicts: dict[str, str]
) -> tuple[str, str] | None:
    """Rule 1 of the paper: (rule, detail) when the child asks for the same as its parent."""
    if plan.judging == "rule":
        nothing = added_nothing(parent.prompt, child.prompt)
        verdicts["rule"] = "equal" if nothing else "not equal"
        return ("no_gain", nothing) if nothing else None
    prompt = judge_prompt(parent.prompt, child.prompt)
    request = Request(
        (Message("user", prompt),), None, _JUDGING,
        plan.place(child.root_id, number, "judge"), purpose="judge",
    )  # fmt: skip
    reply = await plan.judge(request)
    paid.add(reply)
    verdict = read_verdict(reply.text)
    verdicts["judge"] = verdict or "unparsed"
    if verdict is None:
        return "judge_unparsed", reply.text[:200]
    return ("no_gain", "judged equal to its parent") if verdict == "equal" else None


async def _answer(plan: Plan, instruction: Instruction, paid: _Paid, purpose: str, number: int) -> str:
    """The response, from the evolved conversation alone: no exemplar, no trace of the evolving."""
    request = Request(
        instruction.messages, None, plan.answering, plan.place(instruction.root_id, number, "answer"), purpose=purpose
    )
    reply = await plan.answerer(request)
    paid.add(reply)
    return reply.text.strip()


async def _answer_seed(plan: Plan, seed: Instruction) -> Instruction:
    paid = _Paid()
    try:
        response = await _answer(plan, seed, paid, "answer", 0)
    except CallFailed as failure:
        if failure.kind not in _LASTING:
            raise
        return dataclasses.replace(seed, response=None, verdicts={"answer": failure.kind})
    return dataclasses.replace(
        seed, response=response or None, models={"answerer": plan.names["answerer"]},
        tokens={"in": paid.tokens_in, "out": paid.tokens_out},
    )  # fmt: skip


def _child(parent: Instruction, operation: Operation, number: int, text: str, given: str) -> Instruction:
    return Instruction(
        digest(parent.id, number, operation.name, text, given), parent.root_id, parent.id, number, operation.name,
        parent.domain, text, given, parent.history,
    )  # fmt: skip


def _account(
    plan: Plan, child: Instruction, paid: _Paid, verdicts: dict[str, str], response: str | None
) -> Instruction:
    return dataclasses.replace(
        child, response=response if response is not None else child.response, verdicts=verdicts, models=plan.names,
        tokens={"in": paid.tokens_in, "out": paid.tokens_out},
    )  # fmt: skip
