"""A conversation with an OpenAI-compatible server: what is sent, what comes back, what no longer fits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from evollab.llm.openai import check_url
from evollab.llm.wire import error_message
from evollab.records import EvolError, Message
from evollab.serve.events import Broken, events

_CHARACTERS = 3
"""A cautious guess of the characters in a token, for texts that were not counted yet."""
_ROOM = 512
"""Tokens that should be left for an answer, or a quarter of a small context."""


class TooLong(Exception):
    """What was sent does not fit the model's context."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a model answers. context: tokens it can see, 0 where the server doesn't say."""

    url: str
    model: str
    context: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer. finish: why it ended ("stop", "length"), with the last one. total: tokens of prompt
    and answer, where the server told."""

    text: str = ""
    finish: str = ""
    total: int = 0


def session(key: str) -> aiohttp.ClientSession:
    """Connections that bring `key`, follow no redirects, and wait for slow models."""
    return aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=aiohttp.ClientTimeout(total=None, connect=30),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def find(url: str, name: str, http: aiohttp.ClientSession) -> Server:
    """The server at `url` and its model: `name`, or the first that it lists. Raises EvolError."""
    url = check_url(url)
    try:
        async with http.get(f"{url}/models", allow_redirects=False) as response:
            raw = await response.content.read(1 << 22)
            if response.status != 200:
                raise _refused(url, response.status, raw)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise EvolError(
            f"{url}: {error or type(error).__name__}", "is the server running, and does its address end in /v1?"
        ) from None
    try:
        listed: list[Mapping[str, Any]] = orjson.loads(raw)["data"]
        found = next((one for one in listed if one["id"] == name), None) if name else listed[0]
        if found is None:
            raise EvolError(
                f"{url} has no model {name!r}; there are: {', '.join(str(one['id']) for one in listed[:20])}"
            )
        meta = found.get("meta") or {}
        return Server(url, str(found["id"]), int(found.get("max_model_len") or meta.get("n_ctx") or 0))
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError, AttributeError):
        raise EvolError(f"{url}/models gives no list of models", "an address ends in /v1 as a rule") from None


async def answer(
    server: Server, http: aiohttp.ClientSession, messages: Sequence[Message], settings: Mapping[str, Any]
) -> AsyncGenerator[Piece, None]:
    """The answer as it comes. Raises TooLong, and EvolError for everything else that goes wrong."""
    body = {
        "model": server.model, "messages": [{"role": one.role, "content": one.content} for one in messages],
        "stream": True, "stream_options": {"include_usage": True}, **settings,
    }  # fmt: skip
    finish, total = "", 0
    try:
        async with http.post(f"{server.url}/chat/completions", json=body, allow_redirects=False) as response:
            if response.status != 200:
                raw = await response.content.read(1 << 20)
                if response.status == 400 and _says_too_long(raw):
                    raise TooLong(error_message(raw))
                raise _refused(server.url, response.status, raw)
            async for part in events(response.content):
                if part.get("error"):
                    raise EvolError(f"{server.url}: {error_message(orjson.dumps(part))}")
                total = int((part.get("usage") or {}).get("total_tokens") or total)
                for choice in part.get("choices") or ():
                    finish = str(choice.get("finish_reason") or finish)
                    text = (choice.get("delta") or {}).get("content")
                    if isinstance(text, str) and text:
                        yield Piece(text)
    except (aiohttp.ClientError, OSError, TimeoutError, Broken) as error:
        raise EvolError(f"{server.url}: {error or type(error).__name__}", "the connection broke; try again") from None
    yield Piece(finish=finish, total=total)


def _says_too_long(raw: bytes) -> bool:
    """OpenAI and vLLM say context_length_exceeded or "maximum context length", llama.cpp exceed_context_size."""
    text = raw[:4000].lower()
    return b"context_length" in text or b"context length" in text or b"exceed_context" in text


def _refused(url: str, status: int, raw: bytes) -> EvolError:
    hint = "the key is read from the variable that --key-env names" if status in (401, 403) else ""
    return EvolError(f"{url} refused with HTTP {status}: {error_message(raw)}", hint)


class History:
    """The turns of a conversation, all of them, and from which one on they are sent."""

    def __init__(self, system: str = "", context: int = 0) -> None:
        self.system = system
        self.turns: list[Message] = []
        self._context = context
        self._first = 0
        self._counted = 0  # tokens of what was sent last and its answer
        self._known = 0  # turns that are in it

    def messages(self) -> list[Message]:
        """What is sent: the system prompt, and the turns that fit."""
        head = [Message("system", self.system)] if self.system else []
        return [*head, *self.turns[self._first :]]

    def everything(self) -> list[Message]:
        return [*([Message("system", self.system)] if self.system else []), *self.turns]

    def ask(self, text: str) -> int:
        """A user turn more. Returns how many old turns must be left out to have room for an answer."""
        self.turns.append(Message("user", text))
        dropped = 0
        room = self._context - min(_ROOM, self._context // 4)
        while self._context and self._size() > room and self.shorten():
            dropped += 2
        return dropped

    def _size(self) -> int:
        """About how many tokens are sent: counted by the server where it did, else guessed."""
        new = sum(len(turn.content) // _CHARACTERS + 8 for turn in self.turns[max(self._first, self._known) :])
        return self._counted + new

    def shorten(self) -> bool:
        """Leave out the oldest question and its answer. False: only the last question is left."""
        if len(self.turns) - self._first <= 2:
            return False
        # Of what was counted they take the share that they have of its characters.
        known = [len(turn.content) + 1 for turn in self.turns[self._first : self._known]]
        self._counted -= self._counted * sum(known[:2]) // max(1, sum(known))
        self._first += 2
        return True

    def answered(self, text: str, total: int) -> None:
        """The answer to the last question. total: tokens of all that was sent and the answer; 0: not told."""
        self.turns.append(Message("assistant", text))
        if total:
            self._counted, self._known = total, len(self.turns)

    def undo(self) -> bool:
        """Take back the last question and what came for it."""
        if not self.turns:
            return False
        while self.turns.pop().role != "user":
            pass
        self._first = min(self._first, len(self.turns))
        self._known = min(self._known, len(self.turns))
        return True

    def reset(self) -> None:
        """Begin anew; the system prompt stays."""
        self.turns.clear()
        self._first = self._counted = self._known = 0
