"""Asking models. A `Model` is any async function from a `Request` to a `Reply`.

A cache, a rate limit, a budget and a test double are all wrappers of that one type.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from evollab.records import Message

Failure = Literal[
    "bad_request",  # 400/413/422 on this one request: asking again can't help
    "content_filter",  # the provider refused the request, or cut its own reply
    "truncated",  # finish_reason "length": the reply is not whole
    "empty",  # no choices, null or blank content, after every retry
    "garbled",  # a body that is not the promised JSON, after every retry
    "timeout",  # no answer in time, after every retry
    "server",  # 5xx or a broken connection, after every retry
    "rate_limit",  # 429, after every retry
]


class CallFailed(Exception):
    """One request got no usable reply. `kind` is the class, `message` what the server said.

    A failure is data: the row that needed the reply is dropped with `kind` as its reason; it never
    turns into text. `reply` holds what did arrive (the cut text of a "truncated" reply, say).
    """

    def __init__(self, kind: Failure, message: str, reply: Reply | None = None) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind: Failure = kind
        self.message = message
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to decode. Everything here is part of a request's identity."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 2048
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: chat messages, or a plain text to go on with (`prompt`, never both).

    `seed` is sent to the provider when given. `sample` numbers the draws of one and the same
    request (0, 1, ...). `purpose` ("evolve", "judge", "answer") is for accounts and display only,
    and no part of the identity.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    sampling: Sampling = Sampling()
    seed: int | None = None
    sample: int = 0
    purpose: str = ""

    def body(self, model: str, extra: Mapping[str, Any] | None = None, limit: str = "max_tokens") -> bytes:
        """The request as sent, canonical JSON: equal requests give equal bytes. `extra` are further
        fields ({"top_k": 0, "min_p": 0}; None takes one out), `limit` is the name that the provider
        gives to the most tokens a reply may have."""
        s = self.sampling
        fields: dict[str, Any] = {limit: s.max_tokens}
        if self.prompt is None:
            fields["messages"] = [{"content": m.content, "role": m.role} for m in self.messages]
        else:
            fields["prompt"] = self.prompt
        fields["model"] = model
        if self.seed is not None:
            fields["seed"] = self.seed
        if s.stop:
            fields["stop"] = s.stop
        fields["temperature"] = s.temperature
        fields["top_p"] = s.top_p
        if extra:
            fields.update(extra)
            fields = {name: value for name, value in fields.items() if value is not None}
        return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)


def call_id(identity: str, body: bytes, sample: int) -> bytes:
    """16 bytes that name a call: model identity, the whole request as sent, sample number.

    The key, the time-outs, and which of several equivalent endpoints answers are left out.
    """
    return hashlib.blake2b(b"%b\0%d\0%b" % (identity.encode(), sample, body), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole, usable reply. Tokens are the provider's own count (0 where it gave none)."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0


Model = Callable[[Request], Awaitable[Reply]]
"""Raises CallFailed when this request can't be answered, EvolError when no request can be."""
