"""Server-sent events of OpenAI's protocol, read as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import orjson

_LONGEST = 1 << 22


class Broken(Exception):
    """The stream is not what was promised."""


async def events(content: aiohttp.StreamReader) -> AsyncIterator[Mapping[str, Any]]:
    """The JSON of each event up to [DONE]. Raises Broken for what is none, and for a stream without end."""
    buffer = b""
    async for part in content.iter_any():
        buffer += part
        while (end := buffer.find(b"\n")) >= 0:
            line, buffer = buffer[:end].strip(), buffer[end + 1 :]
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            try:
                value = orjson.loads(data)
            except orjson.JSONDecodeError as error:
                raise Broken(f"not JSON: {error}") from None
            if not isinstance(value, dict):
                raise Broken("an event that is no object")
            yield value
        if len(buffer) > _LONGEST:
            raise Broken(f"a line of more than {_LONGEST:,} bytes")
