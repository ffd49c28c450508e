"""Python values as JSON and back: built-in types, a few of the standard library, numbers and arrays of numpy.

What is decoded has exactly these types, whatever the other side sent: no method of its own comes along, so a
comparison in the test is the comparison of plain values. A list is a list; everything else that JSON doesn't have is
an object with one key, the tag.
"""

from __future__ import annotations

import base64
import builtins
import collections
import datetime
import decimal
import fractions
import sys
from collections.abc import Callable
from typing import Any

DEEPEST = 150
_PLAIN = (bool, str, float)
_NUMPY_KINDS = "biufcSU"
Refer = Callable[[Any], Any]
"""From a value that can't be copied to the JSON that stands for it; raises TypeError where there is none."""
Resolve = Callable[[str, Any], Any]
"""The way back: from tag and content. Raises ValueError."""


def encode(value: Any, refer: Refer, depth: int = 0) -> Any:
    """JSON for a value. Raises TypeError or ValueError for what has none (nested deeper than `DEEPEST`, say)."""
    if value is None or type(value) in _PLAIN:
        return value
    kind: type[Any] = type(value)
    if kind is int:
        return value if value.bit_length() < 64 else {"i": hex(value)}
    if depth > DEEPEST:
        raise ValueError(f"a value nested deeper than {DEEPEST}")
    depth += 1
    if kind is list:
        return [encode(one, refer, depth) for one in value]
    if kind is tuple:
        return {"t": [encode(one, refer, depth) for one in value]}
    if kind is dict:
        return {"d": _pairs(value, refer, depth)}
    special = _SPECIAL.get(kind)
    if special is not None:
        return {special[0]: special[1](value, refer, depth)}
    if getattr(kind, "__module__", "") == "numpy" and "numpy" in sys.modules:
        return _encode_numpy(value, refer, depth)
    if isinstance(value, type):
        return _encode_class(value, refer)
    for base, plain in _BASES:
        if isinstance(value, base):
            return encode(plain(value), refer, depth)
    return refer(value)


def decode(data: Any, resolve: Resolve, depth: int = 0) -> Any:
    """The value that JSON stands for; anything else raises ValueError, TypeError, LookupError or ArithmeticError."""
    if isinstance(data, list):
        if depth > DEEPEST:
            raise ValueError(f"a value nested deeper than {DEEPEST}")
        return [decode(one, resolve, depth + 1) for one in data]
    if not isinstance(data, dict):
        return data
    if depth > DEEPEST:
        raise ValueError(f"a value nested deeper than {DEEPEST}")
    ((tag, content),) = data.items()
    read = _READ.get(tag)
    if read is None:
        return resolve(tag, content)
    return read(content, lambda inner: decode(inner, resolve, depth + 1))


def merge(mine: Any, theirs: Any) -> None:
    """Make a mutable value what the other side made of it, in place, as far down as both have the same shape."""
    if type(mine) is not type(theirs):
        return
    if isinstance(mine, list):
        mine[:] = [_kept(a, b) for a, b in zip(mine, theirs, strict=False)] + theirs[len(mine) :]
    elif isinstance(mine, dict):
        old = dict(mine)
        mine.clear()
        mine.update({key: _kept(old.get(key), value) for key, value in theirs.items()})
    elif isinstance(mine, set):
        mine.clear()
        mine.update(theirs)
    elif isinstance(mine, bytearray):
        mine[:] = theirs
    elif isinstance(mine, collections.deque):
        mine.clear()
        mine.extend(theirs)


MUTABLE = (list, dict, set, bytearray, collections.deque)


def _kept(mine: Any, theirs: Any) -> Any:
    """The object that was there where it can take the new content on, else the new one."""
    if type(mine) is type(theirs) and isinstance(mine, MUTABLE):
        merge(mine, theirs)
        return mine
    return theirs


def _pairs(value: Any, refer: Refer, depth: int) -> list[Any]:
    return [[encode(key, refer, depth), encode(one, refer, depth)] for key, one in value.items()]


def _items(value: Any, refer: Refer, depth: int) -> list[Any]:
    return [encode(one, refer, depth) for one in value]


def _text(value: Any, refer: Refer, depth: int) -> str:
    return str(value)


def _read_pairs(content: Any, read: Callable[[Any], Any]) -> dict[Any, Any]:
    return {read(key): read(value) for key, value in content}


def _defaultdict(content: Any, read: Callable[[Any], Any]) -> collections.defaultdict[Any, Any]:
    return collections.defaultdict(None, _read_pairs(content, read))


def _deque(content: Any, read: Callable[[Any], Any]) -> collections.deque[Any]:
    length, items = content
    return collections.deque(map(read, items), length if length is None else int(length))


def _builtin(name: Any, read: Callable[[Any], Any]) -> type:
    found = getattr(builtins, name, None)
    if not isinstance(found, type):
        raise ValueError("no built-in class of that name")
    return found


def _delta(content: Any, read: Callable[[Any], Any]) -> datetime.timedelta:
    days, seconds, micros = map(int, content)
    return datetime.timedelta(days, seconds, micros)


_VIEWS = {"dk": type({}.keys()), "dv": type({}.values()), "di": type({}.items())}
_SPECIAL: dict[type, tuple[str, Callable[[Any, Refer, int], Any]]] = {
    set: ("s", _items),
    frozenset: ("z", _items),
    bytes: ("b", lambda value, *_: value.hex()),
    bytearray: ("y", lambda value, *_: value.hex()),
    complex: ("c", lambda value, *_: [value.real, value.imag]),
    range: ("r", lambda value, *_: [hex(value.start), hex(value.stop), hex(value.step)]),
    slice: ("l", lambda value, refer, depth: _items((value.start, value.stop, value.step), refer, depth)),
    collections.OrderedDict: ("O", _pairs),
    collections.Counter: ("C", _pairs),
    collections.defaultdict: ("D", _pairs),
    collections.deque: ("q", lambda value, refer, depth: [value.maxlen, _items(value, refer, depth)]),
    decimal.Decimal: ("N", _text),
    fractions.Fraction: ("F", _text),
    datetime.datetime: ("dt", lambda value, *_: [value.isoformat(), value.fold]),
    datetime.date: ("da", lambda value, *_: value.isoformat()),
    datetime.time: ("ti", lambda value, *_: [value.isoformat(), value.fold]),
    datetime.timedelta: ("de", lambda value, *_: [value.days, value.seconds, value.microseconds]),
    type(Ellipsis): ("e", lambda *_: 0),
    type(NotImplemented): ("ni", lambda *_: 0),
    _VIEWS["dk"]: ("dk", _items),
    _VIEWS["dv"]: ("dv", _items),
    _VIEWS["di"]: ("di", _items),
}
_BASES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (int, int), (float, float), (complex, complex), (str, str.__str__), (bytes, bytes), (bytearray, bytearray),
    (tuple, tuple), (list, list), (dict, dict), (set, set), (frozenset, frozenset),
)  # fmt: skip
"""A class of the program's own that is a number, a text or a container counts as just that."""
_READ: dict[str, Callable[[Any, Callable[[Any], Any]], Any]] = {
    "i": lambda content, _: int(content, 16),
    "t": lambda content, read: tuple(map(read, content)),
    "d": _read_pairs,
    "s": lambda content, read: set(map(read, content)),
    "z": lambda content, read: frozenset(map(read, content)),
    "b": lambda content, _: bytes.fromhex(content),
    "y": lambda content, _: bytearray.fromhex(content),
    "c": lambda content, _: complex(*content),
    "r": lambda content, _: range(*(int(one, 16) for one in content)),
    "l": lambda content, read: slice(*map(read, content)),
    "O": lambda content, read: collections.OrderedDict(_read_pairs(content, read)),
    "C": lambda content, read: collections.Counter(_read_pairs(content, read)),
    "D": _defaultdict,
    "q": _deque,
    "N": lambda content, _: decimal.Decimal(content),
    "F": lambda content, _: fractions.Fraction(content),
    "dt": lambda content, _: datetime.datetime.fromisoformat(content[0]).replace(fold=content[1]),
    "da": lambda content, _: datetime.date.fromisoformat(content),
    "ti": lambda content, _: datetime.time.fromisoformat(content[0]).replace(fold=content[1]),
    "de": _delta,
    "e": lambda *_: Ellipsis,
    "ni": lambda *_: NotImplemented,
    "dk": lambda content, read: dict.fromkeys(map(read, content)).keys(),
    "dv": lambda content, read: dict(enumerate(map(read, content))).values(),
    "di": lambda content, read: dict(map(read, content)).items(),
    "T": _builtin,
    "n": lambda content, _: _decode_numpy(content),
}


def _encode_class(value: type[Any], refer: Refer) -> Any:
    name = value.__name__
    return {"T": name} if getattr(builtins, name, None) is value else refer(value)


def _encode_numpy(value: Any, refer: Refer, depth: int) -> Any:
    numpy = sys.modules["numpy"]
    if isinstance(value, numpy.generic):
        plain = value.item()
        return refer(value) if isinstance(plain, numpy.generic) else encode(plain, refer, depth)
    if not isinstance(value, numpy.ndarray):
        return refer(value)
    if value.dtype.kind not in _NUMPY_KINDS:
        return encode(value.tolist(), refer, depth)
    return {"n": [value.dtype.str, list(value.shape), base64.b64encode(value.tobytes()).decode()]}


def _decode_numpy(content: Any) -> Any:
    import numpy as np

    kind, shape, data = content
    dtype = np.dtype(str(kind))
    if dtype.kind not in _NUMPY_KINDS:
        raise ValueError("an array of a kind that is not sent")
    return np.frombuffer(base64.b64decode(data), dtype).reshape([int(one) for one in shape]).copy()
