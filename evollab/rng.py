"""Randomness as a function of place: never of time, order or concurrency.

Every draw names where it is made (run seed, root id, round, purpose ...), so a data set is the same
byte for byte however many workers made it, after however many crashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def integer(*place: object) -> int:
    """A number in [0, 2**64) that depends on `place` alone."""
    text = "\x1f".join(map(str, place)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def uniform(*place: object) -> float:
    """A number in [0, 1) that depends on `place` alone."""
    return (integer(*place) >> 11) / (1 << 53)


def choose(items: Sequence[T], weights: Sequence[float], *place: object) -> T:
    """One of `items`, with probability in proportion to `weights` (not all zero)."""
    left = uniform(*place) * sum(weights)
    for item, weight in zip(items, weights, strict=True):
        left -= weight
        if left < 0:
            return item
    return next(item for item, weight in zip(reversed(items), reversed(weights), strict=True) if weight > 0)
