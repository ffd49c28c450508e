"""The seam between the protocol and whatever computes: what is asked, what comes back, what can go wrong.

An engine takes one prompt and one `Ask` and gives a stream of `Delta`. The first delta says that the prompt was
taken; the last one has a `finish`. Closing the stream early frees what the answer held.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from evollab.records import Message

Finish = Literal["stop", "length"]
Prompt = str | tuple[int, ...] | tuple[Message, ...]
"""Text, token ids, or a conversation to be answered."""
MAX_TOP = 20
"""Alternatives that a request may ask for at each place."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is drawn. The defaults are OpenAI's: the model's own distribution, uncut.

    temperature: 0 takes the likeliest. top_p, top_k (0: off) and min_p cut the distribution, after temperature.
    presence and frequency: subtracted from the logit of a token that was made already (once, or for each time).
    bias: added to logits, by token id. seed: the draws of an answer depend on it and on nothing else.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence: float = 0.0
    frequency: float = 0.0
    bias: Mapping[int, float] = field(default_factory=dict[int, float])
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """What is wanted for one prompt.

    max_tokens: tokens of the answer at most; None: until the context is full. stop: texts that end the
    answer and are no part of it. top: None for no log-probs, else how many alternatives to tell at each place.
    echo: give the prompt back first (with its log-probs, where they are wanted).
    """

    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    top: int | None = None
    echo: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """A token by what it writes. text: as text; half a character is "bytes:" and its bytes in hex."""

    text: str
    bytes: bytes
    logprob: float | None


@dataclass(frozen=True, slots=True)
class Chance:
    """A token that stands in the text, how likely it was (natural log, temperature 1, nothing cut; None for a
    prompt's first), what else was likely (likeliest first), and where its text begins (characters)."""

    token: Token
    top: tuple[Token, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Delta:
    """What came since the last one. prompt_tokens: told once, as soon as it is known. tokens: how many the answer
    has so far, with the one that ended it."""

    text: str = ""
    chances: tuple[Chance, ...] = ()
    finish: Finish | None = None
    prompt_tokens: int = 0
    tokens: int = 0


class Refused(Exception):
    """A request that this server will not answer, in OpenAI's terms: status, message, param, code, type."""

    def __init__(
        self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.message, self.status, self.param, self.code, self.kind = message, status, param, code, kind


def too_long(tokens: int, context: int, param: str) -> Refused:
    """A prompt that leaves no room for an answer."""
    return Refused(
        f"This model's context is {context} tokens; the prompt has {tokens}. Shorten it.",
        param=param, code="context_length_exceeded",
    )  # fmt: skip


class EngineFailed(Exception):
    """The engine could not go on with this answer; the request itself was well formed."""


class Engine(Protocol):
    """Something that answers prompts, several at once.

    name: what requests call it. context: tokens of prompt and answer together. slots: answers made side by
    side; more wait. fingerprint: names weights, number format and engine. about: words for people.
    """

    @property
    def name(self) -> str: ...
    @property
    def context(self) -> int: ...
    @property
    def slots(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def about(self) -> str: ...

    def waiting(self) -> int:
        """Prompts that have no slot yet."""
        ...

    def check(self, prompts: Sequence[Prompt], ask: Ask) -> None:
        """Raise Refused for what this engine can't do; EngineFailed when it is dead. Quick, no computing."""
        ...

    def generate(self, prompt: Prompt, ask: Ask) -> AsyncGenerator[Delta, None]:
        """The stream for one prompt. Raises Refused before the first delta, EngineFailed at any time."""
        ...
