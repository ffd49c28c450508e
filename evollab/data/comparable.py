"""Rows with what is compared of them: the text in a normal form, and the bytes that they came as."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import orjson

from evollab.data import formats
from evollab.data.files import READERS, read_rows
from evollab.data.jsonfile import is_jsonl
from evollab.data.lines import lines
from evollab.data.octets import open_octets, text_chunks
from evollab.data.rows import BadRow, Row, excerpt, names
from evollab.records import EvolError, Rejected, Role, Source

_LINEAGE_ROW = {"id", "root_id", "parent_id", "round", "operation", "text"}
_LOOK_AT = 10


@dataclass(frozen=True, slots=True)
class Comparable:
    """A row with what is compared: its bytes as JSON on one line, its place, normalised text, root, and
    the number by which it is preferred (None: it has none)."""

    data: bytes
    line: int
    text: str
    root: str | None
    merit: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How rows are read, and what of them is compared: `format` and `mapping` as in `files.read_rows`
    and `read_seeds`; the turns of `roles`; `merit`, the number by which one row is preferred."""

    format: str | None
    mapping: Mapping[str, str]
    strict: bool
    roles: tuple[Role, ...]
    merit: Callable[[Row, formats.Example], float | None]


def read(source: str, how: Reading, reject: Callable[[Rejected], None]) -> Iterator[Comparable]:
    """The usable rows of `source`. Raises EvolError where there are none, or no shape shows."""
    rows = read_rows(source, format=how.format, strict=how.strict, reject=reject)
    shape, rows = _shape(rows, source, how)
    raw = _raw_lines(source, how.format)
    used, first = 0, ""
    for row in rows:
        try:
            example = shape(row.fields)
            conversation = formats.to_conversation(example, Source(source, row.number, example.id))
        except formats.BadFields as error:
            text = excerpt(_as_json(row))
            place = f"{source}:{row.number}: {error}"
            if how.strict:
                raise EvolError(place, formats.MAP_HINT) from None
            first = first or place
            reject(Rejected(Path(source).name, row.number, str(error), text))
            continue
        used += 1
        text = normalise("\n\n".join(turn.content for turn in conversation.messages if turn.role in how.roles))
        root = row.fields.get("root_id")
        data = _as_json(row) if raw is None else next((data for line, data in raw if line == row.number), None)
        if data is None:
            raise EvolError(f"{source}:{row.number}: the file changed while it was read", "start again")
        yield Comparable(
            data, row.number, text, root if isinstance(root, str) else None, how.merit(row, example),
        )  # fmt: skip
    if not used:
        raise EvolError(f"{first} (and no other row can be used)", formats.MAP_HINT)


def _shape(rows: Iterator[Row], source: str, how: Reading) -> tuple[formats.Shape, Iterator[Row]]:
    """What the options say, or the first rows show; and all the rows."""
    if how.format is not None and how.format in formats.SHAPES:
        if how.mapping:
            raise EvolError(f"--format {how.format} and --map both say how to read a row; expected one of them")
        return formats.SHAPES[how.format], rows
    if how.mapping:
        return formats.mapped(how.mapping), rows
    looked_at = []
    for row in islice(rows, _LOOK_AT):
        looked_at.append(row)
        shape = evolved if row.fields.keys() >= _LINEAGE_ROW else formats.detect(row.fields)
        if shape is not None:
            return shape, chain(looked_at, rows)
    raise EvolError(
        f"{source}: the fields are {names(dict.fromkeys(key for row in looked_at for key in row.fields))}; expected an "
        "instruction, prompt, question, messages or such",
        formats.MAP_HINT,
    )


def evolved(fields: formats.Fields) -> formats.Example:
    """A row of a run's instructions.jsonl. Raises BadFields."""
    before = formats.read_turns("history", fields).turns if fields.get("history") else ()
    own = formats.read_columns(formats.Columns(("text",), ("input",), ("response",), id=("id",)), fields)
    return formats.Example((*before, *own.turns), own.input, own.id)


def is_file(path: Path) -> bool:
    """Whether a file stands there."""
    try:
        return path.is_file()
    except OSError:  # a name that no file can have; reading it says so
        return False


def _raw_lines(source: str, format: str | None) -> Iterator[tuple[int, bytes]] | None:
    """The lines of a JSONL file a second time, numbered, None where the source is anything else (or a
    pipe, which can be read but once)."""
    if not is_file(Path(source)):
        return None
    octets = open_octets(source)
    if format in READERS:
        if format != "jsonl":
            return None
    elif octets.format not in ("json", "jsonl") or not is_jsonl(octets.head):
        return None
    found = (line for line in lines(text_chunks(octets), source) if not isinstance(line, BadRow))
    return ((line.number, line.data.strip(b" \t\r")) for line in found)


def _as_json(row: Row) -> bytes:
    try:
        return orjson.dumps(row.fields, default=str)
    except TypeError:  # an integer of more than 64 bits
        return json.dumps(row.fields, ensure_ascii=False, default=str).encode()


# Normal form

_ENDS = ".,;:!?\"'…。、¿¡«»„“”‘’‹›‚`"
_SPELLINGS: dict[int, str] = {
    **{ord(sign): f"^{plain}" for sign, plain in zip("⁰¹²³⁴⁵⁶⁷⁸⁹ⁿ", "0123456789n", strict=True)},
    **dict.fromkeys(map(ord, "‐‑‒–—−"), "-"),
    **dict.fromkeys((0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0xAD), ""),
}
_FACTORIAL = re.compile(r"(?<=[0-9)])!")


def normalise(text: str) -> str:
    """The text that is compared: NFKC, without case, blanks as one, dashes as one, without characters
    of no width, and without marks (full stops, commas, quotes and the like) at the ends of words.

    Signs that carry meaning stay: + - * / = % < > ( ) [ ] and whatever stands within a word (3.14,
    a[1:]), the ! of 5!; and x² becomes x^2, not x2. A text of nothing but marks is left as it is.
    """
    if "!" in text:
        text = _FACTORIAL.sub("\u01c3", text)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_SPELLINGS))
    words = text.casefold().split()
    return " ".join(filter(None, (word.strip(_ENDS) for word in words))) or " ".join(words)
