"""`evol people` without its server: what is compared and by whom, what is kept, what comes of it."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evollab.data.agreement import alpha, nominal
from evollab.data.formats import BadFields
from evollab.evals.people import study as studies
from evollab.evals.people.comparisons import Comparison, assignment
from evollab.evals.people.judgements import JUDGEMENTS, Judgement, Judgements, read_judgements
from evollab.evals.people.kappa import cohen, fleiss, krippendorff, observed
from evollab.evals.people.options import PeopleOptions
from evollab.evals.people.outputs import Output, outputs_of
from evollab.evals.people.results import majority, results
from evollab.evals.people.server import people
from evollab.evals.people.study import Study, open_study, read_items
from evollab.evals.people.table import table
from evollab.evals.people.verdicts import verdict_of
from evollab.records import EvolError
from tests.people_study import NAMES, write_outputs, write_rows


def made(tmp_path: Path, runs: list[str], **options: Any) -> Study:
    return open_study(runs, tmp_path / "study", PeopleOptions(**options))[0]


def judge(study: Study, annotator: str, verdicts: dict[str, int], **more: Any) -> None:
    """Append verdicts by comparison: 1, 2 or 0."""
    comparisons = {one.id: one for one in study.comparisons}
    with Judgements(study.folder / JUDGEMENTS) as kept:
        for comparison, preference in verdicts.items():
            one = comparisons[comparison]
            told = Judgement(
                annotator, comparison, one.item, one.model_1, one.model_2, preference, False, 1, "", 3.0, time.time()
            )
            kept.add(replace(told, **more))


# What a row says


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"instruction": "Q", "input": "X", "output": "A"}, [Output("", None, ("Q\n\nX",), ("A",))]),
        ({"prompt": "Q", "response": "A", "model": "m", "id": 7}, [Output("m", "7", ("Q",), ("A",))]),
        ({"question": "Q", "answer": "", "skill": "Math"}, [Output("", None, ("Q",), ("",), "Math")]),
        (
            {
                "id": "a",
                "turns": ["P", "Q"],
                "texts": ["A", "B"],
                "sample": 0,
                "failure": "",
                "facts": {"skill": "Art"},
            },
            [Output("", "a", ("P", "Q"), ("A", "B"), "Art")],
        ),
        ({"id": "a", "turns": ["P"], "texts": ["A"], "sample": 1}, []),
        ({"id": "a", "turns": ["P"], "texts": [], "failure": "timeout"}, []),
        (
            {"instruction": "Q", "output_1": "A", "generator_1": "m", "output_2": "B", "generator_2": "n"},
            [Output("m", None, ("Q",), ("A",)), Output("n", None, ("Q",), ("B",))],
        ),
    ],
)
def test_rows_are_read_as_they_come(row: dict[str, Any], expected: list[Output]) -> None:
    assert outputs_of(row) == expected


@pytest.mark.parametrize(
    "row", [{"instruction": "Q"}, {"output": "A"}, {"instruction": "Q", "output": 3}, {"turns": [], "output": "A"}]
)
def test_rows_that_say_too_little(row: dict[str, Any]) -> None:
    with pytest.raises(BadFields):
        outputs_of(row)


@given(
    st.dictionaries(
        st.sampled_from(["id", "instruction", "turns", "output", "texts", "failure", "sample", "skill", "model"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(), lambda one: st.lists(one, max_size=3), max_leaves=4
        ),
    )
)
def test_any_row_is_read_or_refused(row: dict[str, Any]) -> None:
    try:
        found = outputs_of(row)
    except BadFields:
        return
    for one in found:
        assert all(isinstance(text, str) for text in (*one.turns, *one.texts))
        assert one.turns or one.id is not None


# What is compared


def test_items_are_matched_by_what_was_asked_or_by_id(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "one.jsonl", [
        {"id": 1, "instruction": "Add  1 and 2.", "output": "3"}, {"id": 2, "instruction": "Name a bird.", "output": "Wren"},
        {"id": 3, "instruction": "Only here.", "output": "x"}, {"id": 2, "instruction": "Name a bird.", "output": "again"},
    ])  # fmt: skip
    two = write_rows(tmp_path / "two.jsonl", [
        {"id": 9, "prompt": "Add 1 and 2.\n", "response": "three"}, {"id": 2, "response": "Robin"}, {"id": 8, "response": "?"},
    ])  # fmt: skip
    study, about = open_study([one, f"second={two}"], tmp_path / "out", PeopleOptions())
    items = list(read_items(study.folder))
    assert [(item.turns, dict(item.answers)) for item in items] == [
        (("Add  1 and 2.",), {"one": ("3",), "second": ("three",)}),
        (("Name a bird.",), {"one": ("Wren",), "second": ("Robin",)}),
    ]
    assert "2 comparisons of 2 models on 2 of 2 prompts" in about
    assert "1 prompts were not answered by all models" in about
    assert "1 answers belong to no known prompt" in about
    assert "1 answers were given twice" in about


def test_an_id_that_stands_for_two_texts_matches_nothing(tmp_path: Path) -> None:
    one = write_rows(
        tmp_path / "a.jsonl",
        [{"id": 0, "instruction": "P", "output": "x"}, {"id": 1, "instruction": "S", "output": "x"}],
    )
    two = write_rows(tmp_path / "b.jsonl", [{"id": 0, "instruction": "Q", "output": "y"}, {"id": 1, "output": "y"}])
    three = write_rows(tmp_path / "c.jsonl", [{"id": 0, "output": "z"}, {"id": 1, "output": "z"}])
    study = made(tmp_path, [one, two, three])
    assert [item.turns for item in read_items(study.folder)] == [("S",)]


def test_every_pair_of_models_but_not_of_equal_answers(tmp_path: Path) -> None:
    rows = [
        {"instruction": f"Q{at}", "output": f"{who}{at}" if at else "same", "generator": who}
        for who in "mno"
        for at in range(3)
    ]
    study, about = open_study([write_rows(tmp_path / "all.jsonl", rows)], tmp_path / "out", PeopleOptions())
    assert Counter((one.model_1, one.model_2) for one in study.comparisons) == {
        ("m", "n"): 2,
        ("m", "o"): 2,
        ("n", "o"): 2,
    }
    assert "3 pairs of answers are the same word for word" in about


def test_a_folder_of_an_evaluation(tmp_path: Path) -> None:
    for name in NAMES:
        folder = tmp_path / name / "mtbench"
        folder.mkdir(parents=True)
        write_rows(
            folder / "answers.jsonl",
            [
                {
                    "id": "81",
                    "turns": ["P", "Q"],
                    "texts": [name, "then"],
                    "sample": 0,
                    "failure": "",
                    "facts": {"category": "x"},
                }
            ],
        )
        (folder / "result.json").write_text(json.dumps({"model": name.upper(), "metrics": []}))
    study = made(tmp_path, [str(tmp_path / NAMES[0]), str(tmp_path / NAMES[1] / "mtbench")])
    (item,) = read_items(study.folder)
    assert (item.name, item.turns) == ("81", ("P", "Q"))
    assert dict(item.answers) == {name.upper(): (name, "then") for name in NAMES}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["a"], "one model only"),
        (["a", "c"], "no item was answered by all models"),
        (["a", "b"], "the same, word for word"),
        (["d", "e"], "no file says what was asked"),
        (["a", "f"], "no other row can be used"),
        (["a", "missing"], "no such file"),
    ],
)
def test_what_cant_be_compared_is_refused(tmp_path: Path, files: list[str], words: str) -> None:
    rows: dict[str, dict[str, Any]] = {
        "a": {"instruction": "P", "output": "x"}, "b": {"instruction": "P", "output": "x"},
        "c": {"instruction": "Q", "output": "y"}, "d": {"id": 1, "output": "x"}, "e": {"id": 1, "output": "y"},
        "f": {"something": 1},
    }  # fmt: skip
    for name, row in rows.items():
        write_rows(tmp_path / f"{name}.jsonl", [row])
    with pytest.raises(EvolError) as error:
        made(tmp_path, [str(tmp_path / f"{name}.jsonl") for name in files])
    assert words in error.value.message


def test_bad_rows_are_put_aside_or_end_it(tmp_path: Path) -> None:
    files = write_outputs(tmp_path / "in", 2)
    with open(files[0], "a") as file:
        file.write('{"instruction": "no answer"}\nnot json\n')
    study, about = open_study(files, tmp_path / "out", PeopleOptions())
    assert "2 rows could not be used" in about
    rejected = [json.loads(line) for line in (study.folder / "rejected.jsonl").read_text().splitlines()]
    assert [row["line"] for row in rejected] == [3, 4]
    with pytest.raises(EvolError):
        open_study(files, tmp_path / "strict", PeopleOptions(strict=True))


def test_drawn_by_skill_whatever_the_order(tmp_path: Path) -> None:
    files = write_outputs(tmp_path / "in", 40, skills=4)
    one = made(tmp_path, files, items=8)
    assert Counter(item.skill for item in read_items(one.folder)) == {f"skill {at}": 2 for at in range(4)}
    turned = []
    for file in files:
        turned.append(str(tmp_path / Path(file).name))
        Path(turned[-1]).write_text("\n".join(reversed(Path(file).read_text().splitlines())))
    other, _ = open_study(turned, tmp_path / "turned", PeopleOptions(items=8))
    assert {one.id for one in one.comparisons} == {one.id for one in other.comparisons}
    third, _ = open_study(files, tmp_path / "third", PeopleOptions(items=8, seed=1))
    assert {one.id for one in one.comparisons} != {one.id for one in third.comparisons}


def test_the_same_again_and_nothing_else_in_one_folder(tmp_path: Path) -> None:
    files = write_outputs(tmp_path / "in", 6)
    one = made(tmp_path, files, items=4, annotators=2)
    again = made(tmp_path, files, items=4, annotators=3)
    assert again.comparisons == one.comparisons
    assert {name: again.links[name] for name in one.links} == one.links
    assert again.annotators == ["annotator-1", "annotator-2", "annotator-3"]
    assert (one.folder / "links.json").stat().st_mode & 0o077 == 0
    held = json.loads((one.folder / "links.json").read_text())
    del held["annotators"]["annotator-1"]
    (one.folder / "links.json").write_text(json.dumps(held))
    renewed = made(tmp_path, files, items=4, annotators=3)
    assert renewed.annotators == again.annotators
    assert [renewed.links[name] == again.links[name] for name in again.annotators] == [False, True, True]
    with pytest.raises(EvolError, match="items was 4, now 5"):
        made(tmp_path, files, items=5)
    with pytest.raises(EvolError, match="answers"):
        made(tmp_path, list(reversed(files)), items=4)


# Who judges what


@given(
    st.integers(1, 30), st.integers(1, 5), st.integers(0, 5), st.integers(0, 3),
)  # fmt: skip
def test_assignment_is_even(count: int, annotators: int, each: int, seed: int) -> None:
    each = min(each, annotators)
    names = [f"annotator-{at + 1}" for at in range(annotators)]
    comparisons = [Comparison(f"c{at}", f"i{at}", "m", "n") for at in range(count)]
    shown = assignment(comparisons, names, each, seed)
    assert shown == assignment(comparisons[::-1], names, each, seed)
    times = Counter(one.comparison for mine in shown.values() for one in mine)
    assert set(times.values()) == {each or annotators}
    assert len(times) == count
    loads = [len(mine) for mine in shown.values()]
    assert max(loads) - min(loads) <= 1
    for mine in shown.values():
        assert len({one.comparison for one in mine}) == len(mine)
        left = sum(one.left == 1 for one in mine)
        assert abs(2 * left - len(mine)) <= 1


def test_orders_and_sides_differ_between_annotators() -> None:
    comparisons = [Comparison(f"c{at}", f"i{at}", "m", "n") for at in range(40)]
    shown = assignment(comparisons, ["annotator-1", "annotator-2"], 0, 0)
    one, two = shown.values()
    assert [a.comparison for a in one] != [b.comparison for b in two]
    sides = {a.comparison: a.left for a in one}
    assert 5 < sum(sides[b.comparison] == b.left for b in two) < 35


# What is kept


def test_a_later_line_wins_and_a_torn_one_is_cut_off(tmp_path: Path) -> None:
    study = made(tmp_path, write_outputs(tmp_path / "in", 2))
    first, second = (one.id for one in study.comparisons)
    judge(study, "annotator-1", {first: 1, second: 2})
    judge(study, "annotator-1", {first: 0})
    path = study.folder / JUDGEMENTS
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:70])
    assert {key[1]: one.preference for key, one in read_judgements(path).items()} == {first: 0, second: 2}
    judge(study, "annotator-1", {second: 1})
    assert path.read_bytes().startswith(whole)
    assert path.read_bytes().count(b"\n") == 4
    assert read_judgements(path)["annotator-1", second].preference == 1


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"annotator": "a"}', '{"strange": 1}'])
def test_a_line_that_is_no_judgement_is_told(tmp_path: Path, line: str) -> None:
    study = made(tmp_path, write_outputs(tmp_path / "in", 2))
    judge(study, "annotator-1", {study.comparisons[0].id: 1})
    path = study.folder / JUDGEMENTS
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(EvolError, match=r"judgements.jsonl:2: not a judgement"):
        results(study.folder)


# Agreement, on published examples


def test_cohens_kappa() -> None:
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    assert cohen(pairs) == pytest.approx(0.4)
    assert cohen([]) is None
    assert cohen([(1, 1)] * 3) is None
    assert cohen([(1, 2), (2, 1)]) == -1


def test_fleiss_kappa() -> None:
    counts = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    items = [[rating for rating, count in enumerate(row) for _ in range(count)] for row in counts]
    assert fleiss(items) == pytest.approx(0.210, abs=5e-4)
    assert observed(items) == pytest.approx(0.378, abs=5e-4)
    with pytest.raises(ValueError, match="2 to 3 raters"):
        fleiss([[1, 2], [1, 2, 3]])


def test_krippendorffs_alpha_with_gaps() -> None:
    rows = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    items = [[mark for mark in column if mark != "."] for column in zip(*rows, strict=True)]
    assert krippendorff(items) == pytest.approx(0.743, abs=5e-4)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1))
def test_alpha_of_two_is_that_of_the_other_module(pairs: list[tuple[int, int]]) -> None:
    ours, theirs = krippendorff(pairs), alpha(pairs, nominal)
    assert (ours is None) == (theirs is None)
    assert ours is None or theirs is None or math.isclose(ours, theirs, abs_tol=1e-4)


# Results


def test_majority() -> None:
    assert [majority(votes) for votes in ([1], [1, 2], [1, 0], [2, 2, 1], [0, 1, 2], [1, 1, 2, 2, 0])] == [
        1,
        0,
        0,
        2,
        0,
        0,
    ]


def test_results(tmp_path: Path) -> None:
    study = made(tmp_path, write_outputs(tmp_path / "in", 5), annotators=2)
    ids = [one.id for one in study.comparisons]
    judge(study, "annotator-1", dict(zip(ids, (1, 1, 2, 0, 1), strict=True)), left=2, comment="hm")
    judge(study, "annotator-2", dict(zip(ids, (1, 2, 2, 0), strict=False)), bad=True)
    found = results(study.folder)
    (pair,) = found.pairs
    assert (pair.model_1, pair.model_2) == NAMES
    assert (pair.comparisons, pair.wins, pair.ties, pair.losses) == (5, 2, 2, 1)
    assert pair.votes == {"win": 4, "tie": 2, "loss": 3, "both bad": 4}
    assert pair.win_rate.value == pytest.approx(60)
    assert pair.win_rate_without_ties.value == pytest.approx(100 * 2 / 3)
    first, second = found.annotators
    assert (first.judged, first.of, first.ties, first.left_share, first.seconds, first.comments) == (
        5,
        5,
        1,
        0.25,
        3,
        5,
    )
    assert (second.judged, second.left_share) == (4, 0.3333)
    assert found.agreement is not None
    assert found.agreement.n == 4
    assert found.agreement.observed == 0.75
    (between,) = found.agreement.between
    assert between.kappa == pytest.approx((0.75 - 5 / 16) / (1 - 5 / 16), abs=1e-4)
    assert json.loads((study.folder / "results.json").read_text())["pairs"][0]["wins"] == 2
    told = table(found)
    assert "2/2/1" in told
    assert "annotator-1 and annotator-2" in told


def test_agreement_with_a_judge(tmp_path: Path) -> None:
    study = made(tmp_path, write_outputs(tmp_path / "in", 6))
    ids = [one.id for one in study.comparisons]
    judge(study, "annotator-1", dict(zip(ids, (1, 1, 2, 0, 1, 2), strict=True)))
    one, two = NAMES

    def row(at: int, first: str, second: str, **more: Any) -> dict[str, Any]:
        return {"instruction": f"Request number {at}.", "generator_1": first, "generator_2": second, **more}

    file = write_rows(tmp_path / "judge.jsonl", [
        row(0, one, two, preference=1), row(0, two, one, preference=2),  # both orders: the first model
        row(1, one, two, preference=1), row(1, two, one, preference=1),  # contradicts itself: a tie
        row(2, one, two, preference=1.93), row(3, two, one, preference=1.5), row(4, one, two, preference=None),
        row(5, two, one, preference=0.0), row(5, one, "stranger", preference=1), {"preference": 1},
    ])  # fmt: skip
    (found,) = results(study.folder, [file]).judges
    assert (found.n, found.strange, found.unparsed, found.bad) == (5, 1, 1, 1)
    assert found.agreement.value == pytest.approx(60)
    assert (found.decided.n, found.decided.value) == (2, 100)
    assert found.kappa == pytest.approx((0.6 - 7 / 25) / (1 - 7 / 25), abs=1e-4)


def test_agreement_with_an_evaluation(tmp_path: Path) -> None:
    rows = [{"id": f"q{at}", "instruction": f"Q{at}", "output": f"a{at}"} for at in range(3)]
    files = [write_rows(tmp_path / f"{name}.jsonl", [{**row, "output": name} for row in rows]) for name in NAMES]
    study = made(tmp_path, files)
    judge(study, "annotator-1", dict(zip((one.id for one in study.comparisons), (1, 2, 0), strict=True)))
    folder = tmp_path / "alpacaeval"
    folder.mkdir()
    write_rows(
        folder / "graded.jsonl",
        [{"id": f"q{at}", "sample": 0, "score": score} for at, score in enumerate((0.9, 0.5, 0.5))],
    )
    (folder / "result.json").write_text(json.dumps({"model": NAMES[0], "reference": NAMES[1], "metrics": []}))
    (found,) = results(study.folder, [str(folder)]).judges
    assert (found.n, found.agreement.value) == (3, pytest.approx(100 * 2 / 3))
    (folder / "result.json").write_text(json.dumps({"model": NAMES[0], "reference": "", "metrics": []}))
    with pytest.raises(EvolError, match="no judge compared two models"):
        results(study.folder, [str(folder)])


@pytest.mark.parametrize(
    ("fields", "preference"),
    [
        ({"winner": "model_a"}, 1), ({"winner": "n"}, 2), ({"winner": "tie (inconsistent)"}, 0), ({"winner": "error"}, None),
        ({"preference": 2}, 2), ({"preference": 1.2}, 1), ({"preference": -1}, None), ({"preference": 0}, 0),
    ],
)  # fmt: skip
def test_verdicts(fields: dict[str, Any], preference: int | None) -> None:
    assert verdict_of({"question_id": 81, "model_a": "m", "model_b": "n", **fields}).preference == preference


def test_results_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EvolError, match="there is no study"):
        people([], tmp_path / "none", PeopleOptions(results=True))
    study = made(tmp_path, write_outputs(tmp_path / "in", 2))
    assert people([str(study.folder)], tmp_path / "none", PeopleOptions(results=True)) == 0
    assert "0 judgements of 2 comparisons" in capsys.readouterr().out
    with pytest.raises(EvolError, match="no such file"):
        people([str(study.folder)], tmp_path / "none", PeopleOptions(results=True, judge=("nowhere.jsonl",)))
    assert studies.is_study(study.folder)


@pytest.mark.parametrize(
    "wrong",
    [
        {"items": -1}, {"annotators": 0}, {"each": 2}, {"port": 70000}, {"host": "0.0.0.0"}, {"url": "ftp://x"},
        {"url": "http://x/path"}, {"url": "http://user@x"}, {"url": "http://x:no"},
    ],
)  # fmt: skip
def test_options_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(EvolError):
        PeopleOptions(**wrong)


def test_a_model_name_cant_act_on_the_terminal(tmp_path: Path) -> None:
    files = write_outputs(tmp_path / "in", 2)
    study = made(tmp_path, [f"\x1b[31mred={files[0]}", files[1]])
    judge(study, "annotator-1", {study.comparisons[0].id: 1})
    assert "\x1b" not in table(results(study.folder))
