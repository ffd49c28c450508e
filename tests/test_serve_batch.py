"""Continuous batching: the same answers alone and together, joining, leaving, cancelled, on several architectures."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra `serve`")
pytest.importorskip("transformers", reason="needs the extra `serve`")

import torch

from evollab.records import EvolError, Message
from evollab.serve import batch, transformers_engine
from evollab.serve.engine import Ask, Delta, EngineFailed, Prompt, Refused, Sampling
from evollab.serve.transformers_engine import Transformers, check_model, context_of, ends_of
from tests import tiny

GREEDY = Sampling(temperature=0)
QUESTIONS = (
    "Add 12 and 30.",
    "What is the capital of France?",
    "Write a function.",
    "Step 1: look at the first number",
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@contextlib.asynccontextmanager
async def engine(
    kind: tiny.Kind = "bytes", model: Any = None, *, slots: int = 8, context: int = 0, format: str = "vicuna"
) -> AsyncIterator[Transformers]:
    tokenizer = tiny.tokenizer(kind)
    made = Transformers(
        model or tiny.model(tokenizer),
        tokenizer,
        name="tiny",
        identity="x",
        format=format,
        slots=slots,
        context=context,
    )
    try:
        yield made
    finally:
        await asyncio.to_thread(made.close)


async def whole(made: Transformers, prompt: Prompt, ask: Ask) -> tuple[str, Delta, list[Delta]]:
    """The text, the last delta, all deltas."""
    deltas = [delta async for delta in made.generate(prompt, ask)]
    return "".join(delta.text for delta in deltas), deltas[-1], deltas


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        return await asyncio.wait_for(work(), 120)

    return asyncio.run(main())


def by_transformers(model: Any, tokenizer: Any, prompt: str, count: int) -> str:
    """What plain `generate` makes of it."""
    ids = torch.tensor([tokenizer(prompt).input_ids])
    made = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=count)
    return str(tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True))


def architectures() -> dict[str, Any]:
    """Tiny models of other kinds: learned positions, one key head, windows, soft caps, mixed layers."""
    import transformers as t

    size = {"vocab_size": tiny.VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256}
    both = {**size, **heads, "bos_token_id": None, "eos_token_id": 0, "pad_token_id": 0}
    gpt = {
        "vocab_size": tiny.VOCABULARY,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 256,
        "eos_token_id": 0,
    }
    mixed = ["sliding_attention", "full_attention"]
    return {
        "llama": t.LlamaConfig(**both),
        "mistral with a window": t.MistralConfig(**both, sliding_window=8),
        "gemma2 with soft caps": t.Gemma2Config(
            **both, head_dim=8, sliding_window=8, layer_types=mixed, attn_logit_softcapping=5.0
        ),
        "qwen2": t.Qwen2Config(**both),
        "qwen3": t.Qwen3Config(**both, head_dim=8),
        "starcoder2": t.Starcoder2Config(**both, sliding_window=8),
        "gpt2": t.GPT2Config(**gpt),
        "gpt_bigcode": t.GPTBigCodeConfig(**gpt, multi_query=True),
        "gpt_neox": t.GPTNeoXConfig(**both),
    }


def of(config: Any) -> Any:
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made: Any = AutoModelForCausalLM.from_config(config)
    if getattr(config, "attn_logit_softcapping", None):
        made.set_attn_implementation("eager")
    return made.eval()


@pytest.mark.parametrize("kind", list(architectures()))
def test_greedy_is_what_transformers_makes_alone_and_together(kind: str) -> None:
    tokenizer = tiny.tokenizer("bytes")
    model = of(architectures()[kind])
    want = [by_transformers(model, tokenizer, prompt, 24) for prompt in QUESTIONS]

    async def work() -> None:
        async with engine(model=model, slots=3) as made:  # fewer than prompts: one has to wait
            ask = Ask(GREEDY, max_tokens=24)
            together = await asyncio.gather(*[whole(made, prompt, ask) for prompt in QUESTIONS])
            assert [text for text, _, _ in together] == want
            alone, last, _ = await whole(made, QUESTIONS[0], ask)
            assert alone == want[0]
            assert last.finish in ("length", "stop")
            assert made.busy() == made.waiting() == 0

    run(work)


def test_models_that_the_batch_cannot_compute_are_refused() -> None:
    import transformers as t

    bloom = t.BloomConfig(vocab_size=tiny.VOCABULARY, hidden_size=32, n_layer=2, n_head=4, eos_token_id=0)
    mamba = t.MambaConfig(vocab_size=tiny.VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4, eos_token_id=0)
    for config in (bloom, mamba):
        with pytest.raises(EvolError, match=f"of the kind {config.model_type} can't be served") as caught:
            check_model(of(config), 64)
        assert "vllm" in caught.value.hint


def test_seeds_give_the_same_text_alone_and_together() -> None:
    async def work() -> None:
        async with engine() as made:
            asks = [Ask(Sampling(temperature=1.2, seed=seed), max_tokens=30) for seed in (1, 2, 3, 1)]
            alone = [(await whole(made, QUESTIONS[0], ask))[0] for ask in asks]
            together = [text for text, _, _ in await asyncio.gather(*[whole(made, QUESTIONS[0], ask) for ask in asks])]
            assert alone == together
            assert alone[0] == alone[3]
            assert len(set(alone)) == 3

    run(work)


def test_answers_go_on_side_by_side() -> None:
    """Eight answers: each has begun before any has ended, and each step brings a token of every one."""
    order: list[int] = []

    async def follow(made: Transformers, number: int) -> None:
        ask = Ask(Sampling(seed=number, bias={0: -100.0}), max_tokens=100)
        async for delta in made.generate(QUESTIONS[number % 4], ask):
            if delta.text:
                order.append(number)

    async def work() -> None:
        async with engine() as made:
            await asyncio.gather(*[follow(made, number) for number in range(8)])

    run(work)
    firsts = [order.index(number) for number in range(8)]
    lasts = [len(order) - 1 - order[::-1].index(number) for number in range(8)]
    assert max(firsts) < min(lasts)
    middle = order[len(order) // 4 : len(order) // 2]
    assert set(middle) == set(range(8))
    assert sum(one != other for one, other in itertools.pairwise(middle)) > len(middle) // 2


def test_a_closed_stream_frees_its_row() -> None:
    """Cancelled while it is made, while it waits, and while its prompt is read."""

    async def work() -> None:
        async with engine(slots=1) as made:
            long = Ask(Sampling(bias={0: -100.0}), max_tokens=400)
            first = made.generate(QUESTIONS[0], long)
            while not (await anext(first)).text:
                pass
            waits = asyncio.create_task(whole(made, QUESTIONS[1], long))
            behind = asyncio.create_task(whole(made, QUESTIONS[2], Ask(GREEDY, max_tokens=5)))
            await asyncio.sleep(0.05)
            assert made.busy() == 1
            assert made.waiting() == 2
            waits.cancel()
            await first.aclose()
            _, last, _ = await behind  # gets the row long before 400 tokens were made
            assert last.finish
            with pytest.raises(asyncio.CancelledError):
                await waits
            assert made.busy() == made.waiting() == 0

    run(work)


def test_a_failing_step_ends_its_answers_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model(tiny.tokenizer("bytes"))
    broken = False
    forward = model.forward

    def sometimes(*args: Any, **kwargs: Any) -> Any:
        if broken:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return forward(*args, **kwargs)

    async def work() -> None:
        nonlocal broken
        async with engine(model=model) as made:
            want, _, _ = await whole(made, QUESTIONS[0], Ask(GREEDY, max_tokens=8))
            monkeypatch.setattr(model, "forward", sometimes)
            broken = True
            with pytest.raises(EngineFailed, match="out of memory: fewer answers"):
                await whole(made, QUESTIONS[0], Ask(GREEDY, max_tokens=8))
            broken = False
            assert (await whole(made, QUESTIONS[0], Ask(GREEDY, max_tokens=8)))[0] == want

    run(work)


def test_a_closed_engine_says_so() -> None:
    async def work() -> None:
        async with engine() as made:
            pass
        with pytest.raises(EngineFailed, match="has ended"):
            await whole(made, QUESTIONS[0], Ask(GREEDY, max_tokens=8))

    run(work)


def test_log_probs_are_those_of_a_plain_forward_pass() -> None:
    tokenizer = tiny.tokenizer("llama")
    model = tiny.model(tokenizer).eval()
    text = "The capital of France is Paris: \u00e9t\u00e9 12 + 30"
    ids = tokenizer(text).input_ids
    with torch.no_grad():
        plain = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], dim=-1)

    async def work() -> list[list[Delta]]:
        async with engine("llama", model) as made:
            asks = [Ask(GREEDY, max_tokens=count, top=3, echo=True) for count in (1, 0)]
            # beside an answer under way, and beside one that wants no log-probs
            others = [whole(made, QUESTIONS[0], Ask(Sampling(seed=1), max_tokens=20)) for _ in range(2)]
            results = await asyncio.gather(whole(made, text, asks[0]), whole(made, tuple(ids), asks[1]), *others)
            return [deltas for _, _, deltas in results[:2]]

    for deltas, more in zip(run(work), (1, 0), strict=True):
        chances = [chance for delta in deltas for chance in delta.chances]
        assert len(chances) == len(ids) + more
        assert chances[0].token.logprob is None
        assert chances[0].top == ()
        for place, chance in enumerate(chances[1 : len(ids)], 1):
            assert chance.token.logprob == pytest.approx(plain[place - 1, ids[place]].item(), abs=1e-4)
            best = plain[place - 1].topk(3)
            assert [one.logprob for one in chance.top] == pytest.approx(best.values.tolist(), abs=1e-4)
        assert deltas[0].text == text
        offsets = [chance.offset for chance in chances]
        assert offsets == sorted(offsets)
        assert deltas[-1].tokens == more
        assert deltas[-1].finish == "length"
        if more:
            assert chances[-1].offset == len(text)
            assert chances[-1].token.logprob == pytest.approx(plain[-1].max().item(), abs=1e-4)


def test_log_probs_of_long_prompts_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_CHUNK_CPU", 7)
    tokenizer = tiny.tokenizer("bytes")
    model = tiny.model(tokenizer).eval()
    prompts = [tuple(tokenizer(text * 3).input_ids) for text in QUESTIONS]

    async def work() -> Any:
        async with engine(model=model) as made:
            return await asyncio.gather(
                *[whole(made, ids, Ask(GREEDY, max_tokens=1, top=1, echo=True)) for ids in prompts]
            )

    for ids, (_, _, deltas) in zip(prompts, run(work), strict=True):
        with torch.no_grad():
            plain = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], dim=-1)
        got = [chance.token.logprob for delta in deltas for chance in delta.chances]
        assert got[1 : len(ids)] == pytest.approx([plain[n - 1, ids[n]].item() for n in range(1, len(ids))], abs=1e-4)


def test_any_coming_and_going_gives_the_same_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts of all lengths, read in small pieces, many sharing their beginning, some scored, some cancelled."""
    monkeypatch.setattr(batch, "_CHUNK_CPU", 16)
    chance = random.Random(5)
    beginnings = [[chance.randrange(3, tiny.VOCABULARY) for _ in range(30)] for _ in range(3)]
    prompts = [
        tuple(
            chance.choice(beginnings)[: chance.randrange(31)]
            + [chance.randrange(3, 400) for _ in range(chance.randrange(1, 40))]
        )
        for _ in range(40)
    ]
    asks = [
        Ask(
            Sampling(temperature=chance.choice((0.0, 0.8)), seed=number), max_tokens=chance.choice((0, 1, 7, 25)),
            top=chance.choice((None, None, 2)), echo=chance.random() < 0.3,
        )
        for number in range(40)
    ]  # fmt: skip

    async def work() -> None:
        async with engine(slots=5) as made:

            async def one(number: int, patience: int | None) -> str | None:
                said = ""
                async with contextlib.aclosing(made.generate(prompts[number], asks[number])) as deltas:
                    async for delta in deltas:
                        said += delta.text
                        if patience is not None and (patience := patience - 1) < 0:
                            return None
                return said

            alone = []
            for number in range(40):
                made._batch._prefixes.clear()
                alone.append(await one(number, None))
            for _ in range(2):
                patience = [chance.randrange(6) if chance.random() < 0.3 else None for _ in range(40)]
                together = await asyncio.gather(*[one(number, patience[number]) for number in range(40)])
                assert [got for got in together if got is not None]
                assert all(got in (None, want) for got, want in zip(together, alone, strict=True))
                for _ in range(3000):
                    if not made.busy():
                        break
                    await asyncio.sleep(0.01)
                assert not made.busy()

    run(work)


def test_the_beginning_of_a_conversation_is_not_read_twice() -> None:
    model = tiny.model(tiny.tokenizer("bytes"))
    read: list[int] = []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    turns = (Message("user", "Add 12 and 30, step by step, and say what the sum of them is."),)

    async def work() -> None:
        async with engine(model=model) as made:
            ask = Ask(GREEDY, max_tokens=6)
            read.clear()
            said, _, deltas = await whole(made, turns, ask)
            first = max(read)
            read.clear()
            more = (*turns, Message("assistant", said), Message("user", "And 1?"))
            again, _, other = await whole(made, more, ask)
            assert max(read) < first / 2, "only the new turn is read"
            assert other[0].prompt_tokens > deltas[0].prompt_tokens
            made._batch._prefixes.clear()
            assert (await whole(made, more, ask))[0] == again

    run(work)


def test_every_end_of_the_generation_config_ends_an_answer() -> None:
    tokenizer = tiny.tokenizer("chatml")
    model = tiny.model(tokenizer)
    model.generation_config.eos_token_id = [7, 9]
    assert ends_of(model, tokenizer) == {7, 9, tokenizer.eos_token_id}

    async def work() -> None:
        async with engine("chatml", model) as made:
            for end in (7, 9, tokenizer.eos_token_id):
                text, last, _ = await whole(made, QUESTIONS[0], Ask(Sampling(temperature=0, bias={end: 100.0})))
                assert (text, last.finish, last.tokens) == ("", "stop", 1)

    run(work)


def test_stop_strings_across_tokens() -> None:
    async def work() -> None:
        async with engine() as made:
            varied = Sampling(seed=3, bias={0: -100.0})
            text, _, pieces = await whole(made, QUESTIONS[0], Ask(varied, max_tokens=30))
            place = len(pieces[1].text) + len(pieces[2].text) - 1  # from within one token into the next ones
            stop = text[place : place + 6]
            assert text.index(stop) == place
            cut, last, deltas = await whole(made, QUESTIONS[0], Ask(varied, max_tokens=30, stop=("never", stop)))
            assert cut == text[:place]
            assert "".join(delta.text for delta in deltas) == cut
            assert last.finish == "stop"
            assert last.tokens < 30

    run(work)


def test_the_context_is_the_end() -> None:
    async def work() -> None:
        async with engine(context=64) as made:
            assert made.context == 64
            long = Ask(Sampling(bias={0: -100.0}))
            _, last, deltas = await whole(made, QUESTIONS[0], long)
            assert last.finish == "length"
            assert deltas[0].prompt_tokens + last.tokens == 64
            with pytest.raises(Refused, match="64 tokens; the prompt has 64") as caught:
                await whole(made, tuple([5] * 64), long)
            assert caught.value.code == "context_length_exceeded"
            _, last, _ = await whole(made, tuple([5] * 63), long)
            assert last.tokens == 1
            # scored alone, a prompt may fill it all
            _, last, deltas = await whole(made, tuple([5] * 64), Ask(max_tokens=0, top=0, echo=True))
            assert sum(len(delta.chances) for delta in deltas) == 64
            with pytest.raises(Refused, match="the prompt has 65"):
                await whole(made, tuple([5] * 65), Ask(max_tokens=0))

    run(work)


def test_ids_without_a_token_and_tokens_without_an_id() -> None:
    """Vocabularies are padded: the model may say an id that the tokenizer doesn't have. The other way is a mistake."""
    import transformers as t

    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}

    async def work() -> None:
        async with engine(model=of(t.LlamaConfig(vocab_size=tiny.VOCABULARY + 64, **size))) as made:
            ask = Ask(Sampling(bias=dict.fromkeys(range(tiny.VOCABULARY), -100.0)), max_tokens=12, top=2)
            text, last, deltas = await whole(made, QUESTIONS[0], ask)
            assert (text, last.tokens) == ("", 12)
            assert all(chance.token.text == "" for delta in deltas for chance in delta.chances)
        with pytest.raises(EvolError, match="the tokenizer has 432 tokens, the model only 400"):
            async with engine(model=of(t.LlamaConfig(vocab_size=400, **size))):
                pass

    run(work)


def test_what_is_asked_for_the_context() -> None:
    model = tiny.model(tiny.tokenizer("bytes"), length=512)
    assert context_of(model, 0) == 512
    assert context_of(model, 100) == 100
    with pytest.raises(EvolError, match="--context 513: the model was made for 512 tokens"):
        context_of(model, 513)


def test_conversations_in_their_format(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with engine("llama") as made:
            one = (Message("user", "Hi"),)
            system = (Message("system", "Answer in one word, always."), *one)
            _, _, plain = await whole(made, one, Ask(GREEDY, max_tokens=1))
            ids = made._ids(system)
            assert tiny.tokenizer("llama").decode(ids).startswith("<s>Answer in one word, always. USER: Hi ASSISTANT:")
            assert plain[0].prompt_tokens == len(made._ids(one))
            for wrong in ((*one, Message("assistant", "x")), (*one, *one)):
                with pytest.raises(Refused) as caught:
                    await whole(made, wrong, Ask())
                assert caught.value.status == 400
            with pytest.raises(Refused, match="512 tokens; the prompt has 99,999 characters"):
                await whole(made, "x" * 99_999, Ask())
            with pytest.raises(Refused, match="512 tokens; the prompt has 3000"):
                await whole(made, "12" * 1500, Ask())
            monkeypatch.setattr(transformers_engine, "_LONG", 2)
            _, _, again = await whole(made, one, Ask(GREEDY, max_tokens=1))
            assert again == plain, "long texts are read beside the event loop, to the same ids"
            with pytest.raises(Refused, match="empty prompt"):
                await whole(made, (), Ask())
        async with engine("llama", format="alpaca") as made:
            with pytest.raises(Refused, match="system message has no place in the format alpaca"):
                await whole(made, system, Ask())

    run(work)


def test_control_tokens_in_messages_are_text() -> None:
    async def work() -> None:
        async with engine("chatml", format="model") as made:
            tokenizer = tiny.tokenizer("chatml")
            ids = made._ids((Message("user", "say <|im_end|> now"),))
            assert ids.count(tokenizer.eos_token_id) == 1
            assert "say <|im_end|> now" in tokenizer.decode(ids)

    run(work)


def test_tokens_that_do_not_exist() -> None:
    async def work() -> None:
        async with engine() as made:
            with pytest.raises(Refused, match=f"{tiny.VOCABULARY} is no token"):
                made.check(((1, tiny.VOCABULARY),), Ask())
            with pytest.raises(Refused, match="logit_bias: 99999 is no token"):
                made.check((), Ask(Sampling(bias={99999: 1.0})))

    run(work)
