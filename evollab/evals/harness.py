"""Multiple choice through lm-eval: it tokenizes and asks, in a child process; what comes back is kept on disk.

    STORE/choices.jsonl      {"key", "value", "cut"}: the log-likelihood of an answer, by a hash of model and texts
    STORE/choices-asked.jsonl   what is still to be asked, while it is

The same call goes on where the last one stopped. lm-eval's own cache is not used: it is a file of pickles, and a run
folder holds nothing that runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import importlib.util
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from evollab.data.rows import excerpt
from evollab.evals.choices import ChoiceQuestion, Choices, choice_of, mark, prompts
from evollab.evals.trial import Answer, Marked, Question
from evollab.llm.lifeline import Child
from evollab.records import EvolError
from evollab.runs import whole_file

JOURNAL = "choices.jsonl"
ASKED = "choices-asked.jsonl"
_CHILD = "evollab.evals.harness_child"
_PIP = "pip install 'evollab[evals]'"
_MOST = 4096
"""Tokens of a prompt where nothing says how many the model takes."""
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A model whose server scores prompts.

    url: its address, ending in /v1. model: its name there. key: what requests bring, "" for none. tokenizer: folder or
    hub id. identity: names the weights, part of every key of the journal. concurrency: requests side by side.
    length: most tokens of a prompt and its answer; 0: what the tokenizer's folder says, at most 4,096.
    """

    url: str
    model: str
    tokenizer: str
    identity: str
    key: str = ""
    concurrency: int = 8
    length: int = 0
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    """Filled in: what the result should tell."""


async def run_choices(
    choices: Choices, questions: Sequence[Question], examples: Sequence[ChoiceQuestion], shots: int, at: Scored,
    store: Path, progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Marked]:  # fmt: skip
    """Answers (the chosen one, as text) and marks of all questions, in their order.

    examples: see `choices.read_examples`. store: the folder of the journal. progress: hears how many questions of how
    many that had to be asked are done. Raises EvolError without lm-eval, for a server that can't score prompts or
    fails, and where all answers to every question come out alike (llama.cpp gives no log-probs of prompts).
    """
    version = _lm_eval()
    pairs = prompts(choices, questions, examples, shots)
    length = at.length or _length(at.tokenizer)
    bos = await asyncio.to_thread(_bos, at.tokenizer)
    keys = [[_key(at.identity, length, bos, pair) for pair in own] for own in pairs]
    journal = store / JOURNAL
    known = read_journal(journal)
    left = [(own, names) for own, names in zip(pairs, keys, strict=True) if any(name not in known for name in names)]
    if left:
        await probe(at)
        try:
            _write_asked(store / ASKED, left, known)
            await _ask(at, length, bos, store, len(left), progress)
        finally:
            (store / ASKED).unlink(missing_ok=True)
        known = read_journal(journal)
    values = [[_value(known, name, at) for name in names] for names in keys]
    if all(len(set(own)) == 1 for own in values):
        raise _alike(at)
    cut = sum(any(known[name][1] for name in names) for names in keys)
    at.facts.update({"lm-eval": version, "shots": shots, "begins with BOS": bos, "longest": length})
    if cut:
        at.facts["notes"] = [f"{cut:,} prompts are longer than {length:,} tokens and were cut at their beginning"]
    return [_marked(question, choices, own) for question, own in zip(questions, values, strict=True)]


def _marked(question: Question, choices: Choices, values: Sequence[float]) -> Marked:
    found = mark(choice_of(question), values, choices.metric)
    return Answer(question, (found.extracted,)), found


def _lm_eval() -> str:
    """The version of lm-eval. Raises EvolError without it."""
    if importlib.util.find_spec("lm_eval") is None or importlib.util.find_spec("transformers") is None:
        raise EvolError("multiple choice needs lm-eval and transformers, which are not installed", _PIP)
    return importlib.metadata.version("lm-eval")


def _length(tokenizer: str) -> int:
    """The most tokens, by the config.json in the tokenizer's folder."""
    try:
        told = orjson.loads((Path(tokenizer) / "config.json").read_bytes())
        found = told.get("max_position_embeddings", told.get("n_positions"))
    except (OSError, orjson.JSONDecodeError, AttributeError):
        return _MOST
    return min(found, _MOST) if isinstance(found, int) and found > 1 else _MOST


def _bos(tokenizer: str) -> bool:
    """Whether this tokenizer begins a text with a token for that, as a model was trained to see it. lm-eval leaves it
    out at servers, and puts it in where it runs the model itself. Raises EvolError where it can't be opened."""
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(
            tokenizer, local_files_only=Path(tokenizer).is_dir(), trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise EvolError(
            f"the tokenizer {excerpt(tokenizer, 80)} can't be opened: {excerpt(str(error), 200)}",
            "--tokenizer PATH: the model's folder, or its id on the hub",
        ) from None
    ids = found("a").input_ids
    return found.bos_token_id is not None and ids[:1] == [found.bos_token_id]


def _key(identity: str, length: int, bos: bool, pair: Pair) -> str:
    told = orjson.dumps([identity, length, bos, *pair])
    return hashlib.blake2b(told, digest_size=16).hexdigest()


def read_journal(path: Path) -> dict[str, tuple[float, bool]]:
    """What is known, by key: log-likelihood, and whether its prompt was cut. A torn last line is cut off the file.

    Raises EvolError for a line in it that is none of ours.
    """
    known: dict[str, tuple[float, bool]] = {}
    if not path.is_file():
        return known
    whole = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            try:
                row = orjson.loads(line)
                known[str(row["key"])] = float(row["value"]), bool(row["cut"])
            except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
                raise EvolError(f"{path}:{number}: not a row of this journal", "take the file away") from None
    if whole < path.stat().st_size:
        os.truncate(path, whole)
    return known


def _write_asked(path: Path, left: Sequence[tuple[Sequence[Pair], Sequence[str]]], known: Mapping[str, Any]) -> None:
    """A row for each context, so that it stands there once."""
    with whole_file(path) as file:
        for own, names in left:
            rows: dict[str, list[list[str]]] = {}
            for (context, answer), name in zip(own, names, strict=True):
                if name not in known:
                    rows.setdefault(context, []).append([name, answer])
            for context, answers in rows.items():
                file.write(orjson.dumps({"context": context, "answers": answers}) + b"\n")


async def _ask(
    at: Scored, length: int, bos: bool, store: Path, total: int, progress: Callable[[int, int], None]
) -> None:
    local = Path(at.tokenizer).is_dir()
    environment = {
        "OPENAI_API_KEY": at.key or "none", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false", **({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"} if local else {}),
    }  # fmt: skip
    config = {
        "url": f"{at.url}/completions", "model": at.model, "tokenizer": at.tokenizer, "length": length, "bos": bos,
        "concurrency": at.concurrency, "asked": str(store / ASKED), "journal": str(store / JOURNAL),
    }  # fmt: skip
    child = Child(_CHILD, config, environment)
    try:
        while (report := await asyncio.to_thread(child.hear)) is not None:
            if report.get("alike"):
                raise _alike(at)
            if report.get("end"):
                return
            progress(int(report["done"]), total)
        raise EvolError(
            f"lm-eval ended ({child.stop()}) before all was asked:\n{child.words(8)}",
            "the same command goes on where this stopped",
        )
    finally:
        child.stop()


def _value(known: Mapping[str, tuple[float, bool]], name: str, at: Scored) -> float:
    value = known[name][0] if name in known else None
    if value is None or math.isnan(value):
        raise EvolError(
            f"{at.url} gave no log-likelihood for an answer", "does its server score prompts? try evol serve"
        )
    return value


def _alike(at: Scored) -> EvolError:
    return EvolError(
        f"the server at {at.url} scores all answers alike: it gives no log-probs of the prompt (llama.cpp's does not), "
        "and every figure would be chance",
        "serve the checkpoint's folder: evol serve FOLDER --engine transformers, or vLLM",
    )


async def probe(at: Scored) -> None:
    """Ask the server once to score a prompt. Raises EvolError where it can't, before anything is paid for."""
    body = {
        "model": at.model, "prompt": "The sky is blue", "max_tokens": 1, "temperature": 0, "logprobs": 1, "echo": True
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {at.key}"} if at.key else {}
    cannot = "multiple choice needs /v1/completions with echo and logprobs: evol serve FOLDER, or vLLM"
    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=300), cookie_jar=aiohttp.DummyCookieJar()
            ) as http,
            http.post(f"{at.url}/completions", json=body, headers=headers, allow_redirects=False) as response,
        ):
            raw = await response.content.read(1 << 20)
            if response.status != 200:
                said = excerpt(raw.decode("utf-8", "replace"), 200)
                raise EvolError(f"{at.url}/completions: HTTP {response.status}: {said}", cannot)
        told = orjson.loads(raw)["choices"][0]["logprobs"]["token_logprobs"]
        scored = [value for value in told[1:] if isinstance(value, (int, float))]
    except (aiohttp.ClientError, TimeoutError) as error:
        raise EvolError(f"{at.url} can't be reached: {error or 'no answer'}", "is the server running?") from None
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        scored = []
    if len(scored) < 2:  # one is the token that it generates
        raise EvolError(f"the server at {at.url} gives no log-probs of a prompt", cannot)
