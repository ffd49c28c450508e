"""Any endpoint that speaks the OpenAI protocol: OpenAI, vLLM, SGLang, llama.cpp, Ollama, OpenRouter."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from evollab.llm.wire import Answer, retry_after
from evollab.records import EvolError

OPENAI_URL = "https://api.openai.com/v1"
_MAX_REPLY_BYTES = 16 << 20
_COOL_DOWN = 5.0


class Unreachable(Exception):
    """No answer: the connection could not be made, broke, or took too long."""

    def __init__(self, message: str, *, timeout: bool = False) -> None:
        super().__init__(message)
        self.timeout = timeout


def check_url(url: str) -> str:
    """`url` without a trailing slash. Raises EvolError when it is not http(s)://host..."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise EvolError(f"--base-url {url!r}: expected http://HOST[:PORT]/v1 or https://...")
    if parts.username or parts.password:
        raise EvolError("--base-url holds a password", "put the key in the environment (see --key-env)")
    return url.rstrip("/").removesuffix("/chat/completions").removesuffix("/completions")


@dataclass(slots=True)
class _Address:
    chat: URL
    plain: URL
    in_flight: int = 0
    sick_until: float = 0.0


class Endpoints:
    """One model behind one or several equivalent addresses; the least busy healthy one is asked.

    The key is read from the environment variable `key_variable` once and sent to these addresses
    only; redirects are never followed.
    """

    def __init__(self, urls: Sequence[str], *, key_variable: str, key: str | None = None, timeout: float) -> None:
        self.key_variable = key_variable
        self._key = key if key is not None else os.environ.get(key_variable, "").strip()
        self._addresses = [
            _Address(URL(f"{url}/chat/completions"), URL(f"{url}/completions")) for url in map(check_url, urls)
        ]
        self.url = check_url(urls[0])
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    @property
    def has_key(self) -> bool:
        return bool(self._key)

    def redact(self, text: str) -> str:
        """`text` without the key, for messages that are shown or stored."""
        return text.replace(self._key, "[key]") if len(self._key) > 3 else text

    def _open(self) -> aiohttp.ClientSession:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent",),
        )
        return self._session

    def _choose(self) -> _Address:
        if len(self._addresses) == 1:
            return self._addresses[0]
        now = time.monotonic()
        return min(self._addresses, key=lambda a: (a.sick_until > now, a.in_flight))

    async def send(self, body: bytes, *, plain: bool) -> Answer:
        """Post one request body. Raises Unreachable when no whole answer came."""
        address = self._choose()
        session = self._session or self._open()
        address.in_flight += 1
        try:
            async with session.post(
                address.plain if plain else address.chat, data=body, allow_redirects=False
            ) as response:
                data = await response.read()
                if len(data) > _MAX_REPLY_BYTES:
                    raise Unreachable(f"a reply of {len(data):,} bytes; at most {_MAX_REPLY_BYTES:,} are taken")
                wait = None if response.status == 200 else retry_after(response.headers)
                return Answer(response.status, wait, data)
        except TimeoutError:
            raise Unreachable(f"no answer in {self._timeout:g} s", timeout=True) from None
        except (aiohttp.ClientError, OSError) as error:
            address.sick_until = time.monotonic() + _COOL_DOWN
            raise Unreachable(self.redact(str(error) or type(error).__name__)) from None
        finally:
            address.in_flight -= 1

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
