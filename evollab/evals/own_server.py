"""`evol serve` for a checkpoint, as a child process: multiple choice needs a server that scores prompts.

The verb is started by its name: `serve` stands on a floor above this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import runpy
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp

from evollab.llm.lifeline import Child
from evollab.records import EvolError

_TOKEN = "EVOL_SERVE_TOKEN"  # noqa: S105 - the name of the variable
_PATIENCE = 300.0
"""Seconds until a server must be there: large weights take their time."""


@contextlib.asynccontextmanager
async def served(checkpoint: Path) -> AsyncIterator[tuple[str, str]]:
    """The address (ending in /v1) and the token of a server for `checkpoint` on a free port of loopback, which ends
    with the block, and with us. Raises EvolError with what it said when it doesn't come up."""
    token = secrets.token_urlsafe(24)
    port = _free_port()
    child = Child(__name__, {"checkpoint": str(checkpoint), "port": port}, {_TOKEN: token})
    try:
        url = f"http://127.0.0.1:{port}"
        await _up(child, url, checkpoint)
        yield f"{url}/v1", token
    finally:
        child.stop()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def _up(child: Child, url: str, checkpoint: Path) -> None:
    until = time.monotonic() + _PATIENCE
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        while time.monotonic() < until:
            if ended := child.ended():
                raise EvolError(f"evol serve {checkpoint} ended ({ended}):\n{child.words()}", "does it start by hand?")
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with http.get(f"{url}/health") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.1)
    raise EvolError(f"evol serve {checkpoint} did not come up in {_PATIENCE:.0f} s:\n{child.words()}")


def main(config: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> None:
    """The child's side."""
    sys.argv = [
        "evol", "serve", config["checkpoint"], "--port", str(config["port"]), "--token-env", _TOKEN,
        "--engine", "transformers", "--name", "model",
    ]  # fmt: skip
    runpy.run_module("evollab.cli", run_name="__main__")
