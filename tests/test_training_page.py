"""training.html: true numbers, honest curves, nothing from elsewhere, hostile text inert, logs that are torn or young."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evollab.records import EvolError
from evollab.report.training import is_training, write_training
from evollab.report.training_charts import Curve, binned, chart, scale_of, smoothed
from evollab.report.training_facts import MOST_PROMPTS, Series, read_training
from evollab.report.training_tables import row_counts, stages
from evollab.report.training_views import for_reading, pictures, warnings
from tests.conftest import ROOT
from tests.fake_training import write_dpo, write_lines, write_reward, write_rleif, write_sft, write_step
from tests.test_report_page import HOSTILE, Page


@pytest.fixture(scope="module")
def sft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sft(tmp_path_factory.mktemp("training") / "sft")


@pytest.fixture(scope="module")
def dpo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dpo(tmp_path_factory.mktemp("training") / "dpo")


@pytest.fixture(scope="module")
def rleif(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rleif(tmp_path_factory.mktemp("training") / "rleif")


def hostile_training(folder: Path) -> Path:
    """Every kind of training in one, all texts and names of series hostile."""
    write_dpo(folder)
    texts = itertools.cycle(HOSTILE)

    def lines(name: str) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in (folder / name).read_bytes().splitlines()]

    metrics = lines("metrics.jsonl")
    for line in metrics:
        line |= {text[:300]: 0.5 for text in HOSTILE[:9]} | {
            "note": HOSTILE[0],
            "lr": "1",
            "grad_norm": None,
            "kl": 1e300,
        }
    write = [json.dumps(line, ensure_ascii=False).encode("utf-8", "surrogatepass") for line in metrics]
    (folder / "metrics.jsonl").write_bytes(b"\n".join([*write, b'{"step": NaN}', b"[1]", b'{"step": 9, "lo']))
    said = {"line": 3, "ended": "yes", "score": float("1e9")}
    write_lines(folder / "samples.jsonl", (
        {**said, "step": at, "prompt": HOSTILE[0], "expected": next(texts).encode("utf-8", "replace").decode(), HOSTILE[1]: 0.5,
         "text": next(texts).encode("utf-8", "replace").decode()} for at in range(60)
    ))  # fmt: skip
    plain = [text.encode("utf-8", "replace").decode() for text in HOSTILE]
    write_lines(
        folder / "removed.jsonl", ({"line": 1, "reason": text, "detail": text, "row": {text: text}} for text in plain)
    )
    write_lines(folder / "rejected.jsonl", ({"line": "x", "reason": text, "text": text} for text in plain))
    step = orjson.loads((folder / "step.json").read_bytes())
    bag = {text[:99]: text for text in plain}
    step |= {
        "warnings": plain,
        "notes": plain,
        "config": bag,
        "versions": bag,
        "machine": bag,
        "inputs": {"data": bag},
        "times": bag,
    }
    step |= {"base": plain[0], "command": plain[1], "state": plain[2], "held_out": bag}
    step["counts"] |= {text[:99]: 60 for text in plain} | {"lines": {"train": plain}}
    step["stages"] += [{"stage": plain[0], "kept": plain[1], "interval_after": plain}, plain[2]]
    (folder / "step.json").write_bytes(orjson.dumps(step))
    return folder


def test_it_knows_its_folders(sft: Path, dpo: Path, tmp_path: Path) -> None:
    assert is_training(sft)
    assert is_training(dpo)
    assert not is_training(tmp_path)
    write_step(tmp_path / "other", "dedup")
    assert not is_training(tmp_path / "other")
    (tmp_path / "step.json").write_text("{torn")
    assert not is_training(tmp_path)
    with pytest.raises(EvolError, match="its step is 'dedup'"):
        write_training(tmp_path / "other")
    with pytest.raises(EvolError, match=r"no step\.json"):
        write_training(tmp_path / "nowhere")


def test_the_same_folder_gives_the_same_bytes(rleif: Path, tmp_path: Path) -> None:
    one = write_training(rleif).read_bytes()
    assert write_training(rleif, tmp_path / "new" / "b.html").read_bytes() == one
    assert not list(rleif.glob("*.part"))
    (rleif / "training.html").unlink()
    code = f"import pathlib; from evollab.report.training import write_training as w; w(pathlib.Path({str(rleif)!r}), pathlib.Path('c.html'))"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT), "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
    assert (tmp_path / "c.html").read_bytes() == one


def test_it_needs_none_of_the_training_stack(sft: Path, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from evollab.report.training import write_training as w; "
        f"w(pathlib.Path({str(sft)!r}), pathlib.Path('c.html')); "
        "print([name for name in ('torch', 'transformers', 'trl', 'numpy', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]"


def test_it_loads_and_runs_nothing_but_its_own(dpo: Path, tmp_path: Path) -> None:
    for page in (
        Page(write_training(dpo, tmp_path / "a.html")),
        Page(write_training(hostile_training(tmp_path / "h"))),
    ):
        policy = next(
            a["content"]
            for tag, a in page.elements
            if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
        )
        assert policy is not None
        assert policy.startswith("default-src 'none'")
        for name in ("script", "style"):
            digest = base64.b64encode(hashlib.sha256(page.raw[name].encode()).digest()).decode()
            assert f"{name}-src 'sha256-{digest}'" in policy
        assert [tag for tag, _ in page.elements if tag in ("iframe", "object", "embed", "form", "img", "base")] == []
        for tag, attributes in page.elements:
            assert not any(name.startswith("on") or name in ("style", "src", "srcset") for name in attributes), tag
            assert (attributes.get("href") or "#").startswith(("#", "data:,"))
        json.loads(page.raw["json"])


def test_hostile_text_is_shown_not_obeyed(tmp_path: Path) -> None:
    page = Page(write_training(hostile_training(tmp_path / "h")))
    assert "<script>alert(document.domain)</script>" in page.text
    assert sum(tag == "script" for tag, _ in page.elements) == 2
    for sign in ("\x1b", "\x07", "\x08", "\u202e", "\u2028"):
        assert sign not in page.source
    assert len(page.source) < 2_500_000
    assert "lines of its logs could not be read" in page.text


def test_cards_and_lead_tell_the_numbers(sft: Path) -> None:
    lines = [orjson.loads(line) for line in (sft / "metrics.jsonl").read_bytes().splitlines()]
    held = [line["eval_loss"] for line in lines if "eval_loss" in line]
    page = Page(write_training(sft))
    text = " ".join(page.text.split())
    assert f"fell from {held[0]:.4g} to {held[-1]:.4g}" in text
    assert f"Held-out perplexity {math.exp(held[-1]):,.3g} from {math.exp(held[0]):,.3g}" in text
    tokens = sum(line.get("tokens", 0) for line in lines)
    assert f"Tokens seen {tokens / 1e6:.3g} M" in text
    facts = read_training(sft)
    assert facts.tokens == tokens
    assert facts.series["eval_loss"].points[0] == (0, held[0])


def test_every_number_of_the_metrics_has_its_picture(rleif: Path) -> None:
    first, rest = pictures(read_training(rleif))
    assert first is not None
    assert [curve.series.name for curve in first.curves] == ["reward", "eval_score"]
    shown = [curve.series.name for one in (first, *rest) for curve in one.curves]
    assert len(shown) == len(set(shown))
    told = {name for line in (rleif / "metrics.jsonl").read_bytes().splitlines() for name in orjson.loads(line)}
    assert set(shown) == told - {"step", "epoch", "tokens", "hacking"}
    unknown = next(one for one in rest if one.id == "novelty_index")
    assert unknown.title == "Novelty index"
    assert next(one for one in rest if one.id == "length").curves[1].sparse


def test_what_the_script_reads_is_what_was_measured(sft: Path) -> None:
    first, rest = pictures(read_training(sft))
    assert first is not None
    found = for_reading([first, *rest])
    lines = [orjson.loads(line) for line in (sft / "metrics.jsonl").read_bytes().splitlines()]
    losses = {line["step"]: f"{line['loss']:.4f}" for line in lines if "loss" in line}
    assert dict(zip(*found["loss"]["curves"][0], strict=True)) == losses
    assert found["loss"]["to"] == max(losses)
    page = Page(write_training(sft))
    assert json.loads(page.raw["json"]) == found


def test_slices_kept_and_undone(dpo: Path) -> None:
    facts = read_training(dpo)
    assert [one.kept for one in stages(facts)] == [True, False, True]
    assert facts.stage_ends == (20, 40)
    assert any("Slice 2 was undone: pairs held out in order fell from 72% to 41%" in one for one in warnings(facts))
    page = Page(write_training(dpo))
    text = " ".join(page.text.split())
    assert "Stage-DPO in 3 slices of smollm2 on 480 pairs" in text
    assert text.count("undone") >= 2
    assert sum(attributes.get("class") == "mark-line" for _, attributes in page.elements) >= 2 * 5
    assert [one.said[0].when for one in facts.conversations] == ["before training"]
    assert [one.when for one in facts.conversations[0].said] == [
        "before training", "slice 1, step 20", "before slice 2", "slice 2, step 20", "before slice 3", "slice 3, step 20",
    ]  # fmt: skip


def test_all_slices_undone(tmp_path: Path) -> None:
    facts = read_training(write_dpo(tmp_path / "x", 2, undone=(1, 2)))
    assert [one for one in warnings(facts) if "undone" in one] == [
        "Every slice made pairs held out worse and was undone: there is no new model."
    ]


def test_a_curve_does_not_run_over_the_end_of_a_slice() -> None:
    curve = Curve(Series("lr", ((1, 3.0), (2, 1.0), (3, 3.0), (4, 1.0))), "", "c0")
    scale = scale_of([curve], zero=True)
    drawn = str(chart([curve], "x", 100, scale=scale, marks=(2,)))
    assert [path.count("L") for path in re.findall(r' d="([^"]*)" class="c0 line"', drawn)] == [1, 1]
    assert str(chart([curve], "x", 100, scale=scale)).count('class="c0 line"') == 1


def test_reward_hacking_is_told(rleif: Path, tmp_path: Path) -> None:
    assert warnings(read_training(rleif))[0].startswith("Reward hacking? By step 80")
    step = orjson.loads((rleif / "step.json").read_bytes())
    quiet = write_rleif(tmp_path / "killed")
    write_step(quiet, "train-rleif", state="running", counts=step["counts"])
    assert warnings(read_training(quiet))[0].startswith("Reward hacking? By step 80")  # by the metrics alone
    assert warnings(read_training(write_rleif(tmp_path / "fine", hacking=False))) == []


def test_overfitting_is_told(tmp_path: Path) -> None:
    assert any(one.startswith("It overfits") for one in warnings(read_training(write_sft(tmp_path / "a", rising=True))))
    assert not any("overfits" in one for one in warnings(read_training(write_sft(tmp_path / "b"))))
    worse = write_sft(tmp_path / "c")
    write_lines(worse / "metrics.jsonl", [{"step": 0, "eval_loss": 1.0}, {"step": 5, "eval_loss": 1.5}])
    assert any("only rose: from 1 before training to 1.5" in one for one in warnings(read_training(worse)))


def test_rows_and_why_they_were_left_out(sft: Path) -> None:
    facts = read_training(sft)
    assert {one.name: (one.n, one.lines) for one in row_counts(facts)} == {
        "train": (430, ""), "held_out": (25, ""), "cut": (60, "10, 11, 12, 13, 14, 15, 16, 17, 18, 19 …"),
        "too_long": (45, "9 …"), "rejected": (1, ""),
    }  # fmt: skip
    assert "12% of the rows were cut at the limit of tokens, mid-answer." in warnings(facts)
    text = " ".join(Page(write_training(sft)).text.split())
    assert "too_long: 900 tokens, 512 at most" in text
    assert "not JSON" in text


def test_answers_stand_beside_each_other(sft: Path, rleif: Path) -> None:
    facts = read_training(sft)
    assert [len(one.said) for one in facts.conversations] == [4, 4, 4]
    assert [one.when for one in facts.conversations[0].said] == ["before training", "step 100", "step 200", "step 300"]
    text = " ".join(Page(write_training(sft)).text.split())
    assert text.index("Epoch 0:") < text.index("Epoch 3:") < text.index("Expected 0:") < text.index("Epoch 1:")
    assert "cut off at the limit" in text
    facts = read_training(rleif)
    assert [one.said[0].when for one in facts.conversations] == ["before training", "before training"]
    assert len(facts.drawn) == MOST_PROMPTS
    assert (facts.drawn[0].said[0].when, facts.drawn[-1].said[0].when) == ("step 1", "step 79")
    assert facts.drawn[0].said[0].numbers == {"reward": 0.5, "advantage": 0.1, "irm": 0.8, "prm": 0.6}


@pytest.mark.parametrize("kind", ["train-irm", "train-prm"])
def test_reward_models(kind: str, tmp_path: Path) -> None:
    text = " ".join(Page(write_training(write_reward(tmp_path / "x", kind))).text.split())
    assert "Held-out accuracy" in text
    assert ("Wrong steps found" in text) is True
    assert "What it says" not in text


def test_young_torn_and_empty_folders(tmp_path: Path) -> None:
    young = tmp_path / "young"
    write_step(young, "train-sft", state="running")
    text = " ".join(Page(write_training(young)).text.split())
    assert "still running, or was killed" in text
    assert "How it went" not in text
    write_lines(young / "metrics.jsonl", [{"step": 1, "loss": 2.0, "lr": 0.0}])
    with open(young / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 2, "lo')
    page = Page(write_training(young))
    assert "1 line of its logs could not be read" in page.text
    assert "How it went" in page.text
    (young / "step.json").write_bytes(
        b'{"step": "train-dpo", "stages": 3, "counts": [], "config": null, "machine": "x"}'
    )
    assert "Preference training" in Page(write_training(young)).text


def test_long_runs_stay_small(tmp_path: Path) -> None:
    folder = write_sft(tmp_path / "long", 20_000, looks=50)
    path = write_training(folder)
    assert path.stat().st_size < 500_000
    page = Page(path)
    assert any(attributes.get("class") == "c0 around" for _, attributes in page.elements)
    last = read_training(folder).series["loss"].last
    assert f"{last:.4f}" in page.text


def test_one_spike_does_not_press_the_rest_to_the_ground(tmp_path: Path) -> None:
    spiky = Series("grad_norm", tuple((step, 500.0 if step == 7 else 1 + step / 100) for step in range(1, 101)))
    scale = scale_of([Curve(spiky, "", "c0")], zero=True)
    assert (scale.low, scale.cut) == (0.0, 1)
    assert scale.high < 3
    folder = write_sft(tmp_path / "x", 20)
    write_lines(folder / "metrics.jsonl", ({"step": step, "grad_norm": value} for step, value in spiky.points))
    _, rest = pictures(read_training(folder))
    assert rest[0].about == "Before clipping. 1 value lies above the picture."


def test_the_last_step_of_a_long_run_can_be_read(tmp_path: Path) -> None:
    folder = write_sft(tmp_path / "x", 20)
    write_lines(folder / "metrics.jsonl", ({"step": step, "loss": step / 7} for step in range(1, 1501)))
    first, _ = pictures(read_training(folder))
    assert first is not None
    steps, values = for_reading([first])["loss"]["curves"][0]
    assert (steps[-1], values[-1]) == (1500, "214")
    assert len(steps) <= 601


def test_the_value_at_a_line_s_end_is_the_line_s(tmp_path: Path) -> None:
    noisy = Curve(Series("loss", tuple((step, 2.0 + step % 2) for step in range(1, 102))), "training", "c0")
    held = Curve(Series("eval_loss", ((0, 3.0), (101, 2.0))), "held out", "c1", sparse=True)
    drawn = str(chart([noisy, held], "Loss", 100, scale=scale_of([noisy, held], zero=False), ends="{:.1f}".format))
    ends = re.findall(r'class="head">([^<]*)</tspan> ([^<]*)<', drawn)
    assert sorted(ends) == [("2.0", "held out"), ("2.6", "training")]
    single = Curve(Series("x", ((5, 1.0),)), "", "c1", sparse=True)
    assert "<path" not in str(chart([single], "x", 100, scale=scale_of([single], zero=False)))


numbers = st.floats(-1e6, 1e6, allow_nan=False)
runs = st.lists(numbers, min_size=1, max_size=500).map(lambda values: tuple(enumerate(values, 1)))


@given(runs)
def test_stretches_keep_every_extreme(points: tuple[tuple[int, float], ...]) -> None:
    bins = binned(points, 50)
    assert len(bins) <= 50
    assert min(low for _, _, low, _ in bins) == min(value for _, value in points)
    assert max(high for _, _, _, high in bins) == max(value for _, value in points)
    for _, mean, low, high in bins:
        assert low - 1e-6 <= mean <= high + 1e-6


@given(st.lists(numbers, min_size=1, max_size=200))
def test_smoothing_stays_between_the_ends(values: list[float]) -> None:
    even = smoothed(values)
    assert len(even) == len(values)
    assert min(values) - 1e-3 <= min(even)
    assert max(even) <= max(values) + 1e-3


@given(runs, st.booleans(), st.sampled_from([None, 1.0]))
def test_all_that_is_drawn_lies_in_the_picture(
    points: tuple[tuple[int, float], ...], zero: bool, most: float | None
) -> None:
    if most is not None:
        points = tuple((step, abs(value) / 1e6) for step, value in points)
    curve = Curve(Series("x", points), "x", "c0")
    scale = scale_of([curve], zero=zero, most=most)
    drawn = str(chart([curve], "x", 100, scale=scale))
    assert "nan" not in drawn
    assert scale.low < scale.high
    values = [value for _, value in points]
    assert scale.low <= min(values)
    assert scale.cut == sum(value > scale.high for value in values)
    assert scale.cut <= len(values) * 0.05
    for path in re.findall(r' d="([^"]*)"', drawn):
        for y in re.findall(r"[ML][\d.e+-]+ ([\d.e+-]+)", path):
            assert -0.1 <= float(y) <= 100.1
