"""Causal language models through transformers: for the log-probs of given text, which the embedded engine lacks.

A model is `smollm2` (the packaged 135M model), a folder that `save_pretrained` wrote, or ORG/NAME on the Hugging Face
hub. Weights come out of safetensors alone (other files are pickles, which can run code), and code that lies beside
them is never run. Float32 on a CPU, bfloat16 on a GPU.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evollab.llm.watching import say
from evollab.llm.weights import SMOLLM2_SHA256, cache_folder, file_digest, smollm2_source
from evollab.records import EvolError

BUILT_IN = "smollm2"
INSTALL = "pip install 'evollab[embed]'"
_NEEDED = ("torch", "transformers")
_EXPECTED = f"expected {BUILT_IN}, the folder of a model in the layout of transformers, or ORG/NAME on the hub"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_PARTING = "<|endoftext|>"
_SMALL = ("config.json", "tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True, slots=True)
class Causal:
    """A model ready to be asked. identity: names weights and precision, the same on every machine. longest:
    tokens that it takes at most, None where it doesn't say. start: the token that a text begins with."""

    identity: str
    model: Any
    tokenizer: Any
    device: str
    longest: int | None
    start: int

    def encode(self, text: str) -> list[int]:
        """The ids of a text and nothing else: no token is added, and none in the text is a control token."""
        safe = text.encode("utf-8", "replace").decode()  # half a surrogate pair is no text to the library
        ids: list[int] = self.tokenizer(safe, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids


def check(spec: str) -> None:
    """Raise EvolError where `spec` can't be a model, or the packages are missing; loads nothing."""
    if lacking := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise EvolError(f"a language model needs packages that are not installed: {', '.join(lacking)}", INSTALL)
    if spec == BUILT_IN:
        return
    folder = Path(spec).expanduser()
    if folder.is_dir():
        _check_folder(folder)
    elif folder.exists() or spec.startswith((".", "/", "~")) or not _HUB_ID.fullmatch(spec):
        found = "a file" if folder.exists() else "no such folder"
        raise EvolError(f"language model {spec[:100]!r}: {found}; {_EXPECTED}")


def open_causal(spec: str) -> Causal:
    """Load the model. Raises EvolError for what is none, with what was expected."""
    check(spec)
    # Threads that wait by spinning starve each other as soon as anything else uses a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import torch

    folder = Path(spec).expanduser()
    local = spec == BUILT_IN or folder.is_dir()
    place = str(smollm2_folder() if spec == BUILT_IN else folder) if local else spec
    gpu = torch.cuda.is_available()
    dtype = torch.bfloat16 if gpu else torch.float32
    with _explained(spec), _quiet():
        from transformers import AutoModelForCausalLM, AutoTokenizer

        settings: dict[str, Any] = {"trust_remote_code": False, "local_files_only": local}
        tokenizer: Any = AutoTokenizer.from_pretrained(place, **settings)
        load: Any = AutoModelForCausalLM.from_pretrained
        model, report = load(place, dtype=dtype, use_safetensors=True, output_loading_info=True, **settings)
    if report["missing_keys"]:
        some = ", ".join(sorted(report["missing_keys"])[:3])
        raise EvolError(f"language model {spec}: its weights are not whole (without {some})", _EXPECTED)
    config = model.config.get_text_config()
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        raise EvolError(f"language model {spec}: its tokenizer has more tokens than the model", _EXPECTED)
    start = _start(tokenizer)
    if start is None:
        raise EvolError(f"language model {spec}: its tokenizer has neither a BOS nor an EOS token")
    device = "cuda" if gpu else "cpu"
    name = _identity(spec, folder, str(getattr(model.config, "_commit_hash", None) or "unknown"))
    longest = getattr(config, "max_position_embeddings", None)
    return Causal(
        f"{name} in {str(dtype).removeprefix('torch.')}", model.eval().to(device), tokenizer, device,
        longest if isinstance(longest, int) else None, start,
    )  # fmt: skip


def _start(tokenizer: Any) -> int | None:
    """The token before a text: what parts documents in pre-training, else BOS, else EOS.

    Some chat models call the beginning of a turn their BOS. Before plain text it misleads them: with it SmolLM2 told
    answers of Alpaca from answers to other questions with an area under the ROC of 0.89, with <|endoftext|> of 0.97.
    """
    added = tokenizer.added_tokens_decoder.items()
    parting = [number for number, token in added if token.special and token.content == _PARTING]
    return next((one for one in (*parting, tokenizer.bos_token_id, tokenizer.eos_token_id) if one is not None), None)


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        inside = folder / "model"
        hint = f"did you mean {inside}?" if (inside / "config.json").is_file() else ""
        raise EvolError(f"{folder}: no config.json; {_EXPECTED}", hint)
    if not any(folder.glob("*.safetensors")):
        raise EvolError(f"{folder}: no .safetensors file; weights of other kinds are pickles, and not opened")


def _identity(spec: str, folder: Path, commit: str) -> str:
    if spec == BUILT_IN:
        return f"{BUILT_IN}@{SMOLLM2_SHA256[:16]}"
    if not folder.is_dir():
        return f"{spec}@{commit[:16]}"
    told = hashlib.sha256()
    for path in (*(folder / name for name in _SMALL), *sorted(folder.glob("*.safetensors"))):
        told.update(f"{path.name} {file_digest(path) if path.is_file() else None}\n".encode())
    name = folder.resolve().name.encode("utf-8", "replace").decode()
    return f"{name}@{told.hexdigest()[:16]}"


@contextlib.contextmanager
def _explained(spec: str) -> Iterator[None]:
    """The libraries' errors about a model, as one line for a person."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        first = " ".join(str(error).split())[:300]
        raise EvolError(f"language model {spec} could not be loaded: {first}", _EXPECTED) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars and notes of transformers."""
    from transformers.utils import logging as library

    logging: Any = library
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def smollm2_folder() -> Path:
    """The packaged model as a folder in the cache, made once: at 16 bits, as `local:smollm2` opens it. Raises EvolError
    where it is not installed, or the cache can't be written."""
    target = cache_folder() / f"smollm2-135m-instruct-{SMOLLM2_SHA256[:16]}-hf"
    if (target / "config.json").is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target.with_suffix(".lock"), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (target / "config.json").is_file():  # another process may have made it meanwhile
                _convert(target)
    except OSError as error:
        raise EvolError(
            f"cannot write to {target.parent}: {error.strerror or error}", "point XDG_CACHE_HOME at another folder"
        ) from None
    return target


def _convert(target: Path) -> None:
    source = smollm2_source(say)
    if importlib.util.find_spec("gguf") is None:
        raise EvolError(f"{BUILT_IN} needs the package gguf for its first start", INSTALL)
    say(f"preparing {BUILT_IN}: once, half a minute, 270 MB in {target.parent}")
    with _explained(BUILT_IN), _quiet():
        import torch
        from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

        tokenizer: Any = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        quantized = {"gguf_file": source.name, "quantization_config": GgufConfig(dequantize=True)}
        model: Any = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float16, **quantized)
    # Out of GGUF the tokenizer would not split digits, which its training did.
    level = ByteLevel(add_prefix_space=False)
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), level])
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    with _quiet():
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
    shutil.rmtree(target, ignore_errors=True)  # whatever lies there is no model
    os.replace(part, target)
