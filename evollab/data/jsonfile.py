"""Rows of JSON files: an object a line (JSONL), an array of objects, or objects over several lines.

Arrays are streams too: the end of each element is found by its brackets and the element alone is
parsed, so that a file of any size costs the memory of its longest row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson

from evollab.data import strictjson
from evollab.data.lines import BEGINNING, LIMIT, PATIENCE, TOO_LONG, endless, lines
from evollab.data.octets import HEAD, Octets, text_chunks
from evollab.data.rows import BadRow, Row, excerpt
from evollab.records import EvolError

_NO_BLANK = re.compile(rb"[^ \t\r\n]")
_TEXT = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_WHOLE_TEXT = re.compile(rb'"' + _TEXT.pattern + rb'"', re.DOTALL)
_NO_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|' + _WHOLE_TEXT.pattern + rb")*+", re.DOTALL)
_SCALAR_END = re.compile(rb"[,\]} \t\r\n]")


def is_jsonl(head: bytes) -> bool:
    """Whether a JSON file that begins with `head` has a value on each line."""
    found = [line.strip() for line in head.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    first, second = [*found, b"", b""][:2]
    if len(head) >= HEAD and not second:  # a line without an end in sight is no JSON laid out over several
        return first.startswith(b"{")
    if first.startswith(b"["):  # rows that are lists, or one array of rows?
        return bool(second) and _is_json(first)
    if not first.startswith(b"{") or _is_json(first) or (second.startswith(b"{") and _is_json(second)):
        return True
    outside = _WHOLE_TEXT.sub(b"", first)
    open_brackets = sum(map(outside.count, b"{[")) - sum(map(outside.count, b"}]"))
    return b'"' in outside or open_brackets <= 0  # no JSON is broken within a text


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def jsonl_rows(octets: Octets) -> Iterator[Row | BadRow]:
    """One row for each line that is not blank, numbered by line."""
    for line in lines(text_chunks(octets), octets.name):
        if isinstance(line, BadRow):
            yield line
        elif line.data and not line.data.isspace():
            try:
                yield Row(line.number, strictjson.parse_object(line.data, line.offset))
            except strictjson.BadJson as error:
                yield BadRow(line.number, str(error), excerpt(line.data))


def json_rows(octets: Octets) -> Iterator[Row | BadRow]:
    """One row for each element of an array, or for each of the objects that follow one another;
    numbered by row. Raises EvolError, with line and column, where the file is neither."""
    window = _Window(text_chunks(octets, by_line=False), octets.name)
    array = window.peek() == b"["
    expected = "an object" if array else "an object, or an array of objects"
    if array:
        window.at += 1
    number = 0
    while (byte := window.peek()) not in (b"", b"]"):
        if array and number:
            if byte != b",":
                raise window.error("a comma or ]")
            window.at += 1
            if not (byte := window.peek()):
                break
        if byte in b"}]:," or (byte != b"{" and not array):
            raise window.error(expected)
        number += 1
        yield _row(window, number)
    if array and not byte and not window.cut_off:
        yield BadRow(number + 1, "JSON cut off: the array has no end (was its writer killed?)", "")
    elif byte and array:
        window.at += 1
        if window.peek():
            raise window.error("nothing after the array")
    elif byte:
        raise window.error(expected)


def _row(window: _Window, number: int) -> Row | BadRow:
    offset = window.gone + window.at
    data, too_long = window.value()
    if too_long:
        return BadRow(number, TOO_LONG, excerpt(data))
    try:
        return Row(number, strictjson.parse_object(data, offset))
    except strictjson.BadJson as error:
        line = window.place()[0] - data.count(b"\n")
        return BadRow(number, f"{error}, in the row that begins on line {line}", excerpt(data))


class _Brackets:
    """Finds where a JSON value ends, over any number of pieces of it."""

    def __init__(self, first: bytes) -> None:
        self._scalar = first not in b'{["'
        self._quoted = first == b'"'
        self._opening = int(self._quoted)
        self._depth = 0

    def end(self, data: bytes, at: int) -> tuple[int, bool]:
        """How far the value reaches in `data` from `at` on, and whether that is all of it."""
        if self._scalar:
            after = _SCALAR_END.search(data, at)
            return (after.start(), True) if after else (len(data), False)
        at, self._opening = at + self._opening, 0
        while at < len(data):
            passed = (_TEXT if self._quoted else _NO_BRACKET).match(data, at)
            at = passed.end() if passed else at
            mark = data[at : at + 1]
            if not mark or mark == b"\\":  # a backslash whose second byte has not come yet
                break
            at += 1
            if mark == b'"':  # the end of a text, or the beginning of one that goes on in the next piece
                self._quoted = not self._quoted
            else:
                self._depth += 1 if mark in b"{[" else -1
            if self._depth == 0 and not self._quoted:
                return at, True
        return at, False


class _Window:
    """The part of a stream that is in memory: `data`, read up to `at`; `gone` bytes came before it;
    `cut_off` says that the stream ended within a value."""

    def __init__(self, chunks: Iterator[bytes], name: str) -> None:
        self.data = b""
        self.at = 0
        self.gone = 0
        self.cut_off = False
        self._chunks = chunks
        self._name = name
        self._lines = 0  # that ended in what is gone
        self._column = 0  # bytes gone since then

    def _more(self) -> bool:
        """Forget what has been read, take in the next chunk. False at the end of the stream."""
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        line, column = self.place()
        self._lines, self._column = line - 1, column - 1
        self.gone += self.at
        self.data = self.data[self.at :] + chunk
        self.at = 0
        return True

    def place(self) -> tuple[int, int]:
        """Line and column (bytes), both from 1, of the next byte."""
        newline = self.data.rfind(b"\n", 0, self.at)
        column = self._column + self.at if newline < 0 else self.at - newline - 1
        return self._lines + self.data.count(b"\n", 0, self.at) + 1, column + 1

    def peek(self) -> bytes:
        """The next byte that is no blank, b"" at the end."""
        while True:
            if mark := _NO_BLANK.search(self.data, self.at):
                self.at = mark.start()
                return mark[0]
            self.at = len(self.data)
            if not self._more():
                return b""

    def value(self) -> tuple[bytes, bool]:
        """Take the value that begins here: its bytes (what there is of them, where the stream ends
        first), and whether it was too long, so that they are only its beginning."""
        brackets = _Brackets(self.data[self.at : self.at + 1])
        beginning, passed = b"", 0
        end, whole = brackets.end(self.data, self.at)
        while not whole:
            if end - self.at > LIMIT:
                beginning = beginning or self.data[self.at : self.at + BEGINNING]
                passed += end - self.at
                self.at = end
                if passed > PATIENCE:
                    raise endless(self._name, self.place()[0])
            length = end - self.at
            if not self._more():
                self.cut_off, end = True, len(self.data)
                break
            end, whole = brackets.end(self.data, length)
        data = beginning or self.data[self.at : end]
        self.at = end
        return data, bool(beginning) or len(data) > LIMIT

    def error(self, expected: str) -> EvolError:
        line, column = self.place()
        found = excerpt(self.data[self.at : self.at + 20])
        return EvolError(
            f"{self._name}:{line}:{column}: found {found!r}; expected {expected}",
            "expected are JSON lines, an array of objects, or objects one after another",
        )
