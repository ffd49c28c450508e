"""Answers in OpenAI's shapes: whole, in pieces (server-sent events), and errors."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from evollab.serve.engine import Chance, Delta, Finish, Refused, Token

DONE = b"data: [DONE]\n\n"


def event(value: object) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


def error_body(refused: Refused) -> dict[str, Any]:
    """An error as OpenAI writes it."""
    return {
        "error": {
            "message": refused.message,
            "type": refused.kind,
            "param": refused.param,
            "code": refused.code,
        }
    }


@dataclass(slots=True)
class _Choice:
    text: list[str] = field(default_factory=list[str])
    chances: list[Chance] = field(default_factory=list[Chance])
    finish: Finish | None = None
    tokens: int = 0


class Reply:
    """One reply with all its choices, in the shape of its route."""

    def __init__(self, *, chat: bool, model: str, fingerprint: str, choices: int, logprobs: bool) -> None:
        self._chat = chat
        self._logprobs = logprobs
        self._head = {
            "id": ("chatcmpl-" if chat else "cmpl-") + secrets.token_hex(12),
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": fingerprint,
        }
        self._choices = [_Choice() for _ in range(choices)]
        self._prompt_tokens: dict[int, int] = {}

    def add(self, index: int, delta: Delta, prompt: int) -> None:
        """Note what came for a choice, which answers the prompt of that number."""
        choice = self._choices[index]
        choice.text.append(delta.text)
        choice.chances += delta.chances
        choice.finish = delta.finish or choice.finish
        choice.tokens = max(choice.tokens, delta.tokens)
        if delta.prompt_tokens:
            self._prompt_tokens[prompt] = delta.prompt_tokens

    def usage(self) -> dict[str, int]:
        """Tokens of the prompts (each counted once) and of all answers, the ending tokens counted."""
        prompt = sum(self._prompt_tokens.values())
        made = sum(choice.tokens for choice in self._choices)
        return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}

    def whole(self) -> dict[str, Any]:
        """The reply in one piece."""
        choices = []
        for index, choice in enumerate(self._choices):
            text = "".join(choice.text)
            said: dict[str, Any] = (
                {"message": {"role": "assistant", "content": text, "refusal": None}} if self._chat else {"text": text}
            )
            choices.append(self._choice(index, said, choice.chances, choice.finish))
        kind = "chat.completion" if self._chat else "text_completion"
        return {**self._head, "object": kind, "choices": choices, "usage": self.usage()}

    def begin(self, index: int) -> dict[str, Any] | None:
        """A chat's first chunk, which says who speaks."""
        if not self._chat:
            return None
        return self._chunk([self._choice(index, {"delta": {"role": "assistant", "content": ""}}, (), None)])

    def piece(self, index: int, delta: Delta) -> Iterable[dict[str, Any]]:
        """The chunks that bring a delta: what it says, then how the answer ended."""
        if delta.text or delta.chances:
            said: dict[str, Any] = {"delta": {"content": delta.text}} if self._chat else {"text": delta.text}
            yield self._chunk([self._choice(index, said, delta.chances, None)])
        if delta.finish:
            empty: dict[str, Any] = {"delta": {}} if self._chat else {"text": ""}
            yield self._chunk([self._choice(index, empty, (), delta.finish)])

    def counted(self) -> dict[str, Any]:
        """The last chunk, where token counts are wanted."""
        return {**self._chunk([]), "usage": self.usage()}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        return {**self._head, "object": kind, "choices": choices}

    def _choice(
        self, index: int, said: dict[str, Any], chances: Sequence[Chance], finish: Finish | None
    ) -> dict[str, Any]:
        told: dict[str, Any] | None = None
        if self._logprobs and chances:
            told = _chat_logprobs(chances) if self._chat else _logprobs(chances)
        return {"index": index, **said, "logprobs": told, "finish_reason": finish}


def _chat_logprobs(chances: Sequence[Chance]) -> dict[str, Any]:
    def one(token: Token) -> dict[str, Any]:
        return {"token": token.text, "logprob": token.logprob, "bytes": list(token.bytes)}

    content = [{**one(chance.token), "top_logprobs": [one(token) for token in chance.top]} for chance in chances]
    return {"content": content, "refusal": None}


def _logprobs(chances: Sequence[Chance]) -> dict[str, Any]:
    """The older shape, of completions. The first token of an echoed prompt has null."""
    tops: list[dict[str, float | None] | None] = []
    for chance in chances:
        top: dict[str, float | None] = {}
        for token in chance.top:
            top.setdefault(token.text, token.logprob)  # two tokens may write the same; the likelier one came first
        tops.append(top if chance.top else None)
    return {
        "tokens": [chance.token.text for chance in chances],
        "token_logprobs": [chance.token.logprob for chance in chances],
        "top_logprobs": tops,
        "text_offset": [chance.offset for chance in chances],
    }
