"""The server over the wire: OpenAI's own client against a real process, and hostile clients against the limits."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("torch", reason="needs the extra `serve`")
pytest.importorskip("openai", reason="needs the package openai")

import aiohttp
import openai
import orjson
import torch

from evollab.records import EvolError
from evollab.serve import api as served
from evollab.serve.api import MAX_BODY, Api
from evollab.serve.engine import EngineFailed
from evollab.serve.options import ServeOptions
from evollab.serve.server import engine_of, listening, serve, token_in
from evollab.serve.transformers_engine import Transformers
from tests import tiny
from tests.serving import Server, started

HI = [{"role": "user", "content": "Add 12 and 30."}]
NO_END = {"0": -100}
"""A random model may say its EOS at any time; this keeps it from it."""
TOKEN = "secret-of-the-test"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tiny.checkpoint(tmp_path_factory.mktemp("served") / "tiny", "bytes")
    with started(folder, {"EVOL_TOKEN": TOKEN}, token_env="EVOL_TOKEN", max_tokens=200) as running:
        yield running
        code, said = running.stop()
        assert code == 0
        assert said.endswith("stopping\n")
        assert "--format vicuna is taken" in said
        assert "token in EVOL_TOKEN" in said
        assert "Traceback" not in said
        assert TOKEN not in said


@pytest.fixture
def client(server: Server) -> Any:
    with openai.OpenAI(base_url=server.url, api_key=TOKEN, max_retries=0) as made:
        yield made


def test_models(client: Any) -> None:
    (model,) = client.models.list().data
    assert model.id == "tiny"
    assert model.max_model_len == 512
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("other")
    assert caught.value.code == "model_not_found"


def test_chat_whole_and_streamed_are_the_same(client: Any) -> None:
    asked = {"model": "tiny", "messages": HI, "max_tokens": 20, "seed": 3, "logit_bias": NO_END}
    whole = client.chat.completions.create(**asked, logprobs=True, top_logprobs=2)
    (choice,) = whole.choices
    assert choice.message.role == "assistant"
    assert choice.finish_reason == "length"
    assert whole.usage.completion_tokens == 20
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + 20
    assert len(choice.logprobs.content) == 20
    assert all(len(one.top_logprobs) == 2 and one.logprob <= 0 for one in choice.logprobs.content)
    text, finish, usage, roles = "", None, None, []
    with client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}) as stream:
        for chunk in stream:
            usage = chunk.usage or usage
            for part in chunk.choices:
                roles += [part.delta.role] if part.delta.role else []
                text += part.delta.content or ""
                finish = part.finish_reason or finish
    assert text == choice.message.content
    assert finish == "length"
    assert usage == whole.usage
    assert roles == ["assistant"]


def test_the_system_prompt_counts_and_names_of_roles_do_not_cut(client: Any) -> None:
    """Two defects of the first demo: it ignored the system prompt, and cut answers at "USER" and "ASSISTANT"."""

    def ask(*messages: dict[str, str]) -> Any:
        return client.chat.completions.create(
            model="tiny", messages=[*messages, *HI], max_tokens=1, temperature=0, logprobs=True, logit_bias=NO_END
        )

    plain, one, other = (
        ask(),
        ask({"role": "system", "content": "A."}),
        ask({"role": "system", "content": "B, at length."}),
    )
    assert len({plain.usage.prompt_tokens, one.usage.prompt_tokens, other.usage.prompt_tokens}) == 3
    chances = {said.choices[0].logprobs.content[0].logprob for said in (plain, one, other)}
    assert len(chances) == 3
    ids = tiny.tokenizer("bytes").encode("USER: ASSISTANT: x", add_special_tokens=False)
    for token in ids:  # whatever the next token is, no name ends an answer
        said = client.chat.completions.create(
            model="tiny", messages=HI, max_tokens=3, temperature=0, logit_bias={str(token): 100}
        )
        assert said.choices[0].finish_reason == "length"


def test_several_choices_and_prompts(client: Any) -> None:
    reply = client.chat.completions.create(model="tiny", messages=HI, max_tokens=12, n=3, seed=1, logit_bias=NO_END)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in reply.choices}) == 3
    assert reply.usage.completion_tokens == 36
    single = client.chat.completions.create(model="tiny", messages=HI, max_tokens=12, seed=2, logit_bias=NO_END)
    assert single.choices[0].message.content == reply.choices[1].message.content, "choice i has the seed plus i"
    texts: dict[int, str] = {}
    stream = client.completions.create(
        model="tiny", prompt=["a", "b"], n=2, max_tokens=8, seed=1, stream=True, logit_bias=NO_END
    )
    for chunk in stream:
        for part in chunk.choices:
            texts[part.index] = texts.get(part.index, "") + part.text
    whole = client.completions.create(model="tiny", prompt=["a", "b"], n=2, max_tokens=8, seed=1, logit_bias=NO_END)
    assert [texts[number] for number in range(4)] == [choice.text for choice in whole.choices]


def test_completions_with_echo_and_log_probs(client: Any) -> None:
    tokenizer = tiny.tokenizer("bytes")
    text = "The capital of France"
    ids = tokenizer(text).input_ids
    by_text = client.completions.create(model="tiny", prompt=text, max_tokens=1, temperature=0, logprobs=2, echo=True)
    by_ids = client.completions.create(model="tiny", prompt=ids, max_tokens=1, temperature=0, logprobs=2, echo=True)
    assert by_text.choices[0].text.startswith(text)
    assert by_text.choices[0] == by_ids.choices[0]
    told = by_ids.choices[0].logprobs
    assert told.token_logprobs[0] is None
    assert told.top_logprobs[0] is None
    assert len(told.tokens) == len(ids) + 1
    scored = client.completions.create(model="tiny", prompt=ids, max_tokens=0, logprobs=2, echo=True)
    assert scored.choices[0].text == text
    assert scored.usage.completion_tokens == 0
    assert scored.choices[0].logprobs.token_logprobs[1:] == pytest.approx(told.token_logprobs[1:-1], abs=1e-4)
    plain = client.completions.create(model="tiny", prompt=text, max_tokens=4, temperature=0, echo=True)
    assert plain.choices[0].text.startswith(text)
    assert plain.choices[0].logprobs is None
    assert client.completions.create(model="tiny", prompt=text, max_tokens=0).choices[0].text == ""


def test_what_lm_eval_sends(server: Server) -> None:
    """The body of lm-eval's `local-completions` for multiple choice, and how it reads the reply."""
    tokenizer = tiny.tokenizer("bytes")
    model = tiny.model(tokenizer).eval()
    rows = [("The capital of France is", " Paris"), ("The sum of 12 and 30 is", " 42"), ("Step", " 1: look at the")]
    ids = [tokenizer(context + end).input_ids for context, end in rows]
    lengths = [len(tokenizer(context).input_ids) for context, _ in rows]
    body = {
        "model": "tiny", "prompt": ids, "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": True,
    }  # fmt: skip
    reply = post(server, "/v1/completions", body)[1]
    for choice, row, start in zip(sorted(reply["choices"], key=lambda one: one["index"]), ids, lengths, strict=True):
        told = choice["logprobs"]
        values, tops = told["token_logprobs"][start:-1], told["top_logprobs"][start:-1]
        with torch.no_grad():
            plain = torch.log_softmax(model(input_ids=torch.tensor([row])).logits[0], dim=-1)
        want = [plain[place - 1, row[place]].item() for place in range(start, len(row))]
        assert values == pytest.approx(want, abs=1e-4)
        greedy = all(value == max(top.values()) for value, top in zip(values, tops, strict=True))
        assert greedy == all(int(plain[place - 1].argmax()) == row[place] for place in range(start, len(row)))
    # what it sends for generation
    body = {
        "model": "tiny",
        "prompt": [ids[0]],
        "max_tokens": 8,
        "temperature": 0,
        "stop": ["\n", "<eos>"],
        "seed": 1234,
    }
    (choice,) = post(server, "/v1/completions", body)[1]["choices"]
    assert "\n" not in choice["text"]


def test_stop_strings(client: Any) -> None:
    asked = {"model": "tiny", "messages": HI, "max_tokens": 40, "seed": 5, "logit_bias": NO_END}
    text = client.chat.completions.create(**asked).choices[0].message.content
    stop = text[11:16]
    assert text.index(stop) == 11
    cut = client.chat.completions.create(**asked, stop=[stop, "never"]).choices[0]
    assert cut.message.content == text[: text.index(stop)]
    assert cut.finish_reason == "stop"
    shown = ""
    for chunk in client.chat.completions.create(**asked, stop=stop, stream=True):
        for part in chunk.choices:
            shown += part.delta.content or ""
    assert shown == cut.message.content


@pytest.mark.parametrize(
    ("change", "error", "code"),
    [
        ({"model": "gpt-4"}, "NotFoundError", "model_not_found"),
        ({"temperature": 9}, "BadRequestError", None),
        ({"messages": [{"role": "user", "content": "x " * 600}]}, "BadRequestError", "context_length_exceeded"),
        ({"max_tokens": 201}, "BadRequestError", None),
        ({"logit_bias": {"99999": 1}}, "BadRequestError", None),
        ({"messages": [*HI, *HI]}, "BadRequestError", None),
        ({"response_format": {"type": "json_object"}}, "BadRequestError", "unsupported_parameter"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_in_openais_shape(
    client: Any, change: dict[str, Any], error: str, code: str | None, stream: bool
) -> None:
    with pytest.raises(getattr(openai, error)) as caught:
        client.chat.completions.create(**{"model": "tiny", "messages": HI, "stream": stream, **change})
    assert caught.value.code == code
    assert caught.value.type == "invalid_request_error"
    assert caught.value.param
    assert set(caught.value.body) == {"message", "type", "param", "code"}


def test_strange_fields_are_told(client: Any) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="tiny", messages=HI, max_tokens=1, extra_body={"keep_alive": 1, "evil\r\nX-Other: y\u4f60": 2}
    )
    told = raw.headers["X-Ignored-Fields"]
    assert told.startswith("'keep_alive', 'evil\\r\\nX-Other")
    assert "X-Other" not in raw.headers


def test_eight_clients_at_once(server: Server) -> None:
    """All begin before the first one ends, and each gets what it gets alone."""
    order: list[int] = []

    async def one(made: Any, number: int, note: bool) -> str:
        text = ""
        stream = await made.chat.completions.create(
            model="tiny", messages=HI, max_tokens=200, seed=number, stream=True, logit_bias=NO_END
        )
        async for chunk in stream:
            for part in chunk.choices:
                if part.delta.content and note:
                    order.append(number)
                text += part.delta.content or ""
        return text

    async def work() -> None:
        async with openai.AsyncOpenAI(base_url=server.url, api_key=TOKEN, max_retries=0) as made:
            alone = [await one(made, number, False) for number in (1, 7)]
            together = await asyncio.gather(*[one(made, number, True) for number in range(8)])
            assert [together[1], together[7]] == alone
            assert len(set(together)) == 8

    asyncio.run(work())
    lasts = [len(order) - 1 - order[::-1].index(number) for number in range(8)]
    assert max(order.index(number) for number in range(8)) < min(lasts)


def test_a_client_that_goes_away_mid_stream(server: Server, client: Any) -> None:
    """More streams are begun and dropped than there are rows: were one not freed, the last would wait for ever."""
    for _ in range(20):
        stream = client.chat.completions.create(
            model="tiny", messages=HI, max_tokens=200, stream=True, logit_bias=NO_END
        )
        next(iter(stream))
        stream.close()
    assert client.chat.completions.create(model="tiny", messages=HI, max_tokens=5).choices
    with contextlib.suppress(openai.APITimeoutError):
        client.with_options(timeout=0.2).completions.create(model="tiny", prompt=["a"] * 64, max_tokens=200)
    assert client.chat.completions.create(model="tiny", messages=HI, max_tokens=5).choices


# Against the wire itself


def raw_request(
    server: Server, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, Any, dict[str, str]]:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    try:
        connection.request(method, path, body or None, {"Authorization": f"Bearer {TOKEN}", **(headers or {})})
        response = connection.getresponse()
        raw = response.read()
        return response.status, json.loads(raw) if raw else None, {k.lower(): v for k, v in response.getheaders()}
    finally:
        connection.close()


def post(server: Server, path: str, body: Any, **headers: str) -> tuple[int, Any, dict[str, str]]:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return raw_request(server, "POST", path, raw, {"Content-Type": "application/json", **headers})


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"[1]", 400, "a list of 1; expected a JSON object"),
        (b"[" * 100_000, 400, "not JSON"),
        (b'{"messages": ' + b"[" * 500 + b"]" * 500 + b"}", 400, "messages[0]"),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', 400, "not JSON"),
        (b'{"messages": [{"role": "user", "content": "\xff"}]}', 400, "not JSON"),
        (b'{"max_tokens": 1e999}', 400, ""),
        (b'{"max_tokens": ' + b"9" * 5000 + b"}", 400, ""),
        (b" " * (MAX_BODY + 1), 413, f"a body of {MAX_BODY + 1:,} bytes; at most {MAX_BODY:,} are taken"),
        (orjson.dumps({"messages": [{"role": "user", "content": "y " * 400_000}]}), 400, "context is 512 tokens"),
    ],
    ids=range(11),
)
def test_hostile_bodies(server: Server, body: bytes, status: int, words: str) -> None:
    got, error, _ = post(server, "/v1/chat/completions", body)
    assert got == status
    assert words in error["error"]["message"]
    assert error["error"]["type"] == "invalid_request_error"


def test_bodies_in_chunks_have_the_same_limit(server: Server) -> None:
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as line:
        line.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
        )
        with contextlib.suppress(ConnectionError):  # it may hang up before all is sent
            for _ in range(MAX_BODY // 65536 + 2):
                line.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
            line.sendall(b"0\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b" 413 " in line.recv(100)


def test_routes_and_methods_that_do_not_exist(server: Server) -> None:
    for method, path, status in (("GET", "/v1/nothing", 404), ("GET", "/v1/chat/completions", 405), ("PUT", "/", 404)):
        got, error, _ = raw_request(server, method, path)
        assert got == status
        assert error["error"]["type"] == "invalid_request_error"
    assert raw_request(server, "GET", "/health")[:2] == (200, {"status": "ok", "waiting": 0})


def test_other_web_pages_get_nothing(server: Server) -> None:
    body = {"messages": HI, "max_tokens": 1}
    for headers, status in (
        ({"Host": "evil.example"}, 403), ({"Host": "127.0.0.1.evil.example"}, 403), ({"Host": "[::1"}, 403),
        ({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Content-Type": "text/plain"}, 415),
        ({"Host": "localhost:1234"}, 200), ({"Host": "LOCALHOST"}, 200),
    ):  # fmt: skip
        got, reply, told = post(server, "/v1/chat/completions", body, **headers)
        assert (got, headers) == (status, headers), reply
        assert not [name for name in told if name.startswith("access-control")]
    assert raw_request(server, "OPTIONS", "/v1/chat/completions", headers={"Origin": "https://evil.example"})[0] == 403


def test_a_token_is_asked_for(server: Server) -> None:
    body = {"prompt": "a", "max_tokens": 1}
    for key, status in ((TOKEN, 200), ("", 401), (TOKEN[:-1], 401), (f"{TOKEN} ", 200), ("\u4f60", 401)):
        headers = {"Authorization": f"Bearer {key}".encode().decode("latin-1")}
        got, reply, told = post(server, "/v1/completions", body, **headers)
        assert (key, got) == (key, status)
        if status == 401:
            assert reply["error"]["code"] == "invalid_api_key"
            assert told["www-authenticate"] == "Bearer"
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=server.url, api_key="wrong", max_retries=0).models.list()
    assert raw_request(server, "GET", "/health", headers={"Authorization": "none"})[0] == 200
    assert raw_request(server, "GET", "/v1/nothing", headers={"Authorization": "none"})[0] == 401
    assert TOKEN.encode() not in Path(f"/proc/{server.process.pid}/cmdline").read_bytes()


# In this process: what only the inside shows


@contextlib.asynccontextmanager
async def inside(model: Any = None, *, slots: int = 1) -> AsyncIterator[tuple[Transformers, str]]:
    tokenizer = tiny.tokenizer("bytes")
    engine = Transformers(
        model or tiny.model(tokenizer), tokenizer, name="tiny", identity="x", format="vicuna", slots=slots
    )
    try:
        async with listening(Api(engine, most_tokens=0, say=print), host="127.0.0.1", port=0, token="") as url:
            yield engine, url
    finally:
        await asyncio.to_thread(engine.close)


async def until(condition: Any) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("waited too long")


@pytest.mark.parametrize("stream", [True, False])
def test_a_disconnect_frees_the_row_at_once(stream: bool) -> None:
    model = tiny.model(tiny.tokenizer("bytes"))
    steps: list[int] = []
    model.register_forward_pre_hook(lambda module, args: steps.append(1))

    async def work() -> None:
        async with inside(model) as (engine, url), aiohttp.ClientSession() as session:
            steps.clear()
            body = {"messages": HI, "stream": stream, "logit_bias": NO_END}

            async def ask() -> None:
                async with session.post(f"{url}/chat/completions", json=body) as response:
                    async for _ in response.content:
                        pass

            task = asyncio.create_task(ask())
            await until(lambda: len(steps) > 3)
            task.cancel()
            await until(lambda: not engine.busy())
            assert len(steps) < 300, "the whole answer has more than 400"
            async with session.post(f"{url}/completions", json={"prompt": "a", "max_tokens": 2}) as response:
                assert response.status == 200

    asyncio.run(work())


def test_a_queue_has_an_end_and_failures_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "_MAX_WAITING", 4)
    model = tiny.model(tiny.tokenizer("bytes"))
    forward = model.forward
    broken = False

    def sometimes(*args: Any, **kwargs: Any) -> Any:
        if broken:
            raise RuntimeError("the device is gone\nand more")
        return forward(*args, **kwargs)

    async def work() -> None:
        nonlocal broken
        async with inside(model) as (engine, url), openai.AsyncOpenAI(base_url=url, api_key="x", max_retries=0) as made:
            with pytest.raises(openai.RateLimitError) as full:
                await made.completions.create(model="tiny", prompt=["a"] * 5)
            assert "at most 4 may wait" in str(full.value)
            assert full.value.response.headers["Retry-After"] == "1"
            model.forward = sometimes
            broken = True
            with pytest.raises(openai.InternalServerError, match="the device is gone") as failed:
                await made.completions.create(model="tiny", prompt="a")
            assert failed.value.type == "server_error"
            with pytest.raises(openai.APIError, match="the device is gone"):
                async for _ in await made.completions.create(model="tiny", prompt="a", stream=True):
                    pass
            broken = False
            assert (await made.completions.create(model="tiny", prompt="a")).choices
            engine.close()
            async with aiohttp.ClientSession() as session, session.get(url.replace("/v1", "/health")) as response:
                assert (response.status, await response.json()) == (503, {"status": "failed"})
            with pytest.raises(openai.InternalServerError) as ended:
                await made.completions.create(model="tiny", prompt="a")
            assert ended.value.status_code == 503
        with pytest.raises(EngineFailed):
            engine.check((), served.Ask())

    asyncio.run(work())


def test_options_that_do_not_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EvolError, match=r"--host 0\.0\.0\.0: whoever reaches this address"):
        ServeOptions(host="0.0.0.0")
    assert ServeOptions(host="0.0.0.0", token_env="A").host
    for wrong in ({"port": 70000}, {"max_tokens": -1}, {"context": 5}, {"max_batch": -1}, {"max_batch": 1000}):
        with pytest.raises(EvolError, match="expected"):
            ServeOptions(**wrong)
    monkeypatch.setenv("EMPTY", " ")
    with pytest.raises(EvolError, match="--token-env EMPTY: that variable is empty") as caught:
        token_in("EMPTY")
    assert "export EMPTY=" in caught.value.hint
    with pytest.raises(EvolError, match="--token-env NOT_SET"):
        serve("model", ServeOptions(host="::", token_env="NOT_SET"))


def test_engines_for_models() -> None:
    assert engine_of("runs/x/model", "auto") == "transformers"
    assert engine_of("smollm2", "auto") == engine_of("x.GGUF", "auto") == "llamacpp"
    assert engine_of("smollm2", "transformers") == "transformers"
    assert engine_of("org/name", "vllm") == "vllm"
    with pytest.raises(EvolError, match=r"x.gguf: the engine transformers opens no .gguf files"):
        engine_of("x.gguf", "transformers")
    with pytest.raises(EvolError, match="org/name: the engine llamacpp"):
        engine_of("org/name", "llamacpp")


def test_a_port_in_use_is_said() -> None:
    async def work() -> None:
        async with inside() as (engine, url):
            port = int(url.rpartition(":")[2].removesuffix("/v1"))
            with pytest.raises(EvolError, match=f"port {port} of 127.0.0.1 is in use"):
                async with listening(Api(engine, most_tokens=0, say=print), host="127.0.0.1", port=port, token=""):
                    pass

    asyncio.run(work())


def test_no_model_and_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EvolError, match="no model lies there"):
        serve(str(tmp_path), ServeOptions(port=0))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EvolError, match="the engine transformers needs torch, transformers, numpy") as caught:
        serve(str(tmp_path), ServeOptions(port=0))
    assert caught.value.hint == "pip install 'evollab[serve]'"
