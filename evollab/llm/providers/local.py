"""`local:smollm2`, `local:PATH.gguf`: weights on this machine, in an engine that we start and stop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from evollab.llm.budget import Price
from evollab.llm.openai import Endpoints
from evollab.llm.session import Connection, ModelOptions


@contextlib.asynccontextmanager
async def connect(name: str, options: ModelOptions) -> AsyncIterator[Connection]:
    """Starts the engine; sampling is neutral beyond temperature and top_p (the engine's defaults cut
    the distribution with top_k 40 and min_p 0.05)."""
    from evollab.llm.local import engine

    async with engine(name, slots=options.concurrency or 4) as running:
        endpoints = Endpoints(
            [running.base_url], key_variable="", key=running.token, timeout=max(options.timeout, 600.0)
        )
        try:
            yield Connection(
                running.identity,
                name.rpartition("/")[2],
                endpoints,
                Price(0, 0),
                slots=running.slots,
                small=True,
                extra={"top_k": 0, "min_p": 0.0},
            )
        finally:
            await endpoints.close()
