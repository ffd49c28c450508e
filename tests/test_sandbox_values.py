"""Values between judge and program, the frames they travel in, and the filter of system calls."""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter, OrderedDict, deque
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evollab.sandbox import wire
from evollab.sandbox.guards import seccomp
from evollab.sandbox.values import decode, encode, merge

KEYS = (
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(allow_nan=False) | st.dates()
    | st.decimals(allow_nan=False) | st.fractions() | st.datetimes() | st.timedeltas()
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    KEYS | st.complex_numbers(allow_nan=False) | st.builds(range, st.integers(), st.integers()) | st.builds(Counter, st.text()),
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner) | st.frozensets(KEYS)
        | st.sets(KEYS) | st.lists(inner).map(deque) | st.dictionaries(KEYS, inner).map(OrderedDict)
    ),
    max_leaves=15,
)  # fmt: skip


def refused(value: Any) -> Any:
    raise TypeError(type(value).__name__)


def unknown(tag: str, content: Any) -> Any:
    raise ValueError(tag)


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple | deque):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(map(repr, one)) == list(map(repr, other)) and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


@given(VALUES)
def test_values_come_back_as_they_went(value: Any) -> None:
    mine, its = socket.socketpair()
    with mine, its:
        data = encode(value, refused)
        if len(repr(data)) < 30_000:
            wire.send(mine.fileno(), data)
            data = wire.receive(its.fileno())
    assert same(decode(data, unknown), value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(), inner, max_size=2)
        | st.tuples(st.sampled_from([*"itdsbyzcrlOCDqNFeTn", "dt", "de", "dk", "di", "ni"]), inner).map(lambda pair: dict([pair]))
    ),
)  # fmt: skip
PLAIN: tuple[type[Any], ...] = (
    type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, slice, deque,
    type, Decimal, Fraction, date, datetime, timedelta, type(...), type(NotImplemented), type({}.keys()), type({}.items()),
)  # fmt: skip


@given(JSON)
def test_what_is_decoded_is_plain_whatever_was_sent(data: Any) -> None:
    try:
        value = decode(data, unknown)
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError):
        return
    assert isinstance(value, PLAIN) or type(value).__module__ in ("numpy", "builtins", "datetime")


def test_too_deep_and_too_long() -> None:
    nested: list[Any] = []
    nested.append(nested)
    with pytest.raises(ValueError, match="deeper"):
        encode(nested, refused)
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    with pytest.raises(ValueError, match="deeper"):
        decode(deep, unknown)
    mine, its = socket.socketpair()
    with mine, its:
        with pytest.raises(wire.TooLarge):
            wire.send(mine.fileno(), "x" * 100, most=50)
        os.write(mine.fileno(), struct.pack("<I", 51))
        with pytest.raises(wire.TooLarge):
            wire.receive(its.fileno(), most=50)
        mine.close()
        with pytest.raises(wire.Closed):
            wire.receive(its.fileno())


def test_subclasses_are_what_they_are_made_of() -> None:
    class Yes(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    assert encode([Yes(3)], refused) == [3]
    assert type(encode(Yes(3), refused)) is int


def test_numbers_and_arrays_of_numpy() -> None:
    np = pytest.importorskip("numpy")
    assert encode(np.float64(0.5), refused) == 0.5
    assert type(encode(np.int32(3), refused)) is int
    array = np.arange(6, dtype="int16").reshape(2, 3)
    back = decode(encode(array, refused), unknown)
    assert back.dtype == array.dtype
    assert (back == array).all()
    with pytest.raises(ValueError, match="kind"):
        decode({"n": ["O", [1], "AAAAAAAAAAA="]}, unknown)


def test_changes_are_made_in_place() -> None:
    inner = [1]
    mine: dict[str, Any] = {"a": inner, "b": {1}, "c": 0}
    merge(mine, {"a": [1, 2], "b": {2}, "d": 4})
    assert mine == {"a": [1, 2], "b": {2}, "d": 4}
    assert mine["a"] is inner


def simulated(code: bytes, arch: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the kernel would make of a filter: its return value."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *(arguments + (0,) * 6)[:6])
    place, value = 0, 0
    while True:
        operation, yes, no, constant = struct.unpack_from("<HBBI", code, 8 * place)
        place += 1
        if operation == 0x06:
            return int(constant)
        if operation == 0x20:
            (value,) = struct.unpack_from("<I", data, constant)
        elif operation == 0x05:
            place += constant
        else:
            true = {0x15: value == constant, 0x35: value >= constant, 0x45: bool(value & constant)}[operation]
            place += yes if true else no


ALLOWED, DENIED, MISSING, KILLED = 0x7FFF0000, 0x50001, 0x50000 + 38, 0x80000000


@pytest.mark.parametrize(
    ("machine", "arch", "calls"),
    [
        ("x86_64", 0xC000003E, {"read": 0, "clone": 56, "kill": 62, "tgkill": 234, "prctl": 157, "prlimit64": 302}),
        ("aarch64", 0xC00000B7, {"read": 63, "clone": 220, "kill": 129, "tgkill": 131, "prctl": 167, "prlimit64": 261}),
    ],
)
def test_the_filter_of_both_machines(machine: str, arch: int, calls: dict[str, int]) -> None:
    code = seccomp.program(machine, 4321)

    def answer(name: str, *arguments: int) -> int:
        return simulated(code, arch, calls[name], arguments)

    assert simulated(code, 0x40000003, 0) == KILLED
    assert simulated(code, arch, 0x40000000) == MISSING
    assert simulated(code, arch, 435) == MISSING
    assert simulated(code, arch, 463) == MISSING
    denied = {*seccomp._DENIED[machine].values(), *seccomp._SAME.values()}
    asked = {*seccomp._ASKED[machine].values()}
    assert not denied & asked
    for number in range(463):
        if number not in asked:
            assert simulated(code, arch, number) == (DENIED if number in denied else ALLOWED)
    assert answer("read") == ALLOWED
    assert answer("clone", 0x11) == DENIED
    assert answer("clone", 0x3D0F00) == ALLOWED
    assert answer("kill", 4321, 9) == ALLOWED
    assert answer("tgkill", 4321, 4321, 6) == ALLOWED
    assert [answer("kill", n, 9) for n in (0, 1, 4320, 0xFFFFFFFF)] == [DENIED] * 4
    assert answer("prlimit64", 0, 7, 0) == ALLOWED
    assert [answer("prlimit64", 0, 7, n) for n in (1, 1 << 40)] == [DENIED] * 2
    assert [answer("prctl", n) for n in (15, 16, 0x53564D41)] == [ALLOWED] * 3
    assert [answer("prctl", n) for n in (1, 22, 36, 38)] == [DENIED] * 4
