"""`--semantic`: rows that say in other words what a row that stays says."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evollab.cli import main
from evollab.data import semantic
from evollab.data.dedup import DedupOptions, dedup
from evollab.data.duplicates import Index, Sought
from evollab.data.embed import Embedder
from evollab.data.embedders import minilm
from evollab.data.items import RowOptions, read_items
from evollab.data.minhash import Limits, gram_set, jaccard
from evollab.data.semantic import cut_for, thin
from evollab.records import EvolError
from tests.test_dedup import LONG, OTHER, ROOT, asked, evolved, gone, rows_of, run, write

NO_ROOTS = np.empty(0, np.uint64)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg/evollab/vectors"


def on_a_circle(texts: Any) -> Any:
    """A text's first word is the angle, in degrees, at which its vector stands."""
    angles = [math.radians(float(text.split(" ", 1)[0])) for text in texts]
    return np.array([[math.cos(angle), math.sin(angle)] for angle in angles], np.float32)


ANGLES = Embedder("angles", 2, on_a_circle, costly=False)


@pytest.fixture
def angles(tmp_path: Path) -> str:
    path = tmp_path / "angles.py"
    path.write_text(
        "from evollab.data.embed import Embedder\nfrom tests.test_dedup_semantic import ANGLES\n"
        "def load(): return ANGLES\n"
    )
    return str(path)


def cosine(degrees: float) -> float:
    return math.cos(math.radians(degrees))


# Which rows go


def greedy(rows: Any, order: Any, least: Any) -> dict[int, tuple[int, float]]:
    """The same one row at a time, all products computed."""
    rows = np.asarray(rows, np.float64)
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    stay: list[int] = []
    removed: dict[int, tuple[int, float]] = {}
    products = np.minimum(np.round(rows @ rows.T, 4), 1).tolist()
    for row in map(int, order):
        some = products[row]
        found = [(some[one], -at, one) for at, one in enumerate(stay) if some[one] >= least(row, one)]
        if found:
            removed[row] = (max(found)[2], max(found)[0])
        else:
            stay.append(row)
    return removed


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), min_size=1, max_size=60),
    st.sampled_from((0.6, 0.9, 0.99, 1.0)), st.sampled_from((0.0, 0.05)), st.integers(1, 20), st.randoms(),
)  # fmt: skip
@settings(max_examples=120, deadline=None)
def test_thin_is_what_all_pairs_say(
    places: list[tuple[int, int]], near: float, more: float, block: int, draw: Any
) -> None:
    rows = np.array([[math.cos(angle * 0.153), math.sin(angle * 0.153), 0.5] for angle, _ in places])
    rows = (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float16)
    roots = np.array([root for _, root in places], np.uint64)
    order = np.array(draw.sample(range(len(rows)), len(rows)))
    limits = Limits(near, min(1.0, near + more), roots)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(semantic, "_BLOCK", block)
        patch.setattr(semantic, "_WIDE", block + 3)
        found = thin(rows, order, limits)
    kin = min(1.0, near + more)
    want = greedy(rows, order, lambda one, other: kin if roots[one] == roots[other] != 0 else near)
    assert found.keys() == want.keys()
    assert all(abs(found[row][1] - want[row][1]) < 2e-4 for row in found)
    stay = set(range(len(rows))) - found.keys()
    assert all(one in stay for one, _ in found.values())


def cloud(count: int, dims: int, seed: int) -> Any:
    """Vectors with a few directions that tell most, and pairs at every distance."""
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(count, dims)) / np.sqrt(np.arange(1, dims + 1))
    rows[1::3] = rows[::3][: len(rows[1::3])] + draw.normal(size=(len(rows[1::3]), dims)) * draw.uniform(
        0, 0.2, (len(rows[1::3]), 1)
    )
    return (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float16)


@pytest.mark.parametrize("near", [0.3, 0.7, 0.9, 0.99])
def test_thin_misses_nothing(near: float) -> None:
    rows = cloud(1500, 64, 3)
    order = np.random.default_rng(4).permutation(len(rows))
    found, want = thin(rows, order, Limits(near, near, NO_ROOTS)), greedy(rows, order, lambda *_: near)
    different = {row for row in found.keys() | want.keys() if (row in found) != (row in want)}
    assert len(different) <= 3, "but for products right at the threshold, which rounding may put on either side"
    assert len(want) > 10


def test_a_bound_is_never_below_its_product() -> None:
    rows = cloud(2000, 64, 5)
    for near in (0.5, 0.9, 0.99):
        cut = cut_for(rows, near)
        bounds = cut(rows) @ cut(rows).T
        assert (bounds >= rows.astype(np.float32) @ rows.T.astype(np.float32) - semantic._NOISE).all()
    assert cut_for(rows, 0.9).axes.shape[1] < 64, "most products need not be computed"


def test_crowds_take_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.ones((500, 4), np.float16)
    rows[::5, 0] = -1
    some = thin(rows, np.arange(500), Limits(0.9, 0.9, NO_ROOTS))
    assert len(some) == 498
    assert set(some.values()) == {(0, 1.0), (1, 1.0)}
    monkeypatch.setattr(semantic, "_CROWDED", 2.0)
    assert thin(rows, np.arange(500), Limits(0.9, 0.9, NO_ROOTS)) == some


def test_settled_rows_stay() -> None:
    rows = on_a_circle([f"{angle} x" for angle in (0, 1, 2, 40, 41)]).astype(np.float16)
    limits = Limits(0.99, 0.99, NO_ROOTS)
    assert thin(rows, np.array([0, 1, 3, 2, 4]), limits, 3) == {2: (1, 0.9998), 4: (3, 0.9998)}
    assert thin(rows, np.array([0, 1, 3]), limits, 3) == {}
    assert thin(rows, np.empty(0, np.int64), limits) == {}


# The step


def test_rows_that_say_the_same_go(tmp_path: Path, angles: str) -> None:
    data = write(tmp_path / "d.jsonl", asked("0 first", "20 second", "8 third one", "29 fourth", "0 FIRST!"))
    result = dedup(str(data), tmp_path / "out", DedupOptions(semantic=cosine(10), embed=angles))
    assert gone(tmp_path / "out") == {3: ("semantic", 1), 4: ("semantic", 2), 5: ("exact", 1)}
    row = rows_of(tmp_path / "out/removed.jsonl")[0]
    assert (row["similarity"], row["stays"]["text"]) == (round(cosine(8), 4), "0 first")
    assert (result.counts["kept"], result.counts["exact"], result.counts["semantic"]) == (2, 1, 2)
    assert "1 copies, 0 near-duplicates, 2 that say the same" in str(result)
    step = json.loads((tmp_path / "out/step.json").read_text())
    assert (step["config"]["embed"], step["config"]["near"]) == ("angles", None)


def test_what_is_named_is_looked_for(tmp_path: Path, angles: str) -> None:
    near = LONG.replace("curious", "clever")
    data = write(tmp_path / "d.jsonl", asked(f"0 {LONG}", f"50 {near}", f"1 {OTHER}", f"0 {LONG}."))
    some = {"semantic": 0.99, "embed": angles}
    assert run(data, tmp_path / "a", **some) == {3: ("semantic", 1), 4: ("exact", 1)}
    assert run(data, tmp_path / "b", exact=True, **some) == {3: ("semantic", 1), 4: ("exact", 1)}
    assert run(data, tmp_path / "c", near=0.8, **some) == {2: ("near", 1), 3: ("semantic", 1), 4: ("exact", 1)}
    assert run(data, tmp_path / "d", exact=True, near=0.8, **some) == run(data, tmp_path / "e", near=0.8, **some)
    assert run(data, tmp_path / "f") == {2: ("near", 1), 4: ("exact", 1)}


def test_a_chain_keeps_its_far_end_and_the_nearest_is_named(tmp_path: Path, angles: str) -> None:
    data = write(tmp_path / "d.jsonl", asked(*(f"{angle} x" for angle in (0, 8, 16, 24, 15))))
    assert run(data, tmp_path / "out", semantic=cosine(10), embed=angles) == {
        2: ("semantic", 1), 4: ("semantic", 3), 5: ("semantic", 3)
    }  # fmt: skip


def test_which_row_stays(tmp_path: Path, angles: str) -> None:
    rows = [evolved(name, f"{angle} {name}", name, quality=mark) for name, angle, mark in
            (("a", 0, 1), ("b", 4, 9), ("c", 8, 5))]  # fmt: skip
    data = write(tmp_path / "d.jsonl", rows)
    assert run(data, tmp_path / "out", semantic=cosine(5), embed=angles, keep="highest:quality") == {
        1: ("semantic", 2), 3: ("semantic", 2)
    }  # fmt: skip
    assert run(data, tmp_path / "last", semantic=cosine(5), embed=angles, keep="last") == {2: ("semantic", 3)}


def test_a_child_may_say_much_of_what_its_parent_says(tmp_path: Path, angles: str) -> None:
    rows = [evolved("a", "0 seed", "a"), evolved("b", "9 child", "a", 1), evolved("c", "10 stranger", "c"),
            evolved("d", "2 other child", "a", 1)]  # fmt: skip
    data = write(tmp_path / "d.jsonl", rows)
    some = {"semantic": cosine(12), "embed": angles}
    assert run(data, tmp_path / "a", **some) == {3: ("semantic", 2), 4: ("semantic", 1)}
    assert run(data, tmp_path / "b", **some, lineage_semantic=1.0) == {3: ("semantic", 2)}
    assert run(data, tmp_path / "c", **some, lineage_semantic=cosine(12)) == {
        2: ("semantic", 1), 3: ("semantic", 1), 4: ("semantic", 1)
    }  # fmt: skip


def test_a_near_duplicate_of_a_row_that_has_gone(tmp_path: Path, angles: str) -> None:
    """It needs another row that stays and is as alike as asked, or it stays itself."""
    said = LONG.split()
    near = [" ".join([*said[:at], "so", *said[at + 1 :]]) for at in (3, 5, 8)]
    rows = asked(
        "0 quite another matter", f"10 {LONG}", f"20 {near[0]}", f"60 {near[0]}", f"11 {near[2]}", f"80 {near[1]}"
    )
    data = write(tmp_path / "d.jsonl", rows)
    assert run(data, tmp_path / "near", near=0.8) == dict.fromkeys((3, 4, 5, 6), ("near", 2))
    assert run(data, tmp_path / "both", near=0.8, semantic=cosine(12), embed=angles) == {
        2: ("semantic", 1), 4: ("near", 3), 5: ("semantic", 3)
    }  # fmt: skip


WORDS = LONG.split()


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6), st.integers(0, 2)), min_size=2, max_size=14))
@settings(max_examples=60, deadline=None)
def test_whatever_goes_resembles_a_row_that_stays(rows: list[tuple[int, int, int]]) -> None:
    """Copies, near-duplicates and rows that say the same, all at once, in lineages."""
    texts = [f"{angle * 4} {' '.join([*WORDS[:at], 'so', *WORDS[at + 1 :]])}" for angle, at, _ in rows]
    made = [evolved(str(n), text, f"r{root}" if root else str(n))
            for n, (text, (*_, root)) in enumerate(zip(texts, rows, strict=True))]  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        data = write(Path(name) / "d.jsonl", made)
        with Index(Path(name), keep="first", roles=("user",), id_column="id") as index:
            for item in read_items(str(data), RowOptions(), lambda _: None):
                index.add(item)
            index.check()
            sought = Sought(0.85, 0.95, cosine(5), cosine(1), ANGLES)
            found = index.duplicates(sought).gone
            for row, one in found.items():
                kin = made[row]["root_id"] == made[one.stays]["root_id"]
                assert one.stays not in found
                text, other = index.text(row), index.text(one.stays)
                if one.reason == "exact":
                    assert text == other
                elif one.reason == "near":
                    assert jaccard(gram_set(text), gram_set(other)) == one.similarity >= (0.95 if kin else 0.85)
                else:
                    apart = float(text.split()[0]) - float(other.split()[0])
                    assert abs(cosine(apart) - one.similarity) < 1e-3
                    assert one.similarity >= round(cosine(1) if kin else cosine(5), 4) - 1e-3
    stay = [row for row in range(len(rows)) if row not in found]
    for number, one in enumerate(stay):
        for other in stay[:number]:
            if made[one]["root_id"] != made[other]["root_id"]:
                assert rows[one][0] != rows[other][0], "no two strangers at one angle stay"


def test_reading_again_and_other_settings(tmp_path: Path, angles: str) -> None:
    data, out = write(tmp_path / "d.jsonl", asked("0 one", "1 two")), tmp_path / "out"
    assert dedup(str(data), out, DedupOptions(semantic=0.9, embed=angles)).fresh
    assert not dedup(str(data), out, DedupOptions(semantic=0.9, embed=angles)).fresh
    with pytest.raises(EvolError, match=r"semantic was 0.9, now 0.8"):
        dedup(str(data), out, DedupOptions(semantic=0.8, embed=angles))
    with pytest.raises(EvolError, match=r'embed was "angles", now "hashed-4-512"'):
        dedup(str(data), out, DedupOptions(semantic=0.9, embed="hashed"))


def test_the_user_hears_of_the_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "missing", lambda: ("torch",))
    data = write(tmp_path / "d.jsonl", asked(LONG, LONG.replace("curious", "clever"), OTHER))
    for _ in range(2):
        result = dedup(str(data), tmp_path / "out", DedupOptions(semantic=0.85))
        assert "note: hashed-4-512 sees how texts are worded, not what they mean" in str(result)
    assert gone(tmp_path / "out") == {2: ("semantic", 1)}
    assert json.loads((tmp_path / "out/step.json").read_text())["config"]["embed"] == "hashed-4-512"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"semantic": 0.0}, "--semantic 0: expected a similarity above 0, at most 1"),
        ({"semantic": 1.01}, "--semantic 1.01"),
        ({"semantic": float("nan")}, "--semantic nan"),
        ({"semantic": 0.9, "lineage_semantic": 0.0}, "--lineage-semantic 0"),
        ({"semantic": 0.9, "lineage_semantic": 0.8}, "--lineage-semantic 0.8 is below --semantic 0.9"),
        ({"lineage_semantic": 0.9}, "--lineage-semantic is about rows that say the same"),
        ({"embed": "hashed"}, "--embed is about rows that say the same"),
        ({"semantic": 0.9, "lineage": 0.9}, "--semantic without --near looks for none"),
    ],
)
def test_bad_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(EvolError) as caught:
        DedupOptions(**options)
    assert words in caught.value.message


def test_a_missing_embedder_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "d.jsonl", asked(LONG))
    out = str(tmp_path / "out")
    assert main(["dedup", str(data), "--semantic", "0.9", "--embed", "minlm", "--out", out]) == 2
    assert "did you mean minilm?" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["dedup", str(data), "--semantic", "0.9", "--embed", "hashed", "--out", out]) == 0
    assert "0 that say the same" in capsys.readouterr().out


def test_rows_without_text_stay(tmp_path: Path, angles: str) -> None:
    data = write(tmp_path / "d.jsonl", [{"messages": [{"role": "assistant", "content": str(n)}]} for n in range(3)])
    assert dedup(str(data), tmp_path / "out", DedupOptions(semantic=0.5, embed=angles)).counts["kept"] == 3


def test_planted_rewordings_are_found(tmp_path: Path) -> None:
    verbs = ("Explain", "Describe", "Outline", "Sketch")
    things = [f"{way} {thing}" for way in ("the growth of", "the price of", "the history of", "the dangers of")
              for thing in ("tomatoes in spring", "glass bottles", "small boats", "winter coats", "online maps")]  # fmt: skip
    texts = [f"{verbs[at % 4]} {thing} to a class of young learners" for at, thing in enumerate(things)]
    other = [f"To a class of young learners {verbs[at % 4].lower()} {thing}" for at, thing in enumerate(things)]
    data = write(tmp_path / "d.jsonl", asked(*texts, *other))
    removed = run(data, tmp_path / "out", semantic=0.9, embed="hashed")
    assert removed == {len(texts) + at: ("semantic", at) for at in range(1, len(texts) + 1)}


SLOW = """
import sys, time, numpy as np
from pathlib import Path
from evollab.data import vectors
from evollab.data.dedup import DedupOptions, dedup
vectors.TEXTS = 5
dedup(sys.argv[1], Path(sys.argv[2]), DedupOptions(semantic=0.999, embed=sys.argv[3]))
"""
EMBEDDER = """
import time
from evollab.data.embed import Embedder
from tests.test_dedup_semantic import on_a_circle
def slow(texts):
    time.sleep(PAUSE)
    with open(LOG, "a") as log:
        log.writelines(f"{text}\\n" for text in texts)
    return on_a_circle(texts)
def load(): return Embedder("slow", 2, slow)
"""


def test_a_killed_step_goes_on_where_it_was(tmp_path: Path, cache: Path) -> None:
    """With the same bytes as if it had never been killed, and no text embedded twice but those of one block."""
    texts = [f"{number % 90} text {number}" for number in range(200)]
    data = write(tmp_path / "d.jsonl", asked(*texts))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    (tmp_path / "slow.py").write_text(f"PAUSE, LOG = 0.05, {str(tmp_path / 'log')!r}\n{EMBEDDER}")
    command = [sys.executable, "-c", SLOW, str(data), str(tmp_path / "out"), str(tmp_path / "slow.py")]
    process = subprocess.Popen(command, cwd=ROOT, env=env)
    deadline = time.monotonic() + 60
    while len(list(cache.glob("slow/*.vectors"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".part") == [
        "run.lock", "step.json"
    ]  # fmt: skip
    subprocess.run(command, cwd=ROOT, env=env, check=True)
    asked_for = (tmp_path / "log").read_text().splitlines()
    assert len(asked_for) <= len(texts) + 5
    assert sorted(set(asked_for)) == sorted(texts)
    whole = [(tmp_path / "out" / name).read_bytes() for name in ("kept.jsonl", "removed.jsonl")]
    again = tmp_path / "again"
    dedup(str(data), again, DedupOptions(semantic=0.999, embed=str(tmp_path / "slow.py")))
    assert [(again / name).read_bytes() for name in ("kept.jsonl", "removed.jsonl")] == whole
    assert len((tmp_path / "log").read_text().splitlines()) == len(asked_for), "nothing was embedded again"
    assert len(whole[0].splitlines()) == 30, "every third degree of 90"


@pytest.mark.skipif(bool(minilm.missing()), reason="minilm is not installed")
def test_minilm_finds_other_words(tmp_path: Path) -> None:
    texts = ["Name five countries whose official language is Spanish.", "Name 5 countries where Spanish is official.",
             "Sort the numbers 5, 3 and 8.", "How do tides follow the moon?"]  # fmt: skip
    assert run(write(tmp_path / "d.jsonl", asked(*texts)), tmp_path / "out", semantic=0.85, embed="minilm") == {
        2: ("semantic", 1)
    }  # fmt: skip
