"""The rows of any data set, one at a time: the bytes that they came as, and the conversation they hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import orjson

from evollab.data import formats
from evollab.data.files import READERS, read_rows
from evollab.data.jsonfile import is_jsonl
from evollab.data.lines import lines
from evollab.data.octets import open_octets, text_chunks
from evollab.data.rows import BadRow, Row, excerpt, names
from evollab.llm.option import option
from evollab.records import EvolError, Message, Rejected, Source

_LINEAGE_ROW = {"id", "root_id", "parent_id", "round", "operation", "text"}
_LOOK_AT = 10
ATTRIBUTES = "attributes"
"""The field in which `evol analyse` leaves what it found out about a row."""


@dataclass(frozen=True, kw_only=True)
class RowOptions:
    """How rows are read; every verb that works on rows has these. Without slots, so that options of models can
    stand beside them in one class."""

    format: str | None = option("format of the data, where it can't be told", None, metavar="FORMAT")
    map: tuple[str, ...] = option("our field=their column, repeatable", (), metavar="FIELD=COLUMN")
    strict: bool = option("stop at the first bad row", False)

    def mapping(self) -> dict[str, str]:
        """`map` as our field -> their column. Raises EvolError for what is no pair."""
        pairs: dict[str, str] = {}
        for pair in self.map:
            name, sign, column = pair.partition("=")
            if not (name and sign and column):
                raise EvolError(f"--map {excerpt(pair, 40)!r}: expected FIELD=COLUMN", formats.MAP_HINT)
            pairs[name] = column
        return pairs


@dataclass(frozen=True, slots=True)
class Item:
    """A row of a data set.

    data: the row as JSON on one line, the very bytes of the file where that is JSONL. number: its
    1-based line (or row) number. fields: what the JSON holds. messages: the whole conversation, the
    input of an instruction below its last user turn. id: its id as text, None where it has none.
    """

    data: bytes
    number: int
    fields: Mapping[str, Any]
    messages: tuple[Message, ...]
    id: str | None

    @property
    def asked(self) -> str:
        """All that users say, turn by turn, with a blank line between."""
        return "\n\n".join(turn.content for turn in self.messages if turn.role == "user")

    @property
    def prompt(self) -> str:
        """The last user turn; "" where there is none."""
        return next((turn.content for turn in reversed(self.messages) if turn.role == "user"), "")

    @property
    def response(self) -> str:
        """The assistant's turn that ends the conversation; "" where it doesn't end so."""
        last = self.messages[-1]
        return last.content if last.role == "assistant" else ""

    @property
    def root(self) -> str | None:
        """The id of the seed that the row's lineage began with, None for rows of no lineage."""
        root = self.fields.get("root_id")
        return root if isinstance(root, str) else None

    @property
    def round(self) -> int | None:
        """The generation of an evolved row (0 for seeds), None for rows of no lineage."""
        number = self.fields.get("round")
        return number if isinstance(number, int) and not isinstance(number, bool) else None

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What an earlier `evol analyse` left in the row; {} where it didn't."""
        found = self.fields.get(ATTRIBUTES)
        return found if isinstance(found, dict) else {}


def read_items(source: str, options: RowOptions, reject: Callable[[Rejected], None]) -> Iterator[Item]:
    """The usable rows of `source` (all that `files.read_rows` takes), in order; memory is that of one.

    Rows that can't be used go to `reject`; with `options.strict` the first of them is an EvolError.
    Raises EvolError too where no row can be used, or no shape shows.
    """
    rows = read_rows(source, format=options.format, strict=options.strict, reject=reject)
    shape, rows = _shape(rows, source, options)
    raw = _raw_lines(source, options.format)
    used, first = 0, ""
    for row in rows:
        try:
            example = shape(row.fields)
            conversation = formats.to_conversation(example, Source(source, row.number, example.id))
        except formats.BadFields as error:
            text = excerpt(as_json(row.fields))
            place = f"{source}:{row.number}: {error}"
            if options.strict:
                raise EvolError(place, formats.MAP_HINT) from None
            first = first or place
            reject(Rejected(Path(source).name, row.number, str(error), text))
            continue
        used += 1
        data = as_json(row.fields) if raw is None else next((data for line, data in raw if line == row.number), None)
        if data is None:
            raise changed(source)
        yield Item(data, row.number, row.fields, conversation.messages, example.id)
    if not used:
        raise EvolError(f"{first} (and no other row can be used)", formats.MAP_HINT)


def changed(source: str) -> EvolError:
    """The error for a file that somebody writes to while it is read."""
    return EvolError(f"{source}: the file changed while it was read", "start again when nobody writes to it")


def _shape(rows: Iterator[Row], source: str, options: RowOptions) -> tuple[formats.Shape, Iterator[Row]]:
    """What the options say, or the first rows show; and all the rows."""
    mapping = options.mapping()
    if options.format is not None and options.format in formats.SHAPES:
        if mapping:
            raise EvolError(f"--format {options.format} and --map both say how to read a row; expected one of them")
        return formats.SHAPES[options.format], rows
    if mapping:
        return formats.mapped(mapping), rows
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


def as_json(fields: Mapping[str, Any]) -> bytes:
    """A row as JSON on one line."""
    try:
        return orjson.dumps(fields, default=str)
    except TypeError:  # an integer of more than 64 bits
        return json.dumps(fields, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")


def with_attributes(item: Item, found: Mapping[str, Any]) -> bytes:
    """The row as JSON on one line, with `found` laid over what its attributes said before."""
    return as_json({**item.fields, ATTRIBUTES: {**item.attributes, **found}})
