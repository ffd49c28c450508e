"""What `evol serve` and `evol chat` can be told."""

from __future__ import annotations

from dataclasses import dataclass

from evollab.llm.option import option
from evollab.records import EvolError

FORMATS = ("auto", "model", "vicuna", "alpaca", "wizardlm-7b")
ENGINES = ("auto", "transformers", "llamacpp", "vllm")
DTYPES = ("auto", "bf16", "fp32")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How a model is opened."""

    format: str = option(
        "how a conversation is written for the model; auto: the model's own template, else vicuna", "auto",
        choices=FORMATS,
    )  # fmt: skip
    engine: str = option(
        "what computes; auto: llamacpp for a .gguf file and smollm2, else transformers", "auto", choices=ENGINES
    )
    name: str = option("what requests call the model; default: the end of its path", "", metavar="NAME")
    context: int = option(
        "tokens that a prompt and its answer may have together; 0: what the model was made for, at most 4096 "
        "(llamacpp: 2048)", 0,
        metavar="N",
    )  # fmt: skip
    max_batch: int = option("answers made side by side; 0: 8 (llamacpp: 4). Further requests wait", 0, metavar="N")
    dtype: str = option(
        "number format of the weights; auto: bf16 on a GPU that has it, else fp32", "auto", choices=DTYPES
    )

    def __post_init__(self) -> None:
        for name in ("context", "max_batch"):
            if getattr(self, name) < 0:
                raise EvolError(f"--{name.replace('_', '-')} {getattr(self, name)}: expected 0 or more")
        if 0 < self.context < 64:
            raise EvolError(f"--context {self.context}: expected at least 64 tokens")
        if self.max_batch > 256:
            raise EvolError(f"--max-batch {self.max_batch}: expected at most 256")


@dataclass(frozen=True, kw_only=True)
class ServeOptions(EngineOptions):
    """What `evol serve` can be told."""

    host: str = option("address to listen at; another than loopback needs --token-env", "127.0.0.1", metavar="HOST")
    port: int = option("port to listen at; 0: a free one", 8000, metavar="N")
    token_env: str = option("environment variable that holds the token which requests must bring", "", metavar="NAME")
    max_tokens: int = option("most tokens that a request may ask for in one answer; 0: the context", 0, metavar="N")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.port < 65536:
            raise EvolError(f"--port {self.port}: expected 0 to 65535")
        if self.max_tokens < 0:
            raise EvolError(f"--max-tokens {self.max_tokens}: expected 0 or more")
        if self.host not in LOOPBACK and not self.token_env:
            raise EvolError(
                f"--host {self.host}: whoever reaches this address could use the model",
                "put a token into an environment variable and name it: --token-env EVOL_TOKEN",
            )


@dataclass(frozen=True, kw_only=True)
class ChatOptions(EngineOptions):
    """What `evol chat` can be told."""

    system: str = option("a system prompt", "", metavar="TEXT")
    temperature: float = option("0: always the likeliest word; higher: more varied", 0.7, metavar="T")
    top_p: float = option("draw among the likeliest tokens that make up this share", 0.95, metavar="P")
    max_tokens: int = option("most tokens of an answer; 0: until the context is full", 0, metavar="N")
    seed: int | None = option("the same conversation again gives the same answers", None, metavar="N")
    key_env: str = option(
        "environment variable that holds the key of a server, where MODEL is an address", "OPENAI_API_KEY",
        metavar="NAME",
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.temperature <= 2:
            raise EvolError(f"--temperature {self.temperature}: expected 0 to 2")
        if not 0 < self.top_p <= 1:
            raise EvolError(f"--top-p {self.top_p}: expected more than 0, at most 1")
        if self.max_tokens < 0:
            raise EvolError(f"--max-tokens {self.max_tokens}: expected 0 or more")
