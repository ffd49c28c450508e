"""Asking an evolver, in one of two shapes, and reading the text of the child out of its reply."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Protocol

from evollab import rng
from evollab.evolve.blocks import Protected, protect, restore
from evollab.evolve.operation import Format, Operation, Shape, Tail
from evollab.evolve.tables import figure_name, named_things, table
from evollab.llm import CallFailed, Model, Reply, Request, Sampling
from evollab.llm.fill import fill
from evollab.records import Instruction, Message
from evollab.words import count_words, reads_as_request, tokens, topic

_HISTORY_CHARACTERS = 6000
_TAIL_CHARACTERS = 1000
_DRAWS = 4
_TAIL_SAMPLING = Sampling(temperature=0.5, top_p=1.0, max_tokens=64, stop=("\n",))
"""Measured by eye on a 135M model: greedy repeats itself, 1.0 wanders; and half of what comes has
nothing to do with the task unless that is checked (`_off`)."""
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
_THINKING = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)


class Asking(Protocol):
    """The part of a plan that rewriting needs."""

    @property
    def shape(self) -> Shape: ...
    @property
    def thorough(self) -> bool: ...
    @property
    def added_words(self) -> int: ...
    @property
    def evolving(self) -> Sampling: ...
    @property
    def evolver(self) -> Model: ...
    @property
    def seed(self) -> int: ...
    def place(self, *place: object) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Proposal:
    """What an evolver proposes: the child's text and input, the whole reply, and, when the text can't
    be used whatever it says, (rule, detail). `follow_up` is the conversation to ask again in."""

    text: str
    input: str
    reply: str
    paid: Reply | None
    problem: tuple[str, str] | None = None
    follow_up: tuple[Message, ...] = ()


async def propose(plan: Asking, parent: Instruction, number: int, operation: Operation, form: Format | None,
                  *, first: Proposal | None = None, complaint: str = "") -> Proposal:  # fmt: skip
    """One proposal. With `first`, a second one that heeds the `complaint` about it. Raises CallFailed."""
    if plan.shape == "tail" and operation.tails:
        tail = operation.tails[rng.integer(plan.seed, parent.root_id, number, "tail") % len(operation.tails)]
        return await _tail(plan, parent, number, operation, tail, form, again=first is not None)
    protected = protect(parent.text) if plan.thorough else Protected(parent.text, (), ())
    if first is None:
        messages: tuple[Message, ...] = (Message("user", paper_prompt(plan, parent, protected, operation, form)),)
    else:
        messages = (*first.follow_up, Message("user", complaint))
    request = Request(
        messages, None, plan.evolving, plan.place(parent.root_id, number, "evolve", first is not None), purpose="evolve"
    )
    reply = await plan.evolver(request)
    text, given, problem = read(reply.text, parent, protected, operation, separate=plan.thorough)
    return Proposal(text, given, reply.text, reply, problem, (*messages, Message("assistant", reply.text)))


def too_long(over: int, allowed: int) -> str:
    """What to tell an evolver whose prompt is `over` words longer than it may be."""
    return (
        f"That is {over} words too long: at most {allowed} words may be added. Write the prompt again, shorter, "
        "with the same idea. Reply with the new prompt and nothing else."
    )


def paper_prompt(
    plan: Asking, parent: Instruction, protected: Protected, operation: Operation, form: Format | None
) -> str:
    """The paper shape, rendered."""
    text = protected.text
    if not plan.thorough and parent.input:
        text = parent.prompt  # as in the paper: one text, nothing held apart
    words = plan.added_words or 20
    return fill(
        operation.prompt,
        instruction=text,
        context=_context(parent, protected, separate=plan.thorough and operation.kind == "depth"),
        budget=f"{max(1, words // 2)} to {words} words",
        format=form.name if form else "",
        before=form.before if form else "",
        after=form.after if form else "",
    )


def _context(parent: Instruction, protected: Protected, *, separate: bool) -> str:
    """What the evolver has to see but not to rewrite: turns before, blocks, the input."""
    parts: list[str] = []
    if parent.history:
        turns = "\n".join(f"{m.role}: {m.content}" for m in parent.history)[-_HISTORY_CHARACTERS:]
        parts.append(f"\nThe conversation before the prompt (for understanding only):\n{turns}\n")
    if protected.markers:
        parts.append(
            "\nParts of the prompt that stay as they are have been taken out. In the new prompt, put each marker below "
            "once, unchanged, where its part belongs; don't repeat the part itself.\n"
        )
    for marker, block in zip(protected.markers, protected.blocks, strict=True):
        parts.append(f"{marker} stands for:\n{block}\n")
    if separate and parent.input:
        parts.append(
            f"\nThis comes with the prompt and stays attached to it unchanged; don't repeat it:\n{parent.input}\n"
        )
    return "".join(parts)


def read(
    reply: str, parent: Instruction, protected: Protected, operation: Operation, *, separate: bool
) -> tuple[str, str, tuple[str, str] | None]:
    """(text, input, problem) of the child in a paper-shape reply."""
    text = unwrap(reply)
    given = parent.input if separate and operation.kind == "depth" else ""
    if operation.kind == "depth" and protected.blocks:
        restored = restore(text, protected)
        if restored is None:
            return text, given, ("lost_block", "a block of the parent is missing or doubled")
        text = restored
    if given and given in text:  # copied along although told not to: keep one of the two
        bare = text.removesuffix(given).rstrip()
        text, given = (bare, given) if bare != text and bare else (text, "")
    return text, given, None


def unwrap(reply: str) -> str:
    """The text without the wrapping that models put around it: thoughts, one pair of quotes or one
    bare code fence around everything. Nothing inside is touched."""
    text = _THINKING.sub("", reply, count=1).strip()
    if text.startswith("```") and text.endswith("```") and text.count("```") == 2:
        head, newline, body = text[3:-3].partition("\n")
        if newline and head.strip() in ("", "text", "markdown", "plaintext"):
            text = body.strip()
    if len(text) > 2 and text[0] == '"' and text[-1] == '"' and text.count('"') == 2:
        text = text[1:-1].strip()
    return text


async def _tail(
    plan: Asking, parent: Instruction, number: int, operation: Operation, tail: Tail, form: Format | None, *,
    again: bool,
) -> Proposal:  # fmt: skip
    """The small-model shape: the program keeps the original, the model adds the end of a sentence.

    A small model says something that fits about every other time, in few tokens: up to `_DRAWS`
    completions are drawn, and the first that nothing speaks against is taken.
    """
    sample = _DRAWS * again
    proposal = await _completion(plan, parent, number, operation, tail, form, sample)
    for draw in range(1, _DRAWS):
        if proposal.problem is None:
            break
        paid = proposal.paid
        proposal = await _completion(plan, parent, number, operation, tail, form, sample + draw)
        proposal = dataclasses.replace(proposal, paid=_both(paid, proposal.paid))
    return proposal


async def _completion(
    plan: Asking, parent: Instruction, number: int, operation: Operation, tail: Tail, form: Format | None, sample: int
) -> Proposal:
    """One draw of the small-model shape."""
    shown = " ".join(f"{parent.text} {parent.input}".split())[:_TAIL_CHARACTERS]
    seed = plan.place(parent.root_id, number, "evolve", sample)
    request = Request((), fill(tail.prompt, instruction=shown), _TAIL_SAMPLING, seed, sample, "evolve")
    try:
        reply = await plan.evolver(request)
    except CallFailed as failure:
        if failure.kind != "truncated" or failure.reply is None:
            raise
        reply = failure.reply  # it ran on past the line: its first sentence may still do
    said = " ".join(reply.text.split())
    if form is None:
        text, problem = _sentence_added(said, parent, operation, tail)
    else:
        text, problem = _table_added(said, parent, form, plan.seed, parent.root_id, number)
    return Proposal(text, parent.input if operation.kind == "depth" else "", reply.text, reply, problem)


def _both(one: Reply | None, other: Reply | None) -> Reply | None:
    """A reply that cost as much as two."""
    if one is None or other is None:
        return one or other
    return Reply(other.text, one.tokens_in + other.tokens_in, one.tokens_out + other.tokens_out)


def _sentence_added(
    said: str, parent: Instruction, operation: Operation, tail: Tail
) -> tuple[str, tuple[str, str] | None]:
    said = first_sentence(said)
    text = said if operation.kind == "breadth" else _append(parent.text, f"{tail.joint} {said}")
    return text, _off(said, parent, tail)


def _table_added(said: str, parent: Instruction, form: Format, *place: object) -> tuple[str, tuple[str, str] | None]:
    if protect(parent.text).blocks:
        return said, ("bad_block", "the parent has data already")
    things = named_things(said)
    if not things:
        return said, ("bad_block", "names fewer than three things")
    figure = figure_name(said)
    figure = "" if topic(figure.replace("_", " ")) & topic(parent.prompt) else figure
    return _append(parent.text, table(form.fence, things, figure, *place)), None


def _off(said: str, parent: Instruction, tail: Tail) -> tuple[str, str] | None:
    """What is wrong with the words a small model added, as (rule, detail). They have to be a few, not
    the same few over and over, and about the same thing; only a plain limit may be about anything."""
    words = tokens(said)
    if len(words) < 3:
        return "empty", f"{len(words)} words"
    if said.count('"') % 2:
        return "degenerate", "a quotation that doesn't end"
    if len(words) >= 6 and len(set(words)) < 0.65 * len(words):
        return "degenerate", f"{len(set(words))} different words of {len(words)}"
    if not said.isascii() or tail.free:
        return None
    before, after = topic(parent.prompt), topic(said)
    if not after & before:
        return "off_topic", "no word about the same thing"
    if not after - before:
        return "no_gain", "only words of the prompt"
    if not tail.joint and not reads_as_request(said):
        return "answered", "neither a question nor an order"
    return None


def first_sentence(text: str) -> str:
    """Up to the first full stop that ends more than three words; the whole where there is none."""
    for end in _SENTENCE_END.finditer(text):
        if count_words(text[: end.end()]) > 3:
            return text[: end.end()]
    return text


def _append(text: str, addition: str) -> str:
    """`text` with another sentence, before the data that it may end with."""
    body, data = text.rstrip(), ""
    protected = protect(body)
    if protected.markers and protected.text.endswith(protected.markers[-1]):
        data = protected.blocks[-1]
        body = body.removesuffix(data).rstrip()
    stop = "" if not body or body.endswith((".", "!", "?", ":", "`", '"', "”", ")")) else "."
    return f"{body}{stop} {addition}".strip() + (f"\n\n{data}" if data else "")
