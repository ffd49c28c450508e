"""Good files of every format and shape."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from evollab.data.files import input_digest, read_conversations, read_rows, read_seeds
from evollab.data.rows import excerpt
from evollab.records import EvolError, Instruction, Message, Rejected

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FIXTURES = Path(__file__).parent / "fixtures" / "data"
ROWS = [{"instruction": f"Say {word}.", "input": "", "output": word} for word in ("one", "zwei", "trois", "四")]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def fail(rejected: Rejected) -> None:
    raise AssertionError(f"line {rejected.line} was set aside: {rejected.reason}")


def seeds(path: Path | str, **options: Any) -> list[Instruction]:
    return list(read_seeds(str(path), reject=fail, **options))


def texts(path: Path | str, **options: Any) -> list[str]:
    return [seed.text for seed in seeds(path, **options)]


def test_alpaca() -> None:
    first, second, third = seeds(FIXTURES / "alpaca.jsonl")
    assert (first.text, first.input, first.response) == ("Name a fruit that floats.", "", "An apple.")
    assert (second.text, second.input, second.prompt) == (
        "Sort these numbers.",
        "3, 1, 2",
        "Sort these numbers.\n\n3, 1, 2",
    )
    assert third.response is None, "an empty output is no response"
    assert (first.round, first.operation, first.parent_id, first.root_id) == (0, "seed", None, first.id)
    assert [seed.source.line for seed in (first, second, third) if seed.source] == [1, 2, 3]
    assert first.source is not None
    assert first.source.file == "alpaca.jsonl"


def test_self_instruct_takes_the_first_instance() -> None:
    first, second = seeds(FIXTURES / "self_instruct.jsonl")
    assert (first.input, first.response) == ("Peru", "Lima")
    assert first.source is not None
    assert first.source.id == "task_0"
    assert (second.input, second.response) == ("", "Dust on the old shelf")


def test_sharegpt_keeps_turns_as_history() -> None:
    first, second = seeds(FIXTURES / "sharegpt.json")
    assert first.history == (
        Message("system", "Be brief."),
        Message("user", "What is a prime?"),
        Message("assistant", "A number with two divisors."),
    )
    assert (first.text, first.response) == ("Is 1 one of them?", "No.")
    assert (second.text, second.history, second.response) == ("Say hello {name}].", (), None)


def test_messages_and_what_is_no_single_answer() -> None:
    first, second = seeds(FIXTURES / "messages.jsonl")
    assert (first.text, first.response) == ("Count to three.", "1 2 3")
    assert (second.text, second.response) == ("Look it up.", None), "a tool's turns are no single answer"


def test_conversations_keep_every_turn() -> None:
    read = list(read_conversations(str(FIXTURES / "messages.jsonl"), reject=fail))
    assert [turn.role for turn in read[1].messages] == ["user", "assistant", "tool", "assistant"]
    alpaca = list(read_conversations(str(FIXTURES / "alpaca.jsonl"), reject=fail))
    assert alpaca[1].messages == (Message("user", "Sort these numbers.\n\n3, 1, 2"), Message("assistant", "1, 2, 3"))


def test_csv_with_quotes_breaks_and_formulas() -> None:
    first, second = seeds(FIXTURES / "columns.csv")
    assert (first.text, first.response) == ("Why is the sky blue, and\nnot green?", "Scattering.")
    assert (second.text, second.response) == ("What is =SUM(A1)?", 'A "formula"')
    assert [seed.source.line for seed in (first, second) if seed.source] == [2, 4], "the line a record begins on"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_separators(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(separator.join(("instruction", "output")) + "\n" + separator.join(("Say x.", "x")) + "\n")
    assert [(seed.text, seed.response) for seed in seeds(path)] == [("Say x.", "x")]


def test_csv_field_longer_than_the_modules_own_limit(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("instruction,output\n" + "x" * 200_000 + ",y\n")
    assert len(texts(path)[0]) == 200_000


def test_plain_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_bytes(b"Say one.\r\n\n  \nSay two, \xe2\x80\xa8 too.\n")
    assert [(seed.text, seed.source.line) for seed in seeds(path) if seed.source] == [
        ("Say one.", 1),
        ("Say two, \u2028 too.", 4),
    ]


def test_parquet_flat_and_nested(tmp_path: Path) -> None:
    flat, nested = tmp_path / "flat.parquet", tmp_path / "year=2020" / "a*[b]?.parquet"
    nested.parent.mkdir()
    (tmp_path / "year=2020" / "aXb1.parquet").write_bytes(b"PAR1 a decoy that a pattern would match")
    duckdb.sql(f"copy (select 'Say x.' as instruction, null as input, 'x' as output) to '{flat}'")
    duckdb.sql(
        "copy (select [{'role': 'user', 'content': 'Say y.'}, {'role': 'assistant', 'content': 'y'}] as messages)"
        f" to '{tmp_path / 'n.parquet'}'"
    )
    (tmp_path / "n.parquet").rename(nested)
    assert [(seed.text, seed.input, seed.response) for seed in seeds(flat)] == [("Say x.", "", "x")]
    assert [(seed.text, seed.response) for seed in seeds(nested)] == [("Say y.", "y")]
    assert next(read_rows(str(nested), reject=fail)).fields.keys() == {"messages"}, "folders are no columns"


WRITERS: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstd.compress,
}


@pytest.mark.parametrize("extension", WRITERS)
@pytest.mark.parametrize("members", [1, 2])
def test_compressed(tmp_path: Path, extension: str, members: int) -> None:
    path = tmp_path / f"rows.jsonl{extension}"
    middle = JSONL.index(b"\n") + 1 if members == 2 else len(JSONL)
    path.write_bytes(b"".join(WRITERS[extension](part) for part in (JSONL[:middle], JSONL[middle:]) if part))
    assert texts(path) == [row["instruction"] for row in ROWS]


def test_gzip_padded_with_zeros(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(JSONL) + bytes(512))
    assert len(seeds(path)) == len(ROWS)


SPELLINGS = {
    "an array": json.dumps(ROWS).encode(),
    "a pretty array": json.dumps(ROWS, indent=4).encode(),
    "pretty objects": "\n".join(json.dumps(row, indent=2) for row in ROWS).encode(),
    "objects one after another": " ".join(map(json.dumps, ROWS)).encode(),
    "lines": JSONL,
    "no last newline": JSONL.rstrip(),
    "CR LF": JSONL.replace(b"\n", b"\r\n"),
    "a byte-order mark": b"\xef\xbb\xbf" + JSONL,
    "blank lines": JSONL.replace(b"\n", b"\n\n \t\n"),
}


@pytest.mark.parametrize("extension", [".jsonl", ".json", ".data", ""])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_json_is_known_by_its_content(tmp_path: Path, spelling: str, extension: str) -> None:
    path = tmp_path / f"rows{extension}"
    path.write_bytes(SPELLINGS[spelling])
    if spelling == "objects one after another":
        path.write_bytes(b"\n" + SPELLINGS[spelling])
        rows = list(read_rows(str(path), format="json", reject=fail))
        assert [row.fields for row in rows] == ROWS
        return
    assert texts(path) == [row["instruction"] for row in ROWS]


def test_a_first_row_longer_than_what_is_looked_at(tmp_path: Path) -> None:
    rows = [{"instruction": "a", "numbers": list(range(30_000))}, {"instruction": "b"}]
    path = tmp_path / "rows.json"
    path.write_text("\n".join(map(json.dumps, rows)) + "\nbroken\n")
    aside: list[Rejected] = []
    assert [seed.text for seed in read_seeds(str(path), reject=aside.append)] == ["a", "b"]
    assert [bad.line for bad in aside] == [3]
    path.write_text(json.dumps(rows))
    assert texts(path) == ["a", "b"]


def test_one_object(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(ROWS[0], indent=2))
    assert texts(path) == ["Say one."]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c"])
def test_separators_that_python_would_split_at(tmp_path: Path, separator: str) -> None:
    row = {"instruction": f"Say{separator}x.", "output": f"x{separator}"}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row, ensure_ascii=ord(separator) < 0x20) + "\n")
    assert [(seed.text, seed.response) for seed in seeds(path)] == [(row["instruction"], row["output"])]
    lines = tmp_path / "rows.txt"
    lines.write_text(row["instruction"])
    assert texts(lines) == [row["instruction"]]


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "\x1b[31mred",
        "#Rewritten Prompt#",
        "</s><|im_end|>",
        "USER: hi ASSISTANT:",
        "{0} {x}",
        "=1+1",
    ],
)
def test_hostile_text_is_only_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"instruction": text}))
    assert texts(path) == [text]


@pytest.mark.parametrize(
    ("row", "text", "given", "response"),
    [
        ({"prompt": "p", "response": "r"}, "p", "", "r"),
        ({"question": "q", "answer": "a"}, "q", "", "a"),
        ({"problem": "p", "solution": "steps", "answer": "2"}, "p", "", "steps"),
        ({"instruction": "i", "context": "c", "response": "r"}, "i", "c", "r"),
        ({"input": "i", "output": "o"}, "i", "", "o"),
        ({"Question": "q", "Best Answer": "b"}, "q", "", "b"),
        ({"Instruction": "i", "Difficulty": 3}, "i", "", None),
        ({"text": "t", "language": "en"}, "t", "", None),
    ],
)
def test_usual_columns(tmp_path: Path, row: Any, text: str, given: str, response: str | None) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    (seed,) = seeds(path)
    assert (seed.text, seed.input, seed.response) == (text, given, response)


def test_llama_factory_columns(tmp_path: Path) -> None:
    row = {"instruction": "i", "input": "", "output": "o", "system": "s", "history": [["q1", "a1"], ["q2", "a2"]]}
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([row, {"instruction": "alone", "output": "o", "history": [], "system": None}]))
    first, second = seeds(path)
    assert [(turn.role, turn.content) for turn in first.history] == [
        ("system", "s"), ("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2"),
    ]  # fmt: skip
    assert second.history == ()


def test_columns_missing_from_the_first_row_are_still_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a"}\n{"prompt": "b", "response": "r"}\n')
    assert [seed.response for seed in seeds(path)] == [None, "r"]


def test_mapping_reads_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "no", "ask": "yes", "say": "ok", "output": "no", "id": 1}\n' * 1)
    (seed,) = seeds(path, mapping={"instruction": "ask", "output": "say"})
    assert (seed.text, seed.response) == ("yes", "ok")
    assert seed.source is not None
    assert seed.source.id is None
    talk = tmp_path / "talk.jsonl"
    talk.write_text('{"dialog": [{"role": "user", "content": "hi"}]}\n')
    assert texts(talk, mapping={"messages": "dialog"}) == ["hi"]


def test_format_names_a_shape_or_a_file_format(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text('{"messages": [{"role": "user", "content": "m"}], "instruction": "i"}\n')
    assert texts(path) == ["m"]
    assert texts(path, format="alpaca") == ["i"]
    assert texts(path, format="lines") == [path.read_text().rstrip()]


def test_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (JSONL, gzip.compress(JSONL), json.dumps(ROWS).encode()):
        path = tmp_path / "piped"
        path.write_bytes(data)
        saved = os.dup(0)
        with path.open("rb") as file:
            os.dup2(file.fileno(), 0)
            try:
                assert texts("-") == [row["instruction"] for row in ROWS]
            finally:
                os.dup2(saved, 0)
                os.close(saved)


def test_same_seed_same_id_wherever_it_stands(tmp_path: Path) -> None:
    jsonl, csv = tmp_path / "a.jsonl", tmp_path / "b.csv"
    jsonl.write_text('{"question": "Q?", "answer": "1"}\n')
    csv.write_text("x,prompt\n1,P\n2,Q?\n")
    assert seeds(jsonl)[0].id == seeds(csv)[1].id
    assert seeds(jsonl)[0].id != seeds(jsonl, domain="code")[0].id


def test_excerpt_is_safe_on_a_terminal() -> None:
    assert excerpt("a\x1b[2J\n\u202eb\ud800\0é 四") == "a\\x1b[2J\\n\\u202eb\\ud800\\x00é 四"
    assert excerpt(b"\xff" + b"x" * 999) == "\\xff" + "x" * 196


def test_digest_tells_inputs_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(JSONL)
    first = input_digest(str(path))
    assert first["file"] == "rows.jsonl"
    assert first["bytes"] == len(JSONL)
    assert len(first["digest"]) == 32
    assert input_digest(str(path)) == first
    path.write_bytes(JSONL.replace(b"zwei", b"drei"))
    assert input_digest(str(path))["digest"] != first["digest"]
    os.mkfifo(tmp_path / "pipe")
    assert input_digest(str(tmp_path / "pipe")) == {"file": "pipe", "bytes": None, "digest": None}
    with pytest.raises(EvolError, match="no such file") as error:
        input_digest(str(tmp_path / "row.jsonl"))
    assert error.value.hint == f"did you mean {path}?"
    with pytest.raises(EvolError, match="can't be opened"):
        input_digest("x" * 300)
    assert input_digest("-") == {"file": "-", "bytes": None, "digest": None}


def test_digest_of_large_files_samples_them(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    size = (64 << 20) + 10_000_000
    with path.open("wb") as file:
        file.truncate(size)
    plain = input_digest(str(path))
    assert plain["bytes"] == size
    for place in (0, size - 1):
        with path.open("r+b") as file:
            file.seek(place)
            file.write(b"x")
        changed = input_digest(str(path))
        assert changed["digest"] != plain["digest"]
        plain = changed
    with path.open("ab") as file:
        file.write(b"\0")
    assert input_digest(str(path))["digest"] != plain["digest"]


def test_unknown_options_list_what_exists(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(JSONL)
    with pytest.raises(EvolError, match=r"jsonl, json, csv, parquet, lines \(of files\).*alpaca") as error:
        seeds(path, format="jsonll")
    assert "jsonl" in error.value.hint
    with pytest.raises(EvolError, match="no such part; expected instruction, input"):
        seeds(path, mapping={"instructions": "x"})
    with pytest.raises(EvolError, match="--map names no instruction"):
        seeds(path, mapping={"output": "output"})
    with pytest.raises(EvolError, match="no other part"):
        seeds(path, mapping={"messages": "a", "instruction": "b"})
    with pytest.raises(EvolError, match="expected one of them"):
        seeds(path, mapping={"instruction": "b"}, format="alpaca")
    with pytest.raises(EvolError, match="expected the column nope of --map"):
        seeds(path, mapping={"instruction": "nope"})


@pytest.mark.parametrize("spelling", ["<noinput>", "noinput", "No input", "<No Input>", "[no input]."])
def test_the_ways_of_saying_that_there_is_no_input(tmp_path: Path, spelling: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"instruction": "Explain tides.", "input": spelling, "output": ""}))
    (seed,) = read_seeds(str(path), reject=lambda _: None)
    assert seed.input == ""
