"""Memory arithmetic: sizes against what was published, needs against sums made by hand, and what must hold of any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evollab.records import EvolError
from evollab.train.launch import OFFLOADS
from evollab.train.memory import GATHERED, GIB, SIZES, Size, need, table

SEVEN, THIRTEEN, SEVENTY = SIZES
SMALL = Size("small", 2, 8, 16, 4, 10)
sizes, counts, stages = st.sampled_from(SIZES), st.integers(1, 512), st.integers(0, 3)


def test_sizes_are_the_published_ones() -> None:
    """The number of weights in Llama 2's checkpoints."""
    assert [size.parameters for size in SIZES] == [6_738_415_616, 13_015_864_320, 68_976_648_192]


def test_a_small_model_counted_by_hand_and_by_torch() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    # Embedding and head 160; each layer q 64, k 32, v 32, o 64, feed-forward 384, norms 16; last norm 8.
    assert SMALL.parameters == 160 + 2 * (64 + 32 + 32 + 64 + 384 + 16) + 8
    config = LlamaConfig(
        vocab_size=10, hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=False, max_position_embeddings=8, pad_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    assert SMALL.parameters == sum(one.numel() for one in model.parameters())
    linear = [m for name, m in model.named_modules() if hasattr(m, "in_features") and "head" not in name]
    assert SMALL.adapters(3) == sum(3 * (one.in_features + one.out_features) for one in linear)


def test_needs_by_hand() -> None:
    weights = SEVEN.parameters
    assert need(SEVEN, 1, 0).states == pytest.approx(18 * weights / GIB)
    assert need(SEVEN, 8, 0).states == pytest.approx(22 * weights / GIB)
    assert need(SEVEN, 8, 1).states == pytest.approx((4 + 12 / 8) * weights / GIB)
    assert need(SEVEN, 8, 2).states == pytest.approx((2 + 14 / 8) * weights / GIB)
    assert need(SEVEN, 8, 3).states == pytest.approx((16 / 8 * weights + 2 * GATHERED) / GIB)
    half = need(SEVEN, 8, 3, offload="optimizer")
    assert half.states == pytest.approx((4 / 8 * weights + 2 * GATHERED) / GIB)
    assert half.host == pytest.approx(12 * weights / GIB)
    whole = need(SEVEN, 8, 3, offload="all")
    assert whole.states == pytest.approx((2 / 8 * weights + 2 * GATHERED) / GIB)
    assert whole.host == pytest.approx(14 * weights / GIB)
    # 2,048 tokens x 4,096 units x (2 bytes x 32 layers + 34) and the logits.
    assert need(SEVEN, 1, 0).activations == pytest.approx((2048 * 4096 * 98 + 12 * 2048 * 32_000) / GIB)
    adapters = need(SEVEN, 1, 0, lora_rank=16)
    assert adapters.states == pytest.approx((2 * weights + 18 * 39_976_960) / GIB), "peft counts 39,976,960"


@given(sizes, counts, stages, st.sampled_from(OFFLOADS), st.sampled_from((0, 16)))
def test_more_gpus_never_need_more_on_each(size: Size, gpus: int, zero: int, offload: str, rank: int) -> None:
    if not zero or gpus == 1:
        return
    less, more = (need(size, n, zero, offload=offload, lora_rank=rank) for n in (gpus, 2 * gpus))
    assert more.gpu <= less.gpu
    assert more.host == less.host, "what was moved is all of it, however many share it"


@given(sizes, st.integers(8, 512))
def test_each_stage_shares_more(size: Size, gpus: int) -> None:
    found = [need(size, gpus, zero).states for zero in range(4)]
    assert found == sorted(found, reverse=True)
    moved = [need(size, gpus, 3, offload=offload).states for offload in OFFLOADS]
    assert moved == sorted(moved, reverse=True)


@given(sizes, stages, st.integers(1, 8), st.sampled_from((512, 2048, 8192)))
def test_activations_grow_with_rows_and_their_length_alone(size: Size, zero: int, rows: int, tokens: int) -> None:
    one = need(size, 8, zero, tokens=tokens)
    many = need(size, 8, zero, tokens=tokens, micro_batch=rows)
    assert many.activations == pytest.approx(rows * one.activations)
    assert many.states == one.states


@pytest.mark.parametrize(("gpus", "zero"), [(0, 0), (1, 4), (1, -1)])
def test_wrong_numbers_are_refused(gpus: int, zero: int) -> None:
    with pytest.raises(EvolError, match="expected 1 or more, and 0 to 3"):
        need(SEVEN, gpus, zero)


def test_the_table_has_all() -> None:
    lines = table().splitlines()
    assert lines[0].split()[-3:] == ["7B", "13B", "70B"]
    assert len({len(line) for line in lines}) == 1
    assert lines[6].split()[-3:] == [f"{need(size, 8, 3).gpu:.0f}" for size in SIZES]
