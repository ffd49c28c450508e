"""Reading is a stream: the first row comes at once, memory stays flat whatever comes, limits hold."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evollab.data import jsonfile, lines, octets
from evollab.data.files import read_rows, read_seeds
from evollab.data.octets import Octets
from evollab.data.rows import BadRow, Row
from evollab.data.strictjson import BadJson, parse_object
from evollab.records import EvolError, Rejected

RELAXED = settings(deadline=None)
ROOT = Path(__file__).parent.parent
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=5)


def opened(data: bytes, size: int) -> Octets:
    """`data` as an opened file that arrives in pieces of `size` bytes."""
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    return Octets("rows.json", ".json", None, data, pieces)


def clean(value: Any) -> bool:
    """Whether JSON text of a value holds nothing that is refused."""
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, dict):
        return all(clean(name) and clean(item) for name, item in value.items())
    return all(map(clean, value)) if isinstance(value, list) else True


@RELAXED
@given(OBJECTS.filter(clean), st.booleans(), st.sampled_from([None, 1, 7]))
def test_every_object_is_read_exactly(row: dict[str, Any], ascii: bool, indent: int | None) -> None:
    text = json.dumps(row, ensure_ascii=ascii, indent=indent)
    assert parse_object(text.encode()) == json.loads(text)


@RELAXED
@given(OBJECTS.filter(clean), st.data())
def test_every_beginning_of_an_object_is_cut_off(row: dict[str, Any], data: st.DataObject) -> None:
    whole = json.dumps(row, ensure_ascii=data.draw(st.booleans())).encode()
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]
    with pytest.raises(BadJson, match="JSON cut off at column"):
        parse_object(cut)


@RELAXED
@given(st.binary(max_size=60) | st.text('{}[]",:\\u0d8e1nul \n').map(str.encode))
def test_any_bytes_are_read_or_refused_in_words(data: bytes) -> None:
    try:
        row = parse_object(data)
    except BadJson:
        return
    assert row == json.loads(data)


@RELAXED
@given(st.dictionaries(st.text(), st.text(), min_size=1, max_size=4).filter(clean), st.data())
def test_a_field_twice_is_always_noticed(row: dict[str, str], data: st.DataObject) -> None:
    blank = st.sampled_from(["", " ", "\t", "\r\n"])
    pairs = [*row.items(), data.draw(st.sampled_from(sorted(row.items())))]
    fields = (
        f"{json.dumps(name)}{data.draw(blank)}:{data.draw(blank)}{json.dumps(value)}"
        for name, value in data.draw(st.permutations(pairs))
    )
    text = "{" + ",".join(fields) + "}"
    with pytest.raises(BadJson, match="occurs twice"):
        parse_object(text.encode())
    with pytest.raises(BadJson, match="occurs twice"):
        parse_object(f'{{"inner": [{text}]}}'.encode())


@RELAXED
@given(st.lists(JSON.filter(clean), max_size=5), st.integers(1, 40), st.sampled_from([None, 0, 3]), st.booleans())
def test_arrays_are_cut_at_the_same_places_in_pieces_of_any_size(
    values: list[Any], size: int, indent: int | None, ascii: bool
) -> None:
    data = json.dumps(values, indent=indent, ensure_ascii=ascii).encode()
    read = list(jsonfile.json_rows(opened(data, size)))
    assert [row.number for row in read] == list(range(1, len(values) + 1))
    for row, value in zip(read, values, strict=True):
        assert row.fields == value if isinstance(row, Row) else "expected an object" in row.reason


@RELAXED
@given(st.lists(OBJECTS.filter(clean), min_size=1, max_size=4), st.integers(1, 40), st.sampled_from(["", " ", "\n\n"]))
def test_objects_one_after_another(rows: list[dict[str, Any]], size: int, between: str) -> None:
    data = between.join(json.dumps(row, indent=1) for row in rows).encode()
    assert [row.fields for row in jsonfile.json_rows(opened(data, size)) if isinstance(row, Row)] == rows


@RELAXED
@given(st.binary(max_size=200), st.integers(1, 20))
def test_any_bytes_as_an_array_end_in_rows_or_in_words(data: bytes, size: int) -> None:
    for text in (b"[" + data, data):
        try:
            rows = list(jsonfile.json_rows(opened(text, size)))
        except EvolError:
            continue
        assert all(isinstance(row, Row | BadRow) for row in rows)


@RELAXED
@given(st.lists(st.binary().filter(lambda line: b"\n" not in line)), st.integers(1, 20))
def test_lines_are_those_between_line_feeds(expected: list[bytes], size: int) -> None:
    data = b"".join(line + b"\n" for line in expected)
    chunks = (data[at : at + size] for at in range(0, len(data), size))
    read = [line for line in lines.lines(chunks, "x") if isinstance(line, lines.Line)]
    assert [line.data for line in read] == expected
    assert [line.number for line in read] == list(range(1, len(expected) + 1))
    assert all(data[line.offset :].startswith(line.data + b"\n") for line in read)


# One row at a time


def write_in_two(path: Path, parts: tuple[bytes, bytes], go_on: threading.Event, in_time: list[bool]) -> None:
    with path.open("wb", buffering=0) as pipe:
        pipe.write(parts[0])
        in_time.append(go_on.wait(20))
        pipe.write(parts[1])


def test_the_first_row_is_out_before_the_second_is_written(tmp_path: Path) -> None:
    for name, parts in {
        "jsonl": (b'{"instruction": "a"}\n', b'{"instruction": "b"}\n'),
        "csv": (b"instruction\na\n", b"b\n"),
        "array": (b'[\n{"instruction": "a"},\n', b'{"instruction": "b"}]'),
    }.items():
        path = tmp_path / name
        os.mkfifo(path)
        first_read = threading.Event()
        in_time: list[bool] = []

        writer = threading.Thread(target=write_in_two, args=(path, parts, first_read, in_time))
        writer.start()
        rows = read_seeds(str(path), format="csv" if name == "csv" else None, reject=lambda _: None)
        assert next(rows).text == "a"
        first_read.set()
        assert [row.text for row in rows] == ["b"]
        writer.join()
        assert in_time == [True], f"{name}: the first row waited for the second"


def test_what_was_read_before_a_fault_counts(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('instruction,output\na,b\nc,"d\n')
    rows = read_seeds(str(path), reject=lambda _: None)
    assert next(rows).text == "a"
    with pytest.raises(EvolError, match=r"rows\.csv:3: a quote is opened"):
        next(rows)


# Limits


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits, a thousand times smaller."""
    for module in (lines, jsonfile):
        monkeypatch.setattr(module, "LIMIT", 16 << 10)
        monkeypatch.setattr(module, "PATIENCE", 64 << 10)
    monkeypatch.setattr(octets, "BLOCK", 1 << 10)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_a_long_row_is_passed_over(tmp_path: Path, small: None, name: str) -> None:
    path = tmp_path / name
    rows = [{"x": "a"}, {"x": "b" * 40_000}, {"x": "c" * 16_000}, {"x": "d" * 17_000}, {"x": "e"}]
    text = "\n".join(map(json.dumps, rows)) if name.endswith("l") else json.dumps(rows)
    path.write_text(text)
    aside: list[Rejected] = []
    assert [row.fields["x"][0] for row in read_rows(str(path), reject=aside.append)] == ["a", "c", "e"]
    assert [(bad.line, bad.reason) for bad in aside] == [(2, lines.TOO_LONG), (4, lines.TOO_LONG)]
    assert [bad.text[:8] for bad in aside] == ['{"x": "b', '{"x": "d']


@pytest.mark.parametrize("start", ['{"x": "', '[{"x": "', "[[[", "[1"])
def test_a_row_without_end_ends_the_reading(tmp_path: Path, small: None, start: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text('{"x": 1}\n' * (not start.startswith("[")) + start + "1" * 200_000)
    with pytest.raises(EvolError, match=r"a row of more than .* without an end; a row may have at most"):
        list(read_rows(str(path), reject=lambda _: None))


READ = """
import resource, sys
from evollab.data.files import read_seeds
from evollab.records import EvolError
aside = []
rows = 0
try:
    for seed in read_seeds(sys.argv[1], format=sys.argv[2] or None, reject=aside.append):
        rows += 1
except EvolError as error:
    print(error.message)
print(rows, len(aside), aside[0].reason if aside else "")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak(feed: Iterable[bytes], format: str = "") -> tuple[str, int]:
    """Read `feed` through a pipe in a process of its own: what it said, and its peak memory in MiB."""
    process = subprocess.Popen(
        [sys.executable, "-c", READ, "-", format], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, bufsize=0
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        for piece in feed:
            process.stdin.write(piece)
    process.stdin.close()
    said = process.stdout.read().decode()
    process.stdout.close()
    process.wait()
    *words, memory = said.splitlines()
    return "\n".join(words), int(memory)


def endless(first: bytes, piece: bytes) -> Iterator[bytes]:
    yield first
    while True:
        yield piece


def test_memory_is_flat_whatever_comes() -> None:
    block = b"x" * (1 << 20)
    _, floor = peak([b'{"instruction": "a"}\n'])
    said, memory = peak([b'{"instruction": "', *[block] * 100, b'"}\n{"instruction": "b"}\n'])
    assert said == f"1 1 {lines.TOO_LONG}"
    assert memory < floor + 80
    said, memory = peak([b'[{"instruction": "', *[block] * 100, b'"}, {"instruction": "b"}]'])
    assert said == f"1 1 {lines.TOO_LONG}"
    assert memory < floor + 80
    said, memory = peak(endless(b'{"instruction": "', block))
    assert "-:1: a row of more than 1,024 MiB without an end; a row may have at most 16 MiB" in said
    assert memory < floor + 80
    said, memory = peak(endless(bytes(100), bytes(1 << 20)))
    assert "a NUL at byte 0 (not text); expected UTF-8" in said
    assert memory < floor + 20
    said, memory = peak(endless(b'instruction\n"', (b"x" * 1023 + b"\n") * 1024), "csv")
    assert "-:2: a record of more than 16 MiB; is a quote opened on this line and never closed?" in said
    assert memory < floor + 120


def test_memory_grows_only_by_what_tells_seeds_apart() -> None:
    def rows(count: int) -> Iterator[bytes]:
        return (b'{"instruction": "%d %b"}\n' % (number, b"x" * 500) for number in range(count))

    _, few = peak(rows(1_000))
    said, many = peak(rows(61_000))
    assert said == "61000 0 "
    assert many - few < 60_000 * 250 / (1 << 20) + 3
