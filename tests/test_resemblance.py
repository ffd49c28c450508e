"""Rows near to items by embedding: what is embedded, which pairs are found."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from evollab.data import resemblance
from evollab.data.benchmark import BenchmarkItem
from evollab.data.resemblance import MOST, Pair, Prompts, about, by_item, gist, near_pairs
from evollab.data.vectors import Vectors

PYTHON = '''from typing import List

def below_zero(operations: List[int]) -> bool:
    """ Detect whether the balance of a bank account falls below zero.
    >>> below_zero([1, 2, 3])
    False
    """
    balance = 0  # what is there
'''
JAVASCRIPT = """/**
 * Finds out whether a bank account's balance ever gets negative.
 * @param {number[]} operations - the moves
 * Example: belowZero([1, 2])
 */
function belowZero(operations) { return false; }
"""
C = """#include <stdio.h>

// Tell whether the balance of an account drops below zero.
int below_zero(int *moves, int count) {
    return 0;
}
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (PYTHON, "below zero: Detect whether the balance of a bank account falls below zero. False what is there"),
        (JAVASCRIPT, "below Zero: Finds out whether a bank account's balance ever gets negative."),
        (C, "below zero: Tell whether the balance of an account drops below zero."),
        ("def f(x):\n    return x", "def f(x):\n    return x"),
        ("Write a function # that adds\nand explain it", "Write a function # that adds\nand explain it"),
        ("See https://example.org/a", "See https://example.org/a"),
    ],
)
def test_gist(code: str, expected: str) -> None:
    assert gist(code) == expected


def test_gist_of_hostile_text_takes_linear_time() -> None:
    for text in ('def a\n"""' * 5000, "/*" * 50_000, "def " * 50_000, "x(" * 50_000, "import\n" + "a " * 50_000):
        assert len(gist(text)) <= resemblance._SHOWN


def test_about_an_item() -> None:
    choices = ("one", "two")
    assert about(BenchmarkItem("1", "Which is it?", "", choices)) == "Which is it?\none\ntwo"
    long = "Which of the two is it that we are asked for?"
    assert about(BenchmarkItem("1", long, "", choices)) == long


def vectors(*near: float) -> Vectors:
    """One that is as near to that of 1 as told, for each."""
    return np.array([(one, (1 - one**2) ** 0.5) for one in near], np.float32)


def test_pairs() -> None:
    turns = vectors(0.9, 0.1, 0.85, 0.95, 0.6)
    found = near_pairs(vectors(1, 0), turns, np.array([0, 1, 1, 1, 2]), 0.8)
    assert found == [Pair(0, 0, 0.9), Pair(1, 1, 0.995), Pair(1, 0, 0.95), Pair(2, 1, 0.8)]
    assert near_pairs(vectors(1), vectors(0.8), np.array([0]), 0.8) == [Pair(0, 0, 0.8)], "as near as asked is near"
    assert not near_pairs(vectors(1), vectors(0.7999), np.array([0]), 0.8)
    assert not near_pairs(vectors(1), np.empty((0, 2), np.float32), np.empty(0, np.int64), 0.8)


def test_a_row_resembles_a_few_items_at_most() -> None:
    items = vectors(*(1 - place / 100 for place in range(2 * MOST)))
    found = near_pairs(items, vectors(1, 1, 0.99), np.array([0, 1, 1]), 0.5)
    assert [pair.row for pair in found] == [0] * MOST + [1] * MOST
    assert [pair.item for pair in found[:MOST]] == list(range(MOST))


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, rows = vectors(*(at / 100 for at in range(100))), np.arange(100) // 2
    whole = near_pairs(vectors(1, 0.5, 0), turns, rows, 0.9)
    monkeypatch.setattr(resemblance, "_BLOCK", 3)
    assert near_pairs(vectors(1, 0.5, 0), turns, rows, 0.9) == whole
    assert len({pair.item for pair in whole}) == 3


def test_prompts(tmp_path: Path) -> None:
    with contextlib.closing(Prompts(tmp_path)) as prompts:
        prompts.add(0, ["one", " ", "\ud800 two"])
        prompts.add(3, [])
        prompts.add(5, [C])
        assert (len(prompts), prompts.rows.tolist()) == (3, [0, 0, 5])
        assert list(prompts.texts()) == ["one", "\ud800 two", gist(C)]
    assert not list(tmp_path.iterdir())


def test_by_item() -> None:
    pairs = [Pair(0, 1, 0.8), Pair(1, 1, 0.9), Pair(2, 0, 0.7), Pair(3, 1, 0.8)]
    assert by_item(pairs) == {0: [Pair(2, 0, 0.7)], 1: [Pair(1, 1, 0.9), Pair(0, 1, 0.8), Pair(3, 1, 0.8)]}
