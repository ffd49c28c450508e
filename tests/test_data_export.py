"""Exports: what is taken, in which order, in which shape, and the card that tells of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
from markdown_it import MarkdownIt

from evollab.data import export as module
from evollab.data.card import MARK
from evollab.data.export import ExportOptions, ExportResult, export, export_run
from evollab.data.files import read_seeds
from evollab.data.targets import TARGETS
from evollab.records import EvolError, Instruction, Message, digest, seed_instruction

ROOT = Path(__file__).parent.parent
OPERATIONS = ("deepen", "add-constraint", "in-breadth", "concretise")


def lineages(seeds: int, rounds: int = 4) -> list[Instruction]:
    """Rows of a finished run: each seed and its descendants."""
    rows: list[Instruction] = []
    for number in range(seeds):
        parent = seed_instruction(f"seed {number}", response=f"answer {number}")
        rows.append(parent)
        for depth in range(1, rounds + 1):
            parent = Instruction(
                digest(parent.id, depth), rows[-depth].root_id, parent.id, depth, OPERATIONS[depth % 4], "general",
                f"row {number} of round {depth}", response="yes", models={"evolver": "openai:m", "answerer": "openai:m"},
            )  # fmt: skip
            rows.append(parent)
    return rows


def a_run(folder: Path, rows: Iterable[Instruction], **facts: Any) -> Path:
    """A run folder that holds `rows`."""
    step = folder / "1-evolve"
    step.mkdir(parents=True)
    (step / "instructions.jsonl").write_bytes(b"".join(row.to_json() + b"\n" for row in rows))
    known: dict[str, Any] = {
        "step": "evolve", "state": "complete", "command": "evol evolve /home/me/seeds.jsonl --base-url http://h:1/v1",
        "config": {"model": "openai:m", "rounds": 4, "limit": None, "settled": {"prompts": "abc123", "top_p": 0.9}},
        "inputs": {"seeds": {"file": "seeds.jsonl", "bytes": 10, "digest": "00ff"}},
        "versions": {"evollab": "0.1.0", "python": "3.11.7"},
        "counts": {"seeds": 10, "rejected": 0, "kept": 50, "dropped": 3, "answered_seeds": 10},
        "survival": [
            {"round": 1, "operation": "deepen", "tried": 10, "kept": 8, "dropped": {"leak": 1, "no_gain": 1}},
            {"round": 2, "operation": "in-breadth", "tried": 4, "kept": 3, "dropped": {"leak": 1}},
        ],
    }  # fmt: skip
    (step / "step.json").write_bytes(orjson.dumps(known | facts))
    return folder


def exported(result: ExportResult) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.file.read_bytes().split(b"\n") if line]


def users(result: ExportResult) -> list[str]:
    return [row["messages"][-2]["content"] for row in exported(result)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return a_run(tmp_path / "run", lineages(10))


def test_messages(run: Path) -> None:
    result = export_run(run, None, ExportOptions())
    assert result.file == run / "export" / "train.jsonl"
    assert result.rows == result.available == 50
    assert sorted(users(result)) == sorted(row.text for row in lineages(10))
    assert {tuple(turn["role"] for turn in row["messages"]) for row in exported(result)} == {("user", "assistant")}
    assert not list((run / "export").glob("*.part"))


def test_order_depends_on_ids_and_seed_alone(tmp_path: Path, run: Path) -> None:
    first = users(export_run(run, tmp_path / "a", ExportOptions()))
    assert first == users(export_run(run, tmp_path / "b", ExportOptions()))
    assert first != sorted(first)
    assert first != users(export_run(run, tmp_path / "c", ExportOptions(seed=1)))
    backwards = a_run(tmp_path / "backwards", reversed(lineages(10)))
    assert first == users(export_run(backwards, tmp_path / "d", ExportOptions()))
    assert users(export_run(run, tmp_path / "e", ExportOptions(shuffle=False))) == [row.text for row in lineages(10)]


def test_a_smaller_draw_begins_a_larger_one(tmp_path: Path, run: Path) -> None:
    small = users(export_run(run, tmp_path / "a", ExportOptions(n=7)))
    large = users(export_run(run, tmp_path / "b", ExportOptions(n=30)))
    assert len(small) == len(set(small)) == 7
    assert large[:7] == small
    kept = users(export_run(run, tmp_path / "c", ExportOptions(n=7, shuffle=False)))
    assert sorted(kept) == sorted(small)
    assert kept == [row.text for row in lineages(10) if row.text in small]


def test_the_draw_is_even_over_rounds(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", lineages(2000))
    result = export_run(run, None, ExportOptions(n=2500))
    counts = Counter(text.rsplit(" ", 1)[-1] if text.startswith("row") else "0" for text in users(result))
    expected = 2500 / 5
    # Chi-squared with 4 degrees of freedom: beyond 18.5 once in a thousand draws; this one is fixed.
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 18.5


def test_more_than_there_are(run: Path) -> None:
    result = export_run(run, None, ExportOptions(n=70_000))
    assert result.rows == 50
    assert result.notes == ("70,000 rows were asked for and there are 50: all were taken",)
    assert "note: 70,000 rows were asked for" in str(result)
    assert result.notes[0] in result.card.read_text()


@pytest.mark.parametrize(
    ("rounds", "taken"), [("0", {0}), ("1-3", {1, 2, 3}), ("0,4", {0, 4}), ("3-9", {3, 4}), ("1,2-3", {1, 2, 3})]
)
def test_rounds(run: Path, tmp_path: Path, rounds: str, taken: set[int]) -> None:
    result = export_run(run, tmp_path / "out", ExportOptions(format="parquet", rounds=rounds))
    found = duckdb.execute(f"select distinct round from '{result.file}'").fetchall()
    assert {number for (number,) in found} == taken
    assert result.left_out == {module.OTHER_ROUND: 50 - 10 * len(taken)}


def test_rows_without_a_response_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [*lineages(2), seed_instruction("unanswered"), seed_instruction("empty", response="")]
    result = export_run(a_run(tmp_path / "run", rows), None, ExportOptions())
    assert result.rows == 10
    assert result.left_out == {module.NO_RESPONSE: 2}
    assert "left out: 2 rows without a response" in str(result)
    with pytest.raises(EvolError, match=r"no rows to export \(1 without a response\)"):
        export_run(a_run(tmp_path / "none", [seed_instruction("unanswered")]), None, ExportOptions())
    with pytest.raises(EvolError, match="the file is empty"):
        export_run(a_run(tmp_path / "empty", []), None, ExportOptions())


TURNS = (Message("system", "Be brief."), Message("user", "q1"), Message("assistant", "a1"))


def test_alpaca_with_and_without_turns(tmp_path: Path) -> None:
    plain = seed_instruction("i", input="x", response="o")
    result = export_run(a_run(tmp_path / "a", [plain]), None, ExportOptions(format="alpaca"))
    assert exported(result) == [{"instruction": "i", "input": "x", "output": "o"}]
    rows = [plain, seed_instruction("j", history=TURNS, response="p")]
    result = export_run(a_run(tmp_path / "b", rows), None, ExportOptions(format="alpaca", shuffle=False))
    assert exported(result) == [
        {"instruction": "i", "input": "x", "output": "o", "system": "", "history": []},
        {"instruction": "j", "input": "", "output": "p", "system": "Be brief.", "history": [["q1", "a1"]]},
    ]


def test_turns_that_alpaca_has_no_place_for(tmp_path: Path) -> None:
    rows = [
        seed_instruction("tool", history=(Message("user", "q"), Message("tool", "42")), response="r"),
        seed_instruction("two", history=(Message("user", "q"),), response="r"),
        seed_instruction("late", history=(Message("user", "q"), Message("system", "s")), response="r"),
        seed_instruction("fine", history=TURNS, response="r"),
    ]
    run = a_run(tmp_path / "run", rows)
    result = export_run(run, None, ExportOptions(format="alpaca"))
    assert [row["instruction"] for row in exported(result)] == ["fine"]
    assert result.left_out == {module.UNFIT: 3}
    assert export_run(run, None, ExportOptions(format="sharegpt")).rows == 4


def test_sharegpt(tmp_path: Path) -> None:
    row = seed_instruction("j", input="x", history=TURNS, response="p")
    result = export_run(a_run(tmp_path / "run", [row]), None, ExportOptions(format="sharegpt"))
    assert exported(result) == [
        {
            "conversations": [
                {"from": "system", "value": "Be brief."},
                {"from": "human", "value": "q1"},
                {"from": "gpt", "value": "a1"},
                {"from": "human", "value": "j\n\nx"},
                {"from": "gpt", "value": "p"},
            ]
        }
    ]


def test_parquet_has_messages_and_lineage(tmp_path: Path) -> None:
    out = tmp_path / "a 'quoted' [x]*?" / "out"
    rows = lineages(3)
    result = export_run(a_run(tmp_path / "run", rows), out, ExportOptions(format="parquet", shuffle=False))
    assert result.file == out / "train.parquet"
    (tmp_path / "plain.parquet").write_bytes(result.file.read_bytes())
    found = duckdb.execute(f"select * from '{tmp_path / 'plain.parquet'}'")
    assert [column[0] for column in found.description or ()] == [
        "messages",
        "id",
        "root_id",
        "parent_id",
        "round",
        "operation",
        "domain",
    ]
    assert found.fetchall() == [
        (
            [{"role": "user", "content": row.text}, {"role": "assistant", "content": row.response}],
            row.id, row.root_id, row.parent_id, row.round, row.operation, row.domain,
        )
        for row in rows
    ]  # fmt: skip
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "train.parquet"]


def test_parquet_with_long_and_odd_texts(tmp_path: Path) -> None:
    texts = ["x" * 3_000_000, "a\0b", "\u2028\r\n\t\"\\{}[]'", "𝄞\ufffe", "null"]
    rows = [seed_instruction(f"t{number}", response=text) for number, text in enumerate(texts)]
    result = export_run(a_run(tmp_path / "run", rows), None, ExportOptions(format="parquet", shuffle=False))
    found = duckdb.execute(f"select messages[2].content from '{result.file}'").fetchall()
    assert [text for (text,) in found] == texts


def test_another_format_replaces_the_first(run: Path) -> None:
    export_run(run, None, ExportOptions())
    result = export_run(run, None, ExportOptions(format="parquet"))
    assert sorted(path.name for path in result.file.parent.iterdir()) == ["README.md", "train.parquet"]


def test_a_readme_of_another_make_is_not_lost(run: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# My project\n")
    with pytest.raises(EvolError, match="not of our making") as error:
        export_run(run, tmp_path, ExportOptions())
    assert "--out" in error.value.hint
    assert readme.read_text() == "# My project\n"
    assert not (tmp_path / "train.jsonl").exists()
    with pytest.raises(EvolError, match="can't be exported into"):
        export_run(run, readme, ExportOptions())


def test_runs_without_rows(tmp_path: Path) -> None:
    with pytest.raises(EvolError, match="expected the rows of a run"):
        export_run(tmp_path / "nothing", None, ExportOptions())
    run = a_run(tmp_path / "run", lineages(1))
    rows = run / "1-evolve" / "instructions.jsonl"
    rows.write_bytes(rows.read_bytes()[:-20])
    with pytest.raises(EvolError, match=r"instructions.jsonl:5: not JSON"):
        export_run(run, None, ExportOptions())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "csv"}, "--format 'csv': expected one of messages, alpaca, sharegpt, parquet"),
        ({"n": 0}, "--n 0: expected 1 or more"),
        ({"rounds": "1-"}, "--rounds '1-': expected numbers and ranges"),
        ({"rounds": "all"}, "--rounds 'all': expected numbers and ranges"),
    ],
)
def test_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(EvolError, match=re.escape(words)):
        ExportOptions(**options)


def test_a_step_folder_and_one_without_step_json(run: Path, tmp_path: Path) -> None:
    assert export_run(run / "1-evolve", tmp_path / "a", ExportOptions()).rows == 50
    assert export(run / "1-evolve" / "instructions.jsonl", tmp_path / "b", ExportOptions(), {}).rows == 50
    card = (tmp_path / "b" / "README.md").read_text()
    assert "## Rows" in card
    assert "## Settings" not in card


# The card


def front_matter(text: str) -> list[str]:
    beginning, block, _ = text.split("---\n", 2)
    assert beginning == ""
    return block.splitlines()


def test_card(run: Path) -> None:
    result = export_run(run, None, ExportOptions(n=20, rounds="0-3", licence="CC-BY-NC-4.0"))
    text = result.card.read_text()
    assert MARK in result.card.read_bytes()
    assert {"license: cc-by-nc-4.0", "- evol-instruct", "- n<1K", "    path: train.jsonl"} <= set(front_matter(text))
    for part in (
        "20 of 40 rows that could be used were taken. Left out: 10 rows of other rounds.",
        "from 10 seeds",
        "| 1 | deepen | 10 | 8 | 80.0% |",
        "| leak | 2 |",
        "| no\\_gain | 1 |",
        "| settled.prompts | abc123 |",
        "Seeds: seeds.jsonl (blake2b 00ff). Their licence: CC-BY-NC-4.0.",
        "evol evolve seeds.jsonl --base-url URL",
        "evol export RUN --format messages --n 20 --rounds 0-3 --seed 0",
        "prompts abc123",
        "python 3.11.7",
    ):
        assert part in text, part
    assert "http://h:1" not in text
    assert "/home/me" not in text
    assert "limit" not in text, "an option without a value"
    assert sum(map(int, re.findall(r"^\| \d \| [a-z-]+ \| (\d+) \| [\d.]+% \|$", text, re.MULTILINE))) == 20
    evolved = re.search(r"\| openai:m \| evolver \| (\d+) \|", text)
    assert evolved is not None
    assert int(evolved[1]) == sum(text.startswith("row") for text in users(result))


def test_card_says_when_nobody_named_a_licence(run: Path, tmp_path: Path) -> None:
    text = export_run(run, tmp_path / "a", ExportOptions()).card.read_text()
    assert "license: unknown" in text
    assert "Their licence: unknown: nobody said." in text
    text = export_run(run, tmp_path / "b", ExportOptions(licence='Our "own": *terms*')).card.read_text()
    assert 'license: other\nlicense_name: "our-own-terms"\n' in text


def test_card_of_a_stopped_run_says_so(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", lineages(1), state="stopped")
    result = export_run(run, None, ExportOptions())
    assert any("not complete (stopped)" in note for note in result.notes)
    assert "not complete (stopped)" in result.card.read_text()


def test_hostile_text_stays_text_in_the_card(tmp_path: Path) -> None:
    evil = "```\n# Heading <script>alert(1)</script>\n| cell | \x1b[31m ![x](http://evil/x.png) \u202e"
    row = Instruction(
        "b", "a", "a", 1, f"op {evil}", "general", evil, response="~~~~\n`````" + evil, models={evil: evil}
    )
    run = a_run(
        tmp_path / "run", [row], inputs={"seeds": {"file": evil, "digest": None}}, config={evil: evil},
        survival=[{"round": 1, "operation": evil, "tried": 0, "kept": 0, "dropped": {evil: 1}}], command=evil,
    )  # fmt: skip
    for shape in TARGETS:
        text = export_run(run, tmp_path / shape, ExportOptions(format=shape)).card.read_text()
        assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)
        tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text.split("---\n", 2)[2])
        inline = [child for token in tokens for child in token.children or []]
        assert [token.type for token in tokens].count("fence") == 1
        assert not {"html_block", "html_inline", "image"} & {token.type for token in [*tokens, *inline]}
        assert [link.attrs["href"] for link in inline if link.type == "link_open"] == [
            "https://arxiv.org/abs/2304.12244"
        ]
        titles = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"]
        assert titles == [
            "Evolved instructions", "Rows", "Survival", "Models", "Settings", "Sources and licences", "A row",
            "How to repeat it",
        ]  # fmt: skip
        cells = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type in {"td_open", "th_open"}]
        assert len(cells) == 8 + 10 + 4 + 6 + 4, "no cell was split"


def test_sample_is_json_inside_a_fence_longer_than_any_in_it(tmp_path: Path) -> None:
    row = seed_instruction("`" * 7, response="x" * 5000)
    text = export_run(a_run(tmp_path / "run", [row]), None, ExportOptions()).card.read_text()
    found = re.search(r"^`{8}json\n(.*?)\n`{8}$", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    sample = json.loads(found[1])
    assert sample["messages"][0]["content"] == "`" * 7
    assert len(sample["messages"][1]["content"]) < 700


def test_front_matter_is_yaml(run: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    text = export_run(run, None, ExportOptions(licence="a: b")).card.read_text()
    read: Mapping[str, Any] = yaml.safe_load("\n".join(front_matter(text)))
    assert read["configs"] == [{"config_name": "default", "data_files": [{"split": "train", "path": "train.jsonl"}]}]


# Size


MEASURE = """
import resource, sys
from pathlib import Path
from evollab.data.export import ExportOptions, export
export(Path(sys.argv[1]), Path(sys.argv[2]), ExportOptions(n=1000), {})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_hold_the_rows(tmp_path: Path) -> None:
    peaks: list[int] = []
    for count in (1_000, 40_000):
        rows = tmp_path / f"{count}.jsonl"
        with rows.open("wb") as file:
            for number in range(count):
                file.write(seed_instruction(f"seed {number}", response="y" * 2000).to_json() + b"\n")
        command = [sys.executable, "-c", MEASURE, str(rows), str(tmp_path / f"out{count}")]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout) * 1024)
    assert peaks[1] - peaks[0] < 39_000 * 100, "80 MB of rows, and memory grows by less than 100 bytes a row"


def test_exported_rows_are_seeds_again(run: Path, tmp_path: Path) -> None:
    for shape in TARGETS:
        result = export_run(run, tmp_path / shape, ExportOptions(format=shape))
        texts = [seed.text for seed in read_seeds(str(result.file), reject=lambda bad: pytest.fail(bad.reason))]
        assert sorted(texts) == sorted(row.text for row in lineages(10))


def test_what_a_later_step_kept_can_be_exported(tmp_path: Path) -> None:
    rows = lineages(10)
    run = a_run(tmp_path / "run", rows)
    kept = [orjson.dumps({**orjson.loads(row.to_json()), "attributes": {"difficulty": 3}}) for row in rows[::2]]
    (run / "selection").mkdir()
    (run / "selection" / "kept.jsonl").write_bytes(b"\n".join(kept) + b"\n")
    (run / "selection" / "step.json").write_bytes(orjson.dumps({"step": "selection", "state": "complete"}))
    result = export_run(run / "selection", None, ExportOptions())
    assert result.file == run / "export" / "train.jsonl"
    assert result.rows == len(kept)
    assert "openai:m" in result.card.read_text("utf-8"), "the card tells how the run made them"
