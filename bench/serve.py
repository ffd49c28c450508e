"""Serving: tokens a second of `evol serve` for one client and for several at once, beside plain transformers.

    python bench/serve.py smollm2                              both engines, 1, 4 and 8 clients
    python bench/serve.py runs/x/model --engine transformers --clients 1 16 --tokens 128
    python bench/serve.py runs/x/model --beside                also transformers' own ways, on the same prompts

tokens/s    tokens of all answers, through the time from the first request to the end of the last answer
first       seconds to an answer's first token, the median over the clients
core-s      tokens for each second of CPU that the server's process and its children used
each        tokens of an answer: all are cut at --tokens

Every client asks another question, at temperature 0, streaming; a first round warms up. `generate` answers one after
the other, `generate_batch` is transformers' continuous batching. All run with OMP_WAIT_POLICY=PASSIVE, as our engines
set it themselves: with spinning threads they are several times slower as soon as anything else uses a core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import orjson

ROOT = Path(__file__).parent.parent
TOPICS = (
    "the sea",
    "a fox",
    "the moon",
    "bread",
    "trains",
    "music",
    "winter",
    "glass",
    "maps",
    "bees",
    "chess",
    "salt",
)
SERVE = (
    "import json, sys; from evollab.serve.options import ServeOptions; from evollab.serve.server import serve; "
    "sys.exit(serve(sys.argv[1], ServeOptions(**json.loads(sys.argv[2]))))"
)
BESIDE = """
import json, sys, time
from evollab.serve.transformers_engine import load, prepare
prepare()
import torch
from transformers import ContinuousBatchingConfig, GenerationConfig
from evollab.chat import Renderer
from evollab.records import Message
from evollab.train.checkpoint import load_tokenizer
model_name, questions, tokens = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
tokenizer, model = load_tokenizer(model_name), load(model_name, "auto")
form = Renderer(tokenizer, "model" if tokenizer.chat_template else "vicuna")
prompts = [form.render([Message("user", one)], generation_prompt=True).ids for one in questions]
settings = GenerationConfig(do_sample=False, max_new_tokens=tokens, eos_token_id=tokenizer.eos_token_id, pad_token_id=0)

def alone():
    made = 0
    for ids in prompts:
        given = torch.tensor([ids], device=model.device)
        made += model.generate(given, attention_mask=torch.ones_like(given), generation_config=settings).shape[1] - len(ids)
    return made

def together():
    sizes = ContinuousBatchingConfig(num_blocks=64, page_size=128, max_batch_tokens=1024)
    done = model.generate_batch(prompts, generation_config=settings, continuous_batching_config=sizes)
    return sum(len(one.generated_tokens) for one in done.values())

for name, work in (("generate", alone), ("generate_batch", together)):
    with torch.no_grad():
        work()
        cpu, wall = time.process_time(), time.perf_counter()
        made = work()
    print(json.dumps([name, made / (time.perf_counter() - wall), made / (time.process_time() - cpu)]), flush=True)
"""


def questions(count: int) -> list[str]:
    return [f"Tell a long story about {TOPICS[n % len(TOPICS)]}, number {n + 1}." for n in range(count)]


def cpu(pid: int) -> float:
    """Seconds of CPU that a process, its children and theirs used so far."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = rest.split()
        if int(name.split()[0]) == pid:
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        elif int(fields[1]) == pid:
            total += cpu(int(path.parent.name))
    return total


async def ask(session: aiohttp.ClientSession, url: str, question: str, tokens: int) -> tuple[float, int]:
    """Seconds to the first token, and the tokens of the answer."""
    start, first, made = time.perf_counter(), 0.0, 0
    body = {
        "messages": [{"role": "user", "content": question}], "max_tokens": tokens, "temperature": 0, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    async with session.post(f"{url}/chat/completions", json=body) as response:
        assert response.status == 200, await response.text()
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            part = orjson.loads(line[6:])
            if not first and part["choices"] and part["choices"][0]["delta"].get("content"):
                first = time.perf_counter() - start
            made = (part.get("usage") or {}).get("completion_tokens", made)
    return first, made


async def measure(url: str, pid: int, clients: int, tokens: int) -> tuple[float, float, float, float]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        used, start = cpu(pid), time.perf_counter()
        told = await asyncio.gather(*[ask(session, url, one, tokens) for one in questions(clients)])
        wall, used = time.perf_counter() - start, cpu(pid) - used
    made = sum(count for _, count in told)
    return made / wall, statistics.median(first for first, _ in told), made / used, made / clients


def serve(model: str, engine: str, clients: list[int], tokens: int) -> None:
    options = {"port": 0, "engine": engine, "context": 1024, "max_batch": min(16, max(clients))}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, model, json.dumps(options)], stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stderr is not None
    try:
        found = None
        while found is None:
            line = process.stderr.readline()
            assert line, "the server did not start"
            found = re.search(r"at (http://\S+/v1)", line)
        asyncio.run(measure(found[1], process.pid, 1, 8))
        for count in clients:
            speed, first, core, each = asyncio.run(measure(found[1], process.pid, count, tokens))
            print(
                f"{'evol serve, ' + engine:28} {count:7} {speed:10.1f} {first:8.2f} {core:8.1f} {each:6.0f}", flush=True
            )
    finally:
        process.terminate()
        process.wait()


def beside(model: str, clients: list[int], tokens: int) -> None:
    for count in clients:
        words = [sys.executable, "-c", BESIDE, model, json.dumps(questions(count)), str(tokens)]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
        for line in done.stdout.splitlines():
            if line.startswith("["):
                name, speed, core = json.loads(line)
                print(f"{name:28} {count:7} {speed:10.1f} {'-':>8} {core:8.1f} {'-':>6}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a checkpoint's folder, a .gguf file, or smollm2")
    parser.add_argument("--engine", nargs="*", choices=("transformers", "llamacpp"), help="default: what can open it")
    parser.add_argument("--clients", nargs="*", type=int, default=[1, 4, 8])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--beside", action="store_true", help="transformers' own generate and generate_batch, too")
    arguments = parser.parse_args()
    gguf = arguments.model.lower().endswith(".gguf")
    print(f"{'':28} {'clients':>7} {'tokens/s':>10} {'first':>8} {'core-s':>8} {'each':>6}")
    for engine in arguments.engine or (["llamacpp"] if gguf else ["transformers", "llamacpp"]):
        serve(arguments.model, engine, arguments.clients, arguments.tokens)
    if arguments.beside and not gguf:
        beside(arguments.model, arguments.clients, arguments.tokens)


if __name__ == "__main__":
    main()
