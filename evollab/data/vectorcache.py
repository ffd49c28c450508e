"""Vectors that are kept for the next time: blocks on disk, each written whole under a name of its content.

A block is a head (`_HEAD`), the digests of its texts, their vectors. It takes its name only when all of it
is on disk, and is never changed. So a SIGKILL costs the block that was being made and no more, and
processes may share a folder without knowing of each other.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evollab.records import EvolError
from evollab.runs import whole_file

_HEAD = struct.Struct("<8sQQ16s16s")
"""Mark, vectors, dims, checksum of the digests, checksum of the vectors."""
_MARK = b"evolvec\x01"
_DIGEST = 16
_SUFFIX = ".vectors"


class VectorCache:
    """The vectors kept in a folder, by the digest of their text. Memory: 24 bytes for each that is kept."""

    def __init__(self, folder: Path, dims: int) -> None:
        """Blocks that are not whole, or of other dims, are passed over. Raises EvolError for a folder that
        can't be made or read."""
        self._folder = folder
        self._dims = dims
        self._blocks: list[_Block] = []
        keys: list[npt.NDArray[np.void]] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(folder.glob(f"*{_SUFFIX}")):
                if (block := _open(path, dims)) is not None:
                    keys.append(block.digests)
                    self._blocks.append(block)
        except OSError as error:
            raise _unusable(folder, error) from None
        self._order(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def _order(self, keys: list[npt.NDArray[np.void]]) -> None:
        """Sort what is known, for looking up. Of two vectors of one text the first block's counts."""
        found = np.concatenate(keys) if keys else np.empty(0, f"V{_DIGEST}")
        halves = found.view("<u8").reshape(-1, 2)
        sizes = [len(one) for one in keys]
        blocks = np.repeat(np.arange(len(keys), dtype=np.uint32), sizes)
        places = np.concatenate([np.arange(size, dtype=np.uint32) for size in sizes] or [np.empty(0, np.uint32)])
        order = np.lexsort((blocks, halves[:, 1], halves[:, 0]))
        self._keys, self._block_of, self._place_of = halves[order], blocks[order], places[order]

    def fill(self, digests: Sequence[bytes], rows: npt.NDArray[np.float16]) -> npt.NDArray[np.int64]:
        """Put the vectors that are known into their places in `rows`; the places of the others."""
        halves = np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)
        lacking = np.ones(len(halves), bool)
        first = np.searchsorted(self._keys[:, 0], halves[:, 0])
        hit = np.full(len(halves), -1)
        if len(self._keys):
            first = np.minimum(first, len(self._keys) - 1)
            hit = np.where((self._keys[first] == halves).all(axis=1), first, -1)
        for number in np.unique(self._block_of[hit[hit >= 0]]).tolist():
            vectors = self._blocks[number].vectors()
            if vectors is None:
                continue  # damaged: made again
            mine = np.flatnonzero(hit >= 0)
            mine = mine[self._block_of[hit[mine]] == number]
            rows[mine] = vectors[self._place_of[hit[mine]]]
            lacking[mine] = False
        return np.flatnonzero(lacking)

    def add(self, digests: Sequence[bytes], rows: npt.NDArray[np.float16]) -> None:
        """Keep vectors for the next time. Raises EvolError where that can't be written."""
        named, numbers = b"".join(digests), rows.astype("<f2").tobytes()
        head = _HEAD.pack(_MARK, len(digests), self._dims, _checksum(named), _checksum(numbers))
        path = self._folder / f"{_checksum(head).hex()}{_SUFFIX}"
        try:
            with whole_file(path) as file:
                file.write(head + named + numbers)
        except FileNotFoundError:  # another process wrote the same block at the same time, or emptied the cache
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self._folder, error) from None


class _Block:
    """A block whose digests are sound; its vectors are looked at when they are asked for."""

    def __init__(self, path: Path, count: int, dims: int, digests: npt.NDArray[np.void], sum: bytes) -> None:
        self._path, self._count, self._dims, self._sum = path, count, dims, sum
        self.digests = digests
        self._vectors: npt.NDArray[np.float16] | None = None
        self._looked = False

    def vectors(self) -> npt.NDArray[np.float16] | None:
        """None where they are not what was written; the file then goes."""
        if not self._looked:
            self._looked = True
            with contextlib.suppress(OSError, ValueError):  # gone or shorter meanwhile: as if it had never been
                start = _HEAD.size + self._count * _DIGEST
                found = np.memmap(self._path, "<f2", "r", start, (self._count, self._dims))
                if _checksum(found.tobytes()) == self._sum:
                    self._vectors = found
                else:
                    self._path.unlink()
        return self._vectors


def _open(path: Path, dims: int) -> _Block | None:
    """A block, None where it is torn, of other dims or no block at all."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        head = file.read(_HEAD.size)
        if len(head) != _HEAD.size:
            return None
        mark, count, found, digest_sum, vector_sum = _HEAD.unpack(head)
        whole = _HEAD.size + count * (_DIGEST + 2 * dims)
        if mark != _MARK or found != dims or path.stat().st_size != whole:
            return None
        digests = file.read(count * _DIGEST)
        if _checksum(digests) == digest_sum:
            return _Block(path, count, dims, np.frombuffer(digests, f"V{_DIGEST}"), vector_sum)
    return None


def _checksum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _unusable(folder: Path, error: OSError) -> EvolError:
    return EvolError(
        f"vectors can't be kept in {folder}: {error.strerror or error}",
        "make room, or point XDG_CACHE_HOME at a folder you can write to",
    )
