"""analysis.html: true numbers, honest pictures, nothing from elsewhere, hostile text inert, parts that may be absent."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import itertools
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from evollab.records import EvolError
from evollab.report import analysis_facts
from evollab.report.analysis import render, write_analysis, write_sample
from evollab.report.analysis_charts import Axis, between, centred, depth, histogram, neat
from evollab.report.analysis_facts import (
    MOST_POINTS,
    AnalysisFacts,
    Categorical,
    Distribution,
    Estimate,
    Groups,
    Numeric,
    Value,
    parse_facts,
    read_facts,
)
from evollab.report.analysis_map import HUES, TEXT, draw_map
from evollab.report.analysis_views import cards, risen, share_rows, shares
from evollab.report.echoes import echoes
from evollab.report.marked import side_by_side
from tests.conftest import ROOT
from tests.fake_analysis import ROUNDS, facts, sample_account, write_folder
from tests.test_report_page import HOSTILE, Page

SMALL = 700
STRUCTURE = {"scale"}
FIELDS = {
    field.name
    for record in vars(analysis_facts).values()
    if isinstance(record, type) and dataclasses.is_dataclass(record)
    for field in dataclasses.fields(record)
}
"""Names that the file's records give; all others are a stranger's."""
KEPT_NAMES = {"difficulty", "quality", "category", "skills", "tags", "level", "has_code", "language", "near"}


@pytest.fixture(scope="module")
def told() -> AnalysisFacts:
    return facts(SMALL)


@pytest.fixture(scope="module")
def folder(told: AnalysisFacts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("analysis") / "one", told)


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page(write_analysis(folder, samples=[folder / "sample"]))


def hostile_folder(folder: Path) -> Path:
    """An analysis in which every text that a model or a stranger can set is hostile."""
    texts = itertools.cycle(HOSTILE)

    def spoilt(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {
                name if name in FIELDS else f"{next(texts)[:300]}{name}": spoilt(held, name)
                for name, held in value.items()
            }
        if isinstance(value, list):
            return [spoilt(one, key) for one in value]
        if isinstance(value, str) and key not in STRUCTURE and not (key == "name" and value in KEPT_NAMES):
            return next(texts)
        return value

    made = orjson.loads(facts(300).to_json())
    write_folder(folder, facts(300))
    data = json.dumps(spoilt(made), ensure_ascii=False).encode("utf-8", "surrogatepass")
    (folder / "analysis.json").write_bytes(data)
    account = sample_account()
    account["fields"][0] |= {"field": HOSTILE[0], "target": HOSTILE[1]}
    account["fields"][0]["values"][0] |= {"value": HOSTILE[2], "range": HOSTILE[3]}
    account["unmet"][0] |= {"field": HOSTILE[4], "value": HOSTILE[5], "why": HOSTILE[6]}
    account |= {"notes": list(HOSTILE), "data": HOSTILE[0]}
    account["slices"]["by"] = HOSTILE[1]
    (folder / "sample" / "sample.json").write_bytes(orjson.dumps(account))
    return folder


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Page:
    at = hostile_folder(tmp_path_factory.mktemp("hostile") / "one")
    return Page(write_analysis(at, samples=[at / "sample"]))


def parsed(data: bytes) -> Page:
    """The parsed page out of its bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_bytes(data)
        return Page(path)


# The file


def test_the_facts_come_back_from_their_file(told: AnalysisFacts, folder: Path) -> None:
    assert read_facts(folder) == told


def test_what_the_judge_and_the_sampler_write_is_read(tmp_path: Path) -> None:
    """The records of `data` are what the page's mirror of them reads."""
    from evollab.data.agreement import agreement
    from evollab.data.judge_report import AttributeReport, JudgeReport

    pairs = [(3, 4), (5, 5), (7, 2), (4, 4)]
    report = AttributeReport(4, 4, 0, {}, {"4": 2, "5": 1}, 3, 4.25, 1.1, 1.5, 0.5, agreement(pairs, "interval"))
    cost = {"calls": 8, "tokens_in": 100, "tokens_out": 20, "usd": None, "unpriced": True, "retries": 1}
    judged = JudgeReport(
        rows=4, drawn=4, together=0, twice=4, cut=0, strays=0, unfinished=0, models={"judge": "x:y"},
        attributes={"difficulty": report}, levels={"easy": 3}, pass_rate=None, cost=cost, warnings=("few",),
    )  # fmt: skip
    data = orjson.dumps({"name": "n", "rows": 4, "judge": judged.to_json()})
    held = parse_facts(data, "x").judge
    assert held is not None
    assert held.attributes["difficulty"].agreement is not None
    assert held.attributes["difficulty"].agreement.exact == 0.5
    assert held.cost is not None
    assert (held.cost.calls, held.cost.usd) == (8, None)


def test_what_distributions_are_written_is_read_and_drawn() -> None:
    from evollab.data.distributions import Distributions

    whole = Distributions("round")
    for at in range(300):
        found = {
            "difficulty": 2 + at % 3 + at % 2,
            "words": at * at,
            "turns": 1,
            "cluster": "cluster 1",
            "has_code": at % 2 == 0,
        }
        whole.add(str(at % 2), {**found, "skills": ["Math", "Art"][: 1 + at % 2], "perplexity": 2.0 ** (at % 20)})
    told = parse_facts(orjson.dumps({"name": "x", "rows": 300, **whole.to_json()}), "x")
    text = render(told).decode()
    assert re.findall(r'<li><a href="#([a-z]+)"', text) == ["depth", "content", "spread"]
    assert "The same in all rows: turns 1." in text
    assert "cluster 1" not in text
    assert len(re.findall('class="tick"[^>]*>(10|[1-9])</text>', text)) >= 10, (
        "marks go from 1 to 10, whatever was given"
    )
    assert "logarithmic axis" in text


def test_the_account_of_a_decontamination_is_read() -> None:
    """In the shape that `data.contamination` describes."""
    finding = {"reason": "covered", "line": 3, "id": 7, "row_text": "one two three four five six seven eight nine",
               "benchmark": "b", "item": "b/1", "part": "question", "share": 0.75, "longest": 8, "stretch": "s",
               "item_text": "One two three, four five six seven eight"}  # fmt: skip
    near = {
        "reason": "similar",
        "line": 4,
        "id": None,
        "row_text": "r",
        "benchmark": "b",
        "item": 2,
        "part": "question",
        "similarity": 0.9,
        "item_text": "i",
    }
    account = {
        "rows": 10, "kept": 8, "rejected": 0, "removed": {"covered": 1, "similar": 1}, "rules": {"share": 0.5},
        "benchmarks": [{"name": "b", "from": "f", "items": 4, "unreadable": 1, "hits": {"8-gram": {"before": 2, "after": 1}},
                        "items_found": 2, "rows_removed": 2, "reasons": {"covered": 1}, "examples": [finding, near]}],
        "not_checked": [{"name": "c", "why": "gone"}], "verdict": None, "notes": ["a note"],
    }  # fmt: skip
    told = parse_facts(orjson.dumps({"name": "x", "rows": 10, "contamination": account}), "x")
    text = " ".join(parsed(render(told)).text.split())
    for part in (
        "2 of 10 rows hold an item",
        "c was not checked: gone",
        "b 1 more could not be read 4 2 → 1 2 50% 2",
        "covered 75% of its words item b · b/1",
        "row line 3 · 7",
        "similar similarity 0.90 item b · 2",
    ):
        assert part in text
    assert "<mark>one two three four five six seven eight</mark> nine" in render(told).decode()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda j: j.pop("rows"), "rows is missing"),
        (lambda j: j.update(rows="many"), "rows: expected a whole number, found a text"),
        (lambda j: j.update(rows=True), "rows: expected a whole number, found true"),
        (lambda j: j.update(seconds=None, tokens=2.5), "tokens: expected a whole number, found a number"),
        (lambda j: j["numeric"][0]["overall"].update(mean=None), "numeric[0].overall.mean: expected a finite number"),
        (lambda j: j["numeric"][0].update(scale="cubic"), "numeric[0].scale: expected one of linear, log"),
        (lambda j: j["numeric"][0]["overall"]["counts"].pop(), "numeric[0] has 39 counts for 41 edges"),
        (lambda j: j["numeric"][1]["edges"].reverse(), "numeric[1].edges: expected two or more ascending"),
        (lambda j: j["numeric"][0].update(scale="log", edges=[0, 1]), "a logarithmic axis begins above 0"),
        (lambda j: j["numeric"][0]["by_group"].pop(), "numeric[0].by_group has 4 entries"),
        (lambda j: j["groups"]["rows"].pop(), "groups.rows has 4 entries; expected 5"),
        (lambda j: j["groups"].update(names=["x"] * 9, rows=[1] * 9), "9 groups; expected 8 at most"),
        (lambda j: j["categorical"][0]["values"][0].update(by_group=[1]), "categorical[0].values[0].by_group has 1"),
        (lambda j: j["breadth"]["points"]["y"].pop(), "breadth.points.y has 699 entries; expected 700"),
        (lambda j: j["breadth"]["points"]["cluster"].__setitem__(0, 99), "names a cluster that is not there"),
        (lambda j: j["breadth"]["points"]["group"].__setitem__(0, -1), "names a group that is not there"),
        (lambda j: j["judge"]["attributes"].update({"\x1b[2J": []}), "judge.attributes.\\x1b[2J: expected an object"),
        (lambda j: j["numeric"].append(3), "numeric[13]: expected an object, found a number"),
        (lambda j: j.update(version=9), "version 9; expected 1"),
        (lambda j: j.update(numeric={}), "numeric: expected a list, found an object"),
    ],
)  # fmt: skip
def test_a_spoilt_file_is_refused_with_the_place(
    told: AnalysisFacts, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    parsed = orjson.loads(told.to_json())
    change(parsed)
    with pytest.raises(EvolError) as caught:
        parse_facts(orjson.dumps(parsed), "f/analysis.json")
    assert caught.value.message.startswith("f/analysis.json: ")
    assert said in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("data", [b"", b"[]", b'{"name": "x"', b'"\xff"', b"null", b"NaN"])
def test_what_is_no_analysis_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "analysis.json").write_bytes(data)
    with pytest.raises(EvolError):
        write_analysis(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["analysis.json"]


def test_no_page_of_no_analysis(tmp_path: Path) -> None:
    with pytest.raises(EvolError, match=r"analysis\.json does not exist"):
        write_analysis(tmp_path)
    with pytest.raises(EvolError, match="can't be read"):
        write_sample(tmp_path)
    assert not list(tmp_path.iterdir())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(AnalysisFacts.__slots__), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_any_json_is_read_or_refused(value: object) -> None:
    try:
        data = orjson.dumps(value)
    except TypeError:  # a whole number of more than 64 bits
        return
    try:
        parse_facts(data, "x")
    except EvolError:
        return


# The page


def test_the_same_facts_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    one = write_analysis(folder, tmp_path / "a.html").read_bytes()
    code = f"import pathlib; from evollab.report.analysis import write_analysis as w; w(pathlib.Path({str(folder)!r}), pathlib.Path('b.html'))"
    environment = {**os.environ, "PYTHONHASHSEED": "3", "PYTHONPATH": str(ROOT), "LC_ALL": "C"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
    assert (tmp_path / "b.html").read_bytes() == one
    assert write_analysis(folder) == folder / "analysis.html"
    assert not list(tmp_path.glob("*.part"))


def test_the_numbers_are_those_of_the_facts(told: AnalysisFacts, page: Page) -> None:
    text = " ".join(page.text.split())
    assert told.judge is not None
    hard = told.number("difficulty")
    assert hard is not None
    category = told.kind("category")
    assert category is not None
    for part in (
        f"{told.rows:,} rows: seeds and 4 rounds of evolution",
        f"Difficulty {hard.overall.mean:.2f} mean; 95 % interval {between(hard.overall)}",
        *(f"{name} {spread.mean:.2f} {between(spread)}" for name, spread in zip(ROUNDS, hard.by_group, strict=True) if spread),
        *(f"{value.value} {value.n:,} " for value in category.values),
        *(f"{name} {one.judged:,} {one.unparsed:,} {sum(one.failed.values())}" for name, one in told.judge.attributes.items()),
        "quality: the judge hardly agrees with itself",
        "gsm8k 1,319 9 → 3 4 → 0 12 → 0 14 1.1% 17",
        "hard 6.7% 20.0% 33.3%",
        "level = hard: 400 of 666 wanted; only 400 rows have it",
    ):  # fmt: skip
        assert part in text, part


def test_the_map_holds_every_point_and_no_more_text_than_it_shows(told: AnalysisFacts, page: Page) -> None:
    assert told.breadth is not None
    held = json.loads(page.raw["json"])
    assert held["names"] == list(ROUNDS)
    assert [len(held[name]) for name in "xygkt"] == [SMALL] * 5
    assert max(map(len, held["t"])) <= TEXT + 1
    drawn = [a["d"] or "" for tag, a in page.elements if tag == "path" and "data-g" in a]
    assert sum(path.count("M") for path in drawn) == SMALL
    assert len([a for _, a in page.elements if a.get("class") == "chart facet"]) == len(ROUNDS)


def test_parts_that_are_absent_are_left_out() -> None:
    plain = render(facts(200, groups=1, judged=False)).decode()
    links = re.findall(r'<li><a href="#([a-z]+)"', plain)
    assert links == ["breadth", "content", "spread", "repeats", "leaks", "how"]
    assert 'id="depth"' not in plain
    bare = render(AnalysisFacts(name="nothing", rows=0)).decode()
    assert re.findall(r'<li><a href="#([a-z]+)"', bare) == []
    assert "0 rows." in bare


@pytest.mark.parametrize(
    "part", ["groups", "numeric", "categorical", "judge", "duplicates", "contamination", "breadth"]
)
def test_any_one_part_may_be_absent(told: AnalysisFacts, part: str) -> None:
    without = orjson.loads(told.to_json())
    without.pop(part)
    if part == "groups":  # nothing is by group then
        for one in (
            *without["numeric"],
            *without["categorical"],
            *without["breadth"]["clusters"],
            *without["breadth"]["measures"],
        ):
            for name in ("by_group", "n_by_group"):
                one.pop(name, None)
            for value in one.get("values", ()):
                value.pop("by_group")
        without["breadth"]["points"].pop("group")
    assert render(parse_facts(orjson.dumps(without), "x"))


def test_groups_in_no_order_are_not_joined(told: AnalysisFacts) -> None:
    assert told.groups is not None
    sources = dataclasses.replace(told, groups=dataclasses.replace(told.groups, by="source"))
    text = render(sources).decode()
    assert 'class="unordered"' in text
    assert 'class="joined"' not in text
    assert "700 rows in 5 groups" in text
    assert render(told).decode().count('class="joined"') == 4


def test_a_sample_alone_has_a_page(folder: Path, tmp_path: Path) -> None:
    page = Page(write_sample(folder / "sample", tmp_path / "s.html"))
    assert "2,000 of 6,000 rows drawn" in " ".join(page.text.split())
    assert write_sample(folder / "sample") == folder / "sample" / "sample.html"


def test_the_account_of_a_real_sample_is_read(tmp_path: Path) -> None:
    from evollab.data.sample import SampleOptions, sample

    rows = [{"instruction": f"Say {at}.", "output": "x", "kind": "ab"[at % 3 == 0]} for at in range(60)]
    (tmp_path / "d.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    sample(str(tmp_path / "d.jsonl"), tmp_path / "s", SampleOptions(by=("kind",), target="uniform", n=20))
    text = " ".join(Page(write_sample(tmp_path / "s")).text.split())
    assert "20 of 60 rows drawn" in text
    assert "a 66.7% 50.0% 50.0%" in text


@pytest.mark.parametrize("which", ["page", "hostile"])
def test_nothing_is_loaded_and_nothing_foreign_runs(which: str, request: pytest.FixtureRequest) -> None:
    page: Page = request.getfixturevalue(which)
    policy = next(a["content"] or "" for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        held = base64.b64encode(hashlib.sha256(page.raw[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{held}'" in policy
    tags = [tag for tag, _ in page.elements]
    assert (tags.count("script"), tags.count("style")) == (2, 1)
    assert not {"iframe", "object", "embed", "form", "img", "base", "audio", "video", "use", "image"} & set(tags)
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src", "srcset")]
        if "href" in attributes:
            assert tag in ("a", "link")
            assert re.fullmatch(r"#[a-z]+|data:,", attributes["href"] or "")


def test_hostile_text_is_shown_inert(hostile: Page) -> None:
    assert "<script>alert" not in hostile.source
    assert hostile.source.count("</script>") == 2
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", hostile.source)
    assert "<script>alert(document.domain)</script>" in hostile.text
    assert "{{ 7*7 }} {% for x in y %} #Rewritten Prompt# </s>" in hostile.text
    assert "\u241b]0;owned\u2407" in hostile.text
    assert "more characters" in hostile.text
    json.loads(hostile.raw["json"])
    assert "<" not in hostile.raw["json"]
    assert 'id="leaks"' in hostile.source
    assert len(hostile.source) < 1_500_000


def test_the_page_stays_small_whatever_the_texts() -> None:
    """4,000 points with long texts in a script of three bytes a letter."""
    told = facts(500, points=500)
    assert told.breadth is not None
    old = told.breadth.points
    count = MOST_POINTS
    points = dataclasses.replace(
        old, x=tuple(at % 977 + 0.5 for at in range(count)), y=tuple(at % 883 + 0.5 for at in range(count)),
        cluster=(0,) * count, group=tuple(at % 5 for at in range(count)), text=("\u9898" * 5000,) * count,
    )  # fmt: skip
    page = render(dataclasses.replace(told, breadth=dataclasses.replace(told.breadth, points=points)))
    assert len(page) < 3_000_000


# Pictures and figures


def spread(counts: list[int], edges: list[float], **more: Any) -> Numeric:
    middle = (edges[0] + edges[-1]) / 2
    flat: dict[str, Any] = dict.fromkeys(
        ("min", "p01", "p05", "p10", "p25", "p50", "p75", "p90", "p95", "p99", "max"), middle
    )
    one = Distribution(n=sum(counts), mean=middle, sd=1.0, counts=tuple(counts), **flat)
    return Numeric(name="n", edges=tuple(edges), overall=one, by_group=(one, one), **more)


def test_bars_begin_at_zero_and_keep_their_proportions() -> None:
    drawn = histogram(spread([10, 40, 20], [0.5, 1.5, 2.5, 3.5]), ("a", "b"), "title")
    path = re.search(r'd="([^"]+)" class="bars"', drawn)
    assert path is not None
    steps = re.findall(r"M[\d.]+ ([\d.]+)V([\d.]+)H[\d.]+V([\d.]+)Z", path[1])
    assert all(start == end for start, _, end in steps)
    heights = [float(start) - float(top) for start, top, _ in steps]
    assert heights == pytest.approx([21, 84, 42])
    assert [re.findall(r'class="tick"[^>]*>([^<]+)<', str(drawn))[at] for at in (1, 2, 3)] == ["1", "2", "3"]
    assert "title. a: median 2, mean 2, n 70" in drawn


def test_lying_bars_have_one_scale_for_all_groups() -> None:
    one = spread([0, 50, 50], [0.5, 1.5, 2.5, 3.5])
    other = dataclasses.replace(one.overall, counts=(25, 50, 25))
    drawn = depth(dataclasses.replace(one, by_group=(one.overall, other)), ("a", "b"), "t", ordered=True)
    widths = [float(w) for w in re.findall(r'width="([\d.]+)%" height="[\d.]+" class="lying', drawn)]
    assert widths == pytest.approx([41, 41, 20.5, 41, 20.5])


edge_lists = st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=30, unique=True).map(sorted)


@given(edge_lists, st.sampled_from(["linear", "log"]))
def test_an_axis_is_rising_and_its_ticks_lie_on_it(edges: list[float], scale: str) -> None:
    if edges[0] * (1 + 1e-6) >= edges[-1]:
        return
    axis = Axis(edges[0], edges[-1], scale == "log")
    places = [axis.share(edge) for edge in edges]
    assert places == sorted(places)
    assert [places[0], places[-1]] == pytest.approx([0, 1])
    ticks = axis.ticks()
    assert len(ticks) <= 8
    assert all(edges[0] - 1e-6 * edges[-1] <= tick <= edges[-1] * (1 + 1e-6) for tick in ticks)


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_interval_of_a_share_holds_it(n: int, more: int) -> None:
    share, low, high = shares(n, n + more)
    assert 0 <= low <= share <= high <= 1 or n + more == 0
    if n + more:
        assert share == n / (n + more)


def test_shares_by_group_are_of_the_group() -> None:
    one = Categorical(
        name="level", n=60, n_by_group=(20, 40), distinct=2,
        values=(Value(value="hard", n=40, by_group=(5, 35)), Value(value="easy", n=20, by_group=(15, 5))),
    )  # fmt: skip
    rows = share_rows(one)
    assert [row.name for row in rows] == ["easy", "hard"], "levels in their order"
    assert [share for share, _ in rows[0].cells] == ["75%", "12%"]
    assert rows[1].length == pytest.approx((40 / 60) / (35 / 40))


def test_how_far_difficulty_rose() -> None:
    def group(mean: float, n: int) -> Distribution:
        return dataclasses.replace(spread([n], [0.5, 10.5]).overall, mean=mean, sd=2.0)

    one = dataclasses.replace(
        spread([50], [0.5, 10.5]), name="difficulty", by_group=(group(3.0, 100), None, group(4.5, 400))
    )
    told = AnalysisFacts(name="x", rows=500, numeric=(one,), groups=Groups(by="round", names=("seeds", "round 1", "round 2"), rows=(100, 0, 400)))  # fmt: skip
    half = 1.96 * math.hypot(2 / 10, 2 / 20)
    assert risen(told) == f"From seeds to round 2: +1.50 (95 % interval {1.5 - half:.2f} to {1.5 + half:.2f})"


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (3, "3"), (0.5, "0.5"), (0.0271, "0.027"), (12.345, "12.35"), (45.04, "45"), (123.4, "123"),
     (-2.5, "\u22122.5"), (1234567, "1.23 M"), (99999, "99,999"), (0.00001, "1e\u221205")],
)  # fmt: skip
def test_numbers_are_short(value: float, said: str) -> None:
    assert neat(value) == said


@pytest.mark.parametrize(
    ("low", "mean", "high", "ends", "middle"),
    [(4.73, 4.81, 4.89, "4.73\u20134.89", "4.81 \u00b1 0.08"), (69.9, 72.55, 75.2, "70\u201375", "73 \u00b1 3"),
     (0.0314, 0.0331, 0.0348, "0.0314\u20130.0348", "0.033 \u00b1 0.002"), (5, 5, 5, "5.00\u20135.00", "5")],
)  # fmt: skip
def test_intervals_have_the_digits_that_matter(low: float, mean: float, high: float, ends: str, middle: str) -> None:
    one = Estimate(n=9, mean=mean, low=low, high=high)
    assert (between(one), centred(one)) == (ends, middle)
    assert between(Estimate(n=1, mean=2.0)) == ""


def test_the_six_cards_are_the_first_there_are(told: AnalysisFacts) -> None:
    titles = [card.title for card in cards(told)]
    assert titles == ["Rows", "Tokens", "Difficulty", "Repeats", "Test items found", "Quality"]
    assert [card.title for card in cards(AnalysisFacts(name="x", rows=3))] == ["Rows"]


def test_near_clusters_have_different_colours(told: AnalysisFacts) -> None:
    assert told.breadth is not None
    drawn = draw_map(told.breadth, ROUNDS)
    assert set(drawn.hues) <= set(range(HUES))
    assert len(set(drawn.hues[:HUES])) == HUES
    assert len(drawn.picture) < 200_000


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9), st.integers(0, 2)), max_size=40))
def test_every_point_is_on_the_map(points: list[tuple[float, float, int]]) -> None:
    base = facts(60, groups=1).breadth
    assert base is not None
    x, y, cluster = zip(*points, strict=True) if points else ((), (), ())
    held = dataclasses.replace(base.points, x=x, y=y, cluster=cluster, text=("t",) * len(points))
    drawn = draw_map(dataclasses.replace(base, points=held), ())
    assert all(0 <= one <= 1000 for one in drawn.points["x"])
    assert all(0 <= one <= drawn.high for one in drawn.points["y"])


# Pairs


def plain(marked: Markup) -> str:
    return marked.striptags() if "<" in marked else marked.unescape()


def bare(text: str) -> str:
    return "".join(text.split())


PROSE = st.lists(st.sampled_from(["one", "two", "red", "<b>", "&amp;", "blue.", "stone,", "fern"]), max_size=30).map(
    " ".join
)


@given(PROSE, PROSE)
def test_texts_side_by_side_are_whole(one: str, other: str) -> None:
    left, right = side_by_side(one, other)
    assert bare(plain(left)) == bare(one)
    assert bare(plain(right)) == bare(other)
    assert "<ins>" not in left
    assert "<del>" not in right


def test_what_differs_is_marked() -> None:
    left, right = side_by_side("Write a short note to a friend in Rome.", "Write a long note to a friend in Rome.")
    assert left == "Write a <del>short</del> note to a friend in Rome."
    assert right == "Write a <ins>long</ins> note to a friend in Rome."


@given(PROSE, PROSE, st.integers(1, 5))
def test_echoes_are_in_both(one: str, other: str, run: int) -> None:
    marked = echoes(one, other, run, 1000)
    words = [[re.findall(r"[^\W_]+", Markup(text).unescape()) for text in re.findall(r"<mark>(.*?)</mark>", side)] for side in marked]  # fmt: skip
    assert all(len(said) >= run for side in words for said in side)
    assert bool(words[0]) == bool(words[1])
    grams = [{tuple(said[at : at + run]) for said in side for at in range(len(said) - run + 1)} for side in words]
    assert [plain(side).split() for side in marked] == [one.split(), other.split()]
    assert bool(grams[0]) == bool(grams[1])


def test_a_long_row_is_shown_where_it_echoes() -> None:
    said = "the quick brown fox jumps over the lazy dog again"
    row = "filler words here " * 200 + said + " and more words" * 200
    left, right = echoes(said.upper(), row, 8, 300)
    assert left == f"<mark>{said.upper()}</mark>"
    assert f"<mark>{said}</mark>" in right
    assert "characters before" in right
    assert "more characters" in right
    assert len(right) < 600


@settings(max_examples=30)
@given(st.sampled_from(HOSTILE), st.sampled_from(HOSTILE))
def test_hostile_pairs_are_inert(one: str, other: str) -> None:
    for side in (*side_by_side(one, other), *echoes(one, other, 2, 400)):
        assert not re.search(r"<(?!/?(?:ins|del|mark|span)\b)", side)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", side)
