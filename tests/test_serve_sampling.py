"""Drawing: the right distribution, the same draw for the same seed whoever else is in the batch."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the extra `serve`")

import torch

from evollab.serve.engine import Sampling
from evollab.serve.prefixes import Prefixes
from evollab.serve.sampling import adjust, draw


def expected(logits: list[float], sampling: Sampling) -> dict[int, float]:
    """The distribution by its definition: temperature, top_k, top_p, min_p."""
    scaled = [value / sampling.temperature for value in logits]
    top = max(scaled)
    weights = {place: math.exp(value - top) for place, value in enumerate(scaled)}
    order = sorted(weights, key=lambda place: -weights[place])
    if sampling.top_k:
        order = order[: sampling.top_k]
    total = sum(weights[place] for place in order)
    kept, mass = [], 0.0
    for place in order:
        if mass >= sampling.top_p and kept:
            break
        kept.append(place)
        mass += weights[place] / total
    kept = [place for place in kept if weights[place] >= sampling.min_p * weights[kept[0]]]
    total = sum(weights[place] for place in kept)
    return {place: weights[place] / total for place in kept}


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(), Sampling(temperature=0.5), Sampling(top_p=0.8), Sampling(top_k=3), Sampling(min_p=0.3),
        Sampling(top_k=5, top_p=0.7), Sampling(temperature=2.0, top_p=0.9, top_k=6, min_p=0.1), Sampling(top_k=1),
        Sampling(top_p=1e-9),
    ],
)  # fmt: skip
def test_the_distribution(sampling: Sampling) -> None:
    logits = [2.0, 1.5, 0.3, -1.0, 0.0, 1.0, -3.0, 0.7]
    want = expected(logits, sampling)
    count = 1000
    found = Counter[int]()
    for number in range(count):  # a grid in place of chance: no luck in the test
        (one,) = draw(torch.tensor([logits]), [sampling], [(number + 0.5) / count])
        found[one] += 1
    assert set(found) <= set(want)
    for place, share in want.items():
        assert abs(found[place] / count - share) < 2 / count + 1e-6


def test_cuts_beyond_the_candidates() -> None:
    """A flat distribution over more tokens than are sorted at first."""
    logits = torch.zeros(1, 5000)
    found = {draw(logits, [Sampling(top_p=0.9)], [number / 500])[0] for number in range(500)}
    assert len(found) == 500
    found = {draw(logits, [Sampling(top_k=3000)], [number / 500])[0] for number in range(500)}
    assert len(found) == 500


def test_temperature_zero_and_nearly_zero_take_the_likeliest() -> None:
    logits = torch.tensor([[0.0, 3.0, 2.999]])
    for temperature in (0.0, 1e-6):
        assert draw(logits, [Sampling(temperature=temperature)], [0.999]) == [1]


@given(seed=st.integers(0, 2**53), others=st.integers(1, 5), place=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_neighbours_change_nothing(seed: int, others: int, place: int) -> None:
    made = torch.Generator().manual_seed(seed % 1000)
    rows = torch.randn(others + 1, 50, generator=made)
    place = min(place, others)
    samplings = [Sampling(temperature=0.3 * (row + 1), top_p=1 - 0.1 * row, top_k=row) for row in range(others + 1)]
    numbers = [random.Random(seed + row).random() for row in range(others + 1)]
    alone = draw(rows[place : place + 1], [samplings[place]], [numbers[place]])
    assert draw(rows, samplings, numbers)[place] == alone[0]


def test_penalties_and_biases() -> None:
    logits = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    samplings = [Sampling(presence=0.5, frequency=0.25, bias={2: -100.0, 9: 5.0}), Sampling()]
    changed = adjust(logits, samplings, [Counter({0: 2, 1: 1}), Counter({0: 9})])
    assert changed.tolist() == [[0.0, 0.25, -99.0], [1.0, 1.0, 1.0]]
    assert logits.tolist() == [[1.0] * 3] * 2, "the raw logits stay, for log-probs"


def test_prefixes_give_the_longest_and_forget_the_oldest() -> None:
    kept: Prefixes[str] = Prefixes(100)
    first, second = list(range(40)), [*range(20), *range(100, 120)]
    kept.keep(first, "first")
    kept.keep(second, "second")
    assert kept.find([*range(30), 7]) == (30, "first")
    assert kept.find([*range(20), 100, 101, 5]) == (22, "second")
    assert kept.find(list(range(200, 300))) == (0, None)
    assert kept.find(list(range(15))) == (0, None), "too little to be worth it"
    kept.keep([*second, 120, 121], "longer")
    assert kept.find(second) == (40, "longer"), "what it contains is gone"
    kept.keep(list(range(300, 340)), "other")
    assert kept.find(first)[0] == 20, "of 100 ids the oldest 40 had to go"
    kept.keep(list(range(101)), "too long")
    assert kept.find(list(range(300, 340))) == (40, "other")


@given(st.lists(st.lists(st.integers(0, 2), max_size=40), max_size=8), st.lists(st.integers(0, 2), max_size=40))
@settings(max_examples=100, deadline=None)
def test_prefixes_are_true(rows: list[list[int]], asked: list[int]) -> None:
    kept: Prefixes[list[int]] = Prefixes(80)
    for row in rows:
        kept.keep(row, row)
    length, value = kept.find(asked)
    assert (value is None) == (length == 0)
    if value is not None:
        assert value[:length] == asked[:length]
        assert value in rows
