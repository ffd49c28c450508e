"""The engine's own process: llama.cpp behind HTTP on 127.0.0.1, by xllamacpp. Started by `local`."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any


def main(config: dict[str, Any], report: Callable[[Mapping[str, Any]], None]) -> None:
    """Serve until killed. `config`: model (path), name, slots, context (tokens a slot), threads,
    prompt_cache (MiB), template (empty: the file's own), token. Reports {"url": ...} once requests can be answered."""
    xllamacpp: Any = importlib.import_module("xllamacpp")  # native code without types
    params = xllamacpp.CommonParams()
    params.model.path = config["model"]
    params.model_alias = {config["name"]}  # else replies carry the path
    params.n_parallel = config["slots"]
    params.n_ctx = config["slots"] * config["context"]  # the engine divides it among its slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config["threads"]
    if config["template"]:
        params.use_jinja = True
        params.chat_template = config["template"]
    params.cache_ram_mib = config["prompt_cache"]
    params.n_threads_http = config["slots"] + 4  # one for each request in flight, some for checks
    params.verbosity = 2  # errors and warnings; the next level writes six lines a request
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # the kernel picks a free one and nobody can take it in between
    params.api_keys = [config["token"]]
    params.cors_origins = ""  # no web page may read an answer
    params.ui = params.endpoint_slots = params.endpoint_props = params.endpoint_metrics = False
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:  # the log holds the reason, in llama.cpp's words
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(1)
    report({"url": server.listening_address})
    while True:
        signal.pause()
