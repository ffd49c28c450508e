"""The OpenAI-compatible server: routes, limits, streams. What is computed is the engine's business."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace

from aiohttp import web

from evollab.serve.engine import Ask, Delta, Engine, EngineFailed, Prompt, Refused
from evollab.serve.guard import OPEN, guard
from evollab.serve.protocol import Wanted, read_body, read_request
from evollab.serve.replies import DONE, Reply, error_body, event

MAX_BODY = 8 << 20
_BODY_SECONDS = 60.0
_MAX_WAITING = 1024
"""Prompts that may wait for a slot; more are told to come again."""
_SERVER_ERROR = "server_error"


class Api:
    """The routes over one engine. most_tokens: what one answer may have. say: hears of what the log should hold."""

    def __init__(self, engine: Engine, *, most_tokens: int, say: Callable[[str], None]) -> None:
        self._engine = engine
        self._most = most_tokens or engine.context
        self._say = say
        self._told: set[str] = set()

    def application(self, *, token: str, loopback: bool) -> web.Application:
        app = web.Application(middlewares=[guard(token, loopback=loopback)], client_max_size=MAX_BODY)
        app.router.add_get(OPEN, self.health)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/v1/models/{name:.+}", self.model)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/completions", self.completions)
        return app

    async def health(self, request: web.Request) -> web.Response:
        del request
        try:
            self._engine.check((), Ask())
        except EngineFailed:
            return web.json_response({"status": "failed"}, status=503)
        return web.json_response({"status": "ok", "waiting": self._engine.waiting()})

    async def models(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"object": "list", "data": [self._model()]})

    async def model(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name != self._engine.name:
            raise Refused(
                f"there is no model {name[:60]!r}; this server has {self._engine.name!r}", status=404,
                param="model", code="model_not_found",
            )  # fmt: skip
        return web.json_response(self._model())

    def _model(self) -> dict[str, object]:
        engine = self._engine
        return {
            "id": engine.name, "object": "model", "created": 0, "owned_by": "evollab",
            "max_model_len": engine.context, "max_tokens": self._most,
        }  # fmt: skip

    async def chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, chat=True)

    async def completions(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, chat=False)

    async def _answer(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        body = read_body(await _whole(request))
        wanted = read_request(body, chat=chat, model=self._engine.name, most_tokens=self._most)
        if self._engine.waiting() + len(wanted.prompts) * wanted.n > _MAX_WAITING:
            raise Refused(
                f"{self._engine.waiting()} prompts wait already, {len(wanted.prompts) * wanted.n} more were asked for; "
                f"at most {_MAX_WAITING} may wait", status=429, code="rate_limit_exceeded", kind="rate_limit_error",
            )  # fmt: skip
        try:
            self._engine.check(wanted.prompts, wanted.ask)
        except EngineFailed as error:
            raise Refused(str(error), status=503, kind=_SERVER_ERROR) from None
        for name in set(wanted.ignored) - self._told:
            if len(self._told) < 100:
                self._told.add(name)
                self._say(f"ignored: the field {name!r} means nothing here")
        reply = Reply(
            chat=chat, model=self._engine.name, fingerprint=self._engine.fingerprint,
            choices=len(wanted.prompts) * wanted.n, logprobs=wanted.ask.top is not None,
        )  # fmt: skip
        headers = {"X-Ignored-Fields": ", ".join(map(ascii, wanted.ignored))} if wanted.ignored else {}
        async with contextlib.aclosing(self._deltas(wanted)) as deltas:
            if wanted.stream:
                return await _streamed(request, reply, deltas, wanted, headers)
            try:
                async for index, delta in deltas:
                    reply.add(index, delta, index // wanted.n)
            except EngineFailed as error:
                raise Refused(str(error), status=500, kind=_SERVER_ERROR) from None
        return web.json_response(reply.whole(), headers=headers)

    async def _deltas(self, wanted: Wanted) -> AsyncGenerator[tuple[int, Delta], None]:
        """What comes for all choices, as it comes. Choice i of a prompt has the seed plus i."""
        arrived: asyncio.Queue[tuple[int, Delta | BaseException | None]] = asyncio.Queue()

        async def follow(index: int, prompt: Prompt, ask: Ask) -> None:
            async with contextlib.aclosing(self._engine.generate(prompt, ask)) as deltas:
                async for delta in deltas:
                    arrived.put_nowait((index, delta))

        tasks = []
        for index in range(len(wanted.prompts) * wanted.n):
            number, copy = divmod(index, wanted.n)
            sampling = replace(wanted.ask.sampling, seed=wanted.ask.sampling.seed + copy)
            task = asyncio.create_task(follow(index, wanted.prompts[number], replace(wanted.ask, sampling=sampling)))
            task.add_done_callback(lambda done: arrived.put_nowait((0, None if done.cancelled() else done.exception())))
            tasks.append(task)
        try:
            left = len(tasks)
            while left:
                index, what = await arrived.get()
                if isinstance(what, BaseException):
                    raise what
                if what is None:
                    left -= 1
                else:
                    yield index, what
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _whole(request: web.Request) -> bytes:
    """The body. Raises Refused for one that is too large or too slow."""
    size = request.content_length
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        found = f"{size:,} bytes" if size else f"more than {MAX_BODY:,} bytes"
        raise Refused(f"a body of {found}; at most {MAX_BODY:,} are taken", status=413) from None
    except TimeoutError:
        raise Refused(f"the body did not come within {_BODY_SECONDS:.0f} s", status=408) from None


async def _streamed(
    request: web.Request,
    reply: Reply,
    deltas: AsyncIterator[tuple[int, Delta]],
    wanted: Wanted,
    headers: dict[str, str],
) -> web.StreamResponse:
    """Server-sent events. A refusal before the first one is an ordinary error with its status."""
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no", **headers}
    )
    begun: set[int] = set()
    try:
        async for index, delta in deltas:
            reply.add(index, delta, index // wanted.n)
            if not response.prepared:
                await response.prepare(request)
            out = b""
            if index not in begun and (first := reply.begin(index)):
                out += event(first)
            begun.add(index)
            out += b"".join(map(event, reply.piece(index, delta)))
            if out:
                await response.write(out)
    except (Refused, EngineFailed) as error:
        refused = error if isinstance(error, Refused) else Refused(str(error), status=500, kind=_SERVER_ERROR)
        if not response.prepared:
            raise refused from None
        await response.write(event(error_body(refused)))
        await response.write_eof()
        return response
    if wanted.usage:
        await response.write(event(reply.counted()))
    await response.write(DONE)
    await response.write_eof()
    return response
