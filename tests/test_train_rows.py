"""Data of every shape as ids and masks; nothing vanishes uncounted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

pytest.importorskip("transformers", reason="needs the extra `train`")
pytest.importorskip("datasets", reason="needs the extra `train`")

from evollab.chat import Renderer
from evollab.data.items import RowOptions
from evollab.records import EvolError
from evollab.train.rows import Counts, Reader, open_rows, told, write_rows
from tests import tiny

EOS = 2


def reader(format: str = "vicuna", *, length: int = 512, too_long: str = "cut", **rows: Any) -> Reader:
    return Reader(Renderer(tiny.tokenizer("llama"), format), RowOptions(**rows), length, too_long)


def made(folder: Path, rows: Sequence[Any], reader: Reader, **settings: Any) -> tuple[Counts, list[dict[str, Any]]]:
    """What `write_rows` counts, and the rows that it writes to train on."""
    data = folder / "data.jsonl"
    data.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    counts = write_rows(str(data), folder / "out", reader, **settings)
    return counts, list(open_rows(folder / "out", "train"))


def answers(row: dict[str, Any]) -> str:
    """What is trained of a row, as text."""
    ids = [one for one, mask in zip(row["input_ids"], row["mask"], strict=True) if mask]
    return str(tiny.tokenizer("llama").decode(ids))


def removed(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (folder / "out" / "removed.jsonl").read_bytes().splitlines()]


SHAPES: dict[str, dict[str, Any]] = {
    "alpaca": {"instruction": "Add.", "input": "1 and 2", "output": "3."},
    "messages": {"messages": [{"role": "user", "content": "Add."}, {"role": "assistant", "content": "3."}]},
    "sharegpt": {"conversations": [{"from": "human", "value": "Add."}, {"from": "gpt", "value": "3."}]},
    "prompt and completion": {"prompt": "Add.", "completion": "3."},
    "evolved": {
        "id": "b", "root_id": "a", "parent_id": "a", "round": 1, "operation": "deepen", "domain": "general",
        "text": "Add.", "response": "3.",
    },
}  # fmt: skip


@pytest.mark.parametrize("row", SHAPES.values(), ids=SHAPES)
def test_every_shape_of_data(tmp_path: Path, row: dict[str, Any]) -> None:
    counts, rows = made(tmp_path, [row], reader())
    assert (counts.rows, counts.train, answers(rows[0])) == (1, 1, "3.</s>")
    assert counts.trained == sum(rows[0]["mask"])
    assert counts.tokens == len(rows[0]["input_ids"])


def test_the_last_trained_id_of_every_row_is_eos(tmp_path: Path) -> None:
    turns = [("user", "a"), ("assistant", "b </s> ASSISTANT: c"), ("user", "d"), ("assistant", "e"), ("user", "bye")]
    talk = {"messages": [{"role": role, "content": text} for role, text in turns]}
    _, rows = made(tmp_path, [*mixed(tiny.sums(20)), talk], reader())
    for row in rows:
        assert row["input_ids"][-1] == EOS
        assert row["mask"][-1] == 1
    assert rows[-1]["mask"].count(1) > 4
    assert sum(one == EOS for one in rows[-1]["input_ids"]) == 2, "what is said after the last answer is left out"


def test_alpaca_gives_the_input_its_heading(tmp_path: Path) -> None:
    rows = [SHAPES["alpaca"], {"ask": "Add.", "given": "1 and 2", "say": "3."}]
    named = ("instruction=ask", "input=given", "output=say")
    for row, options in zip(rows, ({}, {"map": named}), strict=True):
        _, found = made(tmp_path, [row], reader("alpaca", **options))
        text = tiny.tokenizer("llama").decode(found[0]["input_ids"])
        assert "Instruction:\nAdd.\n\n### Input:\n1 and 2\n\n### Response:3." in text


def test_a_step_folder_is_data(tmp_path: Path) -> None:
    from evollab.data.rowstep import place_of

    step = tmp_path / "dedup"
    step.mkdir()
    (step / "step.json").write_text("{}")
    (step / "kept.jsonl").write_bytes(orjson.dumps(SHAPES["alpaca"]))
    counts = write_rows(place_of(str(step), None, "sft").source, tmp_path / "out", reader())
    assert counts.train == 1


# Rows that can't be trained


BAD = [
    {"instruction": "Add 1.", "output": "2."},
    {"instruction": "No answer.", "output": ""},
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "  "}]},
    {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}]},
]  # fmt: skip


def mixed(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        row if "messages" in row else {"messages": [
            {"role": "user", "content": row["instruction"]},
            *([{"role": "assistant", "content": row["output"]}] if row["output"] else []),
        ]}
        for row in rows
    ]  # fmt: skip


def test_rows_with_nothing_to_train_stop_with_their_numbers(tmp_path: Path) -> None:
    with pytest.raises(EvolError) as error:
        made(tmp_path, mixed(BAD), reader())
    assert "data.jsonl:2: no turn of the assistant" in error.value.message
    assert "3 rows can't be trained: 2 nothing_trained (lines 2, 3); 1 not_rendered (lines 4)" in error.value.message
    assert "--allow-unusable" in error.value.hint
    assert [(row["line"], row["reason"]) for row in removed(tmp_path)] == [
        (2, "nothing_trained"), (3, "nothing_trained"), (4, "not_rendered"),
    ]  # fmt: skip


def test_they_can_be_left_out_and_are_counted(tmp_path: Path) -> None:
    counts, rows = made(tmp_path, mixed(BAD), reader(), allow_unusable=True)
    assert len(rows) == counts.train == 1
    assert dict(counts.reasons) == {"nothing_trained": 2, "not_rendered": 1}
    sentences = told(counts.to_json(), tmp_path)
    assert any("2 rows have nothing to train, left out (lines 2, 3)" in one for one in sentences)
    assert [row["detail"] for row in removed(tmp_path)][2].startswith("turn 2 is the user's")
    assert removed(tmp_path)[0]["row"] == mixed(BAD)[1]


def test_no_row_left_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EvolError, match="no row is left to train"):
        made(tmp_path, mixed(BAD[1:]), reader(), allow_unusable=True)


def test_unreadable_rows_are_put_aside(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_bytes(orjson.dumps(SHAPES["alpaca"]) + b"\n{\n" + b'{"instruction": "a", "output": "\\ud800"}\n')
    counts = write_rows(str(data), tmp_path / "out", reader())
    assert (counts.train, counts.rejected) == (1, 2)
    assert (tmp_path / "out" / "rejected.jsonl").read_bytes().count(b"\n") == 2
    with pytest.raises(EvolError, match=r"data\.jsonl:2"):
        write_rows(str(data), tmp_path / "out", reader(strict=True))


# Rows that are too long


LONG = {"instruction": "Count.", "output": "one two three " * 40}
TALK = {
    "messages": [
        {"role": role, "content": text}
        for role, text in (
            ("user", "a"), ("assistant", "b."), ("user", "c"), ("assistant", "d."), ("user", "e"),
            ("assistant", "f " * 200),
        )
    ]
}  # fmt: skip


def test_a_row_that_is_cut_is_counted_and_gets_no_eos(tmp_path: Path) -> None:
    counts, rows = made(tmp_path, [LONG, *tiny.sums(2)], reader(length=128))
    assert (counts.cut, counts.train, counts.lines["cut"]) == (1, 3, [1])
    assert len(rows[0]["input_ids"]) == 128
    assert EOS not in rows[0]["input_ids"], "an end that isn't there is not made up"
    assert told(counts.to_json(), tmp_path) == ["note: 1 rows were cut at the limit (lines 1)"]


def test_a_row_whose_answer_is_cut_off_is_not_dropped_silently(tmp_path: Path) -> None:
    """TRL drops it without a word."""
    asked = {"instruction": "Why? " * 100, "output": "So."}
    counts, rows = made(tmp_path, [asked, *tiny.sums(2)], reader(length=128))
    assert len(rows) == 2
    assert counts.reasons["too_long"] == 1
    assert removed(tmp_path)[0]["line"] == 1
    assert "nothing of an answer is left" in removed(tmp_path)[0]["detail"]
    assert "1 rows are longer than the limit, left out (lines 1)" in told(counts.to_json(), tmp_path)[0]


def test_whole_turns_can_go_instead(tmp_path: Path) -> None:
    rows_in = [*mixed([LONG]), TALK]
    counts, rows = made(tmp_path, rows_in, reader(length=128, too_long="turns"))
    assert (counts.cut, counts.reasons["too_long"]) == (1, 1)
    assert answers(rows[0]).replace(" ", "") == "b.</s>d.</s>"
    assert rows[0]["input_ids"][-1] == EOS


def test_they_can_be_dropped_or_stop(tmp_path: Path) -> None:
    counts, rows = made(tmp_path, [LONG, *tiny.sums(2)], reader(length=128, too_long="drop"))
    assert (len(rows), counts.reasons["too_long"]) == (2, 1)
    with pytest.raises(EvolError, match=r"128 at most \[1 rows can't be trained: 1 too_long \(lines 1\)\]") as error:
        made(tmp_path, [LONG, *tiny.sums(2)], reader(length=128, too_long="stop"))
    assert "--too-long" in error.value.hint


# What is held out


def test_whole_lineages_are_held_out(tmp_path: Path) -> None:
    rows = [
        {**SHAPES["evolved"], "id": f"{root}-{n}", "root_id": f"{root}", "text": f"Add {root} and {n}."}
        for root in range(30)
        for n in range(3)
    ]
    counts, train = made(tmp_path, rows, reader(), eval_share=0.3)
    held_out = list(open_rows(tmp_path / "out", "eval"))
    assert counts.train == len(train)
    assert counts.held_out == len(held_out) > 9
    assert {row["id"].split("-")[0] for row in train}.isdisjoint(row["id"].split("-")[0] for row in held_out)
    other, _ = made(tmp_path, rows, reader(), eval_share=0.3, seed=1)
    again, _ = made(tmp_path, rows, reader(), eval_share=0.3)
    assert again == counts
    assert other.held_out != counts.held_out or other.tokens != counts.tokens


def test_a_share_that_holds_out_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EvolError, match="holds out none of 2 rows"):
        made(tmp_path, tiny.sums(2), reader(), eval_share=1e-9)


def test_files_are_the_same_whenever_they_are_made(tmp_path: Path) -> None:
    made(tmp_path, tiny.sums(700), reader())
    first = (tmp_path / "out" / "rows" / "train.arrow").read_bytes()
    made(tmp_path, tiny.sums(700), reader())
    assert (tmp_path / "out" / "rows" / "train.arrow").read_bytes() == first
    assert len(open_rows(tmp_path / "out", "train")) == 700
