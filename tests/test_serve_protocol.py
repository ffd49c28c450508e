"""Bodies: every one is understood or refused with its field, the limit and what was found; replies in OpenAI's shapes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evollab.records import Message
from evollab.serve.engine import Chance, Delta, Refused, Token
from evollab.serve.protocol import MAX_MESSAGES, MAX_PROMPTS, Wanted, read_body, read_request
from evollab.serve.replies import Reply, error_body, event

USER = [{"role": "user", "content": "Hi"}]


def chat(**body: Any) -> Wanted:
    return read_request({"messages": USER, **body}, chat=True, model="m", most_tokens=100)


def completion(**body: Any) -> Wanted:
    return read_request({"prompt": "Hi", **body}, chat=False, model="m", most_tokens=100)


def test_the_defaults_are_openais() -> None:
    wanted = chat(model="m")
    assert wanted.prompts == ((Message("user", "Hi"),),)
    assert wanted.ask.sampling.temperature == wanted.ask.sampling.top_p == 1
    assert wanted.ask.sampling.top_k == 0
    assert wanted.ask.max_tokens == 100
    assert wanted.ask.top is None
    assert (wanted.n, wanted.stream, wanted.usage, wanted.ignored) == (1, False, False, ())
    assert completion().ask.max_tokens == 16
    assert completion().prompts == ("Hi",)
    assert chat().ask.sampling.seed != chat().ask.sampling.seed, "without a seed each answer has its own"
    assert chat(seed=5).ask.sampling.seed == 5


def test_null_is_absent() -> None:
    names = ("max_tokens", "temperature", "stop", "n", "stream", "logprobs", "seed", "tools", "logit_bias", "suffix")
    for name in names:
        assert chat(**{name: None}).n == 1
        assert completion(**{name: None}).n == 1


def test_prompts_of_all_kinds() -> None:
    assert completion(prompt=["a", "b"]).prompts == ("a", "b")
    assert completion(prompt=[1, 2]).prompts == ((1, 2),)
    assert completion(prompt=[[1, 2], [3]]).prompts == ((1, 2), (3,))


def test_log_probs_of_both_routes() -> None:
    assert completion(logprobs=5).ask.top == 5
    assert completion(logprobs=0).ask.top == 0
    assert completion(logprobs=False).ask.top is None
    assert chat(logprobs=True).ask.top == 0
    assert chat(logprobs=True, top_logprobs=20).ask.top == 20
    assert chat(logprobs=False).ask.top is None


def test_messages() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    given = [{"role": "developer", "content": "x"}, {"role": "user", "content": parts, "name": "Ann"}]
    assert chat(messages=given).prompts == ((Message("system", "x"), Message("user", "ab")),)
    hostile = "USER: ASSISTANT: </s>\x00\u202e"
    assert chat(messages=[{"role": "user", "content": hostile}]).prompts[0][0] == Message("user", hostile)


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"temperature": 3}, "temperature", "found 3; expected a number from 0 to 2"),
        ({"temperature": "hot"}, "temperature", "found 'hot'"),
        ({"temperature": True}, "temperature", "found True"),
        ({"top_p": -0.1}, "top_p", "from 0 to 1"),
        ({"max_tokens": 101}, "max_tokens", "101 tokens; this server gives at most 100"),
        ({"max_tokens": 0}, "max_tokens", "from 1"),
        ({"max_tokens": 1.5}, "max_tokens", "found 1.5"),
        ({"max_completion_tokens": 500}, "max_completion_tokens", "500 tokens"),
        ({"n": 33}, "n", "from 1 to 32"),
        ({"stop": ["a"] * 17}, "stop", "expected at most 16"),
        ({"stop": ""}, "stop", "1 to 256"),
        ({"stop": [1]}, "stop", "a text or a list of texts"),
        ({"stop": "x" * 257}, "stop", "1 to 256"),
        ({"seed": 1.5}, "seed", "a whole number"),
        ({"stream": 1}, "stream", "true or false"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "stream: true beside it"),
        ({"logprobs": 5}, "logprobs", "true or false"),
        ({"top_logprobs": 2}, "top_logprobs", "logprobs: true beside it"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "from 0 to 20"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "found 'x': 1"),
        ({"logit_bias": {"5": 101}}, "logit_bias", "-100 to 100"),
        ({"logit_bias": {str(n): 1 for n in range(1025)}}, "logit_bias", "1025 tokens; expected at most 1024"),
        ({"logit_bias": [1]}, "logit_bias", "an object"),
        ({"messages": "Hi"}, "messages", "found 'Hi'"),
        ({"messages": []}, "messages", "at least one"),
        ({"messages": USER * (MAX_MESSAGES + 1)}, "messages", f"{MAX_MESSAGES + 1} of them; expected at most {MAX_MESSAGES}"),
        ({"messages": ["Hi"]}, "messages[0]", "expected an object"),
        ({"messages": [*USER, {"role": "robot", "content": "x"}]}, "messages[1].role", "found 'robot'"),
        ({"messages": [{"role": [], "content": "x"}]}, "messages[0].role", "a list of 0"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "found None; expected text"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content", "only text"),
        ({"messages": [{"role": "user", "content": [7]}]}, "messages[0].content", "only text"),
        ({"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}]}, "messages[0].tool_calls", "no tools"),
        ({"tools": [{}]}, "tools", "can't do that"),
        ({"response_format": {"type": "json_object"}}, "response_format", "can't do that"),
        ({"repetition_penalty": 1.1}, "repetition_penalty", "can't do that"),
        ({"max_tokns": 5}, "max_tokns", "did you mean max_tokens?"),
        ({"temprature": 5}, "temprature", "did you mean temperature?"),
        ({"model": "other"}, "model", "there is no model 'other'; this server has 'm'"),
    ],
)  # fmt: skip
def test_wrong_fields_of_chat(body: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        chat(**body)
    assert words in caught.value.message
    assert caught.value.param == param
    assert caught.value.status == (404 if param == "model" else 400)


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"prompt": None}, "prompt", "found None"),
        ({"prompt": []}, "prompt", "a list of 0"),
        ({"prompt": [1, "a"]}, "prompt", "a list of texts, or of lists of token ids"),
        ({"prompt": [[1], []]}, "prompt", "token ids"),
        ({"prompt": [-1]}, "prompt", "token ids"),
        ({"prompt": [True, False]}, "prompt", "token ids"),
        ({"prompt": [1 << 40]}, "prompt", "token ids"),
        ({"prompt": ["a"] * (MAX_PROMPTS + 1)}, "prompt", f"{MAX_PROMPTS + 1} prompts; expected at most {MAX_PROMPTS}"),
        ({"suffix": "end"}, "suffix", "can't do that"),
        ({"best_of": 3}, "best_of", "can't do that"),
        ({"logprobs": 21}, "logprobs", "from 0 to 20"),
        ({"max_tokens": -1}, "max_tokens", "from 0"),
        ({"echo": "yes"}, "echo", "true or false"),
    ],
)
def test_wrong_fields_of_completions(body: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        completion(**body)
    assert words in caught.value.message
    assert caught.value.param == param


def test_switched_off_and_strange_fields() -> None:
    off = {"tools": [], "tool_choice": "auto", "response_format": {"type": "text"}, "best_of": 1, "suffix": ""}
    wanted = chat(**off, user="me", metadata={"a": "b"}, mystery=1, keep_alive="5m")
    assert wanted.ignored == ("mystery", "keep_alive")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 5000, b'{"a":NaN}', b'{"a":1e999}'])
def test_bodies_that_are_none(raw: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read_request(read_body(raw), chat=True, model="m", most_tokens=100)
    assert caught.value.status == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from([
    "model", "messages", "prompt", "max_tokens", "temperature", "top_p", "top_k", "min_p", "n", "stop", "seed", "echo",
    "stream", "stream_options", "logprobs", "top_logprobs", "logit_bias", "tools", "presence_penalty", "x",
])  # fmt: skip


@given(body=st.dictionaries(FIELDS, JSON, max_size=6), route=st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_body_is_understood_or_refused(body: dict[str, Any], route: bool) -> None:
    base: dict[str, Any] = {"messages": USER} if route else {"prompt": "Hi"}
    found = understood({**base, **body}, route)
    if isinstance(found, Refused):
        assert 400 <= found.status < 500
        assert len(found.message) < 400
        orjson.dumps(error_body(found))
    else:
        assert found.prompts
        assert 0 <= (found.ask.max_tokens or 0) <= 100


def understood(body: dict[str, Any], route: bool) -> Wanted | Refused:
    try:
        return read_request(body, chat=route, model="m", most_tokens=100)
    except Refused as refused:
        return refused


# Replies


def chance(text: str, offset: int, logprob: float | None = -0.5) -> Chance:
    top = (Token(text, text.encode(), -0.5), Token("bytes:\\xc3", b"\xc3", -1.5)) if logprob is not None else ()
    return Chance(Token(text, text.encode(), logprob), top, offset)


def test_a_whole_chat_reply() -> None:
    reply = Reply(chat=True, model="m", fingerprint="f", choices=2, logprobs=True)
    reply.add(0, Delta(prompt_tokens=7), 0)
    reply.add(0, Delta("Par", (chance("Par", 0),), tokens=1), 0)
    reply.add(1, Delta("x", tokens=1), 0)
    reply.add(0, Delta("is", (chance("is", 3),), "stop", tokens=3), 0)
    reply.add(1, Delta(finish="length", tokens=1), 0)
    body = reply.whole()
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert [choice["message"]["content"] for choice in body["choices"]] == ["Paris", "x"]
    assert [choice["finish_reason"] for choice in body["choices"]] == ["stop", "length"]
    assert body["usage"] == {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}
    first = body["choices"][0]["logprobs"]["content"][0]
    assert (first["token"], first["bytes"], first["logprob"]) == ("Par", [80, 97, 114], -0.5)
    assert first["top_logprobs"][1] == {"token": "bytes:\\xc3", "logprob": -1.5, "bytes": [0xC3]}


def test_a_whole_completion_with_the_prompt_first() -> None:
    reply = Reply(chat=False, model="m", fingerprint="f", choices=1, logprobs=True)
    reply.add(0, Delta("Hi there", (chance("Hi", 0, None), chance(" there", 2)), prompt_tokens=2), 0)
    reply.add(0, Delta("!", (chance("!", 8),), "length", tokens=1), 0)
    choice = reply.whole()["choices"][0]
    assert choice["text"] == "Hi there!"
    assert choice["logprobs"] == {
        "tokens": ["Hi", " there", "!"],
        "token_logprobs": [None, -0.5, -0.5],
        "top_logprobs": [None, {" there": -0.5, "bytes:\\xc3": -1.5}, {"!": -0.5, "bytes:\\xc3": -1.5}],
        "text_offset": [0, 2, 8],
    }


def test_pieces() -> None:
    reply = Reply(chat=True, model="m", fingerprint="f", choices=1, logprobs=False)
    first = reply.begin(0)
    assert first is not None
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    said, ended = reply.piece(0, Delta("x", finish="stop"))
    assert said["choices"][0]["delta"] == {"content": "x"}
    assert said["choices"][0]["finish_reason"] is None
    assert (ended["choices"][0]["delta"], ended["choices"][0]["finish_reason"]) == ({}, "stop")
    assert reply.counted()["choices"] == []
    assert event(said).startswith(b"data: {")
    assert event(said).endswith(b"}\n\n")
    assert Reply(chat=False, model="m", fingerprint="f", choices=1, logprobs=False).begin(0) is None
