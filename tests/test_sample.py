"""The step `sample`, whole: the right rows in the right numbers, told what could not be, written whole or not at all."""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import json
import lzma
import math
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from evollab import rng
from evollab.cli import main
from evollab.data import sample as module
from evollab.data.drawing import Aim
from evollab.data.drawing import draw as draw_rows
from evollab.data.mix import Wish
from evollab.data.sample import SampleOptions, SampleResult, sample
from evollab.data.strata import Column, Field
from evollab.records import EvolError, seed_instruction
from tests.conftest import SHARED

Rows = list[dict[str, Any]]


def rows_of(total: int = 2000, *, ids: bool = True) -> Rows:
    """Rows with a skewed category, a difficulty that depends on it, a source."""
    chance = random.Random(5)
    found: Rows = []
    for at in range(total):
        category = chance.choices(["math", "code", "chat"], [1, 3, 6])[0]
        difficulty = min(10, max(1, round(chance.gauss(7 if category == "math" else 4, 2))))
        source = {"file": chance.choice("aab"), "line": at}
        row = {"text": f"row {at}", "category": category, "difficulty": difficulty, "source": source}
        found.append({"id": f"r{at}", **row} if ids else row)
    return found


def put(path: Path, rows: Iterable[Mapping[str, Any]]) -> str:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return str(path)


def take(result: SampleResult, name: str = "kept.jsonl") -> Rows:
    return [orjson.loads(line) for line in (result.folder / name).read_bytes().splitlines()]


def texts(result: SampleResult, name: str = "kept.jsonl") -> set[str]:
    return {row["text"] for row in take(result, name)}


def table(result: SampleResult, field: str) -> dict[str, Any]:
    [found] = [one for one in result.account["fields"] if one["field"] == field]
    return {line["value"]: line for line in found["values"]}


@pytest.fixture
def data(tmp_path: Path) -> str:
    return put(tmp_path / "data.jsonl", rows_of())


@pytest.fixture
def draw(tmp_path: Path, data: str) -> Callable[..., SampleResult]:
    """Sample the rows into a folder of its own."""
    number = iter(range(1000))

    def drawn(of: str = data, /, **options: Any) -> SampleResult:
        return sample(of, tmp_path / f"out{next(number)}", SampleOptions(**options))

    return drawn


def test_uniform_over_one_field(draw: Callable[..., SampleResult]) -> None:
    result = draw(by=("category",), target="uniform", n=300)
    assert Counter(row["category"] for row in take(result)) == {"math": 100, "code": 100, "chat": 100}
    assert result.account["unmet"] == []
    assert table(result, "category")["math"]["gap"] == 0


def test_rows_are_those_of_the_file_byte_for_byte_and_in_its_order(tmp_path: Path) -> None:
    lines = [f'{{"n" :{at},  "text":"r\\u00e4 {at}\u2028é","b":1e2}}'.encode() for at in range(200)]
    lines[7] += b"\r"
    path = tmp_path / "odd.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\n\n".join(lines))
    for name, pack in (("odd.jsonl", bytes), ("odd.jsonl.gz", gzip.compress), ("odd.jsonl.xz", lzma.compress)):
        (tmp_path / name).write_bytes(pack(path.read_bytes()))
        result = sample(str(tmp_path / name), tmp_path / f"out-{name}", SampleOptions(n=150))
        kept = (result.folder / "kept.jsonl").read_bytes().split(b"\n")[:-1]
        removed = (result.folder / "removed.jsonl").read_bytes().split(b"\n")[:-1]
        assert {orjson.loads(line)["reason"] for line in removed} == {"not drawn"}
        left = [line.partition(b'"row":')[2][:-1] for line in removed]
        assert [line for line in lines if line in set(kept)] == kept
        assert sorted(kept + left) == sorted(lines)


def test_without_replacement(draw: Callable[..., SampleResult]) -> None:
    result = draw(by=("category,difficulty:q4",), target="uniform", n=700)
    kept, left = take(result), [one["row"] for one in take(result, "removed.jsonl")]
    assert len(kept) == len({row["id"] for row in kept}) == 700
    assert {row["id"] for row in kept}.isdisjoint(row["id"] for row in left)
    assert len(kept) + len(left) == 2000


@pytest.mark.parametrize("ids", [True, False])
def test_the_order_of_the_file_does_not_matter(tmp_path: Path, ids: bool) -> None:
    rows = rows_of(ids=ids)
    options = SampleOptions(by=("category,difficulty:1-4,5-7,8+,source.file",), target="uniform", n=333, slices=4)
    found: list[list[set[str]]] = []
    for name in ("one", "two"):
        result = sample(put(tmp_path / f"{name}.jsonl", rows), tmp_path / name, options)
        found.append([texts(result, file) for file in ("kept.jsonl", *(f"kept-{n}.jsonl" for n in range(1, 5)))])
        random.Random(1).shuffle(rows)
    assert found[0] == found[1]


def test_the_draw_depends_on_ids_and_the_seed_alone(tmp_path: Path) -> None:
    rows = rows_of()
    one = sample(put(tmp_path / "a.jsonl", rows), tmp_path / "a", SampleOptions(n=200))
    marked = [{**row, "quality": at} for at, row in enumerate(rows)]
    two = sample(put(tmp_path / "b.jsonl", marked), tmp_path / "b", SampleOptions(n=200))
    other = sample(str(tmp_path / "a.jsonl"), tmp_path / "c", SampleOptions(n=200, seed=1))
    assert texts(one) == texts(two)
    assert len(texts(one) & texts(other)) < 60


def test_ids_that_repeat_do_not_tie_rows_together(tmp_path: Path) -> None:
    rows = [{"id": "same", "text": f"t{at}"} for at in range(100)] + [{"id": 1, "text": "twin"}] * 100
    result = sample(put(tmp_path / "d.jsonl", rows), tmp_path / "o", SampleOptions(n=100))
    drawn = Counter(row["id"] for row in take(result))
    assert 30 < drawn["same"] < 70
    random.Random(2).shuffle(rows)
    again = sample(put(tmp_path / "e.jsonl", rows), tmp_path / "p", SampleOptions(n=100))
    assert Counter(row["text"] for row in take(again)) == Counter(row["text"] for row in take(result))


def test_a_smaller_draw_is_part_of_a_larger_one(draw: Callable[..., SampleResult]) -> None:
    small, large = (draw(by=("category",), target="natural^0.5", n=n) for n in (100, 500))
    assert texts(small) < texts(large)


def test_a_large_sample_has_the_targets_distribution(draw: Callable[..., SampleResult], tmp_path: Path) -> None:
    """Chi-square against the target is far below the value that chance alone would give."""
    data = put(tmp_path / "large.jsonl", rows_of(20_000))
    target = {
        "category": {"math": 0.2, "code": 0.45, "chat": 0.35},
        "difficulty:1-4,5-7,8-10": {"1-4": 3, "5-7": 2, "8-10": 1},
    }
    result = draw(data, target=target, n=6000)
    kept = take(result)
    level = ["1-4"] * 5 + ["5-7"] * 3 + ["8-10"] * 3
    for shares, have in (
        ({"math": 0.2, "code": 0.45, "chat": 0.35}, Counter(row["category"] for row in kept)),
        ({"1-4": 0.5, "5-7": 1 / 3, "8-10": 1 / 6}, Counter(level[row["difficulty"]] for row in kept)),
    ):
        chi = sum((have[value] - 6000 * share) ** 2 / (6000 * share) for value, share in shares.items())
        assert chi < 0.01
        assert sum(have.values()) == 6000


def test_within_a_value_every_row_has_the_same_chance() -> None:
    """Chi-square of how often each of 60 rows is drawn over 600 seeds, some 3 deviations at most."""
    values = ["b", "a", "a"] * 20
    column = Column(Field("c"))
    for value in values:
        column.add(column.read({"c": value}))
    times: Counter[int] = Counter()
    for seed in range(600):
        keys = [rng.integer(seed, "row", at) for at in range(60)]
        times.update(draw_rows([Aim(column.finish(), Wish(0.0))], keys, 20, seed).chosen)
    for value, size in (("a", 40), ("b", 20)):
        expected = 600 * 10 / size
        seen = [times[at] for at in range(60) if values[at] == value]
        chi = sum((n - expected) ** 2 / (expected * (1 - 10 / size)) for n in seen) * (size - 1) / size
        assert chi < size - 1 + 3.3 * math.sqrt(2 * (size - 1)), (value, chi)
    assert sum(times.values()) == 12_000


def test_natural_keeps_the_mix_and_a_power_evens_it(draw: Callable[..., SampleResult]) -> None:
    have = Counter(row["category"] for row in rows_of())
    same = Counter(row["category"] for row in take(draw(by=("category",), n=500)))
    assert all(abs(same[value] - have[value] / 4) <= 1 for value in have)
    even = Counter(row["category"] for row in take(draw(by=("category",), target="natural^0.5", n=300)))
    total = sum(math.sqrt(number) for number in have.values())
    assert all(abs(even[value] - 300 * math.sqrt(have[value]) / total) <= 1 for value in have)


def test_a_weight_of_zero_gives_none(draw: Callable[..., SampleResult]) -> None:
    result = draw(by=("category",), target={"category": {"math": 1, "code": 0}}, n=1500)
    assert {row["category"] for row in take(result)} == {"math"}
    assert result.account["drawn"] == Counter(row["category"] for row in rows_of())["math"]
    assert "the target does not name chat (" in result.account["notes"][0]


def test_too_few_rows_are_told_and_the_others_fill_in(tmp_path: Path) -> None:
    rows = [{"c": "rare"}] * 120 + [{"c": "much"}] * 5000 + [{"c": "more"}] * 5000
    data = put(tmp_path / "d.jsonl", [{**row, "text": str(at)} for at, row in enumerate(rows)])
    target = {"c": {"rare": 40, "much": 30, "more": 30, "moer": 0}}
    result = sample(data, tmp_path / "o", SampleOptions(target=target, n=1000))
    assert result.account["unmet"] == [
        {"field": "c", "value": "rare", "wanted": 400, "got": 120, "rows": 120, "why": "only 120 rows have it"}
    ]
    assert Counter(row["c"] for row in take(result)) == {"rare": 120, "much": 440, "more": 440}
    assert "c = rare: 120 of 400 wanted: only 120 rows have it" in str(result)


def test_a_value_that_no_row_has_is_told_with_the_nearest(draw: Callable[..., SampleResult]) -> None:
    result = draw(target={"category": {"maths": 1, "code": 1}}, n=100)
    [unmet] = result.account["unmet"]
    assert (unmet["value"], unmet["got"]) == ("maths", 0)
    assert unmet["why"] == "no row has it (did you mean math?)"
    with pytest.raises(EvolError, match=r"category: no row has a value that .* the values are chat, code, math"):
        draw(target={"category": {"maths": 1}}, n=100)


def test_more_rows_than_there_are(draw: Callable[..., SampleResult]) -> None:
    result = draw(n=5000)
    assert result.account["drawn"] == 2000
    assert result.account["unmet"][0]["why"] == "there are no more"
    capped = draw(n=1000, cap=("category=*=50",))
    assert capped.account["drawn"] == 150
    assert capped.account["unmet"][0]["why"] == "the limits of category allow no more"


def test_fields_that_can_not_both_be_met(tmp_path: Path) -> None:
    rows = [{"a": "x", "b": "p"}] * 100 + [{"a": "y", "b": "q"}] * 100
    data = put(tmp_path / "d.jsonl", [{**row, "text": str(at)} for at, row in enumerate(rows)])
    result = sample(data, tmp_path / "o", SampleOptions(target={"a": {"x": 1, "y": 1}, "b": {"p": 9, "q": 1}}, n=100))
    assert Counter(row["a"] for row in take(result)) == {"x": 50, "y": 50}
    [unmet] = result.account["unmet"]
    assert (unmet["field"], unmet["value"], unmet["wanted"], unmet["got"]) == ("b", "p", 90, 50)
    assert "too few that also fit what is asked of the other fields" in unmet["why"]


def test_as_many_as_the_target_allows_where_no_number_is_given(draw: Callable[..., SampleResult]) -> None:
    have = Counter(row["category"] for row in rows_of())
    assert draw(by=("category",), target="uniform").account["drawn"] == 3 * min(have.values())
    assert draw().account["drawn"] == 2000
    with pytest.raises(EvolError, match="the target names maths, which no row has"):
        draw(target={"category": {"maths": 1, "code": 1}})


def test_floors_caps_and_quotas(draw: Callable[..., SampleResult]) -> None:
    result = draw(
        by=("category",), n=400, floor=("category=math=100",), cap=("category=chat=30%",), quota=("source.file=b=40",)
    )
    kept = take(result)
    have = Counter(row["category"] for row in kept)
    assert (have["math"], have["chat"], have["code"]) == (100, 120, 180)
    assert Counter(row["source"]["file"] for row in kept) == {"a": 360, "b": 40}
    assert result.account["unmet"] == []


def test_a_quota_per_source_goes_before_targets(tmp_path: Path) -> None:
    rows = [{"c": "x", "s": "one"}] * 100 + [{"c": "y", "s": "two"}] * 100
    data = put(tmp_path / "d.jsonl", [{**row, "text": str(at)} for at, row in enumerate(rows)])
    result = sample(data, tmp_path / "o", SampleOptions(by=("c",), target="uniform", cap=("s=one=20",), n=100))
    assert Counter(row["s"] for row in take(result)) == {"one": 20, "two": 80}
    assert result.account["unmet"][0]["value"] == "x"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"floor": ("category=*=200",), "n": 300}, "the floors of category sum to 600 rows; expected at most the 300"),
        ({"floor": ("category=math=20",), "target": {"category": {"code": 1}}, "n": 50}, "gives math no rows, a floor gives it 20"),
        ({"floor": ("category=math=20",), "cap": ("category=math=10",), "n": 50}, "at least 20 rows and at most 10"),
        ({"by": ("difficulty:1-4,5+",), "cap": ("difficulty=8=10",), "n": 50}, "has no bin 8; expected one of 1-4, 5\\+"),
        ({"by": ("difficulty:1-4,5+",), "cap": ("difficulty:q2=q1=10",), "n": 50}, "other bins"),
        ({"target": "uniform"}, "--target uniform: of which field"),
        ({"n": 0}, "--n 0: expected 1 or more"),
        ({"slices": 1}, "--slices 1"),
        ({"slices": 9, "n": 5}, "only 5 rows were drawn"),
        ({"by": ("dificulty",)}, "no field dificulty; the fields are id, text, category, difficulty, source.file, source.line"),
        ({"slices": 3, "slice_by": "dificulty"}, "no field dificulty"),
        ({"by": ("text",)}, "more than 1,000 different values"),
        ({"by": ("category:q4",)}, "no row can be sampled \\(2,000 rows: category is a text that is no number"),
        ({"by": ("source",)}, "source is an object; expected a text or a number"),
    ],
)  # fmt: skip
def test_mistakes_are_told_and_nothing_is_written(
    tmp_path: Path, draw: Callable[..., SampleResult], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(EvolError, match=said):
        draw(**options)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] in (["data.jsonl"], ["data.jsonl", "run.lock"])


def test_the_nearest_field_is_named(draw: Callable[..., SampleResult]) -> None:
    with pytest.raises(EvolError) as caught:
        draw(by=("sorce.file",))
    assert caught.value.hint == "did you mean source.file?"


def holed(folder: Path) -> str:
    rows = rows_of(50)
    del rows[3]["category"]
    rows[4]["category"] = None
    path = Path(put(folder / "holes.jsonl", rows))
    path.write_bytes(path.read_bytes() + b"not json\n\n" + orjson.dumps({**rows[5], "id": "z"}) + b"\n")
    return str(path)


def test_rows_that_can_not_be_used_are_set_aside_and_counted(tmp_path: Path) -> None:
    result = sample(holed(tmp_path), tmp_path / "o", SampleOptions(by=("category",), n=49))
    assert result.account["rejected"] == {
        "no field category": 1, "category is null; expected a text or a number": 1, "can't be read": 1,
    }  # fmt: skip
    assert [(row["line"], row["reason"][:11]) for row in take(result, "rejected.jsonl")] == [
        (4, "no field ca"), (5, "category is"), (51, "not JSON at"),
    ]  # fmt: skip
    assert result.account["rows"] == 52
    assert result.account["drawn"] == 49
    assert take(result, "removed.jsonl") == []
    step = json.loads((result.folder / "step.json").read_bytes())
    assert step["counts"] == {"rows": 52, "rejected": 3, "kept": 49}


def test_no_row_is_left_for_several_reasons(tmp_path: Path) -> None:
    rows = [{"a": "x"}, {"b": 1}, {"a": "y", "level": "high"}, {"a": "x", "b": 2, "level": None}]
    data = put(tmp_path / "d.jsonl", rows)
    with pytest.raises(EvolError, match=r"no row can be sampled \(2 rows: no field b; 1 rows: no field a"):
        sample(data, tmp_path / "o", SampleOptions(by=("a", "b"), slices=2, slice_by="level"))
    with pytest.raises(EvolError, match=r"no row can be sampled .*level is"):
        sample(put(tmp_path / "e.jsonl", rows[2:]), tmp_path / "o", SampleOptions(slices=2, slice_by="level"))


def test_a_kill_leaves_no_half_and_the_same_call_goes_on(
    tmp_path: Path, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module._raw_rows

    def killed(*arguments: Any) -> Any:
        yield from itertools.islice(real(*arguments), 1000)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "_raw_rows", killed)
        with pytest.raises(KeyboardInterrupt):
            sample(data, tmp_path / "o", SampleOptions(n=50, slices=2))
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["run.lock", "step.json"]
    assert json.loads((tmp_path / "o" / "step.json").read_bytes())["state"] == "running"
    resumed = sample(data, tmp_path / "o", SampleOptions(n=50, slices=2))
    assert not resumed.repeated
    assert texts(resumed) == texts(sample(data, tmp_path / "p", SampleOptions(n=50)))


def test_strict_stops(tmp_path: Path) -> None:
    with pytest.raises(EvolError, match=r"holes.jsonl:4: no field category") as caught:
        sample(holed(tmp_path), tmp_path / "o", SampleOptions(by=("category",), strict=True))
    assert "its fields are id, text, difficulty" in caught.value.hint


@pytest.mark.parametrize("how", ["random", "stratified", "difficulty"])
def test_slices(draw: Callable[..., SampleResult], how: str) -> None:
    result = draw(by=("category",), target="uniform", n=301, slices=9, slice_by=how)
    parts = [take(result, f"kept-{n}.jsonl") for n in range(1, 10)]
    assert sorted(len(part) for part in parts) == [33] * 5 + [34] * 4
    assert {row["id"] for part in parts for row in part} == {row["id"] for row in take(result)}
    assert sum(map(len, parts)) == 301
    if how == "stratified":
        for value in ("math", "code", "chat"):
            have = [sum(row["category"] == value for row in part) for part in parts]
            assert max(have) - min(have) <= 1
    if how == "difficulty":
        for part, after in itertools.pairwise(parts):
            assert max(row["difficulty"] for row in part) <= min(row["difficulty"] for row in after)
        told = result.account["slices"]["files"]
        assert told[0]["from"] == min(row["difficulty"] for row in parts[0])
    else:
        means = [sum(row["difficulty"] for row in part) / len(part) for part in parts]
        assert max(means) - min(means) < 3


def test_csv_and_parquet_become_json_lines(tmp_path: Path) -> None:
    import duckdb

    rows = [{"text": f"a, {at}", "level": str(at % 5)} for at in range(40)]
    (tmp_path / "d.csv").write_text("text,level\n" + "".join(f'"{row["text"]}",{row["level"]}\n' for row in rows))
    duckdb.execute(f"copy (select * from read_csv('{tmp_path}/d.csv')) to '{tmp_path}/d.parquet' (format parquet)")
    for name in ("d.csv", "d.parquet"):
        result = sample(
            str(tmp_path / name), tmp_path / name[2:], SampleOptions(by=("level:0-1,2-4",), target="uniform", n=20)
        )
        kept = take(result)
        assert Counter(int(row["level"]) < 2 for row in kept) == {True: 10, False: 10}
        assert {row["text"] for row in kept} <= {row["text"] for row in rows}


def test_a_json_array_with_huge_numbers(tmp_path: Path) -> None:
    rows = [{"big": 10**30 + at, "text": str(at)} for at in range(10)]
    (tmp_path / "d.json").write_text(json.dumps(rows))
    result = sample(str(tmp_path / "d.json"), tmp_path / "o", SampleOptions(n=10))
    assert [json.loads(line) for line in (result.folder / "kept.jsonl").read_text().splitlines()] == rows


def test_a_run_folder_means_its_rows(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "1-evolve").mkdir(parents=True)
    with pytest.raises(EvolError, match="no rows yet"):
        sample(str(run), None, SampleOptions(n=3))
    rows = [seed_instruction(f"seed {at}", domain="ab"[at % 2]) for at in range(10)]
    (run / "1-evolve" / "instructions.jsonl").write_bytes(b"".join(row.to_json() + b"\n" for row in rows))
    result = sample(str(run), None, SampleOptions(by=("domain",), n=4))
    assert result.folder == run / "sample"
    assert {row["id"] for row in take(result)} <= {row.id for row in rows}
    assert sample(str(run), None, SampleOptions(by=("domain",), n=4)).repeated


def test_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("-", str(tmp_path / "pipe")):
        with pytest.raises(EvolError, match="a pipe, which can be read once only"):
            sample(name, tmp_path / "o", SampleOptions(n=3))


def test_the_same_call_finds_its_work_done_and_another_is_refused(tmp_path: Path, data: str) -> None:
    (tmp_path / "target.json").write_text('{"category": "uniform"}')
    asked: dict[str, Any] = {"target": str(tmp_path / "target.json"), "n": 90}
    first = sample(data, tmp_path / "o", SampleOptions(**asked))
    before = (first.folder / "kept.jsonl").stat().st_mtime_ns
    again = sample(data, tmp_path / "o", SampleOptions(**asked))
    assert again.repeated
    assert again.account == first.account
    assert (first.folder / "kept.jsonl").stat().st_mtime_ns == before
    with pytest.raises(EvolError, match=r"made with other settings: n was 90, now 91"):
        sample(data, tmp_path / "o", SampleOptions(**{**asked, "n": 91}))
    (tmp_path / "target.json").write_text('{"category": "natural"}')
    with pytest.raises(EvolError, match=r"target was \[0.0\], now \[1.0\]"):
        sample(data, tmp_path / "o", SampleOptions(**asked))
    (tmp_path / "target.json").write_text('{"category": "uniform"}')
    kept = (first.folder / "kept.jsonl").read_bytes()
    (first.folder / "kept.jsonl").unlink()
    assert not sample(data, tmp_path / "o", SampleOptions(**asked)).repeated
    assert (first.folder / "kept.jsonl").read_bytes() == kept
    put(Path(data), rows_of(1999))
    with pytest.raises(EvolError, match="data was"):
        sample(data, tmp_path / "o", SampleOptions(**asked))


def test_a_file_that_shrinks_meanwhile_leaves_nothing(
    tmp_path: Path, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module._raw_rows

    def shrunk(*arguments: Any) -> Any:
        put(Path(data), rows_of(100))
        return real(*arguments)

    monkeypatch.setattr(module, "_raw_rows", shrunk)
    with pytest.raises(EvolError, match="changed while it was read"):
        sample(data, tmp_path / "o", SampleOptions(n=50))
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["run.lock", "step.json"]


def test_names_from_the_data_are_made_printable(tmp_path: Path) -> None:
    rows = [{"c": "\x1b[31mred\n", "text": str(at)} for at in range(5)]
    told = str(sample(put(tmp_path / "d.jsonl", rows), tmp_path / "o", SampleOptions(by=("c",), n=2)))
    assert "\x1b" not in told
    assert "\\x1b[31mred\\n" in told


def test_the_memory_is_that_of_numbers(tmp_path: Path) -> None:
    """60 MB of rows, some 30 bytes kept of each."""
    import tracemalloc

    row = {"text": "word " * 6000, "c": "a"}
    data = put(tmp_path / "d.jsonl", ({**row, "id": at} for at in range(2000)))
    tracemalloc.start()
    try:
        sample(data, tmp_path / "o", SampleOptions(by=("c",), n=100))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 6 << 20


def evol(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["sample", *arguments])
    return code, out.getvalue(), err.getvalue()


def test_the_command_line(tmp_path: Path, data: str) -> None:
    asked = (
        data, "--by", "difficulty:1-4,5-7,8+,category", "--target", "uniform", "--n", "150", "--cap", "source.file=b=20%",
        "--slices", "3", "--slice-by", "stratified", "--out", str(tmp_path / "o"),
    )  # fmt: skip
    code, out, err = evol(*asked)
    assert (code, err) == (0, "")
    assert out.startswith(f"150 of 2,000 rows drawn (seed 0): {tmp_path}/o/kept.jsonl\n")
    assert "category: uniform; off the target by " in out
    assert "kept-3.jsonl: 50 rows" in out
    assert evol(*asked)[1] == "nothing was left to do: this sample was drawn before\n" + out
    code, out, err = evol(data, "--by", "categry", "--out", str(tmp_path / "p"))
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {data}: no field categry; the fields are id, ")
    assert err.endswith("hint: did you mean category?\n")


def test_a_folder_that_can_not_be_written(tmp_path: Path, data: str) -> None:
    (tmp_path / "file").write_text("")
    for out in ("file", "file/more"):
        with pytest.raises(EvolError, match="can't be written"):
            sample(data, tmp_path / out, SampleOptions(n=3))


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the folder of real data is not here")
def test_real_data(tmp_path: Path) -> None:
    data = SHARED / "data" / "gsm8k_socratic_test.jsonl.xz"
    result = sample(str(data), tmp_path / "o", SampleOptions(n=300, slices=3))
    lines = lzma.decompress(data.read_bytes()).splitlines()
    kept = (result.folder / "kept.jsonl").read_bytes().splitlines()
    assert len(kept) == 300
    assert set(kept) <= set(lines)
