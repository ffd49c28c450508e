"""Models and tokenizers at rest: what `--base` may name, and what training leaves behind.

A base is a folder that `save_pretrained` wrote (an adapter's folder counts: it is merged into its base), the
name of a model on the hub, or `smollm2`, the packaged 135M model. Code that comes with a model is never run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from evollab import chat
from evollab.llm.causal import smollm2_folder
from evollab.llm.weights import SMOLLM2_SHA256
from evollab.records import EvolError
from evollab.runs import sync_folder

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BUILT_IN = "smollm2"
HEADS = ("causal", "sequence", "token")
_ADAPTER = "adapter_config.json"
_WEIGHTS = ("*.safetensors", "*.bin", "*.json")
_END = 1 << 20


def load_tokenizer(base: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a base, with a token for padding: its own, else its unknown token, else EOS.

    Padding is never trained and EOS always is, whichever token they share: masks go by place.
    Raises EvolError for what is no model.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerBase

    place = folder_of(base)
    with _explained(base):
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer


def load_model(
    base: str, *, dtype: torch.dtype | None = None, head: str = "causal", labels: int = 1, attention: str | None = None
) -> PreTrainedModel:
    """The model of a base, on the CPU, in `dtype` (default float32).

    head: causal (language model), sequence (one vector of `labels` for a text: reward models) or token
    (one for each token: process reward models); heads that the base lacks start at random, the same for
    a seed of torch. attention: an implementation by name, None for the library's choice.
    Raises EvolError for what is no model, and for an adapter without its base.
    """
    import torch
    import transformers

    if head not in HEADS:
        raise EvolError(f"head {head!r}: expected {', '.join(HEADS)}")
    place = folder_of(base)
    kind: Any = {
        "causal": transformers.AutoModelForCausalLM,
        "sequence": transformers.AutoModelForSequenceClassification,
        "token": transformers.AutoModelForTokenClassification,
    }[head]
    settings: dict[str, Any] = {} if head == "causal" else {"num_labels": labels}
    if attention:
        settings["attn_implementation"] = attention
    adapter = Path(place) / _ADAPTER
    if adapter.is_file():
        return _merged(base, adapter, dtype=dtype, head=head, labels=labels, attention=attention)
    with _explained(base):
        model = kind.from_pretrained(place, dtype=dtype or torch.float32, trust_remote_code=False, **settings)
    assert isinstance(model, transformers.PreTrainedModel)
    if model.config.pad_token_id is None and head != "causal":
        model.config.pad_token_id = load_tokenizer(base).pad_token_id
    return model


def _merged(base: str, adapter: Path, **settings: Any) -> PreTrainedModel:
    """An adapter's base with the adapter in it."""
    from peft import PeftModel

    model = load_model(_below(base, adapter), **settings)
    with _explained(base):
        merged: PreTrainedModel = PeftModel.from_pretrained(model, base).merge_and_unload()
    merged.name_or_path = str(Path(base).resolve())  # what peft writes down as the base of a further adapter
    return merged


def _below(base: str, adapter: Path) -> str:
    below = orjson.loads(adapter.read_bytes()).get("base_model_name_or_path")
    if not isinstance(below, str) or below == base:
        raise EvolError(f"{adapter}: names no base model")
    return below


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    format: str,
    *,
    dtype: str = "fp32",
    weights: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write a checkpoint that transformers, vLLM and `evol serve` read: weights (safetensors, in `dtype`: fp32
    or bf16), tokenizer, the chat template of `format`, and a generation config that stops at EOS.

    The folder appears whole or not at all; one that is there is replaced. A model of peft leaves its adapter.
    """
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    tokenizer.chat_template = chat.template(tokenizer, format)
    _stop_at_eos(model, tokenizer)
    half = dtype == "bf16"
    weights = model.state_dict() if weights is None else weights
    kept = {name: value.bfloat16() if half else value.float() for name, value in weights.items()}
    model.save_pretrained(part, state_dict=kept)
    config = part / "config.json"
    if half and config.is_file():
        told = orjson.loads(config.read_bytes())
        config.write_bytes(orjson.dumps({**told, "dtype": "bfloat16"}, option=orjson.OPT_INDENT_2))
    tokenizer.save_pretrained(part)
    replace_folder(part, folder)


def _stop_at_eos(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """A generation config for a trained model: it ends at EOS (and where its base ended), and carries
    nothing else that the base suggested, such as a temperature."""
    import transformers

    before: Any = getattr(model, "generation_config", None)
    if before is None:
        return
    ends = before.eos_token_id
    known = ends if isinstance(ends, list) else [] if ends is None else [ends]
    eos = tokenizer.eos_token_id
    more = [one for one in known if one != eos]
    make: Any = transformers.GenerationConfig
    model.generation_config = make(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=[eos, *more] if more else eos,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def replace_folder(part: Path, folder: Path) -> None:
    """Let `part` take the name `folder`, whose old content goes."""
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(part, folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def positions(base: str) -> int | None:
    """How many tokens a base takes at most, None where its config doesn't say."""
    from transformers import AutoConfig

    place = Path(folder_of(base))
    if (place / _ADAPTER).is_file():
        return positions(_below(base, place / _ADAPTER))
    with _explained(base):
        config: Any = AutoConfig.from_pretrained(place, trust_remote_code=False)
    most = getattr(config.get_text_config(), "max_position_embeddings", None)
    return most if isinstance(most, int) else None


def identity(base: str) -> str:
    """A name for the weights' content, for step.json: the packaged model's digest, a digest of a folder's
    files (their names, sizes, first and last megabyte), or the hub's name for it."""
    if base == BUILT_IN:
        return f"{BUILT_IN}@{SMOLLM2_SHA256[:16]}"
    folder = Path(base)
    if not folder.is_dir():
        return base
    told = hashlib.blake2b(digest_size=8)
    for path in sorted({path for pattern in _WEIGHTS for path in folder.glob(pattern)}):
        size = path.stat().st_size
        told.update(f"{path.name}\0{size}\0".encode())
        with open(path, "rb") as file:
            told.update(file.read(_END))
            file.seek(max(0, size - _END))
            told.update(file.read(_END))
    return told.hexdigest()


def folder_of(base: str) -> str:
    """Where a base lies: a folder, or a name for the hub. Prepares `smollm2` at its first use.

    Raises EvolError for a path where nothing lies, and for a folder without a model.
    """
    if base == BUILT_IN:
        return str(smollm2_folder())
    path = Path(base)
    if path.is_dir():
        if not (path / "config.json").is_file() and not (path / _ADAPTER).is_file():
            inside = path / "model"
            hint = f"did you mean {inside}?" if (inside / "config.json").is_file() else "give a folder with config.json"
            raise EvolError(f"{base}: no model lies there", hint)
        return base
    if path.is_absolute() or base.startswith((".", "~")) or base.count("/") > 1 or path.exists():
        raise EvolError(f"{base}: expected the folder of a model", f"a folder, a hub name, or {BUILT_IN}")
    return base


@contextlib.contextmanager
def _explained(base: str) -> Iterator[None]:
    """The libraries' errors about a model, as one line for a person."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        first = str(error).strip().partition("\n")[0][:300]
        raise EvolError(
            f"{base} could not be loaded: {first}", f"a folder that save_pretrained wrote, a hub name, or {BUILT_IN}"
        ) from error
