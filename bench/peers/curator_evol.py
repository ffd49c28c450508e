#!/usr/bin/env python3
"""bespokelabs-curator: one LLM class for each call, each over the whole data set of the one before."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from bench.job import MODEL, SAMPLING, read_job

job = read_job(__doc__)
os.environ.update(
    TELEMETRY_ENABLED="false", HF_HUB_OFFLINE="1", HF_HOME=str(job.out / "hf"), CURATOR_DISABLE_RICH_DISPLAY="1",
    CURATOR_CACHE_DIR=str(job.out / "cache"), LITELLM_LOCAL_MODEL_COST_MAP="True", OPENAI_API_KEY="none",
)  # fmt: skip
litellm = importlib.util.find_spec("litellm")  # it ships the token table that would be fetched otherwise
if litellm is not None and litellm.origin:
    tables = Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers"
    os.environ["TIKTOKEN_CACHE_DIR"] = str(tables)

from bespokelabs import curator
from datasets import Dataset


class Evolver(curator.LLM):
    def prompt(self, row: dict[str, Any]) -> str:
        return job.evolve_prompt(row["id"], row["text"])

    def parse(self, row: dict[str, Any], reply: str) -> dict[str, Any]:
        return {**row, "evolved": reply}


class Answerer(curator.LLM):
    def prompt(self, row: dict[str, Any]) -> str:
        return str(row["evolved"])

    def parse(self, row: dict[str, Any], reply: str) -> dict[str, Any]:
        return {**row, "answer": reply}


class Judge(curator.LLM):
    def prompt(self, row: dict[str, Any]) -> str:
        return job.judge_prompt(row["text"], row["evolved"])

    def parse(self, row: dict[str, Any], reply: str) -> dict[str, Any]:
        return {**row, "judge": reply}


def main() -> None:
    limits = {
        "base_url": job.base_url, "api_key": "none", "max_concurrent_requests": job.concurrency,
        "max_requests_per_minute": 10_000_000, "max_tokens_per_minute": 10**12,
        "request_timeout": int(job.timeout), "require_all_responses": False,
    }  # fmt: skip
    data = Dataset.from_list([{"id": number, "text": text} for number, text in job.rows()])
    for stage in (Evolver, Answerer, Judge):
        model = stage(model_name=MODEL, backend="openai", backend_params=limits, generation_params=SAMPLING)
        data = model(data).dataset
        data = data.filter(lambda row: all(value is not None for value in row.values()))
    job.write({key: row[key] for key in ("id", "evolved", "answer", "judge")} for row in data)


if __name__ == "__main__":
    main()
