"""Bodies of OpenAI's protocol, read into what an engine is asked. No network here.

Three rules for fields. What the protocol or vLLM knows and would change the answer, but this server can't do, is
refused (400) unless it is switched off. What changes nothing in the answer (`user`, `metadata`) is taken. Names
that mean nothing here are ignored and told in the header X-Ignored-Fields, but a slip of the pen is refused.

Source: the public API reference for /chat/completions and /completions.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from evollab.records import Message, Role
from evollab.serve.engine import MAX_TOP, Ask, Prompt, Refused, Sampling
from evollab.serve.fields import Fields, shown

MAX_MESSAGES = 1024
MAX_PROMPTS = 256
MAX_CHOICES = 32
"""Answers for one prompt (`n`)."""
MAX_STOPS, MAX_STOP = 16, 256
_MAX_SEED = (1 << 63) - 1
_MAX_BIAS = 1024
_BOTH = (
    "model", "max_tokens", "temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty",
    "logit_bias", "seed", "stop", "n", "stream", "stream_options", "logprobs",
)  # fmt: skip
_CHAT = (*_BOTH, "messages", "max_completion_tokens", "top_logprobs")
_COMPLETION = (*_BOTH, "prompt", "echo", "suffix", "best_of")
_NO_EFFECT = (
    "user", "metadata", "store", "service_tier", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
    "parallel_tool_calls", "verbosity", "cache_prompt", "prediction", "add_generation_prompt",
)  # fmt: skip
_CANNOT: Mapping[str, tuple[object, ...]] = {
    # the name: values by which it is switched off
    "tools": ([],), "tool_choice": ("none", "auto"), "functions": ([],), "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},), "audio": (), "modalities": (["text"],), "web_search_options": (),
    "reasoning_effort": (), "suffix": ("",), "best_of": (1,), "repetition_penalty": (1,), "repeat_penalty": (1,),
    "min_tokens": (0,), "ignore_eos": (False,), "stop_token_ids": ([],), "prompt_logprobs": (),
    "use_beam_search": (False,),
    "guided_json": (), "guided_regex": (), "guided_choice": (), "guided_grammar": (), "structured_outputs": (),
    "grammar": ("",), "json_schema": (), "typical_p": (1,), "mirostat": (0,), "continue_final_message": (False,),
    "chat_template": (), "bad_words": ([],),
}  # fmt: skip
_ROLES: Mapping[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request. prompts: each gets `n` answers. chat: which of the two routes. usage: a last chunk with token
    counts. ignored: fields that meant nothing."""

    prompts: tuple[Prompt, ...]
    ask: Ask
    n: int
    chat: bool
    stream: bool
    usage: bool
    ignored: tuple[str, ...]


def read_body(raw: bytes) -> Mapping[str, Any]:
    """Parsed JSON, an object. Raises Refused."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise Refused(f"the body is {shown(body)}; expected a JSON object")
    return body


def read_request(body: Mapping[str, Any], *, chat: bool, model: str, most_tokens: int) -> Wanted:
    """What a body asks for. most_tokens: the most that one answer may have. Raises Refused."""
    fields = Fields(body)
    name = body.get("model") or model
    if name != model:
        raise Refused(
            f"there is no model {shown(name)}; this server has {model!r}", status=404, param="model",
            code="model_not_found",
        )  # fmt: skip
    _check_possible(body)
    known = [*(_CHAT if chat else _COMPLETION), *_CANNOT, *_NO_EFFECT]
    ignored = fields.rest(known)
    prompts = (_messages(body),) if chat else _prompts(body)
    stream = fields.flag("stream")
    if fields.has("stream_options") and not stream:
        raise fields.refuse("stream_options", "stream: true beside it")
    usage = Fields(fields.mapping("stream_options")).flag("include_usage")
    ask = Ask(
        sampling=_sampling(fields),
        max_tokens=_max_tokens(fields, chat=chat, most=most_tokens),
        stop=fields.texts("stop", MAX_STOPS, MAX_STOP),
        top=_top_chat(fields) if chat else _top(fields),
        echo=not chat and fields.flag("echo"),
    )
    return Wanted(prompts, ask, fields.whole("n", 1, 1, MAX_CHOICES), chat, stream, usage, ignored)


def _check_possible(body: Mapping[str, Any]) -> None:
    for name, off in _CANNOT.items():
        value = body.get(name)
        if value is not None and value not in off:
            raise Refused(f"{name}: this server can't do that; leave it out", param=name, code="unsupported_parameter")


def _sampling(fields: Fields) -> Sampling:
    seed = fields.body.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or abs(seed) > _MAX_SEED):
        raise fields.refuse("seed", "a whole number")
    top_k = fields.whole("top_k", 0, -1, 1_000_000)
    return Sampling(
        temperature=fields.number("temperature", 1.0, 0.0, 2.0),
        top_p=fields.number("top_p", 1.0, 0.0, 1.0),
        top_k=max(0, top_k),  # -1 is vLLM's word for "all"
        min_p=fields.number("min_p", 0.0, 0.0, 1.0),
        presence=fields.number("presence_penalty", 0.0, -2.0, 2.0),
        frequency=fields.number("frequency_penalty", 0.0, -2.0, 2.0),
        bias=_bias(fields),
        seed=secrets.randbits(53) if seed is None else seed,
    )


def _bias(fields: Fields) -> dict[int, float]:
    given = fields.mapping("logit_bias")
    if len(given) > _MAX_BIAS:
        raise Refused(f"logit_bias: {len(given)} tokens; expected at most {_MAX_BIAS}", param="logit_bias")
    bias = {}
    for token, value in given.items():
        fine = isinstance(value, int | float) and not isinstance(value, bool) and -100 <= value <= 100
        if not (token.isascii() and token.isdigit() and len(token) < 10) or not fine:
            raise Refused(
                f"logit_bias: found {shown(token)}: {shown(value)}; expected a token's id and -100 to 100",
                param="logit_bias",
            )
        bias[int(token)] = float(value)
    return bias


def _max_tokens(fields: Fields, *, chat: bool, most: int) -> int | None:
    """None where the client says nothing: on chat an answer may take what there is room for; completions
    have 16 by the protocol."""
    name = "max_completion_tokens" if chat and fields.has("max_completion_tokens") else "max_tokens"
    if not fields.has(name):
        return most if chat else min(16, most)
    value = fields.whole(name, 0, 1 if chat else 0, 1 << 40)
    if value > most:
        raise Refused(f"{name}: {value} tokens; this server gives at most {most} in one answer", param=name)
    return value


def _top(fields: Fields) -> int | None:
    """`logprobs` of completions: how many alternatives, or null."""
    if isinstance(fields.body.get("logprobs"), bool):
        return 0 if fields.body["logprobs"] else None
    return fields.whole("logprobs", 0, 0, MAX_TOP) if fields.has("logprobs") else None


def _top_chat(fields: Fields) -> int | None:
    """`logprobs` of chat: yes or no; `top_logprobs`: how many alternatives."""
    wanted = fields.flag("logprobs")
    top = fields.whole("top_logprobs", 0, 0, MAX_TOP)
    if top and not wanted:
        raise fields.refuse("top_logprobs", "logprobs: true beside it")
    return top if wanted else None


def _prompts(body: Mapping[str, Any]) -> tuple[Prompt, ...]:
    """`prompt`: a text, token ids, or a list of either."""
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        return (prompt,)
    if not isinstance(prompt, list) or not prompt:
        raise Refused(f"prompt: found {shown(prompt)}; expected a text, token ids, or a list of them", param="prompt")
    if _are_ids(prompt):
        return (tuple(prompt),)
    if len(prompt) > MAX_PROMPTS:
        raise Refused(f"prompt: {len(prompt)} prompts; expected at most {MAX_PROMPTS}", param="prompt")
    if all(isinstance(one, str) for one in prompt):
        return tuple(prompt)
    if all(isinstance(one, list) and one and _are_ids(one) for one in prompt):
        return tuple(tuple(one) for one in prompt)
    raise Refused("prompt: a list of texts, or of lists of token ids (whole numbers from 0 on)", param="prompt")


def _are_ids(values: Sequence[object]) -> bool:
    return all(type(value) is int and 0 <= value < 1 << 31 for value in values)


def _messages(body: Mapping[str, Any]) -> tuple[Message, ...]:
    given = body.get("messages")
    if not isinstance(given, list) or not given:
        raise Refused(f"messages: found {shown(given)}; expected a list of at least one", param="messages")
    if len(given) > MAX_MESSAGES:
        raise Refused(f"messages: {len(given)} of them; expected at most {MAX_MESSAGES}", param="messages")
    return tuple(_message(one, f"messages[{number}]") for number, one in enumerate(given))


def _message(given: object, place: str) -> Message:
    if not isinstance(given, dict):
        raise Refused(f"{place}: found {shown(given)}; expected an object with role and content", param=place)
    role = given.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise Refused(f"{place}.role: found {shown(role)}; expected one of {', '.join(_ROLES)}", param=f"{place}.role")
    content = given.get("content")
    if isinstance(content, list):
        for part in content:
            if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
                kind = part.get("type") if isinstance(part, dict) else part
                raise Refused(f"{place}.content: a part of {shown(kind)}; only text is taken", param=f"{place}.content")
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise Refused(f"{place}.content: found {shown(content)}; expected text", param=f"{place}.content")
    if given.get("tool_calls"):
        raise Refused(f"{place}.tool_calls: this server has no tools", param=f"{place}.tool_calls")
    return Message(_ROLES[role], content)
