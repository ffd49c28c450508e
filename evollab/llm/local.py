"""The embedded engine: llama.cpp in a child process, started, watched and stopped by us."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import math
import os
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from evollab.llm.lifeline import Child
from evollab.llm.weights import Weights, cache_folder, find
from evollab.records import EvolError

MAX_SLOTS = 16
"""More slots than this cost memory and bring little speed on a CPU; further requests wait in the engine.
Measured on two cores, tokens per core-second: 56 with 4 slots, 71 with 8, 78 with 16."""
_MAX_THREADS = 8  # beyond this, threads mostly wait for each other on the small models this is for
_PROMPT_CACHE_MB = 512
# Prompts whose slot moved on are kept in memory: few-shot prompts of six operations, mixed, are then read
# from it to 86 % and cost a quarter of the CPU; without it only neighbours of the same operation gain.
_START_SECONDS = 600.0
_KILLED = "killed by SIGKILL"
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_SERVER = "evollab.llm.engine_child"


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine. base_url: http://127.0.0.1:PORT/v1; token: the key it demands, new at every start.

    identity: names the weights' content, the same over runs and machines (local:smollm2@b179c9523d0e6a0f).
    size: bytes of the weights. slots: requests decoded side by side. context: tokens a slot holds, prompt and
    reply together; a longer prompt gets HTTP 400. check: raises EvolError, with the engine's last words, when it
    died; costs nothing.
    """

    base_url: str
    identity: str
    size: int
    slots: int
    context: int
    token: str
    check: Callable[[], None]


@contextlib.asynccontextmanager
async def engine(
    name: str,
    *,
    slots: int = 4,
    context: int = 2048,
    template: str = "",
    say: Callable[[str], None] = lambda text: None,
) -> AsyncIterator[Engine]:
    """Serve `name` ("smollm2", a .gguf file, or a checkpoint's folder) by the OpenAI protocol while the block runs.

    slots: wanted, at least 1; at most MAX_SLOTS are opened. context: tokens for each; a model trained on
    shorter texts gets what it was trained on. template: a chat template (Jinja) in place of the file's own.
    say: hears of work that takes seconds (the first start).
    Raises EvolError: not installed, no such weights, weights the engine can't open.
    """
    if slots < 1 or context < 64:
        raise EvolError(f"{slots} slots of {context} tokens: expected at least 1 slot of at least 64 tokens")
    if importlib.util.find_spec("xllamacpp") is None:
        raise EvolError("the embedded engine is not installed", 'pip install "evollab[local]"')
    weights = await find(name, say)
    slots = min(slots, MAX_SLOTS)
    token = secrets.token_urlsafe(24)
    config = {
        "model": str(weights.path),
        "name": weights.name,
        "slots": slots,
        "context": context,
        "threads": min(cores(), _MAX_THREADS),
        "prompt_cache": _PROMPT_CACHE_MB,
        "template": template,
        "token": token,  # by pipe: a command line can be read by everybody on the machine
    }
    # Threads that wait must sleep: spinning ones starve each other as soon as anything else uses a core.
    child = Child(_SERVER, config, {"OMP_WAIT_POLICY": "PASSIVE"})

    def check() -> None:
        if ended := child.ended():
            child.stop()  # waits for the rest of its log
            raise _died(weights, ended, child)

    try:
        url = await _started(child, weights)
        size = weights.path.stat().st_size
        yield Engine(f"{url}/v1", weights.identity, size, slots, await _context(url, token), token, check)
    finally:
        child.stop()


async def _started(child: Child, weights: Weights) -> str:
    """The address, once the weights are loaded. Raises EvolError when they can't be."""
    try:
        report = await asyncio.wait_for(asyncio.to_thread(child.hear), _START_SECONDS)
    except TimeoutError:
        raise EvolError(f"the engine did not open {weights.path} in {_START_SECONDS:.0f} s") from None
    if report is not None:
        return str(report["url"])
    ended = child.stop()
    if ended == _KILLED:
        raise _died(weights, ended, child)
    ours = weights.path.parent == cache_folder()
    raise EvolError(
        f"the engine could not open {weights.path} ({ended}); it said:\n{child.complaints()}",
        f"delete {weights.path} and run again: it is made anew"
        if ours
        else "is the file whole, and of a kind of model that this llama.cpp knows?",
    )


async def _context(url: str, token: str) -> int:
    """Tokens a slot really has. Asked over HTTP with the token, as every request will be."""
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        try:
            async with session.get(f"{url}/v1/models", headers=headers) as response:
                answer: dict[str, Any] = await response.json()
                return int(answer["data"][0]["meta"]["n_ctx"])
        except (aiohttp.ClientError, TimeoutError, LookupError, TypeError, ValueError) as error:
            raise EvolError(
                f"the engine at {url} gives no sensible answer: {error or type(error).__name__}",
                'check its version: pip install --upgrade "evollab[local]"',
            ) from None


def _died(weights: Weights, ended: str, child: Child) -> EvolError:
    said = child.words()
    message = f"the engine for {weights.name} ended ({ended})" + (f"; it said:\n{said}" if said else "")
    if ended == _KILLED:
        return EvolError(message, "most likely out of memory: use fewer slots (--concurrency) or a smaller model")
    return EvolError(message, "run the same command again: it goes on where it stopped")


def cores() -> int:
    """Cores that this process may use: its affinity, and the quota of its control group (containers)."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = _CPU_MAX.read_text("ascii").split()
        if quota != "max":
            count = min(count, math.ceil(int(quota) / int(period)))
    return max(1, count)
