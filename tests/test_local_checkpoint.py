"""`local:FOLDER`: a checkpoint of transformers in the embedded engine says what it says in transformers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra `serve`")
pytest.importorskip("transformers", reason="needs the extra `serve`")
pytest.importorskip("gguf", reason="needs the extra `local`")
pytest.importorskip("xllamacpp", reason="needs the extra `local`")

import aiohttp
import torch

from evollab.llm import converted, hf_gguf
from evollab.llm.local import engine
from evollab.llm.providers.local import connect
from evollab.llm.session import ModelOptions
from evollab.llm.weights import Weights, find
from evollab.records import EvolError
from tests import tiny

PROMPTS = ("The capital of France is", "Add 12 and 30. The sum", "def f(x):\n    return 3", "\u00e9t\u00e9 \u4f60 $%")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "evollab"


def checkpoint(folder: Path, kind: tiny.Kind, *, dtype: Any = torch.float32, **config: Any) -> Any:
    """A random Llama with its tokenizer, whose words differ more than those of `tiny.model`."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny.tokenizer(kind)
    given = {
        "vocab_size": tiny.VOCABULARY + 16, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
        "tie_word_embeddings": False, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model: Any = LlamaForCausalLM(LlamaConfig(**{**given, **config}))
        for name, value in model.named_parameters():
            if value.ndim > 1:
                torch.nn.init.normal_(value, std=0.25)
            elif name.endswith("bias"):
                torch.nn.init.normal_(value)
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.float().eval()


def said(folder: Path, kind: tiny.Kind) -> list[tuple[list[int], dict[str, float]]]:
    """For each prompt what the engine makes of it: its ids, and the log-probs of the likeliest next tokens."""

    async def work() -> list[tuple[list[int], dict[str, float]]]:
        made = []
        async with (
            engine(str(folder), slots=1, context=256) as running,
            aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {running.token}"}, connector=aiohttp.TCPConnector(force_close=True)
            ) as session,
        ):
            root = running.base_url.removesuffix("/v1")
            for prompt in PROMPTS:
                async with session.post(f"{root}/tokenize", json={"content": prompt, "add_special": True}) as response:
                    ids = (await response.json())["tokens"]
                # a letter is forced: of half a character, or an end, the engine tells nothing
                letter = tiny.tokenizer(kind).convert_tokens_to_ids("a")
                body = {"prompt": ids, "n_predict": 1, "n_probs": 8, "logit_bias": [[letter, 100.0]]}
                async with session.post(f"{root}/completion", json=body) as response:
                    (first,) = (await response.json())["completion_probabilities"]
                made.append((ids, {one["id"]: one["logprob"] for one in first["top_logprobs"]}))
        return made

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("kind", "dtype", "config"),
    [
        ("llama", "float32", {}),
        ("bytes", "bfloat16", {"attention_bias": True, "head_dim": 32}),
        (
            "chatml", "float16",
            {
                "rope_parameters": {
                    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0, "original_max_position_embeddings": 16,
                },
                "num_key_value_heads": 4, "tie_word_embeddings": True,
            },
        ),
        ("bytes", "float32", {"rope_parameters": {"rope_type": "linear", "rope_theta": 5000.0, "factor": 2.0}}),
    ],
)  # fmt: skip
def test_the_engine_says_what_transformers_says(
    kind: tiny.Kind, dtype: str, config: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    model = checkpoint(folder, kind, dtype=getattr(torch, dtype), **config)
    for prompt, (ids, chances) in zip(PROMPTS, said(folder, kind), strict=True):
        assert ids == tiny.tokenizer(kind)(prompt).input_ids
        with torch.no_grad():
            want = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0, -1], dim=-1)
        assert len(chances) == 8
        for token, chance in chances.items():
            assert chance == pytest.approx(want[int(token)].item(), abs=0.2), "16 bits against 32"


def found(folder: Path, said: list[str] | None = None) -> Weights:
    return asyncio.run(find(str(folder), (said if said is not None else []).append))


def test_it_is_made_once_for_what_is_in_it(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "mine"
    checkpoint(folder, "llama")
    words: list[str] = []
    first = found(folder, words)
    assert len(words) == 1
    assert "converting" in words[0]
    assert found(folder, words) == first
    assert len(words) == 1
    assert first.name == "mine"
    assert first.identity.startswith("local:mine@")
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert found(copy, words).path == first.path, "the same weights elsewhere"
    (copy / "generation_config.json").write_text('{"eos_token_id": [2, 5]}')
    other = found(copy, words)
    assert other.path != first.path
    assert other.identity.removeprefix("local:copy") != first.identity.removeprefix("local:mine")
    assert len(list(cache.glob("checkpoint-*.gguf"))) == 2
    assert not list(cache.glob("*.part"))


def test_mistral_without_a_window_is_a_llama(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    checkpoint(folder, "bytes")
    first = found(folder).path.read_bytes()
    changed(folder, "config.json", lambda config: {**config, "model_type": "mistral", "sliding_window": None})
    assert found(folder).path.read_bytes() == first


def test_a_provider_for_evolve_judge_and_evals(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    checkpoint(folder, "bytes")

    async def work() -> None:
        async with connect(str(folder), ModelOptions(concurrency=1)) as connection:
            assert connection.small
            assert connection.model == "model"
            assert connection.identity.startswith("local:model@")

    asyncio.run(work())


def test_the_chat_template_goes_with_it(tmp_path: Path) -> None:
    import gguf

    reader: Any = gguf.GGUFReader
    folder = tmp_path / "model"
    checkpoint(folder, "chatml")
    marked = "{% for m in messages %}{%- generation -%}{{ m['content'] }}{% endgeneration %}{% endfor %}"
    (folder / "chat_template.jinja").write_text(marked)
    fields = reader(found(folder).path).fields
    assert fields["tokenizer.chat_template"].contents() == "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    assert fields["tokenizer.ggml.eos_token_id"].contents() == tiny.tokenizer("chatml").eos_token_id
    names = fields["tokenizer.ggml.tokens"].contents()
    assert len(names) == tiny.VOCABULARY + 16
    assert names[-1].startswith("[PAD")
    assert fields["tokenizer.ggml.pre"].contents() == "smollm"


def changed(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    path = folder / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("config.json", lambda c: {**c, "model_type": "gpt2"}, "of the kind 'gpt2'; the local engine takes llama and"),
        (
            "config.json",
            lambda c: {**c, "model_type": "mistral", "sliding_window": 8},
            "of the kind 'mistral' with a sliding window; the local",
        ),
        ("config.json", lambda c: {**c, "quantization_config": {"bits": 4}}, "with quantised weights"),
        ("config.json", lambda c: {**c, "rope_parameters": {"rope_type": "yarn"}}, "positions of the kind 'yarn'"),
        ("config.json", lambda c: {**c, "vocab_size": 400}, "the tokenizer has an id"),
        ("config.json", lambda c: {k: v for k, v in c.items() if k != "hidden_size"}, "KeyError: 'hidden_size'"),
        ("config.json", lambda c: [c], "expected an object"),
        ("tokenizer.json", lambda t: {**t, "model": {**t["model"], "type": "Unigram"}}, "of the kind Unigram"),
        ("tokenizer.json", lambda t: {**t, "pre_tokenizer": {"type": "Whitespace"}}, "cuts text by Whitespace"),
    ],
)
def test_what_it_cannot_be_made_from(
    name: str, change: Callable[[Any], Any], words: str, tmp_path: Path, cache: Path
) -> None:
    folder = tmp_path / "model"
    checkpoint(folder, "bytes")
    changed(folder, name, change)
    with pytest.raises(EvolError) as caught:
        found(folder)
    assert words in caught.value.message
    if "expected an object" not in words:
        assert "evol serve" in caught.value.hint
        assert "--base-url" in caught.value.hint
    assert not list(cache.glob("checkpoint-*.gguf*"))


def test_hostile_weights(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    checkpoint(folder, "bytes")
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])

    def refused(raw: bytes | None) -> str:
        path.unlink()
        if raw is not None:
            path.write_bytes(raw)
        with pytest.raises(EvolError) as caught:
            found(folder)
        return caught.value.message

    def written(told: Mapping[str, Any]) -> bytes:
        raw = json.dumps(told).encode()
        return len(raw).to_bytes(8, "little") + raw + whole[8 + size :]

    name = "model.norm.weight"
    assert "is cut off at" in refused(whole[:-100])
    assert "no safetensors file" in refused(b"\xff" * 100)
    assert "a tensor evil" in refused(written({**header, "evil": header[name]}))
    assert "is F64" in refused(written({**header, name: {**header[name], "dtype": "F64"}}))
    assert "is cut off at" in refused(written({**header, name: {**header[name], "data_offsets": [-64, 192]}}))
    assert "the weights lack output_norm.weight" in refused(written({k: v for k, v in header.items() if k != name}))
    path.write_bytes(b"")
    assert "no .safetensors files" in refused(None)


def test_too_large_for_sixteen_bits(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    checkpoint(folder, "bytes")
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][3, 4] = 70000.0
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(EvolError, match=r"lm_head\.weight holds values that 16 bits can't"):
        found(folder)


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    checkpoint(folder, "bytes")

    class Full:
        def __init__(self, *args: Any) -> None: ...
        def hear(self) -> dict[str, Any]:
            return {"errno": 28, "message": "No space left on device"}

        def stop(self) -> str:
            return "exit code 0"

    monkeypatch.setattr(converted, "Child", Full)
    with pytest.raises(EvolError, match="the disk is full") as caught:
        found(folder)
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_a_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    checkpoint(folder, "bytes")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "gguf" else object())
    with pytest.raises(EvolError, match="needs gguf") as caught:
        found(folder)
    assert caught.value.hint == "pip install 'evollab[local,serve]'"


def test_the_child_reports_what_went_wrong(tmp_path: Path) -> None:
    heard: list[Mapping[str, Any]] = []
    hf_gguf.main({"source": str(tmp_path), "target": str(tmp_path / "x"), "template": ""}, heard.append)
    assert heard == [{"errno": 2, "message": "No such file or directory"}]
