"""Decompression as a stream: gzip, xz and zstd, several members in a row, memory flat.

Refused by name: data that is cut off or damaged, and data that expands beyond reason.
"""

from __future__ import annotations

import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from evollab.records import EvolError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE = 1 << 17
"""Bytes given out at a time."""
RATIO = 200
"""A file that expands more than this is refused. Text expands 3 to 50 times, bombs a thousand times."""
RATIO_FROM = 16 << 20
"""Bytes that may come out before the ratio counts (a small file of blanks is no bomb)."""
MEMORY = 256 << 20
"""Bytes that a decompressor may use for itself; an xz header can ask for 4 GiB."""

EXTENSIONS = {".gz": "gzip", ".xz": "xz", ".zst": "zstd"}
_MAGIC = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gzip:
    """zlib's decompressor in the manner of lzma's: what it could not use yet, it keeps."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


_INFLATERS: dict[str, Callable[[], _Inflater]] = {
    "gzip": _Gzip,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, MEMORY),
    "zstd": zstd.ZstdDecompressor,
}


def codec_of(head: bytes) -> str | None:
    """gzip, xz or zstd by the first bytes, None where they are none of these."""
    return next((codec for magic, codec in _MAGIC.items() if head.startswith(magic)), None)


def expand(chunks: Iterator[bytes], codec: str, name: str) -> Iterator[bytes]:
    """What `chunks` hold, decompressed, in pieces of at most PIECE bytes.

    Raises EvolError when the data is damaged, cut off, followed by something else, or a bomb.
    """
    make = _INFLATERS[codec]
    inflater = make()
    taken = given = 0
    for chunk in chunks:
        taken += len(chunk)
        data = chunk
        while True:
            if inflater.eof:  # a file may hold several members one after another, padded with zeros
                data = data.lstrip(b"\0")
                if not data:
                    break
                inflater = make()
            try:
                piece = inflater.decompress(data, PIECE)
            except (zlib.error, lzma.LZMAError, zstd.ZstdError) as error:
                raise EvolError(
                    f"{name}: the {codec} data is damaged after {given:,} bytes of text ({error})",
                    f"{codec} -t tells more; fetch or write the file again",
                ) from None
            given += len(piece)
            if given > RATIO_FROM and given > RATIO * taken:
                raise EvolError(
                    f"{name}: {taken:,} bytes expand to more than {given:,}; expected at most {RATIO} times as much",
                    "if this is no bomb, decompress it yourself and give the plain file",
                )
            if piece:
                yield piece
            data = inflater.unused_data if inflater.eof else b""
            if inflater.needs_input and not inflater.eof:
                break
    if not inflater.eof:
        raise EvolError(
            f"{name}: the {codec} data is cut off after {given:,} bytes of text (was its writer killed?)",
            "fetch or write the file again",
        )
