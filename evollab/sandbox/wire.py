"""Frames of JSON over a socket: four bytes of length, then the text. The other side may be hostile."""

from __future__ import annotations

import json
import os
import struct
from typing import Any

MOST = 16 << 20
"""Bytes of one message."""
_LENGTH = struct.Struct("<I")


class TooLarge(ValueError):
    """A message is longer than `MOST`."""


class Closed(OSError):
    """The other side is gone."""


def send(descriptor: int, message: Any, *, most: int = MOST) -> None:
    """Write one message. Raises TooLarge before anything is written, Closed, ValueError for what JSON can't say."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    if len(body) > most:
        raise TooLarge(f"a message of {len(body):,} bytes; at most {most:,}")
    rest = memoryview(_LENGTH.pack(len(body)) + body)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except (BrokenPipeError, ConnectionResetError):
        raise Closed("the other side is gone") from None


def receive(descriptor: int, *, most: int = MOST) -> Any:
    """Read one message. Raises Closed at the end of the stream, TooLarge, ValueError or RecursionError for no JSON."""
    (length,) = _LENGTH.unpack(_exactly(descriptor, _LENGTH.size))
    if length > most:
        raise TooLarge(f"a message of {length:,} bytes; at most {most:,}")
    return json.loads(_exactly(descriptor, length))


def _exactly(descriptor: int, count: int) -> bytes:
    parts = []
    while count:
        try:
            part = os.read(descriptor, min(count, 1 << 18))
        except ConnectionResetError:
            part = b""
        if not part:
            raise Closed("the other side is gone")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
