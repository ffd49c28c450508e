"""A checkpoint by transformers and torch: rendered by its format, decoded by our own continuous batching."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evollab.chat import Renderer
from evollab.llm.local import cores
from evollab.records import EvolError, Message
from evollab.serve.engine import Ask, Delta, EngineFailed, Prompt, Refused, too_long
from evollab.serve.extra import require
from evollab.serve.options import EngineOptions
from evollab.serve.tokentext import TokenTexts
from evollab.serve.writer import Writer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_SLOTS = 8
_CONTEXT = 4096
_LONG = 20_000
"""Characters that take some ten milliseconds to code."""
_TOLERANCE = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.25}
"""How far logits may be off, against their own spread, when a batch is computed in place of a single text."""


class Transformers:
    """An engine (see `evollab.serve.engine.Engine`) over a model of transformers."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, name: str, identity: str, format: str,
        slots: int = _SLOTS, context: int = 0,
    ) -> None:  # fmt: skip
        """Must be made on the event loop that it will serve. context: 0 for the model's own, at most 4,096.
        Raises EvolError for a model that the batch does not compute rightly."""
        from evollab.serve.batch import Batch

        self.name, self.slots = name, slots
        self.context = context_of(model, context)
        self._tokenizer = tokenizer
        self._renderer = Renderer(tokenizer, format)
        self._texts = TokenTexts(tokenizer)
        self._longest = max(map(len, tokenizer.get_vocab()))  # characters that one token may stand for
        self._coding = asyncio.Lock()
        dtype = str(model.dtype).removeprefix("torch.")
        self.fingerprint = f"{identity}-{dtype}"
        self.about = f"transformers, {dtype} on {model.device.type}, format {format}"
        size = int(model.config.get_text_config().vocab_size)
        if len(tokenizer) > size:
            raise EvolError(f"{name}: the tokenizer has {len(tokenizer)} tokens, the model only {size}")
        check_model(model, self.context)
        self._batch = Batch(model, ends=ends_of(model, tokenizer), rows=slots, context=self.context, texts=self._texts)

    def waiting(self) -> int:
        return self._batch.waiting()

    def busy(self) -> int:
        """Rows in use."""
        return self._batch.busy()

    def close(self) -> None:
        self._batch.close()

    def check(self, prompts: Sequence[Prompt], ask: Ask) -> None:
        if self._batch.ended():
            raise EngineFailed("the engine has ended")
        size = len(self._tokenizer)
        for token in ask.sampling.bias:
            if token >= size:
                raise Refused(f"logit_bias: {token} is no token; the vocabulary has {size}", param="logit_bias")
        for prompt in prompts:
            for one in prompt:
                if isinstance(one, int) and one >= size:
                    raise Refused(f"prompt: {one} is no token; the vocabulary has {size}", param="prompt")

    async def generate(self, prompt: Prompt, ask: Ask) -> AsyncGenerator[Delta, None]:
        from evollab.serve.batch import Job

        said = bool(prompt) and isinstance(prompt[0], Message)
        ids = await self._read(prompt)
        room = self.context - len(ids)
        limit = room if ask.max_tokens is None else min(ask.max_tokens, room)
        if limit < 0 or (limit == 0 and ask.max_tokens != 0):
            raise too_long(len(ids), self.context, "messages" if said else "prompt")
        text = (prompt if isinstance(prompt, str) else self._decode(ids)) if ask.echo else ""
        news: asyncio.Queue[Delta | EngineFailed] = asyncio.Queue()
        writer = Writer(self._decode, ids, ask.stop, trim=said, offset=len(text))
        offsets = self._texts.offsets(ids, text) if ask.echo and ask.top is not None else None
        job = Job(ids, ask, limit, writer, news.put_nowait, offsets)
        yield Delta(text, prompt_tokens=len(ids))
        self._batch.submit(job)
        try:
            while True:
                what = await news.get()
                if isinstance(what, EngineFailed):
                    raise what
                yield what
                if what.finish:
                    return
        finally:
            self._batch.cancel(job)

    async def _read(self, prompt: Prompt) -> list[int]:
        """The prompt's ids, without holding up others while a long text is coded. Raises Refused."""
        size = sum(len(one.content) if isinstance(one, Message) else 1 for one in prompt)
        if size > self.context * self._longest:
            raise Refused(
                f"This model's context is {self.context} tokens; the prompt has {size:,} characters. Shorten it.",
                param="prompt", code="context_length_exceeded",
            )  # fmt: skip
        if size < _LONG:
            return self._ids(prompt)
        async with self._coding:
            return await asyncio.to_thread(self._ids, prompt)

    def _ids(self, prompt: Prompt) -> list[int]:
        """The prompt as the model gets it. Raises Refused for a conversation that the format has no place for."""
        if isinstance(prompt, str):
            ids: list[int] = self._tokenizer(prompt).input_ids
        else:
            messages = [one for one in prompt if isinstance(one, Message)]
            if messages:
                try:
                    ids = self._renderer.render(messages, generation_prompt=True).ids
                except EvolError as error:
                    hint = f" ({error.hint})" if error.hint else ""
                    raise Refused(f"messages: {error.message}{hint}", param="messages") from None
            else:
                ids = [one for one in prompt if isinstance(one, int)]
        if not ids:
            raise Refused("an empty prompt: there is nothing to go on from", param="prompt")
        return ids

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def context_of(model: PreTrainedModel, wanted: int) -> int:
    """Tokens that prompt and answer may have together. Raises EvolError for more than the model knows."""
    config: Any = model.config.get_text_config()
    known = int(getattr(config, "max_position_embeddings", 0) or 0)
    if wanted and known and wanted > known:
        raise EvolError(f"--context {wanted}: the model was made for {known} tokens")
    return wanted or min(known or _CONTEXT, _CONTEXT)


def ends_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every id that ends an answer: those of the generation config (Llama 3 has several), and the tokenizer's EOS."""
    found: set[int] = set()
    for owner in (model.generation_config, model.config, tokenizer):
        ids = getattr(owner, "eos_token_id", None)
        found.update(ids if isinstance(ids, list) else [] if ids is None else [ids])
    return frozenset(found)


def check_model(model: PreTrainedModel, context: int) -> None:
    """Compute two short texts in the batch and on their own. Raises EvolError where that differs: a model whose
    layers the batch has no cache for, or which takes no mask or positions from outside."""
    import torch

    from evollab.serve.slots import Slots

    size = int(model.config.get_text_config().vocab_size)
    texts = [[(7 * n + start) % size for n in range(length)] for start, length in ((1, 9), (5, 4))]
    hint = "--engine vllm, or convert it to GGUF for the engine llamacpp"
    kind = model.config.model_type
    try:
        with torch.inference_mode():
            slots = Slots(model, 2, context)
            slots.forward(0, [text[:-2] for text in texts], [0, 0], whole=False)
            slots.forward(0, [text[-2:-1] for text in texts], [len(text) - 2 for text in texts], whole=False)
            got = slots.forward(0, [text[-1:] for text in texts], [len(text) - 1 for text in texts], whole=False)
            alone: Any = model
            want = [alone(input_ids=torch.tensor([text], device=model.device)).logits[0, -1] for text in texts]
    except (RuntimeError, TypeError, ValueError, AttributeError, LookupError, NotImplementedError) as error:
        first = str(error).partition("\n")[0][:200]
        raise EvolError(
            f"models of the kind {kind} can't be served by the engine transformers: {first}", hint
        ) from error
    tolerance = _TOLERANCE[str(model.dtype).removeprefix("torch.")]
    for one, other in zip(got, want, strict=True):
        off = float((one - other).float().abs().max() / other.float().std().clamp(min=1e-6))
        if off > tolerance:
            raise EvolError(
                f"models of the kind {kind} can't be served by the engine transformers: batched logits are off by "
                f"{off:.2g} standard deviations", hint
            )  # fmt: skip


def prepare() -> None:
    """Settings of the libraries, before they are imported. Threads that wait must sleep: spinning ones starve
    each other as soon as anything else uses a core (measured on two: 8 tokens/s in place of 80)."""
    for name, value in (
        ("OMP_WAIT_POLICY", "PASSIVE"), ("HF_HUB_DISABLE_TELEMETRY", "1"), ("TRANSFORMERS_VERBOSITY", "error"),
        ("TOKENIZERS_PARALLELISM", "false"),
    ):  # fmt: skip
        os.environ.setdefault(name, value)
    import torch
    from transformers.utils import logging

    quiet: Any = logging.disable_progress_bar  # untyped
    quiet()
    torch.set_num_threads(cores())


@contextlib.asynccontextmanager
async def opened(model: str, options: EngineOptions, say: Callable[[str], None]) -> AsyncIterator[Transformers]:
    """Load a checkpoint (a folder, a name on the hub, `smollm2`) and serve it while the block runs."""
    if (Path(model) / "adapter_config.json").is_file():
        require("transformers with an adapter")
    await asyncio.to_thread(prepare)
    from evollab.train.checkpoint import identity, load_tokenizer

    say(f"loading {model}")
    tokenizer = await asyncio.to_thread(load_tokenizer, model)
    form = options.format
    if form == "auto":
        form = "model" if tokenizer.chat_template else "vicuna"
        if form == "vicuna":
            say("the tokenizer has no chat template: --format vicuna is taken")
    loaded = await asyncio.to_thread(load, model, options.dtype)
    digest = await asyncio.to_thread(identity, model)
    engine = Transformers(
        loaded, tokenizer, name=options.name or name_of(model), identity=digest, format=form,
        slots=options.max_batch or _SLOTS, context=options.context,
    )  # fmt: skip
    try:
        yield engine
    finally:
        await asyncio.to_thread(engine.close)


def load(model: str, dtype: str) -> PreTrainedModel:
    """The model on the device there is, in the number format asked for, ready to answer."""
    from evollab.train.checkpoint import load_model
    from evollab.train.machine import device, precision

    kind = torch_dtype(precision(dtype))
    loaded = load_model(model, dtype=kind)
    config: Any = loaded.config.get_text_config()
    if getattr(config, "attn_logit_softcapping", None):
        loaded.set_attn_implementation("eager")  # the fast kernels leave the soft cap out
    model_: Any = loaded  # `eval` and `to` are untyped
    ready: PreTrainedModel = model_.eval().to(device())
    return ready


def torch_dtype(name: str) -> torch.dtype:
    import torch

    return torch.bfloat16 if name == "bf16" else torch.float32


def name_of(model: str) -> str:
    """What a model is called when nobody says: the end of its path, or of its name on the hub."""
    parts = [part for part in model.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return parts[-1] if parts else "model"
