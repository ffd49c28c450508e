"""`--engine vllm`: the command that serves the same model by vLLM, printed and then run in our place."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from evollab.llm.watching import say
from evollab.llm.weights import cache_folder
from evollab.records import EvolError, digest
from evollab.serve.extra import require
from evollab.serve.options import ServeOptions

_DTYPES = {"auto": "auto", "bf16": "bfloat16", "fp32": "float32"}


def command(model: str, options: ServeOptions, template: Path | None) -> list[str]:
    """The words of the command. The token is not among them: vLLM reads it from VLLM_API_KEY.

    Sampling starts from OpenAI's defaults, not from what a checkpoint suggests, as with our own engine.
    """
    words = [
        "vllm", "serve", model, "--host", options.host, "--port", str(options.port),
        "--dtype", _DTYPES[options.dtype], "--generation-config", "vllm",
    ]  # fmt: skip
    if options.name:
        words += ["--served-model-name", options.name]
    if options.context:
        words += ["--max-model-len", str(options.context)]
    if options.max_batch:
        words += ["--max-num-seqs", str(options.max_batch)]
    if template is not None:
        words += ["--chat-template", str(template)]
    return words


def run(model: str, options: ServeOptions, token: str) -> None:
    """Become vLLM. Raises EvolError where it is not installed, and for options that it has no word for."""
    if options.max_tokens:
        raise EvolError("--max-tokens: vLLM has no such limit", "leave it out with --engine vllm")
    require("vllm")
    program = shutil.which("vllm")
    if program is None:
        raise EvolError("the program vllm is not on the PATH", "activate the environment that it is installed in")
    words = command(model, options, _template(model, options.format))
    say(shlex.join(words))
    environment = {**os.environ, **({"VLLM_API_KEY": token} if token else {})}
    os.execve(program, words, environment)  # noqa: S606 no shell is wanted


def _template(model: str, format: str) -> Path | None:
    """A format's chat template in a file of the cache; None where the tokenizer's own is wanted."""
    from evollab.chat import template
    from evollab.train.checkpoint import load_tokenizer

    if format == "model":
        return None
    tokenizer = load_tokenizer(model)
    if format == "auto" and tokenizer.chat_template:
        return None
    form = "vicuna" if format == "auto" else format
    text = template(tokenizer, form)
    path = cache_folder() / "templates" / f"{form}-{digest(text)}.jinja"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path
