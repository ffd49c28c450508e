"""Clusters, the map, and how wide groups of texts lie."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evollab.data import breadth as module
from evollab.data import dispersion
from evollab.data.breadth import Breadth, breadth
from evollab.data.dispersion import covered, effective, mean_distance, nearest_distance, reach, vendi
from evollab.data.embedders import hashed
from evollab.records import EvolError
from evollab.report.analysis_facts import parse_facts

pytest.importorskip("sklearn", reason="the extra data is not installed")
ROOT = Path(__file__).parent.parent
COOKING = [f"{verb} the {thing} in the oven with {spice} and butter for dinner"
           for verb in ("Bake", "Roast", "Cook", "Warm") for thing in ("bread", "pie", "potatoes", "fish", "apples")
           for spice in ("salt", "pepper", "thyme")]  # fmt: skip
CODING = [f"Write a Python function that {verb} a {thing} of {what} numbers"
          for verb in ("sorts", "reverses", "filters", "prints") for thing in ("list", "tuple", "set", "queue", "heap")
          for what in ("prime", "even", "random")]  # fmt: skip


def unit(rows: Any) -> Any:
    made = np.asarray(rows, np.float32)
    return made / np.linalg.norm(made, axis=1)[:, None]


def topics(seed: int = 0) -> Breadth:
    texts = [text for pair in zip(COOKING, CODING, strict=True) for text in pair]
    groups = ["seeds" if at % 4 < 3 else "round 1" for at in range(len(texts))]
    return breadth(hashed.vectors(texts), texts, groups, order=("seeds", "round 1"), embedder="hashed", seed=seed, k=2)


def test_two_planted_topics_separate() -> None:
    found = topics()
    assert found.method == "t-SNE"
    assert [cluster.size for cluster in found.clusters] == [60, 60]
    assert set(found.cluster[::2].tolist()) != set(found.cluster[1::2].tolist()), "one cluster each"
    assert len(set(found.cluster[::2].tolist())) == len(set(found.cluster[1::2].tolist())) == 1
    cooking = found.cluster[0]
    for at, cluster in enumerate(found.clusters):
        assert len(set(cluster.texts)) == 3
        assert all(text in (COOKING if at == cooking else CODING) for text in cluster.texts)
    places = np.array([(point.x, point.y) for point in found.points])
    topic = np.array([point.text in COOKING for point in found.points])
    middles = places[topic].mean(axis=0), places[~topic].mean(axis=0)
    nearer = np.linalg.norm(places - middles[0], axis=1) < np.linalg.norm(places - middles[1], axis=1)
    assert (nearer == topic).mean() > 0.98, "on the map, too"


def test_what_is_said_of_rows_and_groups() -> None:
    found = topics()
    assert found.groups == ("seeds", "round 1")
    assert [cluster.by_group for cluster in found.clusters] in ([(60, 0), (30, 30)], [(30, 30), (60, 0)])
    assert (found.cluster.shape, found.nearest.shape) == ((120,), (120,))
    texts = [text for pair in zip(COOKING, CODING, strict=True) for text in pair]
    rows = hashed.vectors(texts)
    products = rows @ rows.T
    np.fill_diagonal(products, -1)
    assert np.allclose(found.nearest, products.max(axis=1), atol=1e-5)
    numbers = {measure.name: measure for measure in found.measures}
    assert set(numbers) == {
        "clusters covered", "effective clusters", "Vendi score", "mean distance", "nearest distance", "seeds reached"
    }  # fmt: skip
    assert numbers["clusters covered"].by_group == (1.0, 0.5)
    assert numbers["effective clusters"].by_group[1] == pytest.approx(1.0)
    for name in ("effective clusters", "Vendi score", "mean distance"):
        one, other = numbers[name].by_group
        assert one is not None
        assert other is not None
        assert one > other, f"{name}: seeds lie in both topics"
    assert all(measure.rows == 30 for measure in found.measures), "the size of the smaller group"
    assert "30 rows drawn" in numbers["Vendi score"].about
    reached = numbers["seeds reached"].by_group
    assert reached[0] is None
    assert reached[1] is not None
    assert 0.1 < reached[1] < 0.7


def test_the_page_can_read_it() -> None:
    """The shape of `report.analysis_facts.Breadth`, which stands on a floor above."""
    told = json.loads(json.dumps(topics().to_json()))
    groups = {"by": "round", "names": ["seeds", "round 1"], "rows": [90, 30]}
    facts = parse_facts(json.dumps({"name": "x", "rows": 120, "groups": groups, "breadth": told}).encode(), "x")
    assert facts.breadth is not None
    assert facts.breadth.measures[0].name == "clusters covered"
    assert set(told) == {"embedder", "method", "embedded", "clusters", "points", "measures"}
    assert {len(column) for column in told["points"].values()} == {120}
    assert set(told["points"]) == {"x", "y", "cluster", "group", "text"}
    assert set(told["clusters"][0]) == {"size", "by_group", "texts"}
    assert told["measures"][0]["by_group"][0] == {"n": 30, "mean": 1.0}
    alone = breadth(hashed.vectors(COOKING), COOKING).to_json()
    assert alone["points"]["group"] == []
    assert alone["clusters"][0]["by_group"] == []
    assert alone["measures"][0]["by_group"] == []


def test_the_same_rows_the_same_outcome() -> None:
    first, again = json.dumps(topics().to_json()), json.dumps(topics().to_json())
    assert first == again
    assert json.dumps(topics(seed=1).to_json()) != first
    code = "import json; from tests.test_breadth import topics\nprint(json.dumps(topics().to_json()))"
    for threads in ("1", "2"):
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == first, "whatever the number of threads"


def test_the_sample_depends_on_the_texts_alone() -> None:
    texts = [f"text {number}" for number in range(50)]
    turned = texts[::-1]
    drawn = [texts[row] for row in module._draw(texts, 3)]
    assert drawn == [turned[row] for row in module._draw(turned, 3)]
    assert drawn != [texts[row] for row in module._draw(texts, 4)]
    assert module._draw(["same"] * 4, 0).tolist() == [0, 1, 2, 3]


def test_every_group_gets_its_share_of_the_map() -> None:
    drawn = np.arange(100)
    group = np.array([0] * 4 + [1] * 66 + [2] * 20 + [-1] * 10)
    taken = module._fair(drawn, group, 3, 40)
    assert np.bincount(group[taken]).tolist() == [4, 18, 18]
    assert len(module._fair(drawn, group, 3, 1000)) == 90, "rows of no group are not shown beside groups"
    assert module._fair(drawn, group, 0, 40).tolist() == list(range(40))


def test_many_rows_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POINTS", 30)
    monkeypatch.setattr(module, "_FITTED", 40)
    monkeypatch.setattr(module, "_MEASURED", 25)
    monkeypatch.setattr(module, "_BLOCK", 7)
    found = topics()
    assert (len(found.points), sum(cluster.size for cluster in found.clusters)) == (30, 120)
    assert {measure.rows for measure in found.measures} == {25}
    assert [point.group for point in found.points].count(0) == 15


@pytest.mark.parametrize("count", [1, 2, 3, 7, 9])
def test_few_rows(count: int) -> None:
    texts = COOKING[:count]
    found = breadth(hashed.vectors(texts), texts, ["a"] * count)
    assert len(found.points) == count
    assert sum(cluster.size for cluster in found.clusters) == count
    assert math.isnan(found.nearest[0]) == (count == 1)
    assert all(measure.overall is None for measure in found.measures)
    json.dumps(found.to_json(), allow_nan=False)


def test_rows_that_are_all_alike() -> None:
    texts = ["same"] * 40
    found = breadth(hashed.vectors(texts), texts)
    assert [cluster.size for cluster in found.clusters] == [40]
    assert found.clusters[0].texts == ("same",)
    numbers = {measure.name: measure.overall for measure in found.measures}
    assert numbers["Vendi score"] == pytest.approx(1)
    assert numbers["nearest distance"] == pytest.approx(0, abs=1e-4)
    json.dumps(found.to_json(), allow_nan=False)


def test_groups_that_are_small_or_missing() -> None:
    texts = COOKING[:40]
    groups: list[str | None] = [*["a"] * 20, *["b"] * 3, *["c"] * 15, None, "stranger"]
    found = breadth(hashed.vectors(texts), texts, groups, order=("a", "b", "c", "d"))
    assert all(measure.by_group[1] is None and measure.by_group[3] is None for measure in found.measures)
    assert {measure.rows for measure in found.measures} == {15}
    assert sum(sum(cluster.by_group) for cluster in found.clusters) == 38
    assert len(found.points) == 38


class Fetched(Sequence[str]):
    """Texts that are handed out one at a time."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        assert isinstance(at, int), "all at once"
        return self._texts[at]


def test_texts_may_lie_on_disk() -> None:
    rows = hashed.vectors(COOKING)
    assert breadth(rows, Fetched(COOKING)).to_json() == breadth(rows, COOKING).to_json()


def test_what_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = hashed.vectors(COOKING)
    for texts, groups in (([], ()), (COOKING[:-1], ()), (COOKING, ["a"])):
        with pytest.raises(EvolError, match="expected as many of each"):
            breadth(rows, texts, groups)
    with pytest.raises(EvolError, match="one at least"):
        breadth(rows[:0], [])
    there = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name == "sklearn" else there(name))
    with pytest.raises(EvolError, match="scikit-learn") as caught:
        breadth(rows, COOKING)
    assert caught.value.hint == "pip install 'evollab[data]'"


# The numbers


def test_covered_and_effective() -> None:
    assert covered(np.array([0, 0, 1, 3]), 4) == 0.75
    assert covered(np.array([0] * 999 + [1]), 2) == 0.5, "one row in a thousand covers nothing"
    assert effective(np.array([0, 1, 2, 3]), 4) == pytest.approx(4)
    assert effective(np.array([2, 2, 2]), 4) == pytest.approx(1)
    assert effective(np.array([0, 0, 0, 1]), 2) == pytest.approx(
        math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    )


def test_vendi() -> None:
    assert vendi(unit(np.eye(7))) == pytest.approx(7)
    assert vendi(unit(np.ones((5, 3)))) == pytest.approx(1)
    assert vendi(unit([[1, 0], [1, 0], [0, 1], [0, 1]])) == pytest.approx(2), "copies add nothing"
    rows = unit(np.random.default_rng(0).normal(size=(40, 12)))
    values = np.linalg.eigvalsh(rows.astype(np.float64) @ rows.T / 40)
    values = values[values > 1e-12]
    assert vendi(rows) == pytest.approx(math.exp(-(values * np.log(values)).sum()), rel=1e-5), "as its paper has it"


@given(st.integers(2, 30), st.integers(1, 6), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_distances_are_what_all_pairs_say(count: int, dims: int, seed: int) -> None:
    rows = unit(np.random.default_rng(seed).normal(size=(count, dims)))
    far = 1 - rows.astype(np.float64) @ rows.T
    others = far[~np.eye(count, dtype=bool)].reshape(count, -1)
    assert mean_distance(rows) == pytest.approx(others.mean(), abs=1e-5)
    assert nearest_distance(rows) == pytest.approx(others.min(axis=1).mean(), abs=1e-5)


def test_reach() -> None:
    draw = np.random.default_rng(2)
    one, other = np.array([[1, 0, 0]]), np.array([[0, 1, 0]])
    seeds = unit(np.concatenate((one + draw.normal(0, 0.1, (50, 3)), other + draw.normal(0, 0.1, (50, 3)))))
    near = unit(one + draw.normal(0, 0.1, (100, 3)))
    assert reach(seeds, seeds) == 1
    assert 0.4 < reach(seeds, near) <= 0.52, "half of the seeds"
    assert reach(seeds, unit(np.array([[0, 0, 1]] * 20))) == 0
    assert dispersion.NEIGHBOURS == 5
