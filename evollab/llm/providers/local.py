"""`local:smollm2`, `local:PATH.gguf`, `local:FOLDER`: weights on this machine, in an engine that we start and stop."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from evollab.llm.budget import FREE
from evollab.llm.openai import Endpoints
from evollab.llm.session import Connection, ModelOptions

_SLOTS = 8
_SMALL_BYTES = 1_500_000_000
_PATIENCE = 600.0
"""Seconds for one reply: a model on two cores may take minutes for a long one."""


@contextlib.asynccontextmanager
async def connect(name: str, options: ModelOptions) -> AsyncIterator[Connection]:
    """Starts the engine. Sampling is neutral beyond temperature and top_p: the engine's own defaults
    would cut the distribution (top_k 40, min_p 0.05)."""
    from evollab.llm.local import engine

    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    async with engine(name, slots=options.concurrency or _SLOTS, say=say) as running:
        timeout = max(options.timeout, _PATIENCE)
        endpoints = Endpoints([running.base_url], key_variable="", key=running.token, timeout=timeout)
        try:
            yield Connection(
                running.identity,
                Path(name).name,
                endpoints,
                FREE,
                slots=running.slots,
                small=running.size < _SMALL_BYTES,
                extra={"top_k": 0, "min_p": 0.0},
                check=running.check,
            )
        finally:
            await endpoints.close()
