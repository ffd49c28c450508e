"""Tests of a solution against a reference solution, as evalplus defines them (Liu et al. 2023, 2305.01210).

The source of this file is put into the test that the sandbox's judge runs, so it stands alone: standard library only.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

LEAST = 1.0
FACTOR = 4.0
"""Seconds for one input: this many times what the reference took, and never fewer than the least."""
CARRY = 10.0
"""Seconds more for each that copying the input and the result takes: they go from one process to another and back."""
RELATIVE = 1e-7
IMPLICIT = 1e-6
"""Absolute tolerance from the first result on that is made of floats, where the problem names none."""
FAILED = object()
AS_SETS = {
    "similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly", "larg_nnum",
    "intersection_array", "find_dissimilar", "Diff",
}  # fmt: skip
"""Problems of MBPP+ whose results may stand in any order."""
FOUND_OR_NOT = {"check_str", "text_match_three", "text_starta_endb"}
"""Problems of MBPP+ that ask for a match object; whether there is one is what counts."""


def compare(candidate: Callable[..., Any], reference: str, entry: str, inputs: str, atol: float, mbpp: bool) -> None:
    """Call the candidate with each input and compare what it gives with the reference's result.

    reference: source that defines `entry`; inputs on which it fails are no tests. inputs: what `code_plus.packed` made.
    Raises AssertionError at the first input that differs or takes too long, and whatever the candidate raises.
    """
    space: dict[str, Any] = {"__name__": "reference"}
    exec(compile(reference, "<reference>", "exec"), space)  # noqa: S102  # in the sandbox's judge, never in evollab
    tried, used = unpacked(inputs), 0
    for at, given in enumerate(tried):
        clock = time.perf_counter()
        expected = FAILED
        with contextlib.suppress(Exception):
            expected = space[entry](*copy.deepcopy(given))
        if expected is FAILED:
            continue
        used += 1
        limit = max(LEAST, FACTOR * (time.perf_counter() - clock))
        clock = time.perf_counter()
        own, _ = copy.deepcopy((given, expected))
        limit += CARRY * (time.perf_counter() - clock)
        result = within(limit, at, candidate, own)
        if not mbpp and entry == "find_zero":
            assert abs(sum(factor * math.pow(result, power) for power, factor in enumerate(given[0]))) <= atol, at
            continue
        if atol == 0 and floats(expected):
            atol = IMPLICIT
        same = agrees(result, expected, entry, given, atol) if mbpp else bool(result == expected)
        assert same or (atol != 0 and close(result, expected, atol)), f"input {at}: a result differs"
    if tried and not used:
        raise LookupError("the reference fails on all inputs")


def within(limit: float, at: int, candidate: Callable[..., Any], given: Sequence[Any]) -> Any:
    """What the candidate gives, in at most `limit` seconds."""

    def late(*_: Any) -> None:
        raise AssertionError(f"input {at}: no result in {limit:g} s")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        return candidate(*given)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def agrees(result: Any, expected: Any, entry: str, given: Sequence[Any], atol: float) -> bool:
    """Equal, or what a problem of MBPP+ takes for equal because its text leaves it open."""
    same = bool(result == expected)
    if entry == "are_equivalent":  # what is equivalent is not said
        return True
    if entry == "sum_div":
        return same or bool(result == 0)
    if entry == "surface_Area":  # height of the pyramid, or of its faces
        return same or abs(result - pyramid(*given)) <= atol
    if entry == "digit_distance_nums":
        return same or bool(result == digit_distance(*given))
    if entry in AS_SETS:
        return set(result) == set(expected)
    if entry in FOUND_OR_NOT:
        found = result if isinstance(result, bool) else result is not None
        return bool(found == (expected is not None))
    return same


def pyramid(base: float, height: float) -> int:
    """Surface of a square pyramid of that height."""
    return round(base * base + 2 * base * math.hypot(base / 2, height))


def digit_distance(one: int, other: int) -> int:
    """Sum of the differences of digits, the shorter number filled up with zeros in front."""
    width = max(len(str(one)), len(str(other)))
    pairs = zip(str(one).zfill(width), str(other).zfill(width), strict=True)
    return sum(abs(int(a) - int(b)) for a, b in pairs)


def floats(value: Any) -> bool:
    """A float, or a list or tuple of nothing else."""
    if isinstance(value, (list, tuple)) and value:
        return all(isinstance(one, float) for one in value)
    return isinstance(value, float)


def close(result: Any, expected: Any, atol: float) -> bool:
    """Alike to RELATIVE and `atol`, and of one type at the top and one length."""
    return type(result) is type(expected) and near(result, expected, atol)


def near(result: Any, expected: Any, atol: float) -> bool:
    if isinstance(expected, (list, tuple)):
        if not isinstance(result, (list, tuple)) or len(result) != len(expected):
            return False
        return all(near(one, other, atol) for one, other in zip(result, expected, strict=True))
    if not isinstance(result, (int, float, complex)) or not isinstance(expected, (int, float, complex)):
        return False
    return bool(result == expected or abs(result - expected) <= atol + RELATIVE * abs(expected))


def unpacked(text: str) -> Any:
    return json.loads(text, object_hook=_unpack)


def _unpack(tagged: dict[str, Any]) -> Any:
    ((tag, value),) = tagged.items()
    if tag == "tuple":
        return tuple(value)
    if tag == "set":
        return set(value)
    if tag == "complex":
        return complex(*value)
    return dict(value)
