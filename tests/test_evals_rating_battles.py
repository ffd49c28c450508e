"""`evol arena`: rows of every shape, dirt in them, swapped games, ratings compared, what people read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evollab.data.formats import BadFields
from evollab.evals.arena import ArenaOptions, arena, read_ratings
from evollab.evals.battles import games_of, read_battles, settled
from evollab.evals.rating import Battle
from evollab.records import EvolError

SHARED = Path(__file__).parent.parent.parent / "shared" / "data" / "published"


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return str(path)


def scores(**fields: Any) -> list[float | None]:
    """What the first got in each game of a row; None without a verdict."""
    return [None if math.isnan(one.score) else one.score for one in games_of(fields, "here")]


def test_every_shape_is_read() -> None:
    assert scores(question=1, a="x", b="y", winner="a") == [1.0]
    assert scores(question=1, a="x", b="y", winner="tie") == [0.5]
    lmsys = {"question_id": "q", "model_a": "x", "model_b": "y", "judge": "arena_user_1"}
    for winner, score in (("model_a", 1.0), ("model_b", 0.0), ("tie", 0.5), ("tie (bothbad)", 0.5), ("both_bad", 0.5)):
        assert scores(**lmsys, winner=winner) == [score]
    alpaca = {"instruction": "Say hi", "generator_1": "x", "generator_2": "y"}
    judged: list[tuple[float | None, float | None]] = [
        (1, 1.0),
        (2.0, 0.0),
        (1.5, 0.5),
        (0, 0.5),
        (1.25, 0.75),
        (None, None),
    ]
    for preference, expected in judged:
        assert scores(**alpaca, preference=preference) == [expected]
    pair = {"question_id": 81, "model_1": "x", "model_2": "y", "turn": 1, "judge": ["gpt-4", "pair-v2"]}
    assert scores(**pair, g1_winner="model_1", g2_winner="model_2") == [1.0, 0.0]
    assert scores(**pair, g1_winner="tie", g2_winner="error") == [0.5, None]
    assert scores(**pair, g1_winner="model_2") == [0.0]
    people = {"item": "i", "model_1": "x", "model_2": "y", "annotator": "annotator-1"}
    assert [scores(**people, preference=value) for value in (1, 2, 0)] == [[1.0], [0.0], [0.5]]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"question": 1, "a": "x", "b": "y", "winner": "garbage"}, "winner is 'garbage'; expected a, b or tie"),
        ({"question": 1, "a": "x", "b": "x", "winner": "a"}, "a and b are the same model, x"),
        ({"question": 1, "a": "x", "b": "", "winner": "a"}, "b is ''; expected a model's name"),
        ({"question": 1, "a": "x", "b": 3, "winner": "a"}, "b is 3"),
        ({"generator_1": "x", "generator_2": "y", "preference": 7}, "preference is 7; expected a number from 1 to 2"),
        ({"generator_1": "x", "generator_2": "y", "preference": 10**400}, "preference is 10000"),
        ({"generator_1": "x", "generator_2": "y", "preference": "1"}, "preference is '1'"),
        ({"model_1": "x", "model_2": "y", "preference": 1.5}, "preference is 1.5; expected 1, 2, or 0"),
        ({"instruction": "x", "output": "y"}, "no battle: it has .*; expected one of: a, b, winner; "),
    ],
)
def test_what_is_no_battle_is_told(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadFields, match=reason):
        list(games_of(fields, "here"))


_VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers()))


@given(
    st.dictionaries(
        st.sampled_from(
            ["a", "b", "winner", "model_a", "model_b", "model_1", "model_2", "g1_winner", "preference", "question",
             "generator_1", "generator_2", "turn", "judge"]
        ),
        _VALUES, max_size=10,
    )
)  # fmt: skip
def test_no_row_breaks_the_reader(fields: dict[str, Any]) -> None:
    try:
        games = list(games_of(fields, "here"))
    except BadFields:
        return
    assert all(math.isnan(one.score) or 0 <= one.score <= 1 for one in games)
    assert all(one.a != one.b for one in games)


def test_swapped_games_that_disagree_are_a_tie() -> None:
    there, back = Battle("q", "x", "y", 1.0), Battle("q", "y", "x", 1.0)
    agreeing = Battle("q", "y", "x", 0.0)
    assert settled([there, back]) == [Battle("q", "x", "y", 0.5)]
    assert settled([there, agreeing]) == [Battle("q", "x", "y", 1.0)]
    assert settled([there, Battle("q", "y", "x", 0.5)]) == [Battle("q", "x", "y", 0.5)], "won once, tied once"
    assert settled([Battle("q", "x", "y", 0.9), Battle("q", "y", "x", 0.4)])[0].score == pytest.approx(0.75)
    assert settled([there, back], "both") == [there, back]
    turns = [Battle("q", "x", "y", 1.0, "turn 1"), Battle("q", "x", "y", 0.0, "turn 2")]
    assert settled(turns) == turns, "two turns are two battles"


def test_dirt_is_counted_and_told(tmp_path: Path) -> None:
    good: list[dict[str, Any]] = [{"question": at, "a": "x", "b": "y", "winner": "ab"[at % 3 == 0]} for at in range(12)]
    dirt: list[dict[str, Any]] = [
        {"a": "x", "b": "y", "winner": "garbage"},
        {"a": "x", "b": "y", "winner": None, "question": 77},
    ]
    file = Path(write(tmp_path / "some.jsonl", [*good, *dirt]))
    file.write_bytes(file.read_bytes() + b'{"a": "torn')
    found = arena([str(file), str(file)], ArenaOptions(bootstraps=10), tmp_path / "out")
    assert (found.games, found.undecided, [one.line for one in found.rejected]) == (12, 1, [13, 15])
    assert "2 rows are no battles (line 13: winner is 'garbage'" in str(found)
    told = orjson.loads((tmp_path / "out" / "ratings.json").read_bytes())
    assert told["rejected_rows"] == 2
    assert (tmp_path / "out" / "ratings.md").read_text().startswith("| model | rating |")
    with pytest.raises(EvolError, match=r"some\.jsonl:13: winner is 'garbage'"):
        arena([str(file)], ArenaOptions(strict=True))


def test_folders_are_read(tmp_path: Path) -> None:
    write(tmp_path / "run" / "battles.jsonl", [{"question": 1, "a": "x", "b": "y", "winner": "a"}])
    write(
        tmp_path / "people" / "judgements.jsonl",
        [{"annotator": "annotator-1", "item": "i", "model_1": "x", "model_2": "y", "preference": 2, "bad": False}],
    )
    graded: list[dict[str, Any]] = [
        {"id": "7", "sample": 0, "score": 8.0, "more": {"own": 8.0, "reference": 7.0, "result": 1.0}}
    ]
    graded += [{"id": "8", "sample": 0, "score": None, "more": {}}]
    write(tmp_path / "eval" / "evol_testset" / "graded.jsonl", graded)
    result = {"task": "evol_testset", "model": "x", "reference": "z", "metrics": []}
    (tmp_path / "eval" / "evol_testset" / "result.json").write_bytes(orjson.dumps(result))
    found = read_battles([str(tmp_path / name) for name in ("run", "people", "eval")])
    assert [(one.a, one.b, one.score) for one in found.games] == [("x", "y", 1.0), ("x", "y", 0.0), ("x", "z", 1.0)]
    assert found.undecided == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvolError, match="empty holds no battles"):
        read_battles([str(tmp_path / "empty")])
    with pytest.raises(EvolError, match=r"holds no battles \(line 1: no battle: it has"):
        read_battles([write(tmp_path / "other.jsonl", [{"instruction": "x"}])])


def test_the_table_that_people_read(tmp_path: Path) -> None:
    rows = [{"question": at, "a": "x", "b": "y", "winner": "a" if at % 4 else "b"} for at in range(80)]
    file = write(tmp_path / "battles.jsonl", rows)
    found = arena([str(tmp_path)], ArenaOptions(anchor="y=1100", bootstraps=50), tmp_path / "out")
    lines = str(found).splitlines()
    assert lines[0].split() == ["model", "rating", "95", "%", "battles", "won", "tied", "lost"]
    assert lines[1].split()[-4:] == ["80", "60", "0", "20"]
    assert lines[2].split() == ["y", "1100", "1100", "to", "1100", "80", "20", "0", "60"]
    assert [line.split() for line in lines[6:8]] == [["1", "x", "75"], ["2", "y", "25"]]
    assert found.ratings.ratings[0].fit == pytest.approx(1100 + 400 * math.log10(3))
    again = arena([file], ArenaOptions(against=str(tmp_path / "out" / "ratings.json"), bootstraps=50))
    assert again.agreement is not None
    assert (again.agreement.spearman, again.agreement.agreement) == pytest.approx((100, 100))
    assert "Spearman 100.0 %, agreement 100.0 %, differentiation 100.0 %, mean 100.0 %" in str(again)


def test_ratings_to_compare_with_are_read(tmp_path: Path) -> None:
    rows = [{"model": "x", "rating": "1200", "low": 1190}, {"name": "y", "rating": 1100.5}]
    found = read_ratings(write(tmp_path / "human.jsonl", rows))
    assert [(one.model, one.rating, one.low, one.high) for one in found] == [
        ("x", 1200, 1190, None), ("y", 1100.5, None, None)
    ]  # fmt: skip
    with pytest.raises(EvolError, match="expected rows with model and rating"):
        read_ratings(write(tmp_path / "bad.jsonl", [{"model": "x", "rating": "high"}]))
    with pytest.raises(EvolError, match="--against"):
        read_ratings(str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"anchor": "x"}, "--anchor x: expected NAME=RATING"), ({"anchor": "x=nan"}, "--anchor x=nan"),
        ({"bootstraps": 0}, "--bootstraps 0"), ({"conflict": "win"}, "--conflict win: expected tie or both"),
    ],
)  # fmt: skip
def test_mistakes_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(EvolError, match=message):
        ArenaOptions(**options)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of published judgements is not here")
def test_published_annotations_give_the_published_win_rate() -> None:
    """AlpacaEval 1 says 70.43 % for vicuna-13b against text_davinci_003, over the 804 rows with a preference."""
    found = arena([str(SHARED / "ae1__vicuna-13b.jsonl.xz")], ArenaOptions(bootstraps=20))
    best = found.ratings.ratings[0]
    assert (best.model, found.games, best.wins) == ("vicuna-13b", 805, 566)
    assert found.pairs[0].share == pytest.approx(70.43478260869566)
