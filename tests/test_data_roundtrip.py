"""What is written is read back the same: any text, any turns, every format."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evollab.data.export import ExportOptions, export
from evollab.data.files import read_conversations, read_rows, read_seeds
from evollab.records import Conversation, Instruction, Message, Rejected, seed_instruction

RELAXED = settings(deadline=None)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
SAID = TEXT.filter(lambda text: bool(text.strip()))
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=3).map(
    lambda pairs: tuple(turn for q, a in pairs for turn in (Message("user", q), Message("assistant", a)))
)
SYSTEM = st.just(()) | SAID.map(lambda text: (Message("system", text),))
PAIRED = st.builds(lambda system, pairs: system + pairs, SYSTEM, PAIRS)
ANY_TURNS = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant", "tool"]), TEXT), max_size=4
).map(tuple)


def seeds_of(turns: st.SearchStrategy[tuple[Message, ...]]) -> st.SearchStrategy[list[Instruction]]:
    row = st.builds(
        lambda text, given, history, said: seed_instruction(text, input=given, history=history, response=said),
        SAID, TEXT, turns, SAID,
    )  # fmt: skip
    return st.lists(row, min_size=1, max_size=5, unique_by=lambda seed: (seed.prompt, seed.history))


def fail(rejected: Rejected) -> None:
    raise AssertionError(f"row {rejected.line} was set aside: {rejected.reason}")


def round_trip(rows: list[Instruction], format: str) -> tuple[list[Instruction], list[Conversation]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_bytes(b"".join(row.to_json() + b"\n" for row in rows))
        file = str(export(path, Path(folder), ExportOptions(format=format, shuffle=False), {}).file)
        return list(read_seeds(file, reject=fail)), list(read_conversations(file, reject=fail))


@pytest.mark.parametrize("format", ["messages", "sharegpt", "parquet"])
@settings(deadline=None, max_examples=25)
@given(rows=seeds_of(ANY_TURNS))
def test_conversations_come_back(rows: list[Instruction], format: str) -> None:
    seeds, conversations = round_trip(rows, format)
    assert [(seed.text, seed.history, seed.response) for seed in seeds] == [
        (row.prompt, row.history, row.response) for row in rows
    ]
    assert [one.messages for one in conversations] == [
        (*row.messages, Message("assistant", row.response or "")) for row in rows
    ]


@RELAXED
@given(rows=seeds_of(PAIRED))
def test_alpaca_comes_back_with_input_apart(rows: list[Instruction]) -> None:
    distinct = list({row.id: row for row in rows}.values())
    seeds, _ = round_trip(distinct, "alpaca")
    assert [(seed.id, seed.text, seed.input, seed.history, seed.response) for seed in seeds] == [
        (row.id, row.text, row.input, row.history, row.response) for row in distinct
    ]


@RELAXED
@given(rows=seeds_of(st.just(())), compress=st.booleans())
def test_instructions_jsonl_is_read_as_it_was_written(rows: list[Instruction], compress: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = b"".join(row.to_json() + b"\n" for row in rows)
        path = Path(folder) / ("rows.jsonl.gz" if compress else "rows.jsonl")
        path.write_bytes(gzip.compress(data) if compress else data)
        assert [Instruction.from_json(json.dumps(row.fields)) for row in read_rows(str(path), reject=fail)] == rows


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=30)
"""Without CR: Python's own writer leaves a lone one unquoted only where no quotes are needed."""


@RELAXED
@given(
    header=st.lists(st.text(string.ascii_letters + " _-é", min_size=1).map(str.strip).filter(bool), min_size=2, max_size=4, unique=True),
    data=st.data(),
)  # fmt: skip
def test_csv_comes_back(header: list[str], data: st.DataObject) -> None:
    records = data.draw(st.lists(st.tuples(*itertools.repeat(CELL, len(header))), min_size=1, max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *records])
        rows = list(read_rows(str(path), reject=fail))
    assert [row.fields for row in rows] == [dict(zip(header, record, strict=True)) for record in records]
