"""A checkpoint of transformers (Llama's architecture) as a GGUF file at 16 bits. Runs in a process of its own.

Names of tensors and metadata are those of llama.cpp. Rows of the query and key matrices change places: transformers
rotates the halves of a head, llama.cpp its neighbours. Weights are read from safetensors, never from pickles.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Config = Mapping[str, Any]
_KINDS = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_MAX_HEADER = 100 << 20
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_WHOLE = {"model.embed_tokens.weight": "token_embd", "model.norm.weight": "output_norm", "lm_head.weight": "output"}
_PARTS = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")


class Unknown(Exception):
    """A checkpoint that this can't convert, and why."""


def main(config: dict[str, Any], report: Callable[[Mapping[str, Any]], None]) -> None:
    """`config`: source (a folder), target (a file), template (the chat template). Reports {"done": true},
    {"refused": why}, or {"errno": n, "message": ...}."""
    try:
        convert(Path(config["source"]), config["target"], config["template"])
    except OSError as error:
        report({"errno": error.errno or errno.ENOSPC, "message": error.strerror or str(error)})
    except (Unknown, KeyError, ValueError, TypeError) as error:
        words = str(error) if isinstance(error, Unknown) else f"{type(error).__name__}: {error}"
        report({"refused": words[:300]})
    else:
        report({"done": True})


def convert(source: Path, target: str, template: str) -> None:
    """Write the checkpoint in `source` to `target`. Raises Unknown, OSError."""
    import gguf
    import numpy as np

    config = json.loads((source / "config.json").read_text("utf-8"))
    tensors = {name: _renamed(name) for name, *_ in _tensors(source)}
    if missing := {"token_embd.weight", "output_norm.weight"} - set(tensors.values()):
        raise Unknown(f"the weights lack {', '.join(sorted(missing))}")
    writer = gguf.GGUFWriter(target, arch="llama")
    try:
        _describe(writer, config)
        _tokenizer(writer, source, config)
        if template:
            writer.add_chat_template(template)
        writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
        factors = _frequencies(config)
        for name, shape, _, _ in _tensors(source):
            kind = np.dtype(np.float16 if len(shape) > 1 else np.float32)
            writer.add_tensor_info(tensors[name], shape, kind, math.prod(shape) * kind.itemsize)
        if factors is not None:
            writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, shape, path, place in _tensors(source):
            writer.write_tensor_data(_values(name, shape, path, place, config))
        if factors is not None:
            writer.write_tensor_data(factors)
    finally:
        writer.close()
    with open(target, "rb+") as file:
        os.fsync(file.fileno())


def _describe(writer: Any, config: Config) -> None:
    """What llama.cpp must know of the model."""
    heads = int(config["num_attention_heads"])
    size = int(config.get("head_dim") or config["hidden_size"] // heads)
    rope = _rope(config)
    writer.add_vocab_size(int(config["vocab_size"]))
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(float(rope.get("rope_theta") or 10000.0))
    writer.add_layer_norm_rms_eps(float(config.get("rms_norm_eps", 1e-6)))
    if rope["rope_type"] == "linear":
        import gguf

        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))


def _rope(config: Config) -> dict[str, Any]:
    """How positions turn, from where transformers 5 or 4 wrote it. Raises Unknown for another kind."""
    rope = {
        "rope_theta": config.get("rope_theta"),
        **(config.get("rope_parameters") or config.get("rope_scaling") or {}),
    }
    rope["rope_type"] = rope.get("rope_type") or rope.get("type") or "default"
    if rope["rope_type"] not in ("default", "linear", "llama3"):
        raise Unknown(f"positions of the kind {rope['rope_type']!r}; default, linear and llama3 are known")
    return rope


def _frequencies(config: Config) -> Any:
    """Llama 3's factors for the frequencies of positions (1 for short waves, `factor` for long ones, between them
    a blend), float32, or None."""
    import numpy as np

    rope = _rope(config)
    if rope["rope_type"] != "llama3":
        return None
    size = int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])
    waves = 2 * math.pi * float(rope["rope_theta"]) ** (np.arange(0, size, 2) / size)
    turns = int(rope["original_max_position_embeddings"]) / waves
    low, high, factor = (float(rope[name]) for name in ("low_freq_factor", "high_freq_factor", "factor"))
    blend = np.clip((turns - low) / (high - low), 0, 1)
    return (1 / ((1 - blend) / factor + blend)).astype(np.float32)


# Weights


def _tensors(source: Path) -> Iterator[tuple[str, list[int], Path, tuple[str, int]]]:
    """Every tensor: name, shape, file, (kind, byte where it begins). Raises Unknown."""
    files = sorted(source.glob("*.safetensors"))
    if not files:
        raise Unknown("no .safetensors files in the folder")
    for path in files:
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(_MAX_HEADER, size):
                raise Unknown(f"{path.name} is no safetensors file")
            header = json.loads(file.read(length))
        for name, facts in header.items():
            if name == "__metadata__" or name.endswith("rotary_emb.inv_freq"):
                continue
            kind, shape = facts["dtype"], [int(n) for n in facts["shape"]]
            if kind not in _KINDS:
                raise Unknown(f"{name} is {kind}; {', '.join(_KINDS)} are known")
            begin, end = (8 + length + int(place) for place in facts["data_offsets"])
            if end - begin != math.prod(shape) * int(_KINDS[kind][-1]) or not 8 + length <= begin <= end <= size:
                raise Unknown(f"{path.name} is cut off at {name}")
            yield name, shape, path, (kind, begin)


def _renamed(name: str) -> str:
    """llama.cpp's name for a tensor."""
    if name in _WHOLE:
        return f"{_WHOLE[name]}.weight"
    layer = _LAYER.fullmatch(name)
    if layer and layer[2] in _PARTS:
        return f"blk.{layer[1]}.{_PARTS[layer[2]]}.{layer[3]}"
    raise Unknown(f"a tensor {name[:80]}, which Llama's architecture does not have")


def _values(name: str, shape: list[int], path: Path, place: tuple[str, int], config: Config) -> Any:
    """A tensor's values as they are written: matrices float16, vectors float32."""
    import numpy as np

    raw = np.memmap(path, _KINDS[place[0]], "r", place[1], (math.prod(shape),))
    values = (raw.astype("<u4") << 16).view("<f4") if place[0] == "BF16" else raw
    values = values.reshape(shape)
    if ".q_proj." in name or ".k_proj." in name:
        heads = int(config["num_attention_heads"])
        heads = heads if ".q_proj." in name else int(config.get("num_key_value_heads") or heads)
        halves = values.reshape(heads, 2, shape[0] // heads // 2, *shape[1:])
        values = halves.swapaxes(1, 2).reshape(shape)
    with np.errstate(over="ignore"):
        made = np.ascontiguousarray(values, dtype=np.float16 if len(shape) > 1 else np.float32)
    if not np.isfinite(made).all():
        raise Unknown(f"{name} holds values that 16 bits can't")
    return made


# The tokenizer


def _tokenizer(writer: Any, source: Path, config: Config) -> None:
    """The vocabulary and its rules, from tokenizer.json. Raises Unknown for a kind that llama.cpp codes otherwise."""
    from tokenizers import Tokenizer

    path = source / "tokenizer.json"
    if not path.is_file():
        raise Unknown("no tokenizer.json in the folder")
    told = json.loads(path.read_text("utf-8"))
    model = told["model"]
    if model["type"] != "BPE":
        raise Unknown(f"a tokenizer of the kind {model['type']}; BPE is known")
    size = int(config["vocab_size"])
    names, kinds = _names(told, size)
    merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    sentencepiece = bool(model.get("byte_fallback"))
    writer.add_tokenizer_model("llama" if sentencepiece else "gpt2")
    writer.add_tokenizer_pre("default" if sentencepiece else _pre(told))
    writer.add_token_list(names)
    if sentencepiece:
        ranks: dict[str, int] = {}
        for rank, (left, right) in enumerate(merges):
            ranks.setdefault(left + right, rank)
        writer.add_token_scores([-float(ranks.get(name, len(merges))) for name in names])
        writer.add_add_space_prefix(_prefixed(told))
    else:
        writer.add_token_merges([f"{left} {right}" for left, right in merges])
    writer.add_token_types(kinds)
    ends = config.get("eos_token_id")
    settings = source / "tokenizer_config.json"
    own = json.loads(settings.read_text("utf-8")) if settings.is_file() else {}
    ids = {name: place for place, name in enumerate(names)}
    for kind, add in (
        ("bos", writer.add_bos_token_id), ("eos", writer.add_eos_token_id), ("unk", writer.add_unk_token_id),
        ("pad", writer.add_pad_token_id),
    ):  # fmt: skip
        name = own.get(f"{kind}_token")
        name = name.get("content") if isinstance(name, dict) else name
        if name in ids:
            add(ids[name])
            if kind == "eos":
                ends = [ids[name]]
        elif kind == "eos" and ends is not None:
            add(ends[0] if isinstance(ends, list) else ends)
    _more_ends(writer, source, ends)
    first = Tokenizer.from_str(json.dumps(told)).encode("a").tokens[:1]
    name = own.get("bos_token")
    name = name.get("content") if isinstance(name, dict) else name
    writer.add_add_bos_token(bool(name) and first == [name])


def _more_ends(writer: Any, source: Path, ends: Any) -> None:
    """A second token that ends an answer, where the generation config has one (llama.cpp has room for one)."""
    path = source / "generation_config.json"
    listed = json.loads(path.read_text("utf-8")).get("eos_token_id") if path.is_file() else None
    known = ends if isinstance(ends, list) else [ends]
    others = [one for one in listed if one not in known] if isinstance(listed, list) else []
    if others:
        writer.add_eot_token_id(int(others[0]))


def _names(told: Config, size: int) -> tuple[list[str], list[int]]:
    """Every token's name and kind, by id; ids without a token get a name of their own."""
    model = told["model"]
    names = [f"[PAD{place}]" for place in range(size)]
    kinds = [_UNUSED] * size
    for name, place in model["vocab"].items():
        if place >= size:
            raise Unknown(f"the tokenizer has an id {place}, the model only {size} tokens")
        byte = bool(model.get("byte_fallback")) and re.fullmatch(r"<0x[0-9A-F]{2}>", name)
        names[place], kinds[place] = name, _BYTE if byte else _UNKNOWN if name == model.get("unk_token") else _NORMAL
    for token in told["added_tokens"]:
        place = token["id"]
        if place >= size:
            raise Unknown(f"the tokenizer has an id {place}, the model only {size} tokens")
        unknown = token["content"] == (model.get("unk_token") or "<unk>")
        names[place] = token["content"]
        kinds[place] = _UNKNOWN if unknown else _CONTROL if token["special"] else _USER
    return names, kinds


def _pre(told: Config) -> str:
    """llama.cpp's name for how text is cut before merges. Raises Unknown."""
    given = told.get("pre_tokenizer") or {}
    steps = given.get("pretokenizers", [given])
    kinds = [step.get("type") for step in steps]
    last = steps[-1]
    if kinds[-1] == "ByteLevel" and not last.get("add_prefix_space"):
        if kinds == ["ByteLevel"] and last.get("use_regex", True):
            return "gpt-2"
        if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and last.get("use_regex", True):
            return "smollm"
        pattern = (steps[0].get("pattern") or {}).get("Regex")
        if kinds == ["Split", "ByteLevel"] and pattern == _LLAMA3:
            return "llama-bpe"
    raise Unknown(f"a tokenizer that cuts text by {', '.join(map(str, kinds))}, which llama.cpp may not do alike")


def _prefixed(told: Config) -> bool:
    """Whether a text gets a blank in front, as SentencePiece does."""
    steps = [told.get("pre_tokenizer") or {}, told.get("normalizer") or {}]
    steps += [one for step in steps for one in step.get("normalizers", step.get("pretokenizers", []))]
    return any(
        step.get("type") == "Prepend" or (step.get("type") == "Metaspace" and step.get("prepend_scheme") != "never")
        for step in steps
    )
