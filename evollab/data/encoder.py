"""Text encoders in the layout of sentence-transformers, run by plain transformers.

Weights are opened from safetensors only, and no code that a model's folder brings along is ever run.

A text longer than the model reads is cut into windows; its vector is the mean of theirs, by their tokens.
A window is put in a batch of fixed shape with others of about its length, places left over filled up. So
a vector is the same bit for bit whatever stands beside it: what was kept on disk fits what is made today.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import orjson

from evollab.data.embed import INSTALL, Embedder
from evollab.data.rows import excerpt
from evollab.llm.weights import file_digest
from evollab.records import EvolError

if TYPE_CHECKING:
    from evollab.data.vectors import Vectors

NEEDED = ("torch", "transformers")
LONGEST = 512
"""Tokens of a window, at most; fewer where the folder says so."""
WINDOWS = 8
"""Windows of a text that are read, at most."""
_TEXT = 1 << 15
"""Characters of a text that are looked at, at most."""
_BATCH = 1024
"""Tokens of a batch, blanks included."""
_STEP = 8
"""Texts are grouped by their length in steps of so many tokens."""
_VERSION = 1
"""To be raised when the same folder gives other vectors than before."""
_SMALL = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")
_HUB_FILES = ("*.json", "*.safetensors", "vocab.txt", "merges.txt", "*.model")
_LAYOUT = "expected a folder in the layout of sentence-transformers: config.json, a tokenizer, model.safetensors"


@dataclass(frozen=True, slots=True)
class Layout:
    """What a folder says about itself. pooling: mean (over the tokens) or cls (the first token). length:
    tokens of a window. prefix: what stands before every text. dims: numbers in a vector."""

    pooling: str
    length: int
    prefix: str
    dims: int


def from_folder(folder: Path, name: str = "") -> Embedder:
    """The embedder of a model's folder. `name`: what to call it (default: the folder's own name).

    Raises EvolError where packages are missing and for a folder that can't be used.
    """
    if lacking := [need for need in NEEDED if importlib.util.find_spec(need) is None]:
        raise EvolError(
            f"{folder}: opening a model needs packages that are not installed: {', '.join(lacking)}", INSTALL
        )
    layout = read_layout(folder)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise EvolError(
            f"{folder}: no .safetensors file; weights of other kinds are pickles, which can run code, and not opened",
            _LAYOUT,
        )
    digest = hashlib.sha256(repr((_VERSION, layout)).encode())
    for path in (folder / file for file in _SMALL):
        digest.update(path.read_bytes() if path.is_file() else b"")
    for path in weights:
        digest.update(file_digest(path).encode())
    name = name or folder.resolve().name.encode("utf-8", "replace").decode()
    return Embedder(f"{name}@{digest.hexdigest()[:16]}", layout.dims, _lazily(folder, layout))


def from_hub(id: str) -> Embedder:
    """The embedder of a model on the Hugging Face hub, fetched once. Raises EvolError."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise EvolError(f"--embed {id}: no such folder, and fetching it from the hub needs huggingface_hub", INSTALL)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(id, allow_patterns=list(_HUB_FILES))
    except (HfHubHTTPError, HTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        said = excerpt(str(error).strip().partition("\n")[0], 300)
        raise EvolError(
            f"--embed {id}: no such folder, and the hub did not give it ({said})",
            "check the name and the connection; a model on disk is given as ./FOLDER",
        ) from None
    return from_folder(Path(folder), id.rpartition("/")[2])


def read_layout(folder: Path) -> Layout:
    """What the folder's files say. Raises EvolError where that is not what we can do."""
    config = _read(folder / "config.json")
    if config is None:
        raise EvolError(f"{folder}: no config.json", _LAYOUT)
    if config.get("is_encoder_decoder") is True:
        raise EvolError(f"{folder}: a model that writes text (encoder and decoder); expected a text encoder", _LAYOUT)
    parts = _json(folder / "modules.json") or []
    for part in parts if isinstance(parts, list) else [parts]:
        kind = str(part.get("type", "")).rpartition(".")[2] if isinstance(part, dict) else "?"
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise EvolError(
                f"{folder}: modules.json has a part {excerpt(kind, 40)}; expected Transformer, Pooling, Normalize only"
            )
    pooling = _read(folder / "1_Pooling" / "config.json") or {}
    chosen = sorted(key.removeprefix("pooling_mode_") for key, on in pooling.items() if on is True and "_mode_" in key)
    ways = [str(pooling["pooling_mode"])] if "pooling_mode" in pooling else chosen or ["mean_tokens"]
    if len(ways) != 1 or (way := ways[0].removesuffix("_tokens").removesuffix("_token")) not in ("mean", "cls"):
        raise EvolError(f"{folder}: its vectors are made by {' and '.join(ways)[:80]}; expected mean or cls")
    places, dims = config.get("max_position_embeddings", LONGEST), config.get("hidden_size")
    if not isinstance(dims, int) or not 0 < dims <= 1 << 16:
        raise EvolError(f"{folder}: config.json has no hidden_size; expected the config of a text encoder", _LAYOUT)
    length = (_read(folder / "sentence_bert_config.json") or {}).get("max_seq_length")
    lengths = [one for one in (length, places, LONGEST) if isinstance(one, int) and one > 2]
    more = _read(folder / "config_sentence_transformers.json") or {}
    prompts = more.get("prompts")
    prefix = prompts.get(str(more.get("default_prompt_name"))) if isinstance(prompts, dict) else None
    return Layout(way, min(lengths), str(prefix or "")[:1000], dims)


def _read(path: Path) -> dict[str, Any] | None:
    """The object in a file, None where there is no such file. Raises EvolError."""
    found = _json(path)
    if found is not None and not isinstance(found, dict):
        raise EvolError(f"{path}: expected an object", _LAYOUT)
    return found


def _json(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes()) if path.is_file() else None
    except (OSError, orjson.JSONDecodeError) as error:
        raise EvolError(f"{path}: can't be read ({excerpt(str(error), 80)})", _LAYOUT) from None


def _lazily(folder: Path, layout: Layout) -> Callable[[Sequence[str]], Vectors]:
    """The weights are opened when the first text comes."""
    opened: list[Model] = []

    def vectors_of(texts: Sequence[str]) -> Vectors:
        if not opened:
            opened.append(Model(folder, layout))
        return opened[0](texts)

    return vectors_of


class Model:
    """An encoder in memory, on the graphics processor where there is one."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        """Raises EvolError for weights that can't be opened or don't fit the config."""
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        log: Any = logging
        loud = log.get_verbosity()
        log.disable_progress_bar()
        log.set_verbosity(log.CRITICAL)  # what is wrong is said below
        local = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), **local)
            model, told = AutoModel.from_pretrained(
                str(folder), **local, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
        except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
            said = excerpt(str(error).strip().partition("\n")[0], 200)
            raise EvolError(f"{folder}: the model can't be opened ({said})", _LAYOUT) from None
        finally:
            log.enable_progress_bar()
            log.set_verbosity(loud)
        if not self._tokenizer.is_fast:
            raise EvolError(f"{folder}: its tokenizer can't be used without a tokenizer.json", _LAYOUT)
        lost = sorted(name for name in (*told["missing_keys"], *told["mismatched_keys"]) if "pooler" not in str(name))
        if lost:
            raise EvolError(f"{folder}: the weights lack {len(lost)} parts of the model: {lost[0]}, ...", _LAYOUT)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model: Any = model.eval().to(self._device)
        self._layout = layout
        self._blank = self._tokenizer.pad_token_id or 0

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Shape (texts, dims), rows of length 1."""
        import numpy as np

        if not texts:
            return np.empty((0, self._layout.dims), np.float32)
        windows, text_of = self._windows(texts)
        groups: dict[int, list[int]] = {}
        for place, row in enumerate(windows):
            groups.setdefault(min(-(-len(row) // _STEP) * _STEP, self._layout.length), []).append(place)
        found = np.empty((len(windows), self._layout.dims), np.float32)
        for width, places in sorted(groups.items()):
            size = max(1, _BATCH // width)
            for start in range(0, len(places), size):
                part = places[start : start + size]
                batch = [windows[place] for place in part]
                batch += [batch[-1]] * (size - len(part))
                found[part] = self._forward(batch, width)[: len(part)]
        if len(windows) == len(texts):
            return found
        starts = np.searchsorted(text_of, np.arange(len(texts)))
        sums = np.add.reduceat(found * np.array([[len(row)] for row in windows], np.float32), starts)
        lengths = np.sqrt(np.einsum("ij,ij->i", sums, sums))
        several = np.diff(np.append(starts, len(windows))) > 1
        made = found[starts]
        made[several] = sums[several] / np.maximum(lengths[several], 1e-12)[:, None]
        return made

    def _windows(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """Token ids, a window a row, and the text that each is of."""
        # Half of a surrogate pair is no text that a tokenizer takes.
        said = [(self._layout.prefix + text[:_TEXT]).encode("utf-8", "replace").decode() for text in texts]
        found = self._tokenizer(
            said, truncation=True, max_length=self._layout.length, return_overflowing_tokens=True, stride=0
        )
        windows: list[list[int]] = []
        text_of: list[int] = []
        for row, text in zip(found["input_ids"], found["overflow_to_sample_mapping"], strict=True):
            if len(text_of) < WINDOWS or text_of[-WINDOWS] != text:
                windows.append(row)
                text_of.append(text)
        return windows, text_of

    def _forward(self, rows: list[list[int]], width: int) -> Vectors:
        """Token ids to vectors, every row filled up with blanks to `width`."""
        import torch

        ids = torch.tensor([row + [self._blank] * (width - len(row)) for row in rows], device=self._device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=self._device)
        with torch.inference_mode():
            hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
            if self._layout.pooling == "cls":
                found = hidden[:, 0]
            else:
                found = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            return cast("Vectors", torch.nn.functional.normalize(found.float()).cpu().numpy())
