#!/usr/bin/env python3
"""distilabel: its EvolInstruct step with answers, then a text generation step as the judge. EvolInstruct
brings evolving prompts of its own, so those are not the same as the others'."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from bench.job import MODEL, SAMPLING, read_job

job = read_job(__doc__)
os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=str(job.out / "hf"))

from distilabel.models.llms import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import EvolInstruct, TextGeneration


def model() -> OpenAILLM:
    generation = {"max_new_tokens": SAMPLING["max_tokens"], "temperature": 1.0, "top_p": SAMPLING["top_p"]}
    return OpenAILLM(
        model=MODEL, base_url=job.base_url, api_key="none", timeout=int(job.timeout), generation_kwargs=generation
    )


def main() -> None:
    rows = [{"id": number, "instruction": text} for number, text in job.rows()]
    size = job.concurrency  # a step asks for one batch at a time and waits for all of it
    judge = job.judge.replace("{{first}}", "{{ instruction }}").replace("{{second}}", "{{ evolved_instruction }}")
    with Pipeline(name="bench", cache_dir=str(job.out / "cache")) as pipeline:
        load = LoadDataFromDicts(name="load", data=rows, batch_size=size)
        evolve = EvolInstruct(
            name="evolve", llm=model(), num_evolutions=1, generate_answers=True, input_batch_size=size
        )
        compare = TextGeneration(
            name="judge", llm=model(), input_batch_size=size, columns=["instruction", "evolved_instruction"],
            template=judge, output_mappings={"generation": "judge"},
        )  # fmt: skip
        _ = load >> evolve >> compare
    made = pipeline.run(use_cache=False)["default"]["train"]
    job.write(
        {"id": r["id"], "evolved": r["evolved_instruction"], "answer": r["answer"], "judge": r["judge"]} for r in made
    )


if __name__ == "__main__":
    main()
