"""Bodies and statuses of the OpenAI chat protocol, read into classes; no network here.

Source: the public API reference for /chat/completions and /completions.
"""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from evollab.llm import CallFailed, Reply
from evollab.records import EvolError

Verdict = Literal["ok", "retry", "refused", "row", "stop"]
"""What a status means: a reply came; ask again; ask again when told; this row can't; nobody can."""

_RETRY = {408, 409, 425}
_STOP = {401, 402, 403, 404, 405}
_QUOTA = ("insufficient_quota", "billing", "credit balance", "quota exceeded", "exceeded your current quota")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over the wire: HTTP status, the Retry-After asked for (seconds), the body."""

    status: int
    retry_after: float | None
    body: bytes


def verdict(answer: Answer) -> Verdict:
    status = answer.status
    if status == 200:
        return "ok"
    if status == 429:
        text = answer.body[:2000].decode("utf-8", "replace").lower()
        return "stop" if any(word in text for word in _QUOTA) else "refused"
    if status >= 500 or status in _RETRY:
        return "retry"
    return "stop" if status in _STOP or status < 400 else "row"


def parse(raw: bytes) -> Reply:
    """The reply in a 200 body. Raises CallFailed: "garbled" and "empty" may be asked again,
    "truncated" and "content_filter" are what this request gets."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise CallFailed("garbled", f"not JSON: {error}") from None
    if not isinstance(body, dict):
        raise CallFailed("garbled", f"expected an object, found {type(body).__name__}")
    if "error" in body and not body.get("choices"):
        raise CallFailed("server", error_message(raw))
    choices = body.get("choices")
    if not choices:
        raise CallFailed("empty", "no choices")
    try:
        choice: dict[str, Any] = choices[0]
        message: dict[str, Any] | None = choice.get("message")
        text = message.get("content") if message is not None else choice.get("text")
        finish = choice.get("finish_reason")
        usage: dict[str, Any] = body.get("usage") or {}
        tokens = (int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))
    except (AttributeError, TypeError, ValueError, KeyError, IndexError) as error:
        raise CallFailed("garbled", f"not the promised shape: {error}") from None
    if text is not None and not isinstance(text, str):
        raise CallFailed("garbled", f"content is a {type(text).__name__}, expected text")
    reply = Reply(text or "", *tokens)
    if finish == "content_filter" or (message is not None and message.get("refusal") and not text):
        raise CallFailed("content_filter", "the provider withheld the reply", reply)
    if finish == "length":
        raise CallFailed("truncated", f"cut at max_tokens after {tokens[1] or '?'} tokens", reply)
    if text is None:
        raise CallFailed("empty", "null content", reply)
    return reply  # blank text is what the model said; whoever asked decides what it is worth


def error_message(body: bytes) -> str:
    """The words a server gave for its error, cut to 300 characters."""
    try:
        value: Any = orjson.loads(body)
        if isinstance(value, dict):
            value = value.get("error", value)
            if isinstance(value, dict):
                value = value.get("message", value)
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
    except orjson.JSONDecodeError:
        text = body[:1000].decode("utf-8", "replace")
    return " ".join(text.split())[:300]


def is_content_filter(body: bytes) -> bool:
    return b"content_filter" in body[:4000] or b"content_policy" in body[:4000]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait: `retry-after-ms`, or Retry-After in seconds or as a date
    (RFC 9110, 10.2.3). At most ten minutes; nonsense counts as absent."""
    try:
        if (ms := headers.get("retry-after-ms")) is not None:
            seconds = float(ms) / 1000
        elif (value := headers.get("Retry-After")) is None:
            return None
        else:
            seconds = float(value) if value[:1].isdigit() else email.utils.parsedate_to_datetime(value).timestamp()
            seconds -= 0 if value[:1].isdigit() else time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(600.0, max(0.0, seconds)) if math.isfinite(seconds) else None


def stop_error(answer: Answer, *, model: str, url: str, key_variable: str, has_key: bool) -> EvolError:
    """The error that ends a run: nobody's request can succeed until a person mends something."""
    said = error_message(answer.body)
    if answer.status == 401 or answer.status == 403:
        hint = (
            f"check the key in {key_variable}" if has_key else f"export {key_variable}=... (the key is read from there)"
        )
    elif answer.status in (404, 405):
        hint = f"check the model's name ({model!r}) and --base-url ({url}; it usually ends in /v1)"
    elif answer.status == 402 or answer.status == 429:
        hint = "the account has no credit left; top it up and run the same command again: it goes on"
    else:
        hint = f"{url} answers with a redirect; give the final address as --base-url (redirects are not followed)"
    return EvolError(f"{url} refused with HTTP {answer.status}: {said}", hint)
