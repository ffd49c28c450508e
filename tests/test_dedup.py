"""The step `dedup`: what goes, what stays, what is written, and what is refused."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.dedup import make
from evollab.cli import main
from evollab.data.dedup import DedupOptions, dedup
from evollab.records import EvolError, Instruction

ROOT = Path(__file__).parent.parent
LONG = "Explain to a curious child of ten how the tides of the sea follow the moon and why there are two of them a day"
NEAR = LONG.replace("curious", "clever")
OTHER = "Write a Python function that returns the median of a list of numbers without using the statistics module"


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def asked(*texts: str) -> list[dict[str, str]]:
    return [{"instruction": text, "output": f"answer {number}"} for number, text in enumerate(texts)]


def evolved(
    id: str, text: str, root: str, round: int = 0, response: str | None = "Yes.", **more: Any
) -> dict[str, Any]:
    row = Instruction(id, root, None if not round else root, round, "deepen", "general", text, response=response)
    return {**json.loads(row.to_json()), **more}


def gone(folder: Path) -> dict[int, tuple[str, int]]:
    return {row["line"]: (row["reason"], row["stays"]["line"]) for row in rows_of(folder / "removed.jsonl")}


def run(path: Path, out: Path, **options: Any) -> dict[int, tuple[str, int]]:
    dedup(str(path), out, DedupOptions(**options))
    return gone(out)


def test_copies_and_near_duplicates_go_with_the_reason(tmp_path: Path) -> None:
    data = write(tmp_path / "d.jsonl", asked(LONG, OTHER, NEAR, f"  {OTHER.upper()}!"))
    result = dedup(str(data), tmp_path / "out", DedupOptions())
    kept, removed = rows_of(tmp_path / "out/kept.jsonl"), rows_of(tmp_path / "out/removed.jsonl")
    assert [row["output"] for row in kept] == ["answer 0", "answer 1"]
    near, copy = removed
    assert (near["reason"], near["line"], near["stays"]["line"]) == ("near", 3, 1)
    assert 0.8 <= near["similarity"] < 1
    assert near["stays"]["text"].startswith("explain to a curious child")
    assert near["row"] == asked(LONG, OTHER, NEAR)[2]
    assert (copy["reason"], copy["line"], copy["stays"]["line"], copy["similarity"]) == ("exact", 4, 2, 1.0)
    assert (result.counts["rows"], result.counts["kept"], result.counts["exact"], result.counts["near"]) == (4, 2, 1, 1)
    assert "2 of 4 rows" in str(result)
    assert not [path.name for path in (tmp_path / "out").iterdir() if path.suffix == ".part"]


def test_exact_alone_leaves_near_duplicates(tmp_path: Path) -> None:
    data = write(tmp_path / "d.jsonl", asked(LONG, NEAR, LONG + "."))
    assert run(data, tmp_path / "out", exact=True) == {3: ("exact", 1)}
    assert run(data, tmp_path / "both", exact=True, near=0.8) == {2: ("near", 1), 3: ("exact", 1)}


def test_a_copy_of_a_near_duplicate_names_a_row_that_stays(tmp_path: Path) -> None:
    data = write(tmp_path / "d.jsonl", asked(LONG, NEAR, NEAR.upper()))
    assert run(data, tmp_path / "out") == {2: ("near", 1), 3: ("near", 1)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 5 + 3?", "What is 5 - 3?"),
        ("What is 5 * 3?", "What is 5 / 3?"),
        ("Compute 5!", "Compute 5"),
        ("What is x² at 2?", "What is x2 at 2?"),
        ("What is 1.5?", "What is 15?"),
        ("Sort a[1:] now", "Sort a[1] now"),
        ("???", "..."),
        ("Is x < 3?", "Is x > 3?"),
    ],
)
def test_signs_that_mean_something_make_no_copies(tmp_path: Path, one: str, other: str) -> None:
    assert run(write(tmp_path / "d.jsonl", asked(one, other)), tmp_path / "out", exact=True) == {}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Name a colour.", "  name\ta COLOUR "),
        ("Say “hello” to Ann", 'Say "hello", to Ann!'),
        ("ｆｕｌｌ width", "Full width."),
        ("A well–known “fact”…", "a well-known fact"),
        ("STRASSE", "Straße"),
        ("zero\u200bwidth", "zerowidth"),
    ],
)
def test_copies_in_other_clothes(tmp_path: Path, one: str, other: str) -> None:
    assert run(write(tmp_path / "d.jsonl", asked(one, other)), tmp_path / "out", exact=True) == {2: ("exact", 1)}


def test_a_chain_of_small_changes_keeps_its_far_end(tmp_path: Path) -> None:
    words = LONG.split()
    chain = [" ".join([*["other"] * n, *words[n:]]) for n in range(0, 9, 2)]
    out = tmp_path / "out"
    removed = run(write(tmp_path / "d.jsonl", asked(*chain)), out, near=0.75)
    assert removed
    assert set(removed) < {2, 3, 4, 5}, "only what resembles a row that stays"
    assert all(stays not in removed for _, stays in removed.values())
    assert all(row["similarity"] >= 0.75 for row in rows_of(out / "removed.jsonl"))
    assert json.loads((out / "step.json").read_text())["counts"]["clusters"] == 1


def test_a_child_may_resemble_its_parent(tmp_path: Path) -> None:
    rows = [
        evolved("a", LONG, "a"),
        evolved("b", NEAR, "a", 1),
        evolved("c", NEAR, "c"),
        evolved("d", LONG + "!", "a", 2),
    ]
    data = write(tmp_path / "d.jsonl", rows[:2])
    assert run(data, tmp_path / "kin") == {}
    assert run(data, tmp_path / "far", lineage=0.8) == {2: ("near", 1)}
    data = write(tmp_path / "e.jsonl", [rows[0], rows[2]])
    assert run(data, tmp_path / "strangers") == {2: ("near", 1)}
    data = write(tmp_path / "f.jsonl", [rows[0], rows[3]])
    assert run(data, tmp_path / "same", lineage=1.0) == {2: ("exact", 1)}, "a child that adds nothing is a copy"
    data = write(tmp_path / "g.jsonl", rows[:3])
    assert run(data, tmp_path / "all") == {3: ("exact", 2)}
    ids = {row["id"]: row["stays"]["id"] for row in rows_of(tmp_path / "all/removed.jsonl")}
    assert ids == {"c": "b"}


KEEPING = [
    evolved("a", LONG, "a", 2, "short", quality=3.5),
    evolved("b", LONG + ".", "b", 1, "the longest response", quality=None),
    evolved("c", NEAR, "c", 3, None, quality=9),
    evolved("d", LONG.upper(), "d", 1, "shorter", quality=4),
]


@pytest.mark.parametrize(
    ("rule", "stays"),
    [
        ("first", "a"), ("last", "d"), ("earliest-round", "b"), ("latest-round", "c"), ("longest-response", "b"),
        ("highest:quality", "c"),
    ],
)  # fmt: skip
def test_which_row_stays(tmp_path: Path, rule: str, stays: str) -> None:
    dedup(str(write(tmp_path / "d.jsonl", KEEPING)), tmp_path / "out", DedupOptions(keep=rule))
    assert [row["id"] for row in rows_of(tmp_path / "out/kept.jsonl")] == [stays]
    assert {row["stays"]["id"] for row in rows_of(tmp_path / "out/removed.jsonl")} == {stays}


@pytest.mark.parametrize("rule", ["earliest-round", "latest-round", "highest:quality"])
def test_a_rule_needs_something_to_go_by(tmp_path: Path, rule: str) -> None:
    with pytest.raises(EvolError, match="no row has a number in the field"):
        run(write(tmp_path / "d.jsonl", asked(LONG, NEAR)), tmp_path / "out", keep=rule)
    with pytest.raises(EvolError, match="no row has a response"):
        run(write(tmp_path / "e.jsonl", [{"prompt": LONG}]), tmp_path / "other", keep="longest-response")
    assert not (tmp_path / "out/kept.jsonl").exists()


def test_responses_count_only_when_asked_for(tmp_path: Path) -> None:
    rows = [{"prompt": LONG, "response": OTHER}, {"prompt": LONG, "response": "Two bulges, one moon, one day: " * 4}]
    data = write(tmp_path / "d.jsonl", rows)
    assert run(data, tmp_path / "prompt") == {2: ("exact", 1)}
    assert run(data, tmp_path / "both", text="both") == {}


def test_every_turn_of_the_user_counts(tmp_path: Path) -> None:
    def talk(first: str, second: str, system: str) -> dict[str, Any]:
        turns = [("system", system), ("user", first), ("assistant", "Well."), ("user", second), ("assistant", "So.")]
        return {"messages": [{"role": role, "content": content} for role, content in turns]}

    rows = [talk(LONG, OTHER, "Be brief."), talk(OTHER, LONG, "Be brief."), talk(LONG + ".", OTHER, "Be long.")]
    assert run(write(tmp_path / "d.jsonl", rows), tmp_path / "out", exact=True) == {3: ("exact", 1)}


def test_rows_without_text_stay(tmp_path: Path) -> None:
    data = write(tmp_path / "d.jsonl", [{"messages": [{"role": "assistant", "content": str(n)}]} for n in range(3)])
    result = dedup(str(data), tmp_path / "out", DedupOptions())
    assert (result.counts["kept"], result.counts["without_text"]) == (3, 3)
    assert "3 rows have no text" in str(result)


def test_lines_stay_byte_for_byte(tmp_path: Path) -> None:
    lines = [
        f'{{ "instruction" :"{LONG}",  "score": 1.50e1, "big": 123456789012345678901234567890, "e": "\\u00e9"}}',
        f'{{"instruction":"{LONG}!"}}',
        "",
        f'{{"instruction":"{OTHER}", "x" : [ ]}}',
    ]
    for name, data in (
        ("d.jsonl", "\r\n".join(lines).encode()),
        ("e.jsonl.gz", gzip.compress("\n".join(lines).encode())),
    ):
        (tmp_path / name).write_bytes(data)
        assert run(tmp_path / name, tmp_path / f"out-{name}") == {2: ("exact", 1)}
        assert (tmp_path / f"out-{name}/kept.jsonl").read_text() == f"{lines[0]}\n{lines[3]}\n"
        assert lines[1] in (tmp_path / f"out-{name}/removed.jsonl").read_text()


def test_other_formats_come_out_as_objects(tmp_path: Path) -> None:
    rows = asked(LONG, NEAR, OTHER)
    (tmp_path / "d.json").write_text(json.dumps([{**row, "big": 2**70} for row in rows], indent=1), "utf-8")
    with (tmp_path / "d.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["instruction", "output"])
        table.writeheader()
        table.writerows(rows)
    (tmp_path / "d.txt").write_text("\n".join((LONG, NEAR, OTHER)), "utf-8")
    for name, lines in (("d.json", (2, 1)), ("d.csv", (3, 2)), ("d.txt", (2, 1))):
        assert run(tmp_path / name, tmp_path / f"out-{name}") == {lines[0]: ("near", lines[1])}, name
        kept = rows_of(tmp_path / f"out-{name}/kept.jsonl")
        assert len(kept) == 2
        assert name == "d.txt" or [row["output"] for row in kept] == ["answer 0", "answer 2"]
    assert rows_of(tmp_path / "out-d.json/kept.jsonl")[0]["big"] == 2**70


def test_lines_read_as_json_are_counted_as_rows(tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text("\n\n\n".join(map(json.dumps, asked(LONG, OTHER, NEAR))), "utf-8")
    assert run(tmp_path / "d.json", tmp_path / "told", format="json") == {3: ("near", 1)}
    assert run(tmp_path / "d.json", tmp_path / "seen") == {7: ("near", 1)}


def test_columns_of_other_names(tmp_path: Path) -> None:
    data = write(tmp_path / "d.jsonl", [{"frage": LONG}, {"frage": NEAR}])
    with pytest.raises(EvolError, match="the fields are frage"):
        run(data, tmp_path / "out")
    assert run(data, tmp_path / "out", map=("instruction=frage",)) == {2: ("near", 1)}
    data = write(tmp_path / "e.jsonl", [{"frage": LONG, "nr": 4}, {"frage": NEAR, "nr": 5}])
    run(data, tmp_path / "ids", map=("instruction=frage", "id=nr"))
    (row,) = rows_of(tmp_path / "ids/removed.jsonl")
    assert (row["id"], row["stays"]["id"]) == (5, 4)
    with pytest.raises(EvolError, match="expected FIELD=COLUMN"):
        DedupOptions(map=("instruction",))


def test_a_run_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run/1-evolve"
    folder.mkdir(parents=True)
    history = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."}]
    rows = [evolved("a", LONG, "a"), evolved("b", LONG, "b", history=history), evolved("c", LONG, "c", input="x" * 30)]
    write(folder / "instructions.jsonl", [*rows, evolved("d", LONG, "d")])
    result = dedup(str(tmp_path / "run"), None, DedupOptions(exact=True))
    assert result.folder == tmp_path / "run/dedup"
    assert gone(result.folder) == {4: ("exact", 1)}, "history and input are part of the prompt"
    again = dedup(str(result.folder), tmp_path / "again", DedupOptions(exact=True))
    assert again.counts["rows"] == 3, "the folder of a step stands for the rows it kept"


def test_bad_rows_go_aside_or_stop(tmp_path: Path) -> None:
    data = tmp_path / "d.jsonl"
    data.write_text(f'{{"instruction":"{LONG}"}}\n{{"instruction": 7}}\nnot json\n{{"instruction":"{OTHER}"}}\n')
    result = dedup(str(data), tmp_path / "out", DedupOptions())
    assert (result.counts["kept"], result.counts["rejected"]) == (2, 2)
    assert [row["line"] for row in rows_of(tmp_path / "out/rejected.jsonl")] == [2, 3]
    with pytest.raises(EvolError, match=r"d\.jsonl:2"):
        run(data, tmp_path / "strict", strict=True)
    assert {path.name for path in (tmp_path / "strict").iterdir()} == {"step.json", "run.lock"}, "nothing half written"


def test_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(b"\n\n")
    with pytest.raises(EvolError, match="no rows"):
        run(tmp_path / "d.jsonl", tmp_path / "out")
    with pytest.raises(EvolError, match="no other row can be used"):
        run(write(tmp_path / "e.jsonl", [{"instruction": 1}, {"instruction": 2}]), tmp_path / "o2", format="alpaca")
    with pytest.raises(EvolError):
        run(tmp_path / "missing.jsonl", tmp_path / "o3")
    assert not (tmp_path / "o3").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"near": 0.0}, "--near 0: expected a similarity above 0, at most 1"),
        ({"near": 1.5}, "--near 1.5"),
        ({"near": float("nan")}, "--near nan"),
        ({"lineage": -1.0}, "--lineage -1"),
        ({"lineage": 0.5}, "below --near 0.8"),
        ({"exact": True, "lineage": 0.9}, "looks for none"),
        ({"keep": "best"}, "expected one of first, last, earliest-round"),
        ({"keep": "highest:"}, "highest:FIELD"),
        ({"text": "answer"}, "expected prompt or both"),
    ],
)
def test_bad_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(EvolError) as caught:
        DedupOptions(**options)
    assert words in caught.value.message


def test_the_default_for_lineages_is_never_stricter_than_for_strangers() -> None:
    assert DedupOptions().lineage_threshold == 0.95
    assert DedupOptions(near=0.99).lineage_threshold == 0.99


def test_again_other_settings_other_data(tmp_path: Path) -> None:
    data, out = write(tmp_path / "d.jsonl", asked(LONG, NEAR)), tmp_path / "out"
    assert dedup(str(data), out, DedupOptions()).fresh
    before = (out / "kept.jsonl").stat().st_mtime_ns
    again = dedup(str(data), out, DedupOptions())
    assert not again.fresh
    assert again.counts["near"] == 1
    assert "nothing was left to do" in str(again)
    assert (out / "kept.jsonl").stat().st_mtime_ns == before
    assert not dedup(str(data), out, DedupOptions(near=0.8)).fresh, "the default, spelt out"
    with pytest.raises(EvolError, match=r"near was 0.8, now 0.9") as caught:
        dedup(str(data), out, DedupOptions(near=0.9))
    assert "--out" in caught.value.hint
    write(data, asked(LONG, NEAR, OTHER))
    with pytest.raises(EvolError, match="other settings: data was"):
        dedup(str(data), out, DedupOptions())


def test_what_was_cut_off_is_made_again(tmp_path: Path) -> None:
    data, out = write(tmp_path / "d.jsonl", asked(LONG, NEAR)), tmp_path / "out"
    dedup(str(data), out, DedupOptions())
    whole = {path.name: path.read_bytes() for path in out.glob("*ed.jsonl")}
    step = json.loads((out / "step.json").read_text())
    (out / "step.json").write_text(json.dumps(step | {"state": "running"}))
    (out / "kept.jsonl").unlink()
    (out / "removed.jsonl.part").write_bytes(b"half a li")
    assert dedup(str(data), out, DedupOptions()).fresh
    assert {path.name: path.read_bytes() for path in out.glob("*ed.jsonl")} == whole
    assert json.loads((out / "step.json").read_text())["state"] == "complete"
    (out / "removed.jsonl").unlink()
    assert dedup(str(data), out, DedupOptions()).fresh


def test_other_peoples_folders(tmp_path: Path) -> None:
    data = write(tmp_path / "kept.jsonl", asked(LONG, NEAR))
    with pytest.raises(EvolError, match="not of this step's making"):
        run(data, tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/step.json").write_text('{"step": "evolve", "state": "complete"}')
    with pytest.raises(EvolError, match="the folder of another step"):
        run(data, tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(EvolError, match="can't be written"):
        run(data, tmp_path / "file")


def test_planted_duplicates_are_found(tmp_path: Path) -> None:
    planted = make(tmp_path / "d.jsonl", 3000)
    removed = run(tmp_path / "d.jsonl", tmp_path / "out", lineage=0.8)
    for kind, least in (("exact", 1.0), ("near", 0.95)):
        pairs = [pair for pair in planted if pair["kind"] == kind]
        found = sum(pair["row"] in removed or pair["origin"] in removed for pair in pairs)
        assert len(pairs) >= 30
        assert found / len(pairs) >= least, f"{kind}: {found} of {len(pairs)}"
    assert all(stays not in removed for _, stays in removed.values())
    first = (tmp_path / "out/removed.jsonl").read_bytes()
    run(tmp_path / "d.jsonl", tmp_path / "again", lineage=0.8)
    assert (tmp_path / "again/removed.jsonl").read_bytes() == first


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "d.jsonl", asked(LONG, NEAR, OTHER))
    assert main(["dedup", str(data), "--near", "0.7", "--keep", "last", "--out", str(tmp_path / "out")]) == 0
    assert "kept.jsonl: 2 of 3 rows" in capsys.readouterr().out
    assert gone(tmp_path / "out") == {1: ("near", 2)}
    assert main(["dedup", str(data), "--near", "7", "--out", str(tmp_path / "other")]) == 2
    assert capsys.readouterr().err.startswith("error: --near 7")
    assert not (tmp_path / "other").exists()


def test_help_needs_no_numpy() -> None:
    code = "import sys, evollab.cli; evollab.cli.parser_of('dedup'); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_memory_grows_with_the_index_not_with_the_text(tmp_path: Path) -> None:
    """60 MB of rows whose responses are long: far less than that is ever held."""
    filler = "All work and no play. " * 900
    with (tmp_path / "d.jsonl").open("w") as file:
        for number in range(3000):
            file.write(json.dumps({"instruction": f"Tell me about number {number * 7919}.", "output": filler}) + "\n")
    code = (
        "import resource, sys; from pathlib import Path; from evollab.data.dedup import DedupOptions, dedup\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "import evollab.data.minhash; before = peak(); dedup('d.jsonl', Path('out'), DedupOptions())\n"
        "print((peak() - before) // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) < 40, "MiB"


def test_rows_from_a_pipe(tmp_path: Path) -> None:
    text = "".join(json.dumps(row) + "\n" for row in asked(LONG, NEAR, OTHER))
    for _ in range(2):  # what came through a pipe can't be known again: it is done anew
        done = subprocess.run(
            [sys.executable, "-m", "evollab.cli", "dedup", "-", "--out", "out"], input=text, text=True, check=False,
            capture_output=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "2 of 3 rows" in done.stdout
        assert "nothing was left" not in done.stdout


def test_without_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EvolError) as caught:
        run(write(tmp_path / "d.jsonl", asked(LONG)), tmp_path / "out")
    assert caught.value.hint == "pip install 'evollab[data]'"


@pytest.mark.skipif(
    not (ROOT.parent / "shared/data/alpaca_data.jsonl.xz").is_file(), reason="the Alpaca set is not here"
)
def test_alpaca(tmp_path: Path) -> None:
    result = dedup(str(ROOT.parent / "shared/data/alpaca_data.jsonl.xz"), tmp_path / "out", DedupOptions(near=0.7))
    assert result.counts["rows"] == 52_002
    assert 0 < result.counts["near"] < 1000, "Alpaca was filtered for likeness when it was made"
