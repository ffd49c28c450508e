"""Models and tokenizers so small that training them takes a moment; made on the spot, nothing is fetched.

tokenizer("llama")    SentencePiece-like BPE with byte fallback; adds BOS; no template of its own
tokenizer("bytes")    byte-level BPE as of GPT-2: no BOS, EOS is the padding too
tokenizer("chatml")   byte-level BPE with split digits, EOS <|im_end|> and another padding, a ChatML template
model(tokenizer)      a Llama of 100,000 parameters, random, the same for a seed
checkpoint(folder)    both, saved as a folder that `--base` takes
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import orjson

Kind = Literal["llama", "bytes", "chatml"]
KINDS: tuple[Kind, ...] = ("llama", "bytes", "chatml")
VOCABULARY = 432
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_TEXT = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions.",
    "USER: What is the capital of France? ASSISTANT: The capital of France is Paris.",
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.",
    "### Instruction:\nAdd 12 and 30.\n\n### Response: The sum of 12 and 30 is 42.",
    "Write a function that says which number is the greatest of a list, step by step.",
    "Step 1: look at the first number. Step 2: compare it with the others. The answer is 7.",
)


@cache
def tokenizer(kind: Kind = "llama") -> Any:
    """A tokenizer of that kind, of VOCABULARY tokens. Shared between tests: copy it before changing it."""
    return {"llama": _llama, "bytes": _bytes, "chatml": _chatml}[kind]()


def _trained(backend: Any, special: list[str], alphabet: list[str]) -> Any:
    from tokenizers import trainers

    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(_TEXT, trainer)
    return backend


def _llama() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaTokenizer

    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    backend = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    learnt = orjson.loads(_trained(backend, ["<unk>", "<s>", "</s>", *bytes_], []).to_str())["model"]
    merges = [tuple(merge) for merge in learnt["merges"]]
    return LlamaTokenizer(vocab=learnt["vocab"], merges=merges, add_bos_token=True)


def _byte_level(special: list[str], digits: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    backend = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    split = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level])
    backend.pre_tokenizer = split if digits else level
    backend.decoder = decoders.ByteLevel()
    return _trained(backend, special, pre_tokenizers.ByteLevel.alphabet())


def _bytes() -> Any:
    from transformers import PreTrainedTokenizerFast

    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=_byte_level([end], False), eos_token=end, pad_token=end)


def _chatml() -> Any:
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<|im_start|>", "<|im_end|>"]
    made = PreTrainedTokenizerFast(
        tokenizer_object=_byte_level(special, True), eos_token="<|im_end|>", pad_token="<pad>",
        additional_special_tokens=["<|im_start|>"],
    )  # fmt: skip
    made.chat_template = CHATML
    return made


def model(tokenizer: Any, seed: int = 0, *, length: int = 512, head: str = "causal", labels: int = 1) -> Any:
    """A random Llama for this tokenizer: 2 layers, hidden 64. head: causal, sequence or token, the last
    two with `labels` outputs."""
    import torch
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        LlamaForSequenceClassification,
        LlamaForTokenClassification,
    )

    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=length, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **({} if head == "causal" else {"num_labels": labels}),
    )  # fmt: skip
    heads = {"sequence": LlamaForSequenceClassification, "token": LlamaForTokenClassification}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return heads.get(head, LlamaForCausalLM)(config)


def checkpoint(folder: Path, kind: Kind = "llama", seed: int = 0, *, length: int = 512) -> Path:
    """The tiny model with its tokenizer in `folder`, as `save_pretrained` writes them."""
    made = tokenizer(kind)
    model(made, seed, length=length).save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


def sums(count: int) -> list[dict[str, str]]:
    """Rows that can be learnt by heart: {"instruction", "output"}."""
    return [
        {"instruction": f"Add {n} and {7 * n % 31}.", "output": f"The sum is {n + 7 * n % 31}."}
        for n in range(1, count + 1)
    ]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path
