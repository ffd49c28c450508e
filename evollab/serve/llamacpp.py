"""GGUF weights by llama.cpp: the child process of `evollab.llm.local`, asked over its own HTTP.

It makes no log-probs of prompts. Sampling is sent in full, since its defaults cut the distribution.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from evollab import chat
from evollab.llm.converted import without_marks
from evollab.llm.local import Engine as Running
from evollab.llm.local import engine as start
from evollab.records import EvolError, Message
from evollab.serve.engine import Ask, Chance, Delta, EngineFailed, Finish, Prompt, Refused, Token, too_long
from evollab.serve.events import Broken, events
from evollab.serve.options import EngineOptions
from evollab.serve.writer import Lead

_SLOTS = 4
_CONTEXT = 2048
"""llama.cpp takes the memory of all slots at the start."""
_MAX_SEED = 0x7FFFFFFF


class LlamaCpp:
    """An engine (see `evollab.serve.engine.Engine`) over a running child."""

    def __init__(self, running: Running, session: aiohttp.ClientSession, *, name: str, format: str) -> None:
        self.name, self.slots, self.context = name, running.slots, running.context
        self.fingerprint = running.identity
        self.about = f"llama.cpp, format {format}"
        self._running, self._session = running, session
        self._root = running.base_url.removesuffix("/v1")
        self._busy = 0

    def waiting(self) -> int:
        return max(0, self._busy - self.slots)

    def check(self, prompts: Sequence[Prompt], ask: Ask) -> None:
        del prompts
        try:
            self._running.check()
        except EvolError as error:
            raise EngineFailed(error.message) from None
        if ask.echo and ask.top is not None:
            raise Refused(
                "echo with logprobs: llama.cpp gives no log-probs of the prompt; serve the checkpoint's folder with "
                "--engine transformers", param="logprobs", code="unsupported_parameter",
            )  # fmt: skip

    async def generate(self, prompt: Prompt, ask: Ask) -> AsyncGenerator[Delta, None]:
        rows = _rows(prompt)
        said = bool(rows)
        if spelled := await self._spelled(rows) if said else ():
            prompt, rows = spelled, []
        text = await self._text(prompt) if ask.echo else ""
        if ask.max_tokens == 0:
            yield Delta(text, finish="length", prompt_tokens=await self._count(prompt))
            return
        body: dict[str, Any] = {
            **_sampling(ask, self.context), "max_tokens": -1 if ask.max_tokens is None else ask.max_tokens,
            "stop": list(ask.stop), "stream": True, "stream_options": {"include_usage": True},
        }  # fmt: skip
        if rows:
            body |= {"messages": rows} | (
                {} if ask.top is None else {"logprobs": True, "top_logprobs": max(1, ask.top)}
            )
        else:
            body |= {"prompt": prompt} | ({} if ask.top is None else {"logprobs": max(1, ask.top)})
        self._busy += 1
        try:
            async with contextlib.aclosing(
                self._stream("/v1/chat/completions" if rows else "/v1/completions", body)
            ) as parts:
                yield Delta(text)
                async for delta in _deltas(parts, ask, trim=said, offset=len(text)):
                    yield delta
        finally:
            self._busy -= 1

    async def _stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Mapping[str, Any], None]:
        """The parsed events of one request. Raises Refused and EngineFailed."""
        try:
            async with self._session.post(self._root + path, json=body) as response:
                if response.status != 200:
                    raise await _refusal(response, "messages" if "messages" in body else "prompt")
                async for part in events(response.content):
                    if "error" in part:
                        raise EngineFailed(str(part["error"])[:300])
                    yield part
        except (aiohttp.ClientError, OSError, Broken) as error:
            self.check((), Ask())
            raise EngineFailed(str(error) or type(error).__name__) from None

    async def _post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            async with self._session.post(self._root + path, json=body) as response:
                if response.status != 200:
                    raise await _refusal(response, "prompt")
                answer: Mapping[str, Any] = await response.json()
                return answer
        except (aiohttp.ClientError, OSError) as error:
            self.check((), Ask())
            raise EngineFailed(str(error) or type(error).__name__) from None

    async def _spelled(self, rows: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """Token ids of a conversation that holds the name of a control token; empty where none does.

        llama.cpp reads such a name as the control token, whoever wrote it. So what is said is coded apart from
        what the template writes, which a rendering with placeholders shows.
        """
        said = "\n".join(row["content"] for row in rows)
        if await self._coded(said, control=True) == await self._coded(said, control=False):
            return ()
        named = [{**row, "content": f"\ue000{number}\ue001"} for number, row in enumerate(rows)]
        pattern = str((await self._post("/apply-template", {"messages": named}))["prompt"])
        parts = re.split("\ue000([0-9]+)\ue001", pattern)
        ids = await self._coded(parts[0], control=True, start=True)
        for number, after in zip(parts[1::2], parts[2::2], strict=True):
            ids += await self._coded(rows[int(number)]["content"], control=False)
            ids += await self._coded(after, control=True)
        return tuple(ids)

    async def _coded(self, text: str, *, control: bool, start: bool = False) -> list[int]:
        """Token ids of a text. control: names of control tokens are those. start: with BOS, where there is one."""
        body = {"content": text, "parse_special": control, "add_special": start}
        return list((await self._post("/tokenize", body))["tokens"])

    async def _text(self, prompt: Prompt) -> str:
        if isinstance(prompt, str):
            return prompt
        assert all(isinstance(one, int) for one in prompt)
        return str((await self._post("/detokenize", {"tokens": list(prompt)}))["content"])

    async def _count(self, prompt: Prompt) -> int:
        if not isinstance(prompt, str):
            return len(prompt)
        return len(await self._coded(prompt, control=True, start=True))


def _sampling(ask: Ask, context: int) -> dict[str, Any]:
    """Everything that llama.cpp would else have a mind of its own about."""
    sampling = ask.sampling
    return {
        "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k, "min_p": sampling.min_p,
        "presence_penalty": sampling.presence, "frequency_penalty": sampling.frequency, "repeat_last_n": context,
        "repeat_penalty": 1.0, "seed": sampling.seed & _MAX_SEED,
        "logit_bias": {str(token): value for token, value in sampling.bias.items()},
    }  # fmt: skip


async def _refusal(response: aiohttp.ClientResponse, param: str) -> Refused | EngineFailed:
    """What llama.cpp says against a request, in our terms."""
    try:
        told = (await response.json())["error"]
        message, kind = str(told["message"]), told.get("type")
    except (aiohttp.ClientError, ValueError, LookupError, TypeError):
        return EngineFailed(f"llama.cpp answered with HTTP {response.status}")
    if kind == "exceed_context_size_error":
        return too_long(int(told["n_prompt_tokens"]), int(told["n_ctx"]), param)
    if 400 <= response.status < 500:
        return Refused(message[:300], param=param)
    return EngineFailed(message[:300])


async def _deltas(
    parts: AsyncIterator[Mapping[str, Any]], ask: Ask, *, trim: bool, offset: int
) -> AsyncIterator[Delta]:
    """llama.cpp's chunks as ours."""
    lead = Lead() if trim else None
    finish: Finish | None = None
    usage: Mapping[str, Any] = {}
    async for part in parts:
        usage = part.get("usage") or usage
        for choice in part.get("choices") or ():
            text = str((choice.get("delta") or {}).get("content") or choice.get("text") or "")
            ended = choice.get("finish_reason")
            if ended:
                finish = "length" if ended == "length" else "stop"
            if lead:
                text = lead.push(text, final=bool(ended))
            chances = _chances(choice, ask.top, offset)
            offset += len(text)
            if text or chances:
                yield Delta(text, chances)
    if finish is None:
        raise EngineFailed("llama.cpp ended its answer without saying why")
    prompt, made = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
    yield Delta(finish=finish, prompt_tokens=prompt, tokens=made)


def _chances(choice: Mapping[str, Any], top: int | None, offset: int) -> tuple[Chance, ...]:
    told = (choice.get("logprobs") or {}).get("content") or ()
    if top is None:
        return ()
    return tuple(Chance(_token(one), tuple(map(_token, one.get("top_logprobs", ())[:top])), offset) for one in told)


def _token(told: Mapping[str, Any]) -> Token:
    return Token(str(told["token"]), bytes(told.get("bytes") or ()), float(told["logprob"]))


@contextlib.asynccontextmanager
async def opened(model: str, options: EngineOptions, say: Callable[[str], None]) -> AsyncIterator[LlamaCpp]:
    """Start llama.cpp on a .gguf file, on `smollm2`, or on a checkpoint's folder (converted once), and end it
    with the block."""
    template = template_of(options.format)
    async with (
        start(
            model, slots=options.max_batch or _SLOTS, context=options.context or _CONTEXT, template=template, say=say
        ) as running,
        # A new connection for each request: llama.cpp closes them after a stream without saying so.
        aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {running.token}"},
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None),
        ) as session,
    ):
        name = options.name or (Path(model).name.removesuffix(".gguf") if model != "smollm2" else model)
        yield LlamaCpp(running, session, name=name, format="model" if not template else options.format)


def template_of(format: str) -> str:
    """A format's chat template as llama.cpp reads it, which knows no marks of generation; empty for the file's
    own."""
    if format in ("auto", "model"):
        return ""
    return without_marks((Path(chat.__file__).parent / "chat_templates" / f"{format}.jinja").read_text("utf-8"))


def _rows(prompt: Prompt) -> list[dict[str, str]]:
    """A conversation as JSON; empty for a text or token ids."""
    return [{"role": one.role, "content": one.content} for one in prompt if isinstance(one, Message)]
