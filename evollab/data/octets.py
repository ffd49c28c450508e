"""Bytes of a data file: from a path or a pipe, decompressed within bounds, refused when they are
something that must not or can't be read as rows."""

from __future__ import annotations

import difflib
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from evollab.data import inflate
from evollab.data.rows import excerpt
from evollab.records import EvolError

BLOCK = 1 << 16
"""Bytes asked for at a time."""
HEAD = 1 << 16
"""Bytes looked at, at most, to tell what a file is."""
PIPE_PATIENCE = 10.0
"""Seconds that a named pipe may stay without a writer."""

FORMATS = "jsonl, json, csv, parquet or lines, plain or as .gz, .xz, .zst"
_FORMAT_OF = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "csv",
    ".parquet": "parquet", ".pq": "parquet", ".txt": "lines",
}  # fmt: skip
_BINARY = (
    (b"PK\x03\x04", "a zip archive (a PyTorch file, a spreadsheet, .npz)"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"ARROW1", "an Arrow file"),
    (b"Obj\x01", "an Avro file"),
    (b"GGUF", "a model (GGUF)"),
    (b"%PDF", "a PDF"),
    (b"BZh", "bzip2 data"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x7fELF", "a program"),
)
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")
_MARKUP = ((b"<?xml", "XML"), (b"<!doctype", "HTML or XML"), (b"<html", "HTML"), (b"%yaml", "YAML"), (b"---", "YAML"))
_MARK = b"\xef\xbb\xbf"
_MARKS = ((b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


@dataclass(frozen=True, slots=True)
class Octets:
    """A file opened for reading.

    `name` as a person gave it; `extension` in lower case without the compression's, "" where there
    is none; `file` only where the bytes lie uncompressed in a file; `head` the first bytes, as many
    as told a first line; `chunks` all bytes, the head included, read on demand.
    """

    name: str
    extension: str
    file: Path | None
    head: bytes
    chunks: Iterator[bytes]

    @property
    def blank(self) -> bool:
        """Whether there is nothing but blanks, as far as the head reaches."""
        return not self.head.removeprefix(_MARK).strip()

    @property
    def format(self) -> str | None:
        """The format that the name promises or the first bytes show; None where neither tells."""
        if self.head.startswith(b"PAR1"):
            return "parquet"
        known = _FORMAT_OF.get(self.extension)
        if known is None and self.head.removeprefix(_MARK).lstrip()[:1] in (b"{", b"["):
            return "json"
        return known


def open_octets(name: str) -> Octets:
    """Open a file, a pipe, or stdin ("-"). Raises EvolError for what is missing, no file, a program,
    a pickle, an archive, or compressed under another name."""
    raw, regular = _open(name)
    first = _up_to(raw, lambda so_far: len(so_far) >= 8)
    beginning = b"".join(first)
    codec = inflate.codec_of(beginning)
    path = Path(name)
    suffixes = [suffix.lower() for suffix in path.suffixes] if regular else []
    promised = inflate.EXTENSIONS.get(suffixes[-1]) if suffixes else None
    if regular and beginning and codec != promised:
        raise _misnamed(name, codec, promised, beginning)
    if promised:
        suffixes.pop()
    chunks: Iterator[bytes] = chain(first, raw)
    if codec:
        chunks = inflate.expand(chunks, codec, name)
    first = _up_to(chunks, lambda so_far: len(so_far) >= HEAD or b"\n" in so_far.lstrip())
    head = b"".join(first)
    extension = suffixes[-1] if suffixes else ""
    _refuse_binary(head, extension, name)
    return Octets(name, extension, path if regular and not codec else None, head, chain(first, chunks))


def text_chunks(octets: Octets, *, by_line: bool = True) -> Iterator[bytes]:
    """The bytes, less a byte-order mark, once their beginning shows UTF-8 text (see `check_text`)."""
    check_text(octets, by_line=by_line)
    first = _up_to(octets.chunks, lambda so_far: len(so_far) >= len(_MARK))
    yield b"".join(first).removeprefix(_MARK)
    yield from octets.chunks


def check_text(octets: Octets, *, by_line: bool) -> None:
    """Raise EvolError, naming the byte, for UTF-16, Latin-1 and binary data, and (`by_line`) for text
    whose lines end in CR alone."""
    head = octets.head
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            raise _not_utf8(octets.name, f"byte 0 begins a {encoding} byte-order mark", encoding)
    if head[:1024].count(0) > len(head[:1024]) // 4:
        at = head.index(0)
        encoding = "" if head[at : at + 4] == bytes(4) else "UTF-16"
        what = f"{encoding} without a byte-order mark" if encoding else "not text"
        raise _not_utf8(octets.name, f"a NUL at byte {at} ({what})", encoding)
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":  # a character that the head's end cuts is no fault
            found = f"byte 0x{head[error.start]:02X} at byte {error.start} is not UTF-8 (is it Latin-1?)"
            raise _not_utf8(octets.name, found, "LATIN1") from None
    if by_line and (at := head.find(b"\r")) >= 0 and b"\n" not in head and len(head) > at + 1:
        raise EvolError(
            f"{octets.name}: lines end in CR alone (the first at byte {at}); expected LF or CR LF",
            "tr '\\r' '\\n' < FILE > fixed",
        )


def refuse_markup(octets: Octets) -> None:
    """Raise EvolError for YAML and XML: neither is read, whatever it holds."""
    beginning = octets.head[:64].lstrip().lower()
    found = next((what for mark, what in _MARKUP if beginning.startswith(mark)), None)
    if octets.extension in (".yaml", ".yml"):
        found = "YAML"
    if found:
        raise EvolError(
            f"{octets.name}: {found} is not read (its tags and entities can run code or fill the memory); "
            f"expected {FORMATS}",
            "turn it into JSONL first, with a safe loader",
        )


def has_data_name(path: Path) -> bool:
    """Whether a path ends like the data files that are read here, compressed or not."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    return bool(suffixes) and (suffixes[-1] in _FORMAT_OF or suffixes[-1] in inflate.EXTENSIONS)


def _open(name: str) -> tuple[Iterator[bytes], bool]:
    """The bytes of a path or of stdin, and whether they are a plain file's."""
    if name == "-":
        if os.isatty(0):
            raise EvolError("-: nothing is piped in; expected rows on stdin", "zcat seeds.jsonl.gz | evol evolve -")
        return _blocks(os.dup(0), name), False
    path = Path(name)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise EvolError(f"{name}: a folder; expected a file", "name a file in it")
        if stat.S_ISSOCK(mode) or stat.S_ISBLK(mode):
            raise EvolError(f"{name}: a {'socket' if stat.S_ISSOCK(mode) else 'disk'}; expected a file or a pipe")
        if stat.S_ISFIFO(mode):
            return _pipe(os.open(path, os.O_RDONLY | os.O_NONBLOCK), name), False
        return _blocks(os.open(path, os.O_RDONLY), name), stat.S_ISREG(mode)
    except (OSError, ValueError) as error:
        raise unopened(name, error) from None


def unopened(name: str, error: OSError | ValueError) -> EvolError:
    """The error for a path that can't be opened (a ValueError is a NUL in it). A missing file's hint
    names the file that may have been meant."""
    if not isinstance(error, FileNotFoundError):
        return EvolError(f"{name}: can't be opened ({getattr(error, 'strerror', None) or error})")
    path = Path(name)
    try:
        near = difflib.get_close_matches(path.name, [other.name for other in path.parent.iterdir()], 1)
        hint = f"did you mean {path.with_name(near[0])}?" if near else ""
    except OSError:
        hint = f"there is no folder {path.parent} either"
    return EvolError(f"{name}: no such file", hint)


def _blocks(descriptor: int, name: str, beginning: bytes = b"") -> Iterator[bytes]:
    """What is there, as it arrives, after what was read already."""
    with open(descriptor, "rb", buffering=0) as file:
        try:
            if beginning:
                yield beginning
            while chunk := file.read(BLOCK):
                yield chunk
        except OSError as error:
            raise EvolError(f"{name}: can't be read on ({error.strerror})") from None


def _pipe(descriptor: int, name: str) -> Iterator[bytes]:
    """The same for a named pipe, which would otherwise wait for ever for somebody to write into it."""
    until = time.monotonic() + PIPE_PATIENCE
    chunk = b""
    while not chunk:
        try:
            chunk = os.read(descriptor, BLOCK)
        except BlockingIOError:  # somebody has it open, and takes their time
            break
        if not chunk and time.monotonic() > until:
            os.close(descriptor)
            raise EvolError(f"{name}: a pipe that nobody writes into (waited {PIPE_PATIENCE:g} s); expected rows")
        if not chunk:
            time.sleep(0.02)
    os.set_blocking(descriptor, True)
    yield from _blocks(descriptor, name, chunk)


def _up_to(chunks: Iterator[bytes], enough: Callable[[bytes], bool]) -> list[bytes]:
    """The first chunks, until together they are `enough` or there are no more."""
    taken: list[bytes] = []
    for chunk in chunks:
        taken.append(chunk)
        if enough(b"".join(taken)):
            break
    return taken


def _misnamed(name: str, codec: str | None, promised: str | None, beginning: bytes) -> EvolError:
    if codec is None:
        return EvolError(
            f"{name}: named as {promised} data, but it begins with {excerpt(beginning[:8])!r}",
            f"take {Path(name).suffix} off the name if it is plain text; fetch it again if it is damaged",
        )
    right = next(extension for extension, one in inflate.EXTENSIONS.items() if one == codec)
    return EvolError(
        f"{name}: {codec} data under another name; expected a name that ends in {right}",
        f"rename it to something like NAME.jsonl{right}",
    )


def _refuse_binary(head: bytes, extension: str, name: str) -> None:
    if (head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5")) or extension in _PICKLES:
        raise EvolError(
            f"{name}: a Python pickle; reading one can run any program, so none is read; expected {FORMATS}",
            "if you trust it, load it yourself and write JSONL",
        )
    found = next((what for magic, what in _BINARY if head.startswith(magic)), None)
    if head[257:262] == b"ustar":
        found = "a tar archive"
    if found:
        raise EvolError(f"{name}: {found}; expected {FORMATS}", "take the rows out of it first")


def _not_utf8(name: str, found: str, encoding: str) -> EvolError:
    hint = f"iconv -f {encoding} -t UTF-8 FILE > fixed" if encoding else ""
    return EvolError(f"{name}: {found}; expected UTF-8", hint)
