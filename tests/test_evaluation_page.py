"""evaluation.html and its table: the figures that were written, what can't be compared, nothing foreign alive."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from evollab import cli
from evollab.records import EvolError
from evollab.report.evaluation import markdown, write_evaluation
from evollab.report.evaluation_charts import curve, intervals, ordered, radar, told
from evollab.report.evaluation_facts import Figure, is_evaluation, read_evaluations
from tests import fake_evaluation as fake


def page_of(folder: Path, *beside: Path) -> str:
    return write_evaluation(folder, beside=beside).read_text("utf-8")


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    return (
        fake.write_evaluation(tmp_path / "a", "wizard", 70),
        fake.write_evaluation(tmp_path / "b", "plain", 52),
    )


def test_figures_intervals_failures_and_answers_are_there(both: tuple[Path, Path]) -> None:
    page = page_of(both[0])
    assert "70.0 %" in page
    assert "66.0 to 74.0" in page
    assert "7.00" in page
    assert "no answer" in page
    assert "--limit: 40 of 1,319 questions" in page
    assert "bootstrap over questions" in page
    assert re.search(r"Answer \d+\.", page)
    assert "the gold answer is" in page
    assert page == page_of(both[0]), "the same files give the same bytes"


def test_two_models_side_by_side_first_where_they_differ(both: tuple[Path, Path]) -> None:
    tasks = read_evaluations(both)
    assert [one.model for one in tasks[0].outcomes] == ["wizard", "plain"]
    shown = next(task for task in tasks if task.name == "gsm8k").shown
    assert all(len(item.said) == 2 for item in shown)
    apart = [item for item in shown if item.said[0].score != item.said[1].score]
    assert len(apart) > len(shown) / 2


def test_other_settings_are_marked_on_the_page_and_in_the_table(tmp_path: Path, both: tuple[Path, Path]) -> None:
    other = fake.write_evaluation(tmp_path / "c", "other", 60, prompt="cd")
    page = page_of(both[0], other)
    assert "gsm8k: other was measured with another prompt than wizard" in page
    table = (both[0] / "evaluation.md").read_text()
    assert "60.0 %* [56.0, 64.0]" in table
    assert "not comparable" in table
    alike = markdown(read_evaluations(both))
    assert "*" not in alike
    assert "| gsm8k | score | 218 | 70.0 % [66.0, 74.0] | 52.0 % [48.0, 56.0] |" in alike


def test_nothing_foreign_is_alive(tmp_path: Path) -> None:
    folder = fake.write_evaluation(tmp_path / "a", "m", 40, text=fake.HOSTILE)
    page = page_of(folder)
    assert "<script>window" not in page
    assert "<img src=x" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    table = (folder / "evaluation.md").read_text()
    assert "<script" not in table
    assert "\u202e" not in table


def test_pictures_go_by_what_the_values_are() -> None:
    one = Figure("score", 50.0, 40.0, 60.0, 9)
    assert ordered(["hard", "easy", "medium"]) == [(1, "easy"), (2, "medium"), (3, "hard")]
    assert ordered(["10", "2"]) == [(2, "2"), (10, "10")]
    assert ordered(["Level 3", "Level 1"]) == [(1, "Level 1"), (3, "Level 3")]
    assert ordered(["Math", "Art"]) is None
    assert ordered(["3"]) is None
    assert "polygon" in radar([("m", 0, dict.fromkeys("abcdef", one))], "r")
    assert radar([("m", 0, dict.fromkeys("abc", one))], "r") == ""
    assert "circle" in curve([("m", 0, {"easy": one, "hard": one})], "c")
    assert curve([("m", 0, {"x": one, "y": one})], "c") == ""
    assert intervals([("m", 0, Figure("score", None, None, None, 0))], "i") == ""
    assert told(Figure("score", 7.125, None, None, 3, "points")) == "7.12"


@pytest.mark.parametrize(
    ("content", "said"), [(b"{", "result.json"), (b'{"task": "t"}', "is missing"), (b'{"task": 3}', "expected a text")]
)
def test_files_that_are_none_of_ours_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "result.json").write_bytes(content)
    with pytest.raises(EvolError, match=said):
        read_evaluations([tmp_path])


def test_rows_that_are_none_are_passed_over(both: tuple[Path, Path]) -> None:
    with open(both[0] / "gsm8k" / "graded.jsonl", "ab") as file:
        file.write(b"{cut off\n[]\n" + orjson.dumps({"id": 7}) + b"\n")
    assert len(read_evaluations(both[:1])[0].shown) == 12


def test_the_verb_finds_what_kind_of_folder_it_is(
    both: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert is_evaluation(both[0])
    assert not is_evaluation(tmp_path / "nothing")
    assert cli.main(["report", str(both[0]), "--beside", str(both[1]), "--out", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "page.html")
    assert (tmp_path / "page.md").is_file()
    assert cli.main(["report", str(both[0]), "--beside", str(tmp_path)]) == 2
