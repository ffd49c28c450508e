"""`openai:NAME`: any endpoint that speaks OpenAI's protocol."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from evollab.llm.budget import listed_price
from evollab.llm.openai import OPENAI_URL, Endpoints
from evollab.llm.session import Connection, ModelOptions

_OWN_HOST = urlsplit(OPENAI_URL).hostname


@contextlib.asynccontextmanager
async def connect(name: str, options: ModelOptions) -> AsyncIterator[Connection]:
    """A model behind --base-url (or $OPENAI_BASE_URL, or OpenAI), with the key in --key-env."""
    urls = options.base_url or (os.environ.get("OPENAI_BASE_URL") or OPENAI_URL,)
    endpoints = Endpoints(urls, key_variable=options.key_env, timeout=options.timeout)
    listed = listed_price(name, urls[0])
    # OpenAI's own models take the newer name only, since they think; most other servers know just the old one
    own = all(urlsplit(url).hostname == _OWN_HOST for url in urls)
    limit = "max_completion_tokens" if own else "max_tokens"
    try:
        yield Connection(f"openai:{name}", name, endpoints, listed[0] if listed else None, limit=limit)
    finally:
        await endpoints.close()
