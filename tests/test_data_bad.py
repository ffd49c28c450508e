"""Every bad input gets an error that says what was found, where, and what was expected."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import pickle
import sqlite3
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from evollab.data import octets
from evollab.data.files import read_conversations, read_rows, read_seeds
from evollab.records import EvolError, Rejected
from tests.test_data_read import JSONL, ROWS, WRITERS

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GOOD = '{"instruction": "Say x.", "output": "x"}'


def refused(path: Path | str, **options: Any) -> EvolError:
    """The error that reading a file ends in."""
    with pytest.raises(EvolError) as caught:
        list(read_seeds(str(path), reject=lambda _: None, **options))
    assert "Traceback" not in caught.value.message
    return caught.value


def set_aside(tmp_path: Path, row: str | bytes, name: str = "rows.jsonl") -> Rejected:
    """How a bad row between two good ones is set aside. The good ones must be read; with `strict`
    the same reason must stop the reading."""
    data = row if isinstance(row, bytes) else row.encode("utf-8", "surrogatepass")
    path = tmp_path / name
    path.write_bytes(GOOD.encode() + b"\n" + data + b"\n" + GOOD.replace("x", "y").encode() + b"\n")
    aside: list[Rejected] = []
    assert [seed.text for seed in read_seeds(str(path), reject=aside.append)] == ["Say x.", "Say y."]
    (bad,) = aside
    assert (bad.file, bad.line) == (name, 2)
    bad.to_json()
    strict = refused(path, strict=True)
    assert strict.message == f"{path}:2: {bad.reason}"
    return bad


# Rows


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("hello", "not JSON at column 1: found 'h'"),
        ('{"instruction": "a",, "output": "b"}', "not JSON at column 21: found ','"),
        ("{'instruction': 'a'}", "not JSON at column 2: found \"'\""),
        ('{"instruction": "a"} {"x": 1}', "not JSON at column 22: found '{'"),
        ('{"instruction": "a\tb"}', "not JSON at column 19: found '\\\\t' (unexpected control character"),
        ('"Say x."', "a text; expected an object"),
        ('["Say x."]', "a list; expected an object"),
        ("17", "a number; expected an object"),
        ("null", "null; expected an object"),
        ("true", "true; expected an object"),
        ('{"instruction": "a", "instruction": "b"}', "the field 'instruction' occurs twice"),
        ('{"instruction": "a", "x": {"k": 1, "k" : 2}}', "the field 'k' occurs twice"),
        ('{"instruction": "a", "x": [[{"k:": 1, "k:": 2}]]}', "the field 'k:' occurs twice"),
        ('{"instruction": "a", "x": NaN}', "NaN is not JSON"),
        ('{"instruction": "a", "x": -Infinity}', "-Infinity is not JSON"),
        ('{"instruction": "a", "x": 1e999}', "the number 1e999 is infinite"),
        ('{"instruction": "a", "x": [-1e999]}', "the number -1e999 is infinite"),
        ('{"instruction": "a", "x": ' + "9" * 5000 + "}", "an integer of 5,000 digits; expected at most 1,000"),
        ('{"instruction": "a\\u0000b"}', "a NUL character (\\u0000) in a text"),
        ('{"instruction": "a\0b"}', "not JSON at column 19: found '\\\\x00' (unexpected control character"),
        ('{"instruction": "a\\ud83db"}', "a lone surrogate (\\ud83d), half of a character"),
        ('{"instruction": "\\ude00"}', "a lone surrogate (\\ude00)"),
        ('{"instruction": "a", "\\ud800": 1}', "a lone surrogate (\\ud800)"),
        ('{"instruction": "a", "x": ' + "[" * 100 + "]" * 100 + "}", "nested deeper than 100 levels"),
        ('{"instruction": "a", "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested deeper than 100 levels"),
        ('{"x": ' * 100_000 + "1" + "}" * 100_000, "nested deeper than 100 levels"),
        ("{" + ", ".join(f'"f{n}": 1' for n in range(200_002)) + "}", "200,002 fields; an object may have at most 1,000"),
        ('{"instruction": "a", "x": ["' + "y" * (17 << 20) + '"]}', "longer than 16 MiB"),
        ('{"question": "a", "answer": "b"}', "no field instruction; the row has question, answer"),
        ("{}", "no field instruction; the row has none"),
        ('{"instruction": 5}', "field 'instruction' is a number; expected text"),
        ('{"instruction": null}', "field 'instruction' is null; expected text"),
        ('{"instruction": ["a"]}', "field 'instruction' is a list; expected text"),
        ('{"instruction": "a", "input": {"x": 1}}', "field 'input' is an object; expected text"),
        ('{"instruction": "a", "output": true}', "field 'output' is true; expected text"),
        ('{"instruction": "a", "history": [["q"]]}', "field 'history' is not a list of pairs"),
        ('{"instruction": ""}', "the instruction is empty; expected text"),
        ('{"instruction": " \\n\\u3000"}', "the instruction is empty; expected text"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_bad_rows_are_set_aside(tmp_path: Path, row: str, reason: str) -> None:
    bad = set_aside(tmp_path, row)
    assert bad.reason.startswith(reason)
    assert len(bad.text) <= 200
    assert bad.text.isprintable()


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ("[]", "no user turn; there are none"),
        ('"hi"', "field 'conversations' is a text; expected a list of turns"),
        ('["hi"]', "conversations[0] is a text; expected an object"),
        ('[{"from": "human"}]', "conversations[0] has from; expected from and value"),
        (
            '[{"from": "alien", "value": "x"}]',
            "conversations[0]: nobody is called 'alien'; expected one of system, user",
        ),
        ('[{"from": "human", "value": null}]', "field 'conversations[0].value' is null; expected text"),
        ('[{"from": "gpt", "value": "x"}]', "no user turn; there are assistant"),
    ],
)
def test_bad_turns(tmp_path: Path, turns: str, reason: str) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text(f'{{"conversations": {turns}}}\n{{"conversations": [{{"from": "human", "value": "hi"}}]}}\n')
    aside: list[Rejected] = []
    assert len(list(read_seeds(str(path), format="sharegpt", reject=aside.append))) == 1
    assert aside[0].reason.startswith(reason)


def test_bad_instances(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_text('{"instruction": "a", "instances": []}\n{"instruction": "b", "instances": "no"}\n')
    aside: list[Rejected] = []
    assert [seed.text for seed in read_seeds(str(path), reject=aside.append)] == ["a"]
    assert aside[0].reason.startswith("field 'instances' is a text; expected a list of objects")


def test_json_cut_off(tmp_path: Path) -> None:
    for data in (JSONL[:-5], json.dumps(ROWS).encode()[:-8], json.dumps(ROWS, indent=1).encode()[:-9]):
        path = tmp_path / "rows.json"
        path.write_bytes(data)
        aside: list[Rejected] = []
        assert len(list(read_seeds(str(path), reject=aside.append))) == len(ROWS) - 1
        (bad,) = aside
        assert bad.line == len(ROWS)
        assert "JSON cut off at column" in bad.reason
        assert "was its writer killed?" in bad.reason


@pytest.mark.parametrize("end", ["", ",", ", "])
def test_array_without_end(tmp_path: Path, end: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(ROWS)[:-1] + end)
    aside: list[Rejected] = []
    assert len(list(read_seeds(str(path), reject=aside.append))) == len(ROWS)
    assert aside[0].reason == "JSON cut off: the array has no end (was its writer killed?)"


def test_row_in_an_array_is_named_by_row_and_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(f'[\n  {GOOD},\n  {{"instruction": "a",\n   "output": ,}},\n  "text", 7,\n  {GOOD}\n]')
    aside: list[Rejected] = []
    list(read_seeds(str(path), reject=aside.append))
    assert [(bad.line, bad.reason) for bad in aside] == [
        (2, "not JSON at column 14 of its line 2: found ',' (unexpected character, expected a JSON value), in the row that begins on line 3"),
        (3, "a text; expected an object, in the row that begins on line 5"),
        (4, "a number; expected an object, in the row that begins on line 5"),
        (5, "same as row 1"),
    ]  # fmt: skip
    assert refused(path, strict=True).message.startswith(f"{path}:row 2: not JSON")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[{} {}]", ":1:5: found '{}]'; expected a comma or ]"),
        ("[{},]", ":1:5: found ']'; expected an object"),
        ("[,{}]", ":1:2: found ',{}]'; expected an object"),
        ("[{}]\n\nhello", ":3:1: found 'hello'; expected nothing after the array"),
        ("hello world", ":1:1: found 'hello world'; expected an object, or an array of objects"),
        ("{}\n}", ":2:1: found '}'; expected an object"),
        ('"text"', ":1:1: found '\"text\"'; expected an object, or an array of objects"),
    ],
)
def test_broken_json_files(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(EvolError) as caught:
        list(read_rows(str(path), format="json", reject=lambda _: None))
    assert caught.value.message.startswith(f"{path}{found}")


def test_duplicates_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"id": 1, "instruction": "a"},
        {"id": 2, "instruction": "a"},
        {"id": "1", "instruction": "b"},
        {"id": 3, "instruction": "c", "output": "x"},
        {"id": 3, "instruction": "c", "output": "another answer to the same"},
        {"instruction": "d"},
        {"id": None, "instruction": "e"},
        {"id": 4, "instruction": "b"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    aside: list[Rejected] = []
    assert [seed.text for seed in read_seeds(str(path), reject=aside.append)] == ["a", "c", "d", "e", "b"]
    assert [(bad.line, bad.reason) for bad in aside] == [
        (2, "same as line 1"),
        (3, "the id '1' is that of line 1; expected ids that differ (--map can leave them out)"),
        (5, "same as line 4"),
    ]
    assert len(list(read_conversations(str(path), reject=aside.append))) == len(rows), "conversations may repeat"


def test_no_usable_row_is_an_error_that_tells_the_first_reason(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('"a"\n"b"\n')
    assert refused(path).message == f"{path}:1: a text; expected an object (and no other row can be used)"


# Columns


def test_no_known_column_lists_the_fields_and_points_at_map(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"q\\u001b[31m": "a", "a": "b"}\n')
    error = refused(path)
    assert "the fields are q\\x1b[31m, a (in the first 1 rows); expected an instruction" in error.message
    assert "--map instruction=COLUMN" in error.hint


def test_a_bad_first_row_does_not_decide_the_shape(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("garbage\n{}\n" + GOOD + "\n")
    aside: list[Rejected] = []
    assert len(list(read_seeds(str(path), reject=aside.append))) == 1
    assert [bad.line for bad in aside] == [1, 2]


def test_strict_column_error_points_at_map(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(GOOD + '\n{"other": 1}\n')
    assert "--map instruction=COLUMN" in refused(path, strict=True).hint


# CSV


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"a,b,c", "3 fields; the header has 2 (instruction, output)"),
        (b"a", "1 fields; the header has 2 (instruction, output)"),
        (b'"a"b,c', "not CSV: ',' expected after '\"'"),
        (b"a\rb,c", "not CSV: new-line character seen in unquoted field"),
        (b"a\0b,c", "a NUL character in field 'instruction'"),
        (b"caf\xe9,c", "byte 0xE9 at byte 66014 is not UTF-8; expected UTF-8"),
        (b",c", "the instruction is empty; expected text"),
    ],
)
def test_csv_rows(tmp_path: Path, row: bytes, reason: str) -> None:
    path = tmp_path / "rows.csv"
    filler = b"f" * 65_980 + b",x\n"
    path.write_bytes(b"instruction,output\nSay x.,x\n" + filler + row + b"\nSay y.,y\n")
    aside: list[Rejected] = []
    assert len(list(read_seeds(str(path), reject=aside.append))) == 3
    assert [(bad.line, bad.reason[: len(reason)]) for bad in aside] == [(4, reason)]


def test_csv_quote_left_open(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('instruction,output\na,b\nc,"d\n' + "e,f\n" * 5)
    assert refused(path).message == f"{path}:3: a quote is opened in the record that begins here and never closed"
    path.write_text('instruction,output\na,"b\n' + ("c" * 1023 + "\n") * (17 << 10))
    assert "rows.csv:2: a record of more than 16 MiB; is a quote opened" in refused(path).message


def test_csv_header(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("instruction,output,output\na,b,c\n")
    assert refused(path).message == f"{path}:1: the header has output twice; expected each name once"
    path.write_text("instruction,output\n")
    assert refused(path).message == f"{path}: no rows"
    path.write_text(",".join(map(str, range(1001))) + "\n")
    assert "1,001 fields; a row may have at most 1,000" in refused(path).message


# Files


@pytest.mark.parametrize("data", [b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf", b"[]", b"[\n]\n", gzip.compress(b"")])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.txt", "rows.csv", "rows"])
def test_no_rows(tmp_path: Path, data: bytes, name: str) -> None:
    if data.startswith(b"["):
        name = "rows.json"
    path = tmp_path / (name + ".gz" if data.startswith(b"\x1f") else name)
    path.write_bytes(data)
    assert refused(path).message == f"{path}: no rows"


def test_dev_null_and_dev_zero() -> None:
    assert refused("/dev/null").message == "/dev/null: no rows"
    assert "a NUL at byte 0 (not text); expected UTF-8" in refused("/dev/zero").message


def test_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_bytes(JSONL)
    error = refused(tmp_path / "seed.jsonl")
    assert error.message == f"{tmp_path}/seed.jsonl: no such file"
    assert error.hint == f"did you mean {tmp_path}/seeds.jsonl?"
    assert "no folder" in refused(tmp_path / "nowhere" / "seeds.jsonl").hint


def test_folder_names_the_files_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(JSONL)
    (tmp_path / "notes.md").write_bytes(b"")
    error = refused(tmp_path)
    assert f"{tmp_path}: a folder, and none that datasets saved; expected a file" in error.message
    assert error.hint == "name one of its files: a.jsonl"


@pytest.mark.parametrize("name", ["x" * 300 + ".jsonl", "a\0b.jsonl"])
def test_impossible_names(name: str) -> None:
    assert "can't be opened" in refused(name).message


def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(JSONL)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    assert refused(path).message == f"{path}: can't be opened (Permission denied)"


def test_pipe_that_nobody_writes_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    monkeypatch.setattr(octets, "PIPE_PATIENCE", 0.01)
    assert "a pipe that nobody writes into" in refused(path).message


def test_pipe_that_somebody_writes_into(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(JSONL))
    writer.start()
    assert len(list(read_seeds(str(path), reject=lambda _: None))) == len(ROWS)
    writer.join()


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-16", "byte 0 begins a UTF-16 byte-order mark; expected UTF-8"),
        ("utf-32", "byte 0 begins a UTF-32 byte-order mark; expected UTF-8"),
        ("utf-16-le", "a NUL at byte 1 (UTF-16 without a byte-order mark); expected UTF-8"),
        ("utf-16-be", "a NUL at byte 0 (UTF-16 without a byte-order mark); expected UTF-8"),
        ("latin-1", "byte 0xE9 at byte 20 is not UTF-8 (is it Latin-1?); expected UTF-8"),
    ],
)
@pytest.mark.parametrize("extension", [".jsonl", ".json", ".csv", ".txt"])
def test_other_encodings(tmp_path: Path, encoding: str, found: str, extension: str) -> None:
    path = tmp_path / f"rows{extension}"
    path.write_bytes('{"instruction": "Caf\xe9 au lait"}\n'.encode(encoding))
    error = refused(path)
    assert error.message == f"{path}: {found}"
    assert "iconv -f" in error.hint


def test_carriage_returns_alone(tmp_path: Path) -> None:
    for extension in (".jsonl", ".csv", ".txt"):
        path = tmp_path / f"rows{extension}"
        path.write_bytes(JSONL.replace(b"\n", b"\r"))
        at = JSONL.index(b"\n")
        assert f"lines end in CR alone (the first at byte {at}); expected LF or CR LF" in refused(path).message


def test_text_that_is_not_utf8_late_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_bytes(b"x" * 70_000 + b"\nCaf\xe9\nlast\n")
    aside: list[Rejected] = []
    assert len(list(read_seeds(str(path), reject=aside.append))) == 2
    assert aside[0].reason == "byte 0xE9 at byte 70004 is not UTF-8; expected UTF-8"
    assert aside[0].text == "Caf\\xe9"


def test_surrogate_in_utf8_late_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    beginning = json.dumps({"instruction": "x" * 70_000}) + "\n" + '{"instruction": "'
    path.write_bytes(beginning.encode() + "\ud800".encode("utf-8", "surrogatepass") + b'"}')
    aside: list[Rejected] = []
    assert len(list(read_seeds(str(path), reject=aside.append))) == 1
    assert aside[0].reason == f"byte 0xED at byte {len(beginning)} is not UTF-8; expected UTF-8"


class Bomb:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch pickle-was-loaded",)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.pt", "rows", "rows.parquet"])
def test_pickles_are_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, protocol: int) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Bomb(), protocol=protocol))
    for chosen in (None, "jsonl", "lines"):
        assert "a Python pickle; reading one can run any program" in refused(path, format=chosen).message
    assert not (tmp_path / "pickle-was-loaded").exists()


def test_pickle_in_letters_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "rows.pkl"
    path.write_bytes(pickle.dumps(Bomb(), protocol=0))
    assert "a Python pickle" in refused(path).message


def test_archives_and_other_binaries(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../escape.txt", "x")
    assert "a zip archive" in refused(path).message
    database = sqlite3.connect(tmp_path / "rows.json")
    database.execute("create table t(x)")
    database.close()
    assert "an SQLite database" in refused(tmp_path / "rows.json").message
    for data, what in (
        (b"\x93NUMPY\1", "a NumPy array"),
        (b"%PDF-1.7", "a PDF"),
        (bytes(257) + b"ustar", "a tar archive"),
    ):
        path.write_bytes(data)
        assert what in refused(path).message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.yaml", "- !!python/object/apply:os.system ['touch x']"),
        ("rows.yml", "a: &a [x]\nb: [*a, *a]"),
        ("rows", "%YAML 1.2\n---\n"),
        ("rows", "---\na: 1\n"),
        ("rows.data", '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">]>'),
        ("rows", "<!DOCTYPE html><html>"),
    ],
)
def test_yaml_and_xml_are_not_read(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert "is not read" in refused(path).message


def test_unknown_content_asks_for_format(tmp_path: Path) -> None:
    path = tmp_path / "rows.md"
    path.write_text("Say x.\n")
    error = refused(path)
    assert "neither its name nor its first bytes ('Say x.\\\\n') tell what it holds" in error.message
    assert "--format jsonl, json, csv, parquet, lines" in error.hint


# Compression


@pytest.mark.parametrize("extension", [".gz", ".xz", ".zst"])
def test_compressed_data_cut_off(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"rows.jsonl{extension}"
    data = "".join(json.dumps({"instruction": f"Say {n} {n**30}."}) + "\n" for n in range(5000)).encode()
    checked = {int(zstd.CompressionParameter.checksum_flag): 1}
    whole = zstd.compress(data, options=checked) if extension == ".zst" else WRITERS[extension](data)
    path.write_bytes(whole[:-100])
    assert "data is cut off after" in refused(path).message
    path.write_bytes(whole[:1000] + b"\xff\0\xff\0" * 10 + whole[1040:])
    assert "data is damaged after" in refused(path).message
    path.write_bytes(whole + b"trailing garbage")
    assert "data is damaged after" in refused(path).message


def test_names_that_promise_other_data(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(JSONL)
    assert "named as gzip data, but it begins with '{\"instru'" in refused(path).message
    path.write_bytes(lzma.compress(JSONL))
    assert "xz data under another name; expected a name that ends in .xz" in refused(path).message
    plain = tmp_path / "rows.jsonl"
    plain.write_bytes(gzip.compress(JSONL))
    assert "gzip data under another name; expected a name that ends in .gz" in refused(plain).message


@pytest.mark.parametrize("extension", [".gz", ".xz", ".zst"])
def test_bombs(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"rows.jsonl{extension}"
    path.write_bytes(WRITERS[extension](b" " * (40 << 20)))
    assert "expected at most 200 times as much" in refused(path).message


def test_xz_that_asks_for_too_much_memory(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.xz"
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]
    data = bytearray(lzma.compress(JSONL, filters=filters))
    header = 12  # the stream header; then the block header: size, flags, filter id, size of properties, dictionary
    assert data[header + 2 : header + 4] == b"\x21\x01"
    data[header + 4] = 40  # 4 GiB - 1
    end = header + (data[header] + 1) * 4
    data[end - 4 : end] = lzma_crc(bytes(data[header : end - 4]))
    path.write_bytes(data)
    assert "Memory usage limit exceeded" in refused(path).message


def lzma_crc(data: bytes) -> bytes:
    import zlib

    return zlib.crc32(data).to_bytes(4, "little")


# Parquet


def test_parquet_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(JSONL)
    assert "no Parquet: it begins with '{\"in'; expected PAR1" in refused(path).message
    path.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    assert "Parquet that can't be read" in refused(path).message
    duckdb.sql(f"copy (select 'a' as instruction from range(1000)) to '{path}'")
    path.write_bytes(path.read_bytes()[:-200])
    assert "Parquet cut off" in refused(path).message
    compressed = tmp_path / "rows.parquet.gz"
    duckdb.sql(f"copy (select 'a' as instruction) to '{path}'")
    compressed.write_bytes(gzip.compress(path.read_bytes()))
    assert "expected a plain file, not a pipe or compressed data" in refused(compressed).message


def test_parquet_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    duckdb.sql(f"copy (select * from (values ('a'), (chr(0)), (null), ('a')) t(instruction)) to '{path}'")
    aside: list[Rejected] = []
    assert len(list(read_seeds(str(path), reject=aside.append))) == 1
    assert [(bad.line, bad.reason) for bad in aside] == [
        (2, "a NUL character in field 'instruction'"),
        (3, "field 'instruction' is null; expected text"),
        (4, "same as row 1"),
    ]
