#!/usr/bin/env python3
"""What most people write first: the openai package, a semaphore, one task for each row, all saved at
the end. Its own retries (two) are left as they are."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import openai

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.job import MODEL, SAMPLING, Job, read_job


async def main(job: Job) -> None:
    client = openai.AsyncOpenAI(base_url=job.base_url, api_key="none", timeout=job.timeout)
    places = asyncio.Semaphore(job.concurrency)

    async def ask(prompt: str) -> str | None:
        async with places:
            done = await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": prompt}], **SAMPLING
            )
            text: str | None = done.choices[0].message.content
            return text

    async def row(number: int, text: str) -> dict[str, Any]:
        evolved = await ask(job.evolve_prompt(number, text))
        answer, judge = await asyncio.gather(ask(evolved or ""), ask(job.judge_prompt(text, evolved or "")))
        return {"id": number, "evolved": evolved, "answer": answer, "judge": judge}

    results = await asyncio.gather(*(row(*seed) for seed in job.rows()), return_exceptions=True)
    await client.close()
    failed = [result for result in results if isinstance(result, BaseException)]
    if failed:
        print(f"{len(failed)} rows failed, the first with {failed[0]!r:.300}", file=sys.stderr)
    job.write(result for result in results if not isinstance(result, BaseException))


asyncio.run(main(read_job(__doc__)))
