"""Two processes that call each other's functions: the test's process and the program's.

A message is a question (`q` and its arguments) or the answer to the last question of the other side. While one waits
for its answer it serves the other's questions, so a function that the test hands over can be called back. Values are
copied (`values`); what can't be copied stays where it is, and the other side gets a `Remote` for it.
"""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from evollab.sandbox.values import MUTABLE, decode, encode, merge
from evollab.sandbox.wire import Closed, TooLarge, receive, send

_MOST_NESTED = 200
_MOST_AT_ONCE = 512
_SHOWN = 300
_FROM_AFAR = ("__name__", "__doc__", "__qualname__", "__dict__")


class Gone(BaseException):
    """The other process ended. No Exception, so that a test's `except Exception` doesn't take it for a result."""


class OutputLimit(Exception):
    """The other side made a value too large to be sent."""


class Refused(Exception):
    """A question that this side doesn't answer."""


class Link:
    """One end. `serves`: the questions it answers. `lends`: which objects the other side may hold a reference to."""

    def __init__(self, descriptor: int, serves: dict[str, Callable[..., Any]], lends: Callable[[Any], bool]) -> None:
        self.descriptor = descriptor
        self.serves = {"next": self._next, **serves}
        self.lends = lends
        self.lent: list[Any] = []
        self.numbers: dict[int, int] = {}
        self.nested = 0
        self.gone = self.memory = self.limit = False
        """What the other side came to: its process ended, it ran out of memory, made too large a value."""

    def ask(self, question: str, *arguments: Any) -> Any:
        """The other side's answer. Raises what it raised, as a built-in exception; Gone, OutputLimit."""
        answer = self._exchange({"q": question, "a": self.encoded(list(arguments))})
        return self.decoded(answer["r"])

    def call(self, number: int, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call a function of the other side; what it changed in the arguments is changed here, too."""
        asked = self.encoded([number, list(arguments), named])
        answer = self._exchange({"q": "call", "a": asked})
        result, changes = answer["r"]
        for place, value in changes:
            if isinstance(place, int) and 0 <= place < len(arguments):
                merge(arguments[place], self.decoded(value))
        return self.decoded(result)

    def serve(self) -> None:
        """Answer questions until the other side closes."""
        with contextlib.suppress(Gone):
            while True:
                self._answer(self._receive())

    def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        self._send(message)
        while True:
            got = self._receive()
            if "q" in got:
                self._answer(got)
            elif "e" in got:
                raise self._exception(got["e"])
            elif "r" in got:
                return got
            else:
                raise Refused("not an answer")

    def _answer(self, message: dict[str, Any]) -> None:
        question = message.get("q")
        try:
            if not isinstance(question, str) or self.nested > _MOST_NESTED:
                raise Refused("no such question, or too many within one another")
            self.nested += 1
            try:
                if question == "call":
                    result = self._call(message["a"])
                else:
                    result = self.encoded(self.serves[question](*self.decoded(message["a"])))
            finally:
                self.nested -= 1
            self._send({"r": result})
        except Gone:
            raise
        except (TooLarge, OutputLimit) as error:
            self._send({"e": {"limit": True, "args": [str(error)[:_SHOWN]]}})
        except BaseException as error:
            self._send({"e": _told(error)})

    def _call(self, raw: Any) -> Any:
        """Call an object of ours with arguments of the other side: the result, and the arguments that changed."""
        number, arguments, named = self.decoded(raw)
        result = self.encoded(self._own(number)(*arguments, **named))
        changes = []
        for place, (before, value) in enumerate(zip(raw[1], arguments, strict=True)):
            if type(value) in MUTABLE:
                with contextlib.suppress(TypeError, ValueError, RecursionError):
                    if (after := self.encoded(value)) != before:
                        changes.append([place, after])
        return [result, changes]

    def _next(self, number: int, count: int) -> Any:
        """Up to `count` further items of an iterator of ours, and whether that was its end."""
        iterator, items = self._own(number), []
        for _ in range(min(count, _MOST_AT_ONCE)):
            try:
                items.append(next(iterator))
            except StopIteration:
                return [items, True]
        return [items, False]

    def _own(self, number: Any) -> Any:
        if type(number) is not int or not 0 <= number < len(self.lent):
            raise Refused("no object of that number")
        return self.lent[number]

    def _refer(self, value: Any) -> Any:
        if isinstance(value, Remote | RemoteIterator):
            return {"yours": object.__getattribute__(value, "_number")}
        if not self.lends(value):
            raise TypeError(f"a value of type {type(value).__name__} can't be sent")
        number = self.numbers.setdefault(id(value), len(self.lent))
        if number == len(self.lent):
            self.lent.append(value)
        kind = "iterator" if _iterates(value) else "object"
        return {kind: number}

    def _resolve(self, tag: str, content: Any) -> Any:
        if tag == "yours":
            return self._own(content)
        if tag in ("object", "iterator") and type(content) is int:
            return Remote(self, content) if tag == "object" else RemoteIterator(self, content)
        raise ValueError("an unknown kind of value")

    def encoded(self, value: Any) -> Any:
        return encode(value, self._refer)

    def decoded(self, data: Any) -> Any:
        return decode(data, self._resolve)

    def _send(self, message: Any) -> None:
        try:
            send(self.descriptor, message)
        except Closed:
            self.gone = True
            raise Gone from None

    def _receive(self) -> dict[str, Any]:
        try:
            message = receive(self.descriptor)
        except Closed:
            self.gone = True
            raise Gone from None
        except TooLarge as error:
            self.limit = True
            raise OutputLimit(str(error)) from None
        if not isinstance(message, dict):
            raise Refused("not a message")
        return message

    def _exception(self, told: Any) -> BaseException:
        """The exception that the other side told of: the first of its classes that is built in."""
        arguments = told.get("args", []) if isinstance(told, dict) else []
        arguments = [one for one in arguments if one is None or type(one) in (str, int, float, bool)]
        if told.get("limit"):
            self.limit = True
            return OutputLimit(*arguments)
        for name in told.get("names", []):
            found = getattr(builtins, name, None)
            if isinstance(found, type) and issubclass(found, BaseException):
                self.memory = self.memory or issubclass(found, MemoryError)
                with contextlib.suppress(TypeError):
                    return found(*arguments)
        return RuntimeError(*arguments)


def _iterates(value: Any) -> bool:
    return hasattr(type(value), "__next__") and hasattr(type(value), "__iter__")


def _told(error: BaseException) -> dict[str, Any]:
    names = [one.__name__ for one in type(error).__mro__ if getattr(builtins, one.__name__, None) is one]
    plain: tuple[Any, ...] = BaseException.__dict__["args"].__get__(error)  # a class of the program's may hide them
    arguments = [one[:_SHOWN] if type(one) is str else one for one in plain[:8]]
    if not all(one is None or type(one) in (str, float, bool) or _small(one) for one in arguments):
        arguments = [str(error)[:_SHOWN]]
    if names[0] in ("Exception", "BaseException"):
        arguments = [f"{type(error).__name__[:80]}: {str(error)[:_SHOWN]}"]
    return {"names": names, "args": arguments}


def _small(value: Any) -> bool:
    return type(value) is int and value.bit_length() < 64


class RemoteIterator:
    """An iterator of the other process. Items come in growing batches: 1, 2, 4 and so on."""

    def __init__(self, link: Link, number: int) -> None:
        self._link, self._number = link, number
        self._items: Iterator[Any] = iter(())
        self._count, self._over = 1, False

    def __iter__(self) -> RemoteIterator:
        return self

    def __next__(self) -> Any:
        for item in self._items:
            return item
        if self._over:
            raise StopIteration
        items, self._over = self._link.ask("next", self._number, self._count)
        self._count = min(2 * self._count, _MOST_AT_ONCE)
        self._items = iter(items)
        for item in self._items:
            return item
        self._over = True
        raise StopIteration


class Remote:
    """An object of the other process: a function, a class, an instance of one.

    It is called, and its attributes and items are read, over there; what comes back are plain values. It is equal to
    no value of this side, and neither compared nor reckoned with: an operator of the program's own making decides
    nothing here, but between two of its own objects.
    """

    __slots__ = ("_link", "_number")
    _link: Link
    _number: int

    def __init__(self, link: Link, number: int) -> None:
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_number", number)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._link.call(self._number, arguments, named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__") and name not in _FROM_AFAR:
            raise AttributeError(name)
        return self._link.ask("attribute", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._link.ask("set", self, name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._link.ask("item", self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._link.ask("set_item", self, key, value)

    def __len__(self) -> int:
        return int(self._link.ask("length", self))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._link.ask("iterate", self))

    def __bool__(self) -> bool:
        return self._link.ask("truth", self) is True

    def __str__(self) -> str:
        return str.__str__(self._link.ask("text", self))

    def __repr__(self) -> str:
        return str.__str__(self._link.ask("representation", self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Remote):
            return False
        return self._number == other._number or self._link.ask("equal", self, other) is True

    def __hash__(self) -> int:
        return hash(self._number)

    def __instancecheck__(self, other: object) -> bool:
        return isinstance(other, Remote) and self._link.ask("instance", other, self) is True
