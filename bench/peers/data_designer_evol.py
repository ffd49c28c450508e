#!/usr/bin/env python3
"""NeMo data-designer: three text columns of a model over a seed file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from bench.job import MODEL, SAMPLING, read_job

job = read_job(__doc__)
os.environ.update(NEMO_TELEMETRY_ENABLED="false", DATA_DESIGNER_HOME=str(job.out / "home"), OPENAI_API_KEY="none")

import data_designer.config as dd
import pandas as pd
from data_designer.interface import DataDesigner


def main() -> None:
    seeds = job.out / "seeds.parquet"
    rows = [{"id": n, "text": text, "evolve": job.evolve_prompt(n, text)} for n, text in job.rows()]
    pd.DataFrame(rows).to_parquet(seeds)
    provider = dd.ModelProvider(name="bench", endpoint=job.base_url, provider_type="openai", api_key="none")
    sampling = dd.ChatCompletionInferenceParams(
        **SAMPLING, timeout=int(job.timeout), max_parallel_requests=job.concurrency
    )
    model = dd.ModelConfig(
        alias="model", model=MODEL, provider="bench", skip_health_check=True, inference_parameters=sampling
    )
    judge = job.judge.replace("{{first}}", "{{ text }}").replace("{{second}}", "{{ evolved }}")
    config = dd.DataDesignerConfigBuilder(model_configs=[model])
    config.with_seed_dataset(dd.LocalFileSeedSource(path=str(seeds)))
    for name, prompt in (("evolved", "{{ evolve }}"), ("answer", "{{ evolved }}"), ("judge", judge)):
        config.add_column(dd.LLMTextColumnConfig(name=name, model_alias="model", prompt=prompt))
    designer = DataDesigner(artifact_path=str(job.out / "artifacts"), model_providers=[provider])
    designer.set_run_config(dd.RunConfig(otel_metrics_port=None))
    made = designer.create(config, num_records=len(rows), dataset_name="bench").load_dataset()
    job.write(made[["id", "evolved", "answer", "judge"]].to_dict("records"))


if __name__ == "__main__":
    main()
