"""Benchmarks by name: what each file reads, where data are looked for, what is said when they are not there."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import lzma
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evollab.data.benchmark import Benchmark, BenchmarkItem
from evollab.data.decontaminate_options import DecontaminateOptions, DecontaminateResult
from evollab.data.formats import BadFields
from evollab.data.rows import Row
from evollab.evals import sources
from evollab.evals.contamination import ContaminationOptions, decontaminate
from evollab.evals.sources import FOLDER, Wanted, find_task, read_benchmarks, task_names, wanted
from evollab.evals.tasks import bbh
from evollab.records import EvolError

CHOICES = ["red", "green", "blue", "grey"]
ROWS: dict[str, list[tuple[dict[str, Any], BenchmarkItem]]] = {
    "gsm8k": [({"question": "How many?", "answer": "Two. #### 2"}, BenchmarkItem("7", "How many?", "Two. #### 2"))],
    "math": [
        ({"problem": "1+1", "solution": "So 2.", "idx": 4, "level": "Level 1"}, BenchmarkItem("4", "1+1", "So 2.")),
        ({"problem": "1+1", "solution": "So 2.", "type": "Algebra"}, BenchmarkItem("7", "1+1", "So 2.")),
    ],
    "math500": [
        ({"problem": "1+1", "solution": "So 2.", "answer": "2", "unique_id": "test/a/1.json"},
         BenchmarkItem("test/a/1.json", "1+1", "So 2.")),
    ],
    "multiarith": [({"question": "How many?", "final_ans": "2"}, BenchmarkItem("7", "How many?", "2"))],
    "humaneval": [
        ({"task_id": "HumanEval/3", "prompt": "def f():", "entry_point": "f", "canonical_solution": " pass"},
         BenchmarkItem("HumanEval/3", "def f():", " pass")),
    ],
    "humaneval_plus": [
        ({"task_id": "HumanEval/3", "prompt": "def f():", "canonical_solution": " pass", "plus_input": [[1]]},
         BenchmarkItem("HumanEval/3", "def f():", " pass")),
    ],
    "mbpp": [
        ({"text": "Write f.", "code": "f = 1", "task_id": 11, "test_list": []}, BenchmarkItem("11", "Write f.", "f = 1")),
        ({"prompt": "Write f.", "code": "f = 1", "task_id": 510}, BenchmarkItem("510", "Write f.", "f = 1")),
    ],
    "mbpp_plus": [
        ({"task_id": "Mbpp/2", "prompt": "Write f.", "canonical_solution": "f = 1"},
         BenchmarkItem("Mbpp/2", "Write f.", "f = 1")),
        ({"task_id": 2, "prompt": "Write f.", "code": "f = 1"}, BenchmarkItem("2", "Write f.", "f = 1")),
    ],
    "mmlu": [
        ({"subject": "s", "question": "Which?", "choices": CHOICES, "answer": 1},
         BenchmarkItem("7", "Which?", "green", tuple(CHOICES))),
    ],
    "arc_challenge": [
        ({"query": "Question: Which?", "choices": CHOICES, "gold": 3},
         BenchmarkItem("7", "Which?", "grey", tuple(CHOICES))),
        ({"id": "M_1", "question": "Which?", "choices": {"text": CHOICES, "label": list("ABCD")}, "answerKey": "B"},
         BenchmarkItem("M_1", "Which?", "green", tuple(CHOICES))),
    ],
    "arc_easy": [
        ({"query": "Question: Which?", "choices": CHOICES, "gold": 0},
         BenchmarkItem("7", "Which?", "red", tuple(CHOICES))),
    ],
    "hellaswag": [
        ({"ind": 24, "ctx": "A man sits. He", "endings": CHOICES, "label": "2"},
         BenchmarkItem("24", "A man sits. He blue")),
        ({"query": "A man sits. He", "choices": CHOICES, "gold": 0}, BenchmarkItem("7", "A man sits. He red")),
    ],
    "truthfulqa": [
        ({"Question": "Why?", "Best Answer": "Because."}, BenchmarkItem("7", "Why?", "Because.")),
        ({"question": "Why?", "best_answer": "Because."}, BenchmarkItem("7", "Why?", "Because.")),
    ],
    "winogrande": [
        ({"sentence": "Ann met Bea and _ left.", "option1": "Ann", "option2": "Bea", "answer": "2"},
         BenchmarkItem("7", "Ann met Bea and Bea left.")),
        ({"context_options": ["So Ann", "So Bea"], "continuation": "left.", "gold": 0},
         BenchmarkItem("7", "So Ann left.")),
    ],
    "ifeval": [({"key": 1000, "prompt": "No commas.", "kwargs": [{}]}, BenchmarkItem("1000", "No commas."))],
    "mtbench": [
        ({"question_id": 81, "category": "writing", "turns": ["Write.", "Again."]}, BenchmarkItem("81", "Write.\n\nAgain.")),
        ({"prompt_id": 5, "prompt": ["Write.", "Again."]}, BenchmarkItem("5", "Write.\n\nAgain.")),
    ],
    "vicuna80": [
        ({"question_id": 1, "turns": ["How?"]}, BenchmarkItem("1", "How?")),
        ({"question_id": 1, "text": "How?"}, BenchmarkItem("1", "How?")),
    ],
    "alpacaeval": [({"instruction": "Say.", "output": "Said.", "generator": "m"}, BenchmarkItem("7", "Say."))],
    "evol_testset": [({"idx": 3, "Skill": "Math", "Instruction": "Add."}, BenchmarkItem("3", "Add."))],
    "bbh": [
        ({"task": "snarks", "input": "Which?", "target": "(A)"}, BenchmarkItem("snarks/7", "Which?", "(A)")),
        ({"input": "Which?", "target": "(A)"}, BenchmarkItem("7", "Which?", "(A)")),
    ],
}  # fmt: skip
BAD: dict[str, list[dict[str, Any]]] = {
    "gsm8k": [{"question": "How many?"}, {"question": 5, "answer": "x"}],
    "mmlu": [
        {"question": "Which?", "choices": "abcd", "answer": 1},
        {"question": "Which?", "choices": CHOICES, "answer": 4},
        {"question": "Which?", "choices": CHOICES, "answer": True},
    ],
    "arc_challenge": [
        {"question": "Which?", "choices": {"text": CHOICES, "label": list("ABCD")}, "answerKey": "E"},
        {"question": "Which?", "choices": {"text": CHOICES}, "answerKey": "A"},
    ],
    "hellaswag": [
        {"ctx": "He", "endings": CHOICES, "label": ""},
        {"ctx": "He", "endings": CHOICES, "label": "9" * 5000},
    ],
    "winogrande": [{"sentence": "_", "option1": "a", "option2": "b", "answer": "3"}],
    "mtbench": [{"question_id": 1, "turns": "How?"}, {"question_id": 1, "turns": ["How?", 5]}],
    "bbh": [{"task": "snarks", "target": "(A)"}],
}


# The files


def test_every_benchmark_is_tested_here() -> None:
    assert task_names() == sorted(ROWS)


@pytest.mark.parametrize("name", task_names())
def test_a_task(name: str) -> None:
    task = find_task(name)
    assert task.name == name
    assert task.about
    assert task.licence
    assert task.home
    assert task.files[0] == name, "the documented name of a copy is the benchmark's"
    assert len({sources._plain(file) for file in task.files}) == len(task.files)
    for hub in task.hub:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+(/[\w.-]+)?:\w+", hub)


def test_no_copy_has_the_name_of_two() -> None:
    names = [sources._plain(file) for name in task_names() for file in find_task(name).files]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("name", "row", "item"), [(name, *case) for name, cases in ROWS.items() for case in cases])
def test_what_a_row_asks(name: str, row: dict[str, Any], item: BenchmarkItem) -> None:
    assert find_task(name).texts(Row(7, row)) == item


@pytest.mark.parametrize(("name", "row"), [(name, row) for name, rows in BAD.items() for row in rows])
def test_rows_that_ask_nothing(name: str, row: dict[str, Any]) -> None:
    with pytest.raises(BadFields):
        find_task(name).texts(Row(1, row))


@pytest.mark.parametrize("number", [1, 10, 511, 974])
def test_only_the_test_set_of_mbpp_counts(number: int) -> None:
    assert find_task("mbpp").texts(Row(1, {"text": "Write f.", "code": "f = 1", "task_id": number})) is None


def test_the_tasks_of_big_bench_hard() -> None:
    assert len(bbh.TASKS) == len(set(bbh.TASKS)) == 27


# What is asked for


def names_of(*against: str) -> list[str]:
    return [one.name for one in wanted(against)]


def test_names_and_files(tmp_path: Path) -> None:
    own = tmp_path / "my-test.jsonl"
    own.write_text("{}\n")
    assert names_of("gsm8k, humaneval", "math,") == ["gsm8k", "humaneval", "math"]
    assert names_of("all") == task_names()
    assert names_of("gsm8k", "all")[0] == "gsm8k"
    assert wanted([str(own)]) == [Wanted("my-test", None, str(own))]
    assert wanted([f"gsm8k={own}"]) == [Wanted("gsm8k", find_task("gsm8k"), str(own))]
    assert wanted([f"mine={own},gsm8k"]) == [Wanted("mine", None, str(own)), Wanted("gsm8k", find_task("gsm8k"))]
    odd = tmp_path / "a,b.jsonl"
    odd.write_text("{}\n")
    assert wanted([str(odd)]) == [Wanted("a,b", None, str(odd))]
    assert wanted([f"mine={odd}"]) == [Wanted("mine", None, str(odd))]


def test_a_task_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "law.py"
    own.write_text(
        "from evollab.data.benchmark import BenchmarkItem\n"
        "from evollab.evals.task import Task, text\n"
        "def texts(row):\n"
        "    return BenchmarkItem(str(row.number), text(row.fields, 'case'))\n"
        "TASK = Task(name='law', about='cases', licence='MIT', files=('law',), texts=texts)\n"
    )
    put(tmp_path / "law.jsonl", {"case": "Who pays?"})
    other = put(tmp_path / "x.jsonl", {"case": "Who?"}, {"case": "Why?"})
    assert [len(read(tmp_path, name).found["law"].items) for name in (str(own), f"{own}={other}")] == [1, 2]
    own.write_text("TASK = 5\n")
    with pytest.raises(EvolError) as error:
        wanted([str(own)])
    assert "TASK is a int; expected an evollab.evals.task.Task" in error.value.message
    with pytest.raises(EvolError) as error:
        wanted([str(tmp_path / "no.py")])
    assert "there is no such file" in error.value.message


@pytest.mark.parametrize(
    ("against", "said", "hint"),
    [
        (["gms8k"], "no benchmark is called so", "did you mean gsm8k?"),
        (["zzz"], "there are: alpacaeval, arc_challenge", "NAME=FILE"),
        ([], "which benchmarks?", "--against all"),
        ([" , "], "which benchmarks?", "--against all"),
        (["gsm8k", "gsm8k=x.jsonl"], "names gsm8k twice", "gsm8k2=FILE"),
        (["gsm8k="], "no benchmark is called so", "did you mean gsm8k?"),
    ],
)
def test_what_is_no_name(against: list[str], said: str, hint: str) -> None:
    with pytest.raises(EvolError) as error:
        wanted(against)
    assert said in error.value.message
    assert hint in error.value.hint


# Where the data are


def put(path: Path, *rows: dict[str, Any]) -> Path:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(lzma.compress(data) if path.suffix == ".xz" else data)
    return path


def read(folder: Path | None, *against: str, missing: str = "stop") -> sources.Sources:
    return read_benchmarks(wanted(against), str(folder) if folder else None, missing=missing)


SUM = {"question": "How many?", "answer": "Two. #### 2"}


def test_a_folder_of_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "GSM8K-test.jsonl.xz", SUM, SUM)
    put(tmp_path / "HumanEval.jsonl", ROWS["humaneval"][0][0])
    (tmp_path / "README.md").write_text("of no use")
    found = read(tmp_path, "gsm8k,humaneval").found
    assert [len(found[name].items) for name in ("gsm8k", "humaneval")] == [2, 1]
    monkeypatch.setenv(FOLDER, str(tmp_path))
    again = read(None, "gsm8k").found["gsm8k"]
    assert again.digest() == found["gsm8k"].digest()
    assert again.digest() != Benchmark("x", again.items[:1]).digest()
    put(tmp_path / "gsm8k.jsonl", SUM)
    assert len(read(tmp_path, "gsm8k").found["gsm8k"].items) == 1, "the likeliest name counts"


def test_a_file_that_was_named_comes_first(tmp_path: Path) -> None:
    put(tmp_path / "gsm8k.jsonl", SUM)
    other = put(tmp_path / "other.jsonl", SUM, SUM, SUM)
    assert len(read(tmp_path, f"gsm8k={other}").found["gsm8k"].items) == 3


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Go"},
    ]
    own = put(
        tmp_path / "own.jsonl", {"messages": talk}, {"id": "b", "messages": talk[:2]},
        {"messages": [{"role": "user", "content": " "}]}, {"messages": 5},
    )  # fmt: skip
    found = read(None, str(own)).found["own"]
    assert list(found.items) == [BenchmarkItem("1", "Hi\n\nGo"), BenchmarkItem("b", "Hi", "Yes?")]
    assert found.unreadable == 1


def test_rows_that_are_no_items_are_counted(tmp_path: Path) -> None:
    put(tmp_path / "gsm8k.jsonl", SUM, {"question": "How many?"}, {"question": " ", "answer": ""})
    found = read(tmp_path, "gsm8k").found["gsm8k"]
    assert (len(found.items), found.unreadable) == (1, 1)


@pytest.mark.parametrize("missing", ["stop", "note"])
def test_a_file_of_something_else_is_an_error(tmp_path: Path, missing: str) -> None:
    put(tmp_path / "gsm8k.jsonl", {"instruction": "Say."})
    with pytest.raises(EvolError) as error:
        read(tmp_path, "gsm8k", missing=missing)
    assert "no field question; the row has instruction (no row is an item of gsm8k)" in error.value.message


def test_a_folder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EvolError) as error:
        read(tmp_path / "no", "gsm8k")
    assert "--benchmarks" in error.value.message
    monkeypatch.setenv(FOLDER, str(tmp_path / "no"))
    with pytest.raises(EvolError) as error:
        read(None, "gsm8k")
    assert f"${FOLDER}" in error.value.message


def test_what_to_do_when_nothing_is_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    for name, hub in (("math500", True), ("evol_testset", False)):
        with pytest.raises(EvolError) as error:
            read(tmp_path, name)
        assert f"{name}: there is no copy of it here" in error.value.message
        hint = error.value.hint
        assert f"{name}.jsonl into {tmp_path}" in hint
        assert f"--against {name}=FILE" in hint
        assert "--missing note" in hint
        assert ("pip install 'evollab[hub]'" in hint) == hub
    found = read(tmp_path, "math500,evol_testset", missing="note")
    assert not found.found
    assert list(found.missing) == ["math500", "evol_testset"]
    assert "not on the hub" in found.missing["evol_testset"]


class Hub(ModuleType):
    """Stands in for `datasets`."""

    def __init__(self, fault: Exception | None = None) -> None:
        super().__init__("datasets")
        self.asked: list[Any] = []
        self.fault = fault

    def load_dataset(self, path: str, **options: Any) -> Any:
        self.asked.append((path, options))
        if self.fault:
            raise self.fault
        return iter([{"problem": "1+1", "solution": "So 2.", "unique_id": "a"}])


def test_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub()
    monkeypatch.setitem(sys.modules, "datasets", hub)
    found = read(None, "math500").found["math500"]
    assert list(found.items) == [BenchmarkItem("a", "1+1", "So 2.")]
    assert found.source == "HuggingFaceH4/MATH-500:test"
    assert hub.asked == [("HuggingFaceH4/MATH-500", {"split": "test", "streaming": True})]


def test_several_parts_are_one_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def rows(source: str, **options: Any) -> Any:
        asked.append(source)
        yield Row(1, {"problem": f"1+{len(asked)}", "solution": "So."})

    monkeypatch.setattr(sources, "read_rows", rows)
    found = read(None, "math").found["math"]
    assert asked == list(find_task("math").hub)
    assert [item.id for item in found.items] == [str(number) for number in range(1, 8)]


def test_without_a_connection_the_hub_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(ConnectionError("Couldn't reach 'HuggingFaceH4/MATH-500' on the Hub (OfflineModeIsEnabled)"))
    monkeypatch.setitem(sys.modules, "datasets", hub)
    found = read(None, "math500,humaneval,evol_testset", missing="note")
    assert len(hub.asked) == 1
    assert found.missing["humaneval"] == "the hub can't be reached"
    hub.fault = ValueError("Unknown split")
    hub.asked.clear()
    read(None, "math500,humaneval", missing="note")
    assert len(hub.asked) == 2


# The whole


def run(data: Path, out: Path, **options: Any) -> DecontaminateResult:
    return asyncio.run(decontaminate(str(data), out, ContaminationOptions(embed="none", **options)))


def test_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    question = " ".join(f"w{number}" for number in range(30))
    folder = tmp_path / "tests"
    folder.mkdir()
    put(folder / "gsm8k.jsonl", {"question": question, "answer": "2"})
    data = put(tmp_path / "d.jsonl", {"instruction": "Hello", "output": "Hi"}, {"instruction": question, "output": "2"})
    result = run(data, tmp_path / "out", against=("gsm8k,math",), benchmarks=str(folder), missing="note")
    assert result.account["removed"] == {"covered": 1}
    assert [one["name"] for one in result.account["not_checked"]] == ["math"]
    assert "math was NOT checked" in capsys.readouterr().err
    step = json.loads((tmp_path / "out/step.json").read_bytes())
    assert step["inputs"]["not_checked"] == ["math"]
    with pytest.raises(EvolError):
        run(data, tmp_path / "other", against=("gsm8k,math",), benchmarks=str(folder))
    assert not (tmp_path / "other").exists()
    with pytest.raises(EvolError) as error:
        run(data, tmp_path / "other", against=("math",), missing="note")
    assert "nothing can be checked" in error.value.message


def test_options() -> None:
    with pytest.raises(EvolError) as error:
        ContaminationOptions(missing="ask")
    assert "--missing ask: expected stop or note" in error.value.message
    with pytest.raises(EvolError):
        ContaminationOptions(share=7)
    plain = {field.name for field in dataclasses.fields(DecontaminateOptions)}
    own = {field.name for field in dataclasses.fields(ContaminationOptions)} - plain
    assert own == {"against", "benchmarks", "missing"}


def test_other_names_that_people_know() -> None:
    assert [one.name for one in wanted(["arc,HumanEval+", "mt-bench=mine.jsonl"])] == [
        "arc_challenge", "humaneval_plus", "mtbench"
    ]  # fmt: skip
    assert set(sources.ALIASES.values()) <= set(task_names())
    assert not set(sources.ALIASES) & set(task_names())
