"""The step `selection`: each way on planted cases, the comparison, what is written, what is refused."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evollab.data import select as step
from evollab.data.comparison import mean_of
from evollab.data.diversity import distances, nearest_of, spread_out
from evollab.data.embed import Embedder, embedder
from evollab.data.select import select
from evollab.data.select_table import text
from evollab.data.selecting import Band, Candidates, SelectOptions, read_band
from evollab.data.selectors import instag
from evollab.records import EvolError

Vectors = npt.NDArray[np.float32]


def write(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def row(number: int, text: str = "", **attributes: Any) -> dict[str, Any]:
    asked = text or f"Question number {number}"
    return {"id": f"r{number}", "instruction": asked, "output": "Yes. " * (number % 7 + 1), "attributes": attributes}


def run(tmp_path: Path, rows: Sequence[Any], name: str = "out", **options: Any) -> tuple[list[str], dict[str, Any]]:
    """The ids that were kept, and of the others what removed.jsonl says, by id."""
    data = write(tmp_path / "d.jsonl", rows)
    select(str(data), tmp_path / name, SelectOptions(**options))
    kept = [one["id"] for one in rows_of(tmp_path / name / "kept.jsonl")]
    return kept, {one["id"]: one for one in rows_of(tmp_path / name / "removed.jsonl")}


def account(tmp_path: Path, name: str = "out") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / name / "selection.json").read_bytes())
    return found


def on_a_circle(texts: Sequence[str]) -> Vectors:
    """A vector at the angle that a text names: "at 30" points to 30 degrees."""
    angles = [math.radians(float(one.split()[-1])) for one in texts]
    return np.array([[math.cos(angle), math.sin(angle)] for angle in angles], np.float32)


@pytest.fixture
def circle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(step, "embedder", lambda spec: Embedder(f"circle-{spec}", 2, on_a_circle, costly=False))


# The ways, on planted cases


def test_deita_takes_the_best_that_are_unlike(tmp_path: Path, circle: None) -> None:
    rows = [
        row(0, "at 0", difficulty=5, quality=5),
        row(1, "at 10", difficulty=9, quality=9),
        row(2, "at 12", difficulty=9, quality=8),
        row(3, "at 90", difficulty=3, quality=3),
        row(4, "at 180", difficulty=1, quality=10),
        row(5, "at 270", difficulty=1, quality=1),
        row(6, "at 300", difficulty=8),
    ]
    kept, removed = run(tmp_path, rows, how="deita", n=3, compare="none")
    assert kept == ["r1", "r3", "r4"]
    assert removed["r2"]["reason"] == "too near"
    assert removed["r2"]["nearest"] == {"line": 2, "id": "r1", "text": "at 10"}
    assert removed["r2"]["detail"] == "cosine 0.999 to a row with a score of 81"
    assert removed["r0"]["reason"] == "too near"
    assert removed["r5"]["detail"] == "score 1 is below the cut at 9"
    assert removed["r6"] == {
        "reason": "no quality", "line": 7, "id": "r6", "detail": "the row has no quality", "row": rows[6],
    }  # fmt: skip
    assert account(tmp_path)["removed"] == {"too near": 2, "below the cut": 1, "no quality": 1}
    assert account(tmp_path)["embedder"] == "circle-None"


def test_deita_without_n_takes_all_that_pass_the_gate(tmp_path: Path, circle: None) -> None:
    rows = [row(number, f"at {number}", difficulty=5, quality=number % 3) for number in range(360)]
    kept, removed = run(tmp_path, rows, how="deita", near=math.cos(math.radians(9.5)), compare="none")
    angles = sorted(int(one[1:]) for one in kept)
    assert all(after - before >= 10 for before, after in pairwise(angles))
    assert {one["reason"] for one in removed.values()} == {"too near"}
    assert len(kept) >= 18


def test_deita_by_fields_of_ones_own(tmp_path: Path, circle: None) -> None:
    rows = [{**row(number, f"at {60 * number}"), "hard": number, "good": 3.5} for number in range(5)]
    kept, _ = run(tmp_path, rows, how="deita", n=2, complexity="hard", quality="good")
    assert kept == ["r3", "r4"]
    assert account(tmp_path)["table"][1]["difficulty"]["mean"] == 3.5
    with pytest.raises(EvolError, match="expected 0 or more"):
        run(
            tmp_path,
            [{**one, "good": -1} for one in rows],
            "other",
            how="deita",
            n=2,
            complexity="hard",
            quality="good",
        )


def test_instag_covers_the_tags(tmp_path: Path) -> None:
    tags = [["a", "b", "c"], ["A", " b", "c"], ["d"], ["a"], ["e", "f"], [], ["d", "d", "d", "d"]]
    rows = [row(number, tags=own) for number, own in enumerate(tags)]
    kept, removed = run(tmp_path, rows, how="instag", n=3)
    assert "r4" in kept
    assert len({"r0", "r1"} & set(kept)) == 1
    assert len({"r2", "r6"} & set(kept)) == 1
    assert removed["r5"]["detail"] == "it has no tags"
    assert removed["r3"]["detail"] == "none of its 1 tags was new at its turn in any of 1 passes"
    kept, removed = run(tmp_path, rows, "all", how="instag", n=7)
    assert set(removed) == {"r5"}
    assert account(tmp_path, "all")["notes"][0] == "only 6 rows could be chosen, of 7 asked for"


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=4, unique=True), max_size=40))
def test_passes_are_those_of_the_paper(tags: list[list[str]]) -> None:
    """The algorithm as it is printed, which looks at every row that is left in every pass."""
    order = sorted(range(len(tags)), key=lambda at: -len(tags[at]))
    ordered = [tags[at] for at in order]
    expected: list[list[int]] = []
    left = list(range(len(ordered)))
    while True:
        seen: set[str] = set()
        one = []
        for at in left:
            if set(ordered[at]) - seen:
                one.append(at)
                seen |= set(ordered[at])
        if not one:
            break
        expected.append(one)
        left = [at for at in left if at not in one]
    assert list(instag._passes(ordered)) == expected


def test_ifd_keeps_the_highest_below_one(tmp_path: Path) -> None:
    values = [1.08, 0.2, 0.99, 1.0, 0.7, 0.5, 0.0]
    rows = [row(number, ifd=value) for number, value in enumerate(values)]
    kept, removed = run(tmp_path, rows, how="ifd", n=2)
    assert kept == ["r2", "r4"]
    assert removed["r0"]["reason"] == "out of band"
    assert removed["r0"]["detail"] == "ifd 1.08 >= 1"
    assert removed["r3"]["detail"] == "ifd 1 >= 1"
    assert removed["r6"]["detail"] == "ifd 0 <= 0"
    assert removed["r5"]["detail"] == "ifd 0.5 is below the cut at 0.7"
    kept, removed = run(tmp_path, rows, "band", how="ifd", band="[0.2,0.7)")
    assert kept == ["r1", "r5"]
    assert removed["r4"]["detail"] == "ifd 0.7 >= 0.7"


def test_passrate_takes_the_middle_first(tmp_path: Path) -> None:
    rates = [0, 0.25, 0.5, 0.75, 1, 0.5, 0.1]
    rows = [row(number, pass_rate=rate) for number, rate in enumerate(rates)]
    kept, removed = run(tmp_path, rows, how="passrate", n=4)
    assert kept == ["r1", "r2", "r3", "r5"]
    assert removed["r0"]["detail"] == "pass_rate 0 <= 0"
    assert removed["r4"]["detail"] == "pass_rate 1 >= 1"
    assert removed["r6"]["detail"] == "p(1 - p) 0.09 is below the cut at 0.1875"
    kept, _ = run(tmp_path, rows, "hard", how="passrate", band="(0,0.5]")
    assert kept == ["r1", "r2", "r5", "r6"]


def test_longest_by_words_or_by_tokens_of_all(tmp_path: Path) -> None:
    rows = [row(number) for number in range(7)]
    kept, removed = run(tmp_path, rows, how="longest", n=2)
    assert kept == ["r5", "r6"]
    assert removed["r0"]["detail"] == "length in words 1 is below the cut at 6"
    counted = [{**one, "response_tokens": 10 - number} for number, one in enumerate(rows)]
    assert run(tmp_path, counted, "tokens", how="longest", n=2)[0] == ["r0", "r1"]
    assert run(tmp_path, [*counted[:-1], rows[-1]], "some", how="longest", n=2)[0] == ["r5", "r6"]


def test_random_is_by_the_row_and_the_seed(tmp_path: Path) -> None:
    rows = [row(number) for number in range(200)]
    kept, removed = run(tmp_path, rows, how="random", n=50)
    assert removed[next(iter(removed))]["detail"] == "50 others were"
    assert run(tmp_path, rows, "again", how="random", n=50)[0] == kept
    other, _ = run(tmp_path, rows, "other", how="random", n=50, seed=1)
    assert 0 < len(set(other) & set(kept)) < 40


@pytest.mark.parametrize("how", ["deita", "instag", "ifd", "passrate", "longest", "random"])
def test_the_order_of_the_file_decides_nothing(tmp_path: Path, how: str) -> None:
    draw = random.Random(7)
    rows = [
        row(
            number, f"Question about {draw.choice('abcdef') * 9} and {draw.choice('uvw') * 9}", difficulty=draw.randint(1, 4),
            quality=draw.randint(1, 4), ifd=draw.choice([0.4, 0.6, 1.2]), pass_rate=draw.choice([0, 0.5, 1]),
            tags=draw.sample(["a", "b", "c", "d", "e"], draw.randint(0, 3)),
        )
        for number in range(120)
    ]  # fmt: skip
    options: dict[str, Any] = {"how": how, "n": 12, "compare": "none", "embed": "hashed"}
    kept, removed = run(tmp_path, rows, **options)
    draw.shuffle(rows)
    again, aside = run(tmp_path, rows, "again", **options)
    assert sorted(kept) == sorted(again)
    assert [one for one in (each["id"] for each in rows) if one in kept] == again
    reasons = {name: (one["reason"], one["detail"]) for name, one in removed.items()}
    assert reasons == {name: (one["reason"], one["detail"]) for name, one in aside.items()}


# The gate and distances, against the plain way


def unit(numbers: Sequence[Sequence[float]]) -> Vectors:
    found = np.array(numbers, np.float64).reshape(len(numbers), -1)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found.astype(np.float32)


DIRECTIONS = st.lists(
    st.lists(st.integers(-5, 5), min_size=3, max_size=3).filter(any), min_size=1, max_size=60
).map(unit)  # fmt: skip


@settings(deadline=None)
@given(DIRECTIONS, st.floats(0.3, 0.99), st.none() | st.integers(1, 20), st.sampled_from([1, 3, 2048]))
def test_the_gate_is_greedy(vectors: Vectors, near: float, n: int | None, block: int) -> None:
    exact = vectors.astype(np.float64)
    if (abs(exact @ exact.T - near) < 1e-5).any():
        return  # at the edge, where single precision decides
    expected: list[int] = []
    for at in range(len(vectors)):
        if (n is None or len(expected) < n) and all(exact[at] @ exact[one] < near for one in expected):
            expected.append(at)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evollab.data.diversity.BLOCK", block)
        patch.setattr("evollab.data.diversity._WIDE", 2 * block)
        gate = spread_out(np.arange(len(vectors)), lambda rows: vectors[rows], n, near)
        cosine, which = nearest_of(vectors, vectors[expected])
    assert gate.chosen == expected
    for at, (other, found) in gate.near.items():
        assert other in expected
        assert found == pytest.approx(max(exact[at] @ exact[one] for one in expected if one < at), abs=1e-5)
    assert cosine == pytest.approx((exact @ exact[expected].T).max(axis=1), abs=1e-5)
    assert set(which.tolist()) <= set(range(len(expected)))


def test_the_gate_asks_for_no_more_vectors_than_it_needs() -> None:
    asked: list[int] = []

    def vectors(rows: npt.NDArray[np.int64]) -> Vectors:
        asked.append(len(rows))
        return np.eye(9000, 64, dtype=np.float32)[rows % 64]

    assert len(spread_out(np.arange(9000), vectors, 40, 0.9).chosen) == 40
    assert sum(asked) == 2048


@given(DIRECTIONS.filter(lambda found: len(found) > 1))
def test_distances_to_the_nearest(vectors: Vectors) -> None:
    exact = vectors.astype(np.float64)
    for at, far in enumerate(distances(vectors)):
        others = [exact[at] @ exact[other] for other in range(len(exact)) if other != at]
        assert far == pytest.approx(1 - max(others), abs=1e-5)


# The comparison


def many(size: int) -> list[dict[str, Any]]:
    draw = random.Random(1)
    return [
        row(
            number, f"Write about {draw.choice(['tides', 'bread', 'maps', 'owls', 'glass'])} for reader {number}",
            difficulty=number % 10 + 1, quality=draw.randint(1, 10), tags=draw.sample(["sea", "food", "law", "Sea"], 2),
            category=draw.choice(["science", "cooking"]), tokens=20 + number % 5,
        )
        for number in range(size)
    ]  # fmt: skip


def test_the_table_tells_the_ways_apart(tmp_path: Path) -> None:
    run(tmp_path, many(60), how="deita", n=12, embed="hashed")
    found = account(tmp_path)
    lines = {line["way"]: line for line in found["table"]}
    assert list(lines) == ["all rows", "deita", "instag", "longest", "random"]
    assert found["notes"] == [
        embedder("hashed").note,
        "ifd is not compared: no row has ifd",
        "passrate is not compared: no row has pass_rate",
    ]
    everything, chosen = lines["all rows"], lines["deita"]
    assert everything["rows"] == 60
    assert everything["difficulty"]["mean"] == 5.5
    assert everything["difficulty"]["of"] == 60
    assert everything["tags"] == 3
    assert everything["tokens"] == sum(20 + number % 5 for number in range(60))
    for line in lines.values():
        for name in ("difficulty", "quality", "words", "diversity"):
            assert line[name]["low"] <= line[name]["mean"] <= line[name]["high"]
    assert chosen["difficulty"]["low"] > everything["difficulty"]["high"]
    assert chosen["quality"]["mean"] > everything["quality"]["mean"]
    assert lines["longest"]["words"]["mean"] > 6
    assert everything["diversity"]["of"] == chosen["diversity"]["of"] == 12


def by_letters(texts: Sequence[str]) -> Vectors:
    """A text as how often it has each letter."""
    return unit([[one.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for one in texts])


def test_the_table_as_it_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "embedder", lambda spec: Embedder(f"letters-{spec}", 26, by_letters, costly=False))
    data = write(tmp_path / "d.jsonl", many(60))
    result = select(str(data), tmp_path / "out", SelectOptions(how="longest", n=12, compare="random"))
    # How a generator of numpy draws may change from one version to the next: the ends of intervals are left out.
    shown = re.sub(r"\[[^]]*\]", "[..]", str(result).replace(str(tmp_path), ""))
    assert shown == SHOWN, shown
    again = select(str(data), tmp_path / "out", SelectOptions(how="longest", n=12, compare="random"))
    assert not again.fresh
    assert str(again) == str(result) + "\nnote: this was done before; nothing was left to do"


SHOWN = """\
/out/kept.jsonl: 12 of 60 rows by longest
/out/removed.jsonl:
  48 rows: below the cut

way       rows         difficulty    sd            quality               distance  tags  entropy           words  tokens
all rows    60  5.50 [..]  2.90  5.35 [..]  0.004 [..]     3     1.00  3.9 [..]   1,320
longest     12  5.83 [..]  2.66  4.92 [..]  0.004 [..]     3     0.92  6.7 [..]     263
random      12  4.75 [..]  2.26  5.08 [..]  0.004 [..]     3     0.98  4.5 [..]     255

means with 95 % intervals; distance: cosine distance to the nearest, among as many rows of each way, by letters-hashed"""


def test_a_table_of_hostile_words() -> None:
    told = {
        "how": "\x1b[31m" * 50, "kept": 1, "rows": 2, "removed": {f"reason \x1b {n}": 1 for n in range(25)}, "rejected": 0,
        "table": [{"way": "x" * 500, "rows": 1}], "embedder": "\u202e", "notes": [],
        "cost": None,
    }  # fmt: skip
    shown = text(told, Path("out"))
    assert shown.isascii()
    assert "and 5 more reasons in selection.json" in shown
    assert max(map(len, shown.splitlines())) < 200


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_an_interval_holds_the_mean(values: list[float]) -> None:
    found = mean_of(np.array(values), "place")
    slack = 1e-3 + 1e-9 * max(map(abs, values))
    assert min(values) - slack <= found["low"] <= found["mean"] + slack
    assert found["mean"] - slack <= found["high"] <= max(values) + slack
    assert found == mean_of(np.array(values), "place")


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(4)
    held = 0
    for number in range(400):
        drawn = generator.integers(1, 11, 80).astype(np.float64)
        found = mean_of(drawn, number)
        held += found["low"] <= 5.5 <= found["high"]
    assert 0.91 <= held / 400 <= 0.985
    large = mean_of(generator.normal(3, 2, 20_000), "large")
    assert large["high"] - large["low"] == pytest.approx(2 * 1.96 * 2 / math.sqrt(20_000), rel=0.05)


def test_what_attributes_cost_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "analysis"
    folder.mkdir()
    write(folder / "kept.jsonl", many(20))
    (folder / "step.json").write_text(json.dumps({"step": "analysis", "state": "complete", "cost": {"usd": 0.12}}))
    result = select(str(folder), None, SelectOptions(how="random", n=5, compare="none"))
    assert result.folder == tmp_path / "selection"
    assert result.account["cost"] == {"usd": 0.12}
    assert "the attributes cost $0.12" in str(result).splitlines()
    second = select(str(result.folder), tmp_path / "two", SelectOptions(how="longest", n=2))
    assert second.account["kept"] == 2


# What is written


def test_bytes_and_order_stay(tmp_path: Path) -> None:
    lines = [f'{{"instruction":  "\\u00e4 {number}", "output":"{"x " * number}"}}' for number in range(20)]
    (tmp_path / "d.jsonl").write_text("\n".join([*lines[:10], "", "no json", *lines[10:]]))
    select(str(tmp_path / "d.jsonl"), tmp_path / "out", SelectOptions(how="longest", n=5))
    assert (tmp_path / "out/kept.jsonl").read_text().splitlines() == lines[15:]
    removed = rows_of(tmp_path / "out/removed.jsonl")
    assert [one["line"] for one in removed] == [*range(1, 11), *range(13, 18)]
    assert [one["line"] for one in rows_of(tmp_path / "out/rejected.jsonl")] == [12]
    assert not list((tmp_path / "out").glob("*.part"))
    facts = json.loads((tmp_path / "out/step.json").read_bytes())
    assert facts["counts"] == {"rows": 20, "kept": 5, "rejected": 1}
    assert facts["state"] == "complete"


def test_the_same_again_gives_the_same_bytes(tmp_path: Path) -> None:
    rows = many(80)
    run(tmp_path, rows, "one", how="deita", n=20, embed="hashed")
    run(tmp_path, rows, "two", how="deita", n=20, embed="hashed")
    for name in ("kept.jsonl", "removed.jsonl", "selection.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with pytest.raises(EvolError, match="n was 20, now 21"):
        run(tmp_path, rows, "one", how="deita", n=21, embed="hashed")


def test_filters_come_first(tmp_path: Path) -> None:
    rows = [row(number, ifd=0.5 + number / 100) for number in range(20)]
    rows[19]["output"] = "I'm sorry, but I can't help with that."
    rows[18]["output"] = "Write to anna.krause@posteo.de."
    kept, removed = run(tmp_path, rows, how="ifd", n=2, filter=("refusals,pii",))
    assert kept == ["r16", "r17"]
    assert (removed["r19"]["reason"], removed["r18"]["reason"]) == ("refusal", "pii")
    table = {line["way"]: line["rows"] for line in account(tmp_path)["table"]}
    assert (table["all rows"], table["after filters"], table["ifd"]) == (20, 18, 2)


def test_nothing_left_to_choose_from(tmp_path: Path) -> None:
    rows = [{**row(number, ifd=0.5), "output": "I'm sorry, but I can't help with that."} for number in range(3)]
    kept, removed = run(tmp_path, rows, how="ifd", n=2, filter=("refusals",))
    assert kept == []
    assert len(removed) == 3
    assert "only 0 rows could be chosen, of 2 asked for" in account(tmp_path)["notes"]
    for how in ("deita", "instag", "passrate", "longest", "random"):
        more = [{**one, "attributes": {"difficulty": 1, "quality": 1, "tags": ["a"], "pass_rate": 0.5}} for one in rows]
        assert run(tmp_path, more, how, how=how, n=2, filter=("refusals",), embed="hashed")[0] == []


# A way of one's own


OWN = """
import numpy as np

from evollab.data.selecting import Choice, Need, Selector, Why, best


def pick(candidates, options):
    return best(candidates, candidates.numbers["stars"], options.n, "stars")


SELECTOR = Selector(needs=lambda options: [Need("stars")], pick=pick, ends=True)
"""


def test_a_way_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "stars.py").write_text(OWN)
    way = str(tmp_path / "stars.py")
    rows = [{**row(number), "stars": str(number % 4)} for number in range(8)]
    kept, removed = run(tmp_path, rows, how=way, n=2)
    assert kept == ["r3", "r7"]
    assert removed["r2"]["detail"] == "stars 2 is below the cut at 3"
    assert [line["way"][-8:] for line in account(tmp_path)["table"]] == ["all rows", "stars.py", "longest", "random"]
    assert len(run(tmp_path, rows, "half", how=way)[0]) == 8
    (tmp_path / "stars.py").write_text(OWN.replace("options.n,", "options.n and 1,"))
    with pytest.raises(EvolError, match="other settings"):
        run(tmp_path, rows, how=way, n=2)


@pytest.mark.parametrize("wrong", ["[0, 0]", "[-1]", "[8]", "[0, 1, 2]"])
def test_a_wrong_choice_is_refused(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "own.py").write_text(
        OWN.replace('best(candidates, candidates.numbers["stars"], options.n, "stars")', f"Choice({wrong}, None)")
    )
    rows = [{**row(number), "stars": 1} for number in range(8)]
    with pytest.raises(EvolError, match="expected places from 0 to 7, each once, at most 2 of them"):
        run(tmp_path, rows, how=str(tmp_path / "own.py"), n=2)
    assert not (tmp_path / "out/kept.jsonl").exists()


# What is refused


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"how": "deitta", "n": 1}, "no way to select is called 'deitta'; there are: deita, ifd, instag", "did you mean deita"),
        ({"how": "random"}, "--how random: how many rows?", "--n N"),
        ({}, "nothing to choose by", "--filter"),
        ({"n": 3, "filter": ("pii",)}, "--n 3: chosen how?", "--how"),
        ({"how": "random", "n": 0}, "--n 0: expected 1 or more", ""),
        ({"how": "random", "n": 1, "near": 1.5}, "--near 1.5", ""),
        ({"how": "random", "n": 1, "text": "all"}, "--text 'all'", ""),
        ({"how": "random", "n": 1, "band": "0,1"}, "random knows no band", "--how ifd"),
        ({"how": "ifd", "band": "(1,0)"}, "no number lies in it", "--band"),
        ({"how": "ifd", "band": "0-1"}, "expected LOW,HIGH", "(0,0.5]"),
        ({"how": "ifd", "band": "[0,1"}, "expected LOW,HIGH", ""),
        ({"how": "random", "n": 1, "compare": "longst"}, "no way to select is called 'longst'", "did you mean longest"),
        ({"how": "random", "n": 1, "embed": "hasht"}, "no embedder is called 'hasht'", "did you mean hashed"),
        ({"how": "deita", "n": 1}, "--how deita needs a number: no field difficulty; the fields are id, instruction", "evol analyse DATA --with MODEL"),
        ({"how": "instag", "n": 1}, "--how instag needs a list of texts: no field tags", "evol analyse DATA --with MODEL"),
        ({"how": "passrate"}, "no field pass_rate", "evol analyse DATA --target MODEL"),
        ({"how": "deita", "complexity": "attributes.chrs", "quality": "chars"}, "no field attributes.chrs", "did you mean attributes.chars"),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path: Path, options: dict[str, Any], message: str, hint: str) -> None:
    data = write(tmp_path / "d.jsonl", [row(number, chars=3) for number in range(3)])
    with pytest.raises(EvolError) as error:
        select(str(data), tmp_path / "out", SelectOptions(**options))
    assert message in error.value.message
    assert hint in error.value.hint
    assert not (tmp_path / "out/kept.jsonl").exists()


def test_rows_that_lack_something_are_put_aside_or_end_it(tmp_path: Path) -> None:
    rows = [row(0, ifd=0.5), row(1, ifd="high"), row(2, ifd=None), row(3), row(4, ifd="0.25"), row(5, ifd=math.nan)]
    kept, removed = run(tmp_path, rows[:5], how="ifd")
    assert kept == ["r0", "r4"]
    assert {name: one["detail"] for name, one in removed.items()} == {
        "r1": "ifd is a text that is no number; expected a number",
        "r2": "the row has no ifd",
        "r3": "the row has no ifd",
    }
    assert {one["reason"] for one in removed.values()} == {"no ifd"}
    with pytest.raises(EvolError, match=r"d.jsonl:2: ifd is a text that is no number"):
        run(tmp_path, rows[:5], "strict", how="ifd", strict=True)
    tags = [row(0, tags=["a"]), row(1, tags="law, bread"), row(2, tags=[1])]
    kept, removed = run(tmp_path, tags, "tags", how="instag", n=3)
    assert kept == ["r0", "r1"]
    assert removed["r2"]["detail"] == "tags is no list of texts"


@given(st.floats(-100, 100), st.floats(-100, 100), st.booleans(), st.booleans(), st.floats(-100, 100))
def test_bands_hold_what_they_say(low: float, high: float, low_in: bool, high_in: bool, value: float) -> None:
    low, high, value = round(low, 2), round(high, 2), round(value, 2)
    if low >= high:
        return
    written = f"{'(['[low_in]}{low},{high}{')]'[high_in]}"
    band = read_band(written)
    assert band == Band(low, high, low_in, high_in)
    inside = (low <= value if low_in else low < value) and (value <= high if high_in else value < high)
    values = np.array([value])
    assert (not band.below(values)[0] and not band.above(values)[0]) == inside
    assert read_band(f"{low},{high}") == Band(low, high, True, True)


def test_candidates_are_what_they_are_said_to_be(tmp_path: Path) -> None:
    """A way sees whole columns, keys that differ, and vectors of length 1."""
    seen: list[Candidates] = []
    (tmp_path / "own.py").write_text(OWN)

    rows = [{**row(number), "stars": number, "attributes": {"tags": ["a", "b"]}} for number in range(6)]
    rows[2]["stars"] = None
    with pytest.MonkeyPatch.context() as patch:
        from evollab.data import choosing

        original = choosing.Pool.candidates

        def spy(self: choosing.Pool, which: npt.NDArray[np.int64]) -> Candidates:
            seen.append(original(self, which))
            return seen[-1]

        patch.setattr(choosing.Pool, "candidates", spy)
        run(tmp_path, rows, how=str(tmp_path / "own.py"), n=2, compare="none", embed="hashed")
        found = seen[0]
        assert found.size == 5
        assert found.numbers["stars"].tolist() == [0, 1, 3, 4, 5]
        assert len(set(found.keys.tolist())) == 5
        assert found.lists["tags"] == [("a", "b")] * 5
