"""`openai:NAME`: any endpoint that speaks OpenAI's protocol."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator

from evollab.llm.budget import listed_price
from evollab.llm.openai import OPENAI_URL, Endpoints
from evollab.llm.session import Connection, ModelOptions


@contextlib.asynccontextmanager
async def connect(name: str, options: ModelOptions) -> AsyncIterator[Connection]:
    """A model behind --base-url (or $OPENAI_BASE_URL, or OpenAI), with the key in --key-env."""
    urls = options.base_url or (os.environ.get("OPENAI_BASE_URL") or OPENAI_URL,)
    endpoints = Endpoints(urls, key_variable=options.key_env, timeout=options.timeout)
    listed = listed_price(name, urls[0])
    try:
        yield Connection(f"openai:{name}", name, endpoints, listed[0] if listed else None)
    finally:
        await endpoints.close()
