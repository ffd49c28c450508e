"""`evol serve`: a model opened, a port bound, requests answered until somebody says stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from aiohttp import web

from evollab.llm.watching import say
from evollab.records import EvolError
from evollab.serve.api import Api
from evollab.serve.engine import Engine
from evollab.serve.extra import require
from evollab.serve.options import LOOPBACK, EngineOptions, ServeOptions

_GRACE = 1.0
"""Seconds that answers under way get when the server stops."""


def serve(model: str, options: ServeOptions) -> int:
    """Serve a checkpoint's folder, a name on the hub, a .gguf file or `smollm2` until Ctrl-C or SIGTERM.

    Returns 0; with the engine vllm this process becomes vLLM's. Raises EvolError for what can't be opened
    or bound, and for a token that is not there.
    """
    token = token_in(options.token_env)
    if engine_of(model, options.engine) == "vllm":
        from evollab.serve.vllm import run

        run(model, options, token)
    with asyncio.Runner() as runner:
        return runner.run(_serve(model, options, token))


def token_in(variable: str) -> str:
    """The token in an environment variable; empty where none is named. Raises EvolError for an empty one."""
    if not variable:
        return ""
    token = os.environ.get(variable, "").strip()
    if not token:
        raise EvolError(f"--token-env {variable}: that variable is empty", f"export {variable}=... (any long secret)")
    return token


def engine_of(model: str, wanted: str) -> str:
    """Which engine opens a model. Raises EvolError for one that can't."""
    gguf = model.lower().endswith(".gguf")
    if wanted == "auto":
        return "llamacpp" if gguf or model == "smollm2" else "transformers"
    if gguf and wanted == "transformers":
        raise EvolError(f"{model}: the engine transformers opens no .gguf files", "--engine llamacpp")
    if wanted == "llamacpp" and not gguf and model != "smollm2" and not Path(model).is_dir():
        raise EvolError(f"{model}: the engine llamacpp opens .gguf files, folders of checkpoints and smollm2")
    return wanted


@contextlib.asynccontextmanager
async def opened(model: str, options: EngineOptions, say: Callable[[str], None]) -> AsyncIterator[Engine]:
    """The engine for a model, while the block runs. Raises EvolError."""
    if engine_of(model, options.engine) == "llamacpp":
        require("llamacpp")
        from evollab.serve.llamacpp import opened as by_llamacpp

        async with by_llamacpp(model, options, say) as engine:
            yield engine
    else:
        require("transformers")
        from evollab.serve.transformers_engine import opened as by_transformers

        async with by_transformers(model, options, say) as own:
            yield own


@contextlib.asynccontextmanager
async def listening(api: Api, *, host: str, port: int, token: str) -> AsyncIterator[str]:
    """The API at an address while the block runs; gives the address, ending in /v1. Raises EvolError."""
    app = api.application(token=token, loopback=host in LOOPBACK)
    # A handler whose client has gone is cancelled, and with it what the engine was computing.
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=_GRACE)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise EvolError(f"port {port} of {host} is in use", "--port 0 takes a free one") from None
            raise EvolError(f"can't listen at {host}:{port}: {error.strerror or error}") from None
        bound = runner.addresses[0]
        name = f"[{host}]" if ":" in host else host
        yield f"http://{name}:{bound[1]}/v1"
    finally:
        await runner.cleanup()


async def _serve(model: str, options: ServeOptions, token: str) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with opened(model, options, say) as engine:
            if stop.is_set():
                return 0
            api = Api(engine, most_tokens=min(options.max_tokens, engine.context), say=say)
            async with listening(api, host=options.host, port=options.port, token=token) as url:
                say(f"{engine.name} at {url}")
                say(
                    f"{engine.about}; {engine.slots} answers at once, {engine.context:,} tokens each; "
                    f"{'token in ' + options.token_env if token else 'no token'}; Ctrl-C ends it"
                )
                await stop.wait()
                say("stopping")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return 0
