"""Whose model is it? Judges prefer the answers of their own family (Zheng et al. 2023, 2306.05685; Panickssery et al.
2024, 2404.13076)."""

from __future__ import annotations

import re

FAMILIES = {
    "OpenAI": ("gpt", "chatgpt", "davinci", "o1", "o3", "o4", "openai"),
    "Anthropic": ("claude", "anthropic"),
    "Meta": ("llama", "codellama", "vicuna", "alpaca", "wizardlm", "guanaco", "koala", "tulu"),
    "Alibaba": ("qwen", "qwq"),
    "Google": ("gemini", "gemma", "palm", "bard"),
    "Mistral": ("mistral", "mixtral", "ministral", "codestral", "zephyr", "magistral"),
    "DeepSeek": ("deepseek",),
    "Microsoft": ("phi", "orca"),
    "xAI": ("grok",),
    "01.AI": ("yi",),
    "Cohere": ("command", "aya"),
    "Zhipu": ("glm", "chatglm"),
    "Moonshot": ("kimi",),
    "SmolLM": ("smollm", "smollm2", "smollm3"),
}
"""Families by the words that their models' names begin with; models trained from another's weights count as its own."""
_SETS = re.compile(r"(?:alpaca|vicuna|wizardlm|mt)[_-]?(?:eval|farm|bench|testset)")
"""Benchmarks, in names of files of answers: they say nothing of whose the answers are."""
_LOOKED_AT = 200


def family(model: str) -> str | None:
    """The family that a model's name speaks of; None where it says nothing. "openai:" in front is a protocol, no
    family."""
    name = _SETS.sub("", model[:_LOOKED_AT].casefold())
    provider, colon, rest = name.partition(":")
    words = re.findall(r"[a-z]+|\d+", rest if colon and rest and "/" not in provider else name)
    joined = [word + (words[at + 1] if at + 1 < len(words) else "") for at, word in enumerate(words)]
    for one, two in zip(words, joined, strict=True):
        for named, beginnings in FAMILIES.items():
            if one in beginnings or two in beginnings:
                return named
    return None


def self_family(judge: str, *models: str) -> str | None:
    """A sentence for people where the judge is of one family with a model that it judges, else None."""
    own = family(judge)
    same = [model for model in models if model and family(model) == own]
    if own is None or not same:
        return None
    return (
        f"the judge {judge} and {' and '.join(same)} are of one family ({own}): judges favour their own, so let one of "
        "another family judge as well"
    )
