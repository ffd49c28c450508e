#!/usr/bin/env python3
"""The floor: about the least that a Python client can do for a call and still be right.

aiohttp, uvloop and orjson; seeds are streamed; every reply is appended to a journal before it is
used, with fdatasync in a thread five times a second; a start after a crash asks for nothing that the
journal holds. Faults are asked again: a 429 makes its own request wait as told, and everybody when 8
of the last 32 answers were 429. No checks, no lineage, no accounts, no limits of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import aiohttp
import orjson
import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.job import MODEL, SAMPLING, Job, read_job

_TRIES = 8


class Journal:
    """Lines of {"k": key, "t": text}; in memory only where each one stands."""

    def __init__(self, path: Path) -> None:
        self.at: dict[bytes, int] = {}
        self.size = 0
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        with open(path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self.at[bytes.fromhex(line[6:38].decode())] = self.size
                self.size += len(line)
        os.ftruncate(self.descriptor, self.size)

    def get(self, key: bytes) -> str | None:
        if key not in self.at:
            return None
        line = os.pread(self.descriptor, 1 << 20, self.at[key]).partition(b"\n")[0]
        return str(orjson.loads(line)["t"])

    def put(self, key: bytes, text: str) -> None:
        line = b'{"k":"%b","t":%b}\n' % (key.hex().encode(), orjson.dumps(text))
        if os.write(self.descriptor, line) != len(line):
            raise OSError("the disk is full")
        self.at[key] = self.size
        self.size += len(line)

    async def sync(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            await asyncio.to_thread(os.fdatasync, self.descriptor)


class Client:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.journal = Journal(job.out / "journal.jsonl")
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=job.timeout),
            headers={"Authorization": "Bearer none", "Content-Type": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self.url = f"{job.base_url}/chat/completions"
        self.recent = deque([False] * 32, maxlen=32)
        self.closed_until = 0.0
        self.stopping = False

    async def ask(self, prompt: str) -> str:
        body = orjson.dumps({"model": MODEL, "messages": [{"role": "user", "content": prompt}], **SAMPLING})
        key = hashlib.blake2b(body, digest_size=16).digest()
        if (kept := self.journal.get(key)) is not None:
            return kept
        tries = 0
        while tries < _TRIES:
            while (wait := self.closed_until - time.monotonic()) > 0:  # noqa: ASYNC110 - it can move on
                await asyncio.sleep(wait)
            if self.stopping:
                raise asyncio.CancelledError
            pause = None
            try:
                async with self.session.post(self.url, data=body) as response:
                    data = await response.read()
                self.recent.append(response.status == 429)
                if response.status == 200:
                    text = orjson.loads(data)["choices"][0]["message"]["content"]
                    if text is not None:
                        self.journal.put(key, text)
                        return str(text)
                elif response.status == 429:
                    pause = float(response.headers.get("Retry-After", 1))
                    tries -= 1
                    if sum(self.recent) >= 8:
                        self.closed_until = max(self.closed_until, time.monotonic() + pause)
                elif response.status < 500:
                    raise SystemExit(f"HTTP {response.status}: {data[:200]!r}")
            except (TimeoutError, aiohttp.ClientError, ValueError, LookupError):
                pass
            tries += 1
            await asyncio.sleep(pause or min(30.0, 0.25 * 2**tries) * random.uniform(0.5, 1.5))
        raise SystemExit(f"gave up after {_TRIES} tries")

    async def work(self, rows: Iterator[tuple[int, str]], out: BinaryIO) -> None:
        """One row after the other; the rows are shared with all other workers."""
        for number, text in rows:
            evolved = await self.ask(self.job.evolve_prompt(number, text))
            answer = await self.ask(evolved)
            judge = await self.ask(self.job.judge_prompt(text, evolved))
            out.write(orjson.dumps({"id": number, "evolved": evolved, "answer": answer, "judge": judge}) + b"\n")


async def main(job: Job) -> int:
    client = Client(job)

    def stop() -> None:
        client.stopping = True

    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop)
    syncing = asyncio.create_task(client.journal.sync())
    rows, part = job.rows(), job.out / "results.part"
    with open(part, "wb") as out:  # noqa: ASYNC230
        workers = (client.work(rows, out) for _ in range(job.concurrency))
        done = await asyncio.gather(*workers, return_exceptions=True)
    syncing.cancel()
    await client.session.close()
    os.fdatasync(client.journal.descriptor)
    if client.stopping:
        return 130
    for result in done:
        if isinstance(result, BaseException):
            raise result
    os.replace(part, job.out / "results.jsonl")
    return 0


if __name__ == "__main__":
    raise SystemExit(uvloop.run(main(read_job(__doc__))))
