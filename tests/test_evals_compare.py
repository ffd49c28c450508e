"""`evol compare`: what is paired, what is left out, what is not tested, what people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from evollab.evals.compare import CompareOptions, Comparison, TaskComparison, compare
from evollab.evals.paired import mcnemar
from evollab.records import EvolError

Rows = Sequence[Mapping[str, Any]]
_RESULT: dict[str, Any] = {
    "metric": "accuracy", "unit": "%", "prompt": {"digest": "p"}, "decoding": {"temperature": 0.0}, "samples": 1,
    "data": {"digest": "d"}, "grader": "exact 1", "judge": "", "metrics": [], "versions": {"evollab": "1"},
}  # fmt: skip


def row(number: int, score: float | None, level: str = "easy", **more: Any) -> dict[str, Any]:
    return {"id": str(number), "sample": 0, "score": score, "facts": {"level": level}, "more": {}} | more


def verdicts(text: str, level: str = "easy") -> list[dict[str, Any]]:
    """One row for each of 1, 0 and ? (no score)."""
    return [row(at, None if one == "?" else float(one), level) for at, one in enumerate(text)]


def write(folder: Path, rows: Rows, task: str = "gsm8k", model: str = "", **more: Any) -> Path:
    place = folder / task
    place.mkdir(parents=True, exist_ok=True)
    told = _RESULT | {"task": task, "model": model or folder.name} | more
    (place / "result.json").write_bytes(orjson.dumps(told))
    (place / "graded.jsonl").write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in rows))
    return folder


def one(found: Comparison) -> TaskComparison:
    assert len(found.tasks) == 1
    return found.tasks[0]


def test_pairs_go_by_id_not_by_place(tmp_path: Path) -> None:
    rows = verdicts("1101100110" * 4)
    a = write(tmp_path / "a", rows)
    b = write(tmp_path / "b", list(reversed(verdicts("1100100100" * 4))))
    task = one(compare(a, b, CompareOptions()))
    assert (task.row.n, task.row.a, task.row.b, task.row.difference) == pytest.approx((40, 60, 40, 20))
    assert (task.row.only_a, task.row.only_b, task.row.p) == (8, 0, mcnemar(8, 0))
    assert task.row.low is not None
    assert task.row.low > 0
    assert task.row.adjusted == task.row.p, "one task is no suite"


def test_what_one_alone_has_is_counted_and_left_out(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [*verdicts("1?01"), row(7, 1.0)])
    b = write(tmp_path / "b", [*verdicts("10?1"), row(8, 0.0), row(9, 0.0)])
    task = one(compare(a, b, CompareOptions()))
    assert task.row.n == 2
    assert (task.missing_a, task.missing_b, task.unscored_a, task.unscored_b) == (2, 1, 1, 1)
    shown = str(compare(a, b, CompareOptions()))
    assert "2 questions only B has; left out" in shown
    assert "1 question A has no score for; left out" in shown


def test_equal_ids_of_other_questions_are_not_paired(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", verdicts("1111")), write(tmp_path / "b", verdicts("0000"))
    for folder, asked in ((a, "wxyz"), (b, "wxab")):
        rows = [{"id": str(at), "turns": [text], "texts": ["said"]} for at, text in enumerate(asked)]
        (folder / "gsm8k" / "answers.jsonl").write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in rows))
    task = one(compare(a, b, CompareOptions()))
    assert (task.row.n, task.other) == (2, 2)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("prompt", {"digest": "q"}), ("decoding", {"temperature": 0.7}), ("data", {"digest": "e"}),
        ("grader", "exact 2"), ("judge", "other:judge"), ("samples", 4), ("reference", "gpt"),
    ],
)  # fmt: skip
def test_what_was_not_measured_alike_is_marked_and_not_tested(tmp_path: Path, setting: str, value: Any) -> None:
    a = write(tmp_path / "a", verdicts("1101100110"))
    b = write(tmp_path / "b", verdicts("1100100100"), **{setting: value})
    found = compare(a, b, CompareOptions())
    assert one(found).unlike == (setting,)
    assert (one(found).row.difference, one(found).row.p, one(found).groups) == (None, None, {})
    assert f"not alike: {setting}" in str(found)
    anyway = compare(a, b, CompareOptions(anyway=True))
    assert one(anyway).row.difference == pytest.approx(20)
    assert f"not measured alike ({setting}); tested anyway" in str(anyway)


def test_groups_have_rows_of_their_own(tmp_path: Path) -> None:
    left = [row(at, float(at % 3 > 0), ("1", "2", "10")[at % 3]) for at in range(30)]
    right = [row(at, float(at % 2), ("1", "2", "10")[at % 3]) for at in range(30)]
    task = one(compare(write(tmp_path / "a", left), write(tmp_path / "b", right), CompareOptions()))
    assert [one.name for one in task.groups["level"]] == ["1", "2", "10"], "numbers in their order"
    assert [one.n for one in task.groups["level"]] == [10, 10, 10]
    assert [one.a for one in task.groups["level"]] == [0, 100, 100]
    first = task.groups["level"][0]
    assert first.p is not None
    assert first.adjusted == min(1, 3 * first.p)


def test_holm_goes_over_the_tasks(tmp_path: Path) -> None:
    for task, right in (("gsm8k", "1" * 12), ("math", "1" * 12), ("mbpp", "10" * 6)):
        write(tmp_path / "a", verdicts(right), task)
        write(tmp_path / "b", verdicts("10" * 6), task)
    found = compare(tmp_path / "a", tmp_path / "b", CompareOptions())
    p = mcnemar(6, 0)
    assert [one.row.adjusted for one in found.tasks] == pytest.approx([3 * p, 3 * p, 1])
    some = compare(tmp_path / "a", tmp_path / "b", CompareOptions(on=("math,mbpp",)))
    assert [one.row.adjusted for one in some.tasks] == pytest.approx([2 * p, 1])


def test_samples_of_a_question_are_one_pair(tmp_path: Path) -> None:
    left = [row(at, float(sample < 3), sample=sample) for at in range(10) for sample in range(4)]
    right = [row(at, float(sample < at % 3), sample=sample) for at in range(10) for sample in range(4)]
    task = one(compare(write(tmp_path / "a", left), write(tmp_path / "b", right), CompareOptions()))
    assert (task.row.n, task.row.only_a, task.row.a) == (10, None, 75)


def test_the_ratio_to_a_reference_is_of_sums(tmp_path: Path) -> None:
    left = [row(at, 8.0, more={"own": 8.0, "reference": 4.0 + at}) for at in range(4)]
    right = [row(at, 5.0, more={"own": 5.0, "reference": 5.0}) for at in range(4)]
    a, b = (write(tmp_path / name, rows, "evol_testset", unit="ratio") for name, rows in (("a", left), ("b", right)))
    task = one(compare(a, b, CompareOptions()))
    assert (task.row.a, task.row.b) == pytest.approx((100 * 32 / 22, 100))


def test_a_figure_that_is_not_the_mean_is_told(tmp_path: Path) -> None:
    a = write(tmp_path / "a", verdicts("1100"), value=61.0, metric="length-controlled win rate")
    b = write(tmp_path / "b", verdicts("1000"), value=25.0, metric="length-controlled win rate")
    task = one(compare(a, b, CompareOptions()))
    assert [note for note in task.notes if "61" in note]
    assert len(task.notes) == 1


def test_both_files_are_written_and_the_same_again(tmp_path: Path) -> None:
    a = write(tmp_path / "a", verdicts("1101100110"), model="base|<b>\x1b[31m")
    b = write(tmp_path / "b", verdicts("1100100101"), model="[x](y)")
    compare(a, b, CompareOptions(), tmp_path / "out" / "deep")
    files = {path.name: path.read_bytes() for path in (tmp_path / "out" / "deep").iterdir()}
    assert sorted(files) == ["comparison.json", "comparison.md"]
    assert orjson.loads(files["comparison.json"])["tasks"][0]["row"]["n"] == 10
    table = files["comparison.md"].decode()
    assert "\x1b" not in table
    assert "A: base\\|\\<b\\>\\\\x1b\\[31m" in table
    compare(a, b, CompareOptions(), tmp_path / "out" / "deep")
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "out" / "deep").iterdir()}


def test_the_table_that_people_read(tmp_path: Path) -> None:
    a = write(tmp_path / "a", verdicts("1111111100" * 10), model="evolved")
    b = write(tmp_path / "b", verdicts("1111001100" * 10), model="base")
    write(b, verdicts("1"), "mbpp")
    lines = str(compare(a, b, CompareOptions())).splitlines()
    assert lines[:2] == [f"A: evolved ({a})", f"B: base ({b})"]
    assert lines[3].split() == ["n", "A", "B", "A", "-", "B", "95", "%", "p", "p", "(Holm)", "visible", "from"]
    assert lines[4].split()[:6] == ["gsm8k,", "%", "100", "80.0", "60.0", "+20.0"]
    assert lines[4].split()[-3:] == ["<0.001", "<0.001*", "12.4"]
    assert lines[-2:] == ["note: gsm8k: A alone is right on 20, B alone on 0", "note: only B has mbpp"]


def test_a_task_folder_will_do(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", verdicts("11")), write(tmp_path / "b", verdicts("10"))
    assert one(compare(a / "gsm8k", b / "gsm8k", CompareOptions())).row.n == 2


def test_mistakes_are_told(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", verdicts("11")), write(tmp_path / "b", verdicts("10"))
    other = write(tmp_path / "c", verdicts("10"), "mbpp")
    (tmp_path / "empty").mkdir()
    cases: list[tuple[Path, Path, CompareOptions, str]] = [
        (a, tmp_path / "empty", CompareOptions(), "holds no evaluation"),
        (a, other, CompareOptions(), "nothing to compare: .*gsm8k; .*mbpp"),
        (a, b, CompareOptions(on=("gsm8",)), r"--on gsm8: neither has it; both have: gsm8k \(did you mean gsm8k\?\)"),
        (a, b, CompareOptions(by=("skil",)), "--by skil: no question has it; there are: level"),
    ]
    for left, right, options, message in cases:
        with pytest.raises(EvolError, match=message):
            compare(left, right, options)


@pytest.mark.parametrize(
    "line",
    [b"{", b"[]", b'{"id": "1"}', b'{"id": "1", "score": "x"}', b'{"id": "1", "score": 1, "more": 3, "facts": 5}'],
)
def test_a_torn_file_is_told_by_its_line(tmp_path: Path, line: bytes) -> None:
    a, b = write(tmp_path / "a", verdicts("11")), write(tmp_path / "b", verdicts("10"))
    (b / "gsm8k" / "graded.jsonl").write_bytes(b'{"id": "0", "score": 1.0}\n' + line + b"\n")
    with pytest.raises(EvolError, match=r"graded\.jsonl"):
        compare(a, b, CompareOptions())
