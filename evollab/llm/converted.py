"""`local:FOLDER`: a checkpoint of transformers, made into a GGUF file once and kept by what is in it."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import importlib.util
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from evollab.llm.lifeline import Child
from evollab.llm.weights import Weights, alone, cache_folder, file_digest
from evollab.records import EvolError

_CONVERTER = "evollab.llm.hf_gguf"
_VERSION = 1
"""Of the conversion: another one makes its files anew."""
_KNOWN = ("llama", "mistral")
_NEEDS = ("gguf", "numpy", "tokenizers")
_SMALL_FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
)  # fmt: skip
_MARKS = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
_MIB = 1 << 20


async def converted(folder: Path, say: Callable[[str], None]) -> Weights:
    """The weights of a checkpoint's folder as a file that the engine opens. `say` hears of work that takes
    seconds. Raises EvolError for an architecture that is not known, and when it can't be made."""
    config = read_config(folder)
    check(folder, config)
    digest = await asyncio.to_thread(digest_of, folder)
    name = folder.resolve().name
    identity = f"local:{name}@{digest[:16]}"
    target = cache_folder() / f"checkpoint-{digest[:32]}-{_VERSION}-f16.gguf"
    if not target.is_file():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            async with alone(target.with_suffix(".lock")):
                if not target.is_file():  # another process may have made it meanwhile
                    say(f"converting {folder} for the local engine: once, into {target}")
                    await _convert(folder, target, template_of(folder))
        except OSError as error:
            raise _unwritable(target.parent, error.errno or 0, error.strerror or str(error)) from None
    return Weights(target, name, identity)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a checkpoint. Raises EvolError."""
    try:
        config = orjson.loads((folder / "config.json").read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise EvolError(f"{folder / 'config.json'} can't be read: {error}") from None
    if not isinstance(config, dict):
        raise EvolError(f"{folder / 'config.json'}: expected an object")
    return config


def check(folder: Path, config: dict[str, Any]) -> None:
    """Raise EvolError for a model that can't be converted, without reading its weights."""
    kind = config.get("model_type")
    window = config.get("sliding_window") if kind == "mistral" else None
    if kind not in _KNOWN or window or config.get("quantization_config"):
        what = "with a sliding window" if window else "with quantised weights" if kind in _KNOWN else ""
        raise EvolError(
            f"local:{folder}: a checkpoint of the kind {kind!r} {what}".rstrip()
            + f"; the local engine takes {' and '.join(_KNOWN)}",
            f"evol serve {folder}, and then --model openai:{folder.resolve().name} --base-url http://127.0.0.1:8000/v1",
        )
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise EvolError(
            f"converting {folder} needs {', '.join(missing)}, not installed here", "pip install 'evollab[local,serve]'"
        )


def digest_of(folder: Path) -> str:
    """SHA-256 over the files that the conversion reads, in hex."""
    told = hashlib.sha256()
    files = [folder / name for name in _SMALL_FILES]
    for path in [*files, *sorted(folder.glob("*.safetensors"))]:
        if path.is_file():
            told.update(f"{path.name}\0{file_digest(path)}\0".encode("utf-8", "surrogateescape"))
    return told.hexdigest()


def template_of(folder: Path) -> str:
    """The chat template of a checkpoint as llama.cpp reads it; empty where there is none."""
    own = folder / "chat_template.jinja"
    if own.is_file():
        return without_marks(own.read_text("utf-8"))
    settings = folder / "tokenizer_config.json"
    told = orjson.loads(settings.read_bytes()).get("chat_template") if settings.is_file() else None
    return without_marks(told) if isinstance(told, str) else ""


def without_marks(template: str) -> str:
    """A chat template without marks of what is trained, which llama.cpp does not know."""
    return _MARKS.sub("", template)


async def _convert(folder: Path, target: Path, template: str) -> None:
    """In a child, under another name until all of it is on disk."""
    part = target.with_name(target.name + ".part")
    child = Child(_CONVERTER, {"source": str(folder.resolve()), "target": str(part), "template": template})
    try:
        report = await asyncio.to_thread(child.hear)
        ended = child.stop()
        if report is None:
            raise EvolError(f"converting {folder} failed ({ended}):\n{child.words()}")
        if "refused" in report:
            raise EvolError(
                f"{folder} can't be converted: {report['refused']}",
                f"evol serve {folder}, and then --model openai:{folder.resolve().name} --base-url "
                "http://127.0.0.1:8000/v1",
            )
        if "done" not in report:
            raise _unwritable(target.parent, int(report["errno"]), str(report["message"]))
        os.replace(part, target)
    finally:
        child.stop()
        part.unlink(missing_ok=True)


def _unwritable(folder: Path, number: int, message: str) -> EvolError:
    full = number in (errno.ENOSPC, errno.EDQUOT)
    return EvolError(
        f"the disk is full: {folder} has no room for the converted weights" if full else f"{folder}: {message}",
        "make room (files named checkpoint-*.gguf there may go), or point XDG_CACHE_HOME at another disk",
    )
