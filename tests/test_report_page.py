"""report.html: true numbers, nothing from elsewhere, hostile text inert, the same bytes every time."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evollab.evolve.eliminate import RULES
from evollab.records import Dropped, EvolError, Instruction, seed_instruction
from evollab.report.facts import Cell, collect
from evollab.report.figures import big, duration, number, percent, usd
from evollab.report.flow import flow_across, flow_down
from evollab.report.page import changed, numbers, write_report
from evollab.report.spread import Spread
from evollab.report.svg import ridges
from tests.conftest import ROOT
from tests.fake_run import write_run
from tests.running import Runner

HOSTILE = (
    "<script>alert(document.domain)</script>",
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=\"window.hacked=1\"><svg onload='window.hacked=1'>",
    "' onmouseover='window.hacked=1' \" autofocus onfocus=\"window.hacked=1",
    "<!--<script>", "]]><style>body{display:none}</style>",
    "{{ 7*7 }} {% for x in y %} #Rewritten Prompt# </s> USER: <|im_start|>",
    "\x1b]0;owned\x07\x1b[2J\x00\x08\r",
    "line\u2028separator\u2029end\u202egnp.exe",
    "javascript:window.hacked=1", "http://example.invalid/pixel.png",
    "w" * 20_000, "long " * 20_000,
    "\ud7ff\uffff\U0001f469\u200d\U0001f4bb",
)  # fmt: skip


def hostile_run(folder: Path) -> Path:
    """A run in which every text that a model or a stranger can set is hostile."""
    run = write_run(folder / "<b>run&'\"", seeds=4, rounds=2)
    step = run / "1-evolve"
    with open(step / "instructions.jsonl", "ab") as kept, open(step / "dropped.jsonl", "ab") as dropped:
        for index, text in enumerate(HOSTILE):
            seed = seed_instruction(f"{index} {text}", input=text, response=text)
            kept.write(seed.to_json() + b"\n")
            names = {text: text}
            for round_, operation in ((1, "deepen"), (2, text[:200])):
                child = Instruction(
                    f"{text}{round_}", seed.id, seed.id, round_, operation, text, f"{text} more {text}",
                    response=text, verdicts=names, models=names,
                )  # fmt: skip
                kept.write(child.to_json() + b"\n")
            child = Instruction(f"{text}3", seed.id, seed.id, 3, "deepen", text, text)
            dropped.write(Dropped(child, text[:200] or "x", text, text).to_json() + b"\n")
    (step / "rejected.jsonl").write_bytes(
        b"".join(orjson.dumps({"file": t, "line": 3, "reason": t, "text": t}) + b"\n" for t in HOSTILE[:4])
    )
    told = orjson.loads((step / "step.json").read_bytes())
    told |= {"notes": list(HOSTILE), "why": HOSTILE[0], "state": HOSTILE[1]}
    told["config"] |= {text[:99]: text for text in HOSTILE} | {"nested": {HOSTILE[0]: [HOSTILE[1]]}}
    told["inputs"] = told["versions"] = told["times"] = {
        HOSTILE[2]: HOSTILE[3],
        "started": HOSTILE[0],
        "evollab": HOSTILE[0],
    }
    (step / "step.json").write_bytes(orjson.dumps(told))
    return run


class Page(HTMLParser):
    """Elements with their attributes, and the text of each element that holds script, style or JSON."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, str] = {}
        self.open: list[str] = []
        self.text = ""
        self.source = path.read_text("utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.text += " " if tag not in ("ins", "del", "wbr") else ""
        if tag in ("script", "style"):
            self.open.append("json" if dict(attrs).get("type") == "application/json" else tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open:
            self.raw[self.open[-1]] = self.raw.get(self.open[-1], "") + data
        else:
            self.text += data


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "first", seeds=60, rounds=4, number=2)


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page(write_report(run))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_report(hostile_run(tmp_path_factory.mktemp("hostile"))))


def test_the_same_run_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    one, two = (write_report(run, tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert one == two
    assert not list(tmp_path.glob("*.part"))
    for seed in ("1", "2"):
        code = f"import pathlib; from evollab.report.page import write_report as w; w(pathlib.Path({str(run)!r}), pathlib.Path('c.html'))"
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "TZ": "Asia/Tokyo", "LC_ALL": "C"}
        subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
        assert (tmp_path / "c.html").read_bytes() == one


def test_it_goes_into_the_run_folder(run: Path) -> None:
    assert write_report(run) == run / "report.html"
    assert write_report(run, run.parent / "new" / "r.html").is_file()


def test_the_numbers_as_json_are_those_of_the_facts(run: Path, page: Page) -> None:
    facts = collect(run)
    held = json.loads(page.raw["json"])
    assert held == json.loads(orjson.dumps(numbers(facts), option=orjson.OPT_NON_STR_KEYS))
    kept = (run / "1-evolve/instructions.jsonl").read_text("utf-8").split("\n")
    assert held["seeds"] + held["kept"] == len([line for line in kept if line])
    assert sum(cell["kept"] for cell in held["survival"]) == held["kept"]
    assert held["calls"]["count"] == facts.calls.count if facts.calls else False


def test_the_numbers_as_text_are_those_of_the_facts(run: Path, page: Page) -> None:
    facts, text = collect(run), " ".join(page.text.split())
    calls = facts.calls
    assert calls is not None
    assert facts.survival is not None
    for part in (
        f"{facts.kept:,} of {facts.tried:,} attempts were kept; with the seeds that makes {facts.rows:,} rows",
        f"Survival {percent(facts.survival)}",
        f"Calls {calls.count:,}",
        f"{big(calls.tokens_in)} in, {big(calls.tokens_out)} out",
        f"Cost {usd(calls.usd)}",
        *(f"Round {cell.round} {cell.tried} {cell.kept} {percent(cell.kept / cell.tried)}" for cell in facts.rounds),
        *(f"{cell.operation} {cell.tried} {cell.kept}" for cell in facts.cells),
        *(f"{group.purpose} {group.model} {group.calls:,} {group.tokens_in:,}" for group in calls.groups),
    ):
        assert part in text
    rule = facts.rules[0]
    assert f"{rule} {sum(cell.dropped.get(rule, 0) for cell in facts.cells)} {RULES[rule]}" in text


def test_twenty_lineages_with_what_changed(page: Page) -> None:
    classes = [(attributes.get("class") or "").split() for _, attributes in page.elements]
    assert sum("thread" in names for names in classes) == 20
    assert any(tag == "ins" for tag, _ in page.elements)
    assert [tag for tag, _ in page.elements].count("summary") > 20


def policy(page: Page) -> str:
    return next(
        attributes["content"] or ""
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )


@pytest.mark.parametrize("which", ["page", "hostile"])
def test_nothing_is_loaded_and_nothing_foreign_runs(which: str, request: pytest.FixtureRequest) -> None:
    page: Page = request.getfixturevalue(which)
    told = policy(page)
    assert told.startswith("default-src 'none';")
    assert "unsafe" not in told
    assert "http" not in told
    for kind in ("style", "script"):
        held = base64.b64encode(hashlib.sha256(page.raw[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{held}'" in told
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 2
    assert tags.count("style") == 1
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
    assert len(hostile.source) < 1_500_000


def test_notes_stand_first(run: Path, tmp_path: Path) -> None:
    noted = write_run(tmp_path / "noted", seeds=3, rounds=1, changes={"notes": ["the judge was asleep"]})
    text = Page(write_report(noted)).text
    assert text.index("the judge was asleep") < text.index("What survived")
    assert "Before you use" not in Page(write_report(run)).text


@pytest.mark.parametrize(
    "missing", ["calls.db", "1-evolve/step.json", "1-evolve/dropped.jsonl", "1-evolve/instructions.jsonl"]
)
def test_a_page_of_a_run_with_a_hole(missing: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", seeds=5, rounds=2)
    (run / missing).unlink()
    assert Page(write_report(run)).raw["json"]


@pytest.mark.parametrize(("seeds", "rounds", "keep"), [(0, 1, 1), (1, 1, 2), (1, 1, -1), (3, 9, 2), (1, 0, 1)])
def test_a_page_of_a_small_or_long_run(seeds: int, rounds: int, keep: float, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", seeds=seeds, rounds=rounds, keep=keep)
    held = json.loads(Page(write_report(run)).raw["json"])
    assert (held["seeds"], held["kept"] + held["dropped"]) == (seeds, seeds * rounds)


def test_no_page_of_no_run(tmp_path: Path) -> None:
    with pytest.raises(EvolError):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_page_of_a_run_of_the_engine(runner: Runner, seeds_file: Path) -> None:
    """The real step, a scripted model: what the page says is what the step said."""
    from tests.models import good

    if not seeds_file.exists():
        pytest.skip("recipes/seeds.jsonl is not there")
    runner(good, seeds_file, rounds=2)
    facts = collect(runner.folder / "run")
    step = orjson.loads((runner.folder / "run/1-evolve/step.json").read_bytes())
    assert facts.seeds == step["counts"]["seeds"]
    assert facts.rows == step["counts"]["kept"]
    assert facts.dropped == step["counts"]["dropped"]
    assert [
        {"round": c.round, "operation": c.operation, "tried": c.tried, "kept": c.kept, "dropped": c.dropped}
        for c in facts.cells
    ] == step["survival"]
    assert facts.calls is not None
    assert (facts.calls.count, facts.calls.tokens_in) == (step["cost"]["calls"], step["cost"]["tokens_in"])
    assert facts.calls.usd == pytest.approx(step["cost"]["usd"])
    assert facts.warnings == ()
    assert Page(write_report(runner.folder / "run")).raw["json"]


# ---- pieces ---------------------------------------------------------------------------------------------


def plain(markup: str) -> str:
    text = re.sub(r"<del>.*?</del>", "", markup, flags=re.DOTALL)
    return html.unescape(re.sub(r"<(/?(ins|span)[^>]*)>", "", text))


def child_of(text: str, parent: Instruction) -> Instruction:
    return Instruction("c", parent.id, parent.id, 1, "deepen", "general", text)


@given(
    st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp"))),
    st.text(alphabet="ab <>&"),
)
def test_marked_text_is_the_text(new: str, old: str) -> None:
    parent = seed_instruction(old)
    assert plain(changed(child_of(new, parent), parent, 10_000)) == new


def test_marks_stand_around_words_only() -> None:
    parent = seed_instruction("Name a fish & say why.")
    marked = changed(child_of("Name a fish & say why. Use <b>.", parent), parent)
    assert marked == "Name a fish &amp; say why. <ins>Use &lt;b&gt;.</ins>"


def test_a_long_stretch_that_stayed_is_shown_by_its_ends() -> None:
    parent = seed_instruction(f"Summarise this. {'word and ' * 200}the end")
    marked = changed(child_of(f"{parent.text}. Add a title.", parent), parent)
    found = re.fullmatch(
        r'(Summarise this\. .*)<span class="more"> … ([\d,]+) characters as before … </span>(.*the end)<ins>\. Add a title\.</ins>',
        marked,
        re.DOTALL,
    )
    assert found
    assert len(found[1]) + int(found[2].replace(",", "")) + len(found[3]) == len(parent.text)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (number(1234567), "1,234,567"), (number(3.649), "3.65"), (number(0.0), "0"), (number(250.4), "250"),
        (big(9999), "9,999"), (big(12_345), "12.3 k"), (big(1_234_567), "1.23 M"), (big(31_000_000_000), "31 G"),
        (usd(None), "–"), (usd(0.0), "$0.00"), (usd(0.0844), "$0.0844"), (usd(0.00003), "$0.00003"),
        (usd(12.3), "$12.30"), (usd(12345.6), "$12,346"), (percent(1.0), "100%"), (percent(0.999), "99.9%"),
        (percent(0.99999), ">99.9%"), (percent(0.0), "0%"), (percent(0.00001), "<0.1%"), (percent(0.755), "76%"),
        (duration(0.84), "840 ms"), (duration(12.34), "12.3 s"), (duration(340), "5 min 40 s"),
        (duration(11520), "3 h 12 min"), (duration(187200), "2 d 4 h"),
    ],
)  # fmt: skip
def test_figures(told: str, expected: str) -> None:
    assert told == expected


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.lists(st.integers(1, 10**6), max_size=9)), min_size=1, max_size=5),
    st.integers(1, 10**6),
)
@settings(max_examples=50)
def test_flow_holds_every_count(rounds: list[tuple[int, list[int]]], seeds: int) -> None:
    made = [
        Cell(i + 1, "", kept, {f"r{n}": count for n, count in enumerate(lost)}) for i, (kept, lost) in enumerate(rounds)
    ]
    for draw in (flow_across, flow_down):
        picture = draw(seeds, made, sorted({rule for cell in made for rule in cell.dropped}))
        assert "nan" not in picture
        assert "inf" not in picture
        for cell in made:
            assert f"{cell.kept:,} of {cell.tried:,} kept" in picture
        shown = sum(int(n.replace(",", "")) for n in re.findall(r'class="count">([\d,]+)<', picture))
        assert shown == sum(cell.lost for cell in made)


@given(st.dictionaries(st.integers(-(10**6), 10**6), st.integers(1, 1000), max_size=20))
@settings(max_examples=50)
def test_ridges_take_any_numbers(counts: dict[int, int]) -> None:
    picture = ridges([("<a>", Spread.of(counts)), ("none", Spread.of({}))], "x")
    assert bool(picture) == bool(counts)
    assert "<a>" not in picture
    assert "nan" not in picture
    for share in re.findall(r'(?:x1|x2|cx|x)="(-?[\d.]+)%"', picture):
        assert 0 <= float(share) <= 100


def test_a_page_is_valid_utf_8_whatever_it_holds(hostile: Page) -> None:
    assert hostile.source.encode()
    stray = [
        tag for tag, attributes in hostile.elements if any("hacked" in (value or "") for value in attributes.values())
    ]
    assert set(stray) <= {"article", "section", "svg", "th"}  # only inside quoted labels


def test_hostile_rows_are_counted_like_others(hostile: Page) -> None:
    held = json.loads(hostile.raw["json"])
    assert held["seeds"] == 4 + len(HOSTILE)
    assert held["kept"] + held["dropped"] == 8 + 3 * len(HOSTILE)
