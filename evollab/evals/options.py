"""What `evol eval` is told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from evollab.evals.sources import FOLDER
from evollab.llm.option import option
from evollab.llm.session import ModelOptions
from evollab.records import EvolError

COMPAT = ("", "wizardlm")
ENGINES = ("auto", "llamacpp", "transformers")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions(ModelOptions):
    """How models are measured. The fields of `ModelOptions` come on top."""

    benchmarks: str | None = option(
        f"folder of local copies, as gsm8k.jsonl and so on; default: ${FOLDER}; what is in neither comes from the hub",
        None, metavar="DIR",
    )  # fmt: skip
    data: tuple[str, ...] = option("a task's items from this file, repeatable", (), metavar="TASK=FILE")
    limit: int | None = option(
        "N questions of each task: always the same ones, in the shares of the task's groups", None, metavar="N"
    )
    prompt: tuple[str, ...] = option(
        "prompt preset, for all tasks that have it or for one; default: each task's first", (), metavar="[TASK=]NAME"
    )
    system: str | None = option("system prompt of chat messages; default: none", None, metavar="TEXT")
    samples: int = option("answers to each question; more than one for pass@k", 1, metavar="N")
    temperature: float | None = option("of the answers; default: the task's own, mostly 0", None, metavar="T")
    top_p: float | None = option("of the answers; default: the task's own", None, metavar="P")
    reply_tokens: int | None = option("tokens an answer may have; default: the task's own", None, metavar="N")
    name: str = option("what the model is called in results; at an address: the model's name there", "", metavar="NAME")
    model_key_env: str = option("environment variable with the key of a MODEL that is an address", "", metavar="NAME")
    engine: str = option(
        "what runs a checkpoint of this machine: llamacpp, or evol serve on transformers; auto: the latter where there "
        "is a GPU", "auto", choices=ENGINES,
    )  # fmt: skip
    judge: str = option("model that judges, as PROVIDER:NAME, for tasks that need one", "", metavar="MODEL")
    judge_tokens: int = option("tokens that one reply of the judge may have", 2048, metavar="N")
    calibrate: tuple[str, ...] = option(
        "file of pairs with human labels that the judge is tried on first, repeatable", (), metavar="FILE"
    )
    reference: tuple[str, ...] = option(
        "answers of a reference model, for tasks that compare with one", (), metavar="[TASK=]FILE"
    )
    outputs: str | None = option("grade the answers in this file; no model is asked for them", None, metavar="FILE")
    compat: str = option("also grade as this release's scripts do, faults and all", "", choices=COMPAT)
    shots: int | None = option("examples before a question of multiple choice; default: the task's", None, metavar="N")
    tokenizer: str | None = option(
        "tokenizer of a MODEL that is an address, for multiple choice: a folder or hub id", None, metavar="PATH"
    )
    unsafe_sandbox: bool = option("run programs that models wrote even where they can't be isolated", False)
    workers: int = option("processes that grade; 0: one for each core", 0, metavar="N")
    seed: int = option("number that draws depend on", 0, metavar="N")
    send_seed: bool = option(
        "send a seed with each request that samples; the flag turns it off, for servers that refuse the field",
        True, flag="--no-seed",
    )  # fmt: skip
    extra_body: tuple[str, ...] = option(
        "NAME=JSON to set in each request body, repeatable; null takes a field out", (), metavar="NAME=JSON"
    )
    store: str | None = option(
        "folder that keeps the calls; evaluations that share it pay once for what they share; default: OUT",
        None, metavar="DIR",
    )  # fmt: skip
    estimate: bool = option("show a prompt of each task and what it would cost, and ask nothing", False)
    json: bool = option("print results as JSON, one object a task, instead of a table", False)

    def __post_init__(self) -> None:
        ModelOptions.__post_init__(self)
        for name in ("limit", "samples", "reply_tokens", "judge_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise EvolError(f"--{name.replace('_', '-')} {value}: expected 1 or more")
        for name in ("shots", "workers"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise EvolError(f"--{name} {value}: expected 0 or more")
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise EvolError(f"--temperature {self.temperature:g}: expected 0 to 2")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise EvolError(f"--top-p {self.top_p:g}: expected more than 0, at most 1")
        if self.engine not in ENGINES:
            raise EvolError(f"--engine {self.engine}: expected {', '.join(ENGINES)}")
        if self.compat not in COMPAT:
            raise EvolError(f"--compat {self.compat}: expected {' or '.join(name for name in COMPAT if name)}")
        if self.samples > 1 and self.temperature == 0 and self.outputs is None:
            raise EvolError(
                f"--samples {self.samples} at --temperature 0: all samples would be alike",
                "--temperature 0.2 --top-p 0.95",
            )


def for_task(given: Iterable[str], task: str) -> str | None:
    """What [TASK=]VALUE options say for one task: its own value, else the one for all, else None."""
    whole: dict[str, str] = {}
    for text in given:
        name, mark, value = text.partition("=")
        if mark and name.replace("_", "").isalnum():
            whole[name] = value
        else:
            whole[""] = text
    return whole.get(task, whole.get(""))


def decoding_of(options: EvalOptions) -> dict[str, Any]:
    """What of the decoding the options fix."""
    told = {"temperature": options.temperature, "top_p": options.top_p, "reply_tokens": options.reply_tokens}
    return {name: value for name, value in told.items() if value is not None}
