"""Signatures, candidates and verified pairs, against counting on sets of strings."""

from __future__ import annotations

import random
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evollab.data import minhash
from evollab.data.comparable import normalise

NONE = np.empty(0, np.uint64)
few_words = st.lists(st.sampled_from("red green blue grey long short day night über 日本 😀".split()), max_size=25)
texts = st.one_of(few_words.map(" ".join), st.text(max_size=40), st.text("ab", max_size=12))


def grams(text: str) -> set[str]:
    text = text.ljust(minhash.GRAM)
    return {text[at : at + minhash.GRAM] for at in range(len(text) - minhash.GRAM + 1)}


def similarity(one: str, other: str) -> float:
    return len(grams(one) & grams(other)) / len(grams(one) | grams(other))


def search(rows: list[str], near: float, lineage: float = 1.0, roots: list[int] | None = None) -> minhash.Found:
    limits = minhash.Limits(near, lineage, NONE if roots is None else np.array(roots, np.uint64))
    return minhash.near_duplicates(minhash.signatures(rows), rows.__getitem__, np.arange(len(rows)), limits)


@given(texts, texts)
def test_similarity_is_that_of_the_sets(one: str, other: str) -> None:
    left, right = minhash.gram_set(one), minhash.gram_set(other)
    assert len(left) == len(grams(one))
    assert minhash.jaccard(left, right) == similarity(one, other)
    assert minhash.jaccard(left, left) == 1.0


@given(st.lists(texts, min_size=1, max_size=12))
def test_a_signature_depends_on_its_row_alone(rows: list[str]) -> None:
    made = minhash.signatures(rows)
    assert made.shape == (len(rows), minhash.HASHES)
    for row, text in zip(made, rows, strict=True):
        assert (row == minhash.signatures([text])[0]).all()


def test_batches_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"row number {number} says {number * 7919 % 104729}" for number in range(200)]
    made = minhash.signatures(rows)
    monkeypatch.setattr(minhash, "_BATCH", 100)
    assert (minhash.signatures(rows) == made).all()
    assert minhash.signatures([]).shape == (0, minhash.HASHES)


def pairs_by_similarity(count: int) -> list[tuple[str, str, float]]:
    draw = random.Random(7)
    vocabulary = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(4000)]
    made = []
    for _ in range(count):
        said = draw.choices(vocabulary, k=draw.choice((12, 40, 90)))
        changed = list(said)
        for _ in range(draw.randint(1, max(1, len(said) // 6))):
            changed[draw.randrange(len(said))] = draw.choice(vocabulary)
        one, other = " ".join(said), " ".join(changed)
        made.append((one, other, similarity(one, other)))
    return made


def test_signatures_agree_as_often_as_sets_overlap() -> None:
    pairs = pairs_by_similarity(1500)
    left, right = (minhash.signatures(pair[side] for pair in pairs) for side in (0, 1))
    truth = np.array([pair[2] for pair in pairs])
    shares = (left == right).mean(axis=1)
    inner = truth < 1
    deviations = (shares - truth)[inner] / np.sqrt(truth * (1 - truth) / minhash.HASHES)[inner]
    assert abs(deviations.mean()) < 0.15, "no bias"
    assert 0.85 < deviations.std() < 1.15, "the spread that independent places have"


@pytest.mark.parametrize("near", [0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0])
def test_the_layout_finds_a_pair_at_the_threshold(near: float) -> None:
    bands, width = minhash.layout(near)
    assert 1 <= bands * width <= minhash.HASHES
    assert 1 - (1 - near**width) ** bands >= minhash.SURE


@pytest.mark.parametrize("near", [0.6, 0.8, 0.9])
def test_recall_of_pairs_above_the_threshold(near: float) -> None:
    pairs = [pair for pair in pairs_by_similarity(1500) if pair[2] >= near]
    found = search([text for pair in pairs for text in pair[:2]], near)
    assert len(pairs) > 100
    missed = [pair[2] for number, pair in enumerate(pairs) if not {2 * number, 2 * number + 1} & set(found.removed)]
    assert len(missed) / len(pairs) <= 0.03, missed
    assert all(one < near + 0.1 for one in missed)


@settings(deadline=None)
@given(st.lists(texts, min_size=2, max_size=25), st.sampled_from((0.4, 0.6, 0.8, 1.0)), st.randoms())
def test_what_is_removed_resembles_a_row_that_stays(rows: list[str], near: float, draw: random.Random) -> None:
    roots = [draw.randrange(3) for _ in rows]
    lineage = max(near, 0.9)
    found = search(rows, near, lineage, roots)
    for row, (stays, told) in found.removed.items():
        kin = roots[row] == roots[stays] != 0
        assert stays not in found.removed
        assert told == similarity(rows[row], rows[stays]) >= (lineage if kin else near)
        assert stays < row, "by rank"
    seen: dict[frozenset[str], int] = {}
    for row, text in enumerate(rows):
        if row in found.removed:
            continue
        assert frozenset(grams(text)) not in seen, "equal sets have equal signatures: none is ever missed"
        seen[frozenset(grams(text))] = row


@given(st.lists(texts, min_size=2, max_size=25), st.sampled_from((0.4, 0.6, 0.8)))
def test_every_pair_that_shares_a_band_is_a_candidate(rows: list[str], near: float) -> None:
    """Against comparing all with all, band by band; what the estimate rules out is left aside."""
    limits = minhash.Limits(near, 1.0, NONE)
    made = minhash.signatures(rows)
    bands, width = minhash.layout(near)
    got = minhash.candidates(made, limits)
    want = []
    for one in range(len(rows)):
        for other in range(one + 1, len(rows)):
            same = (made[one] == made[other])[: bands * width].reshape(bands, width)
            likely = minhash.likely(made, np.array([one]), np.array([other]), limits)[0]
            if same.all(axis=1).any() and likely:
                want.append((one, other))
    assert list(zip(got.one.tolist(), got.other.tolist(), strict=True)) == want
    assert got.skipped == 0


def test_rows_without_a_root_are_no_kin() -> None:
    rows = [
        "the quick brown fox jumps over the lazy dog and runs away" + end for end in (" at noon", " at once", " at two")
    ]
    assert min(similarity(rows[0], row) for row in rows) >= 0.8
    assert set(search(rows, 0.8, 1.0, [0, 0, 7]).removed) == {1, 2}
    assert set(search(rows, 0.8, 1.0, [7, 0, 7]).removed) == {1}
    assert not search(rows, 0.8, 1.0, [7, 7, 7]).removed


def test_a_full_bucket_is_counted_and_still_emptied() -> None:
    """Rounds of one cycle of letters have the same 5-grams, so all of them fall into one bucket."""
    rows = ["abcdefg" * (3 + number) for number in range(200)]
    found = search(rows, 0.8)
    assert set(found.removed) == set(range(1, 200))
    bands = minhash.layout(0.8)[0]
    looked_at = sum(200 - distance for distance in range(1, minhash.WINDOW + 1))
    assert found.skipped == bands * (200 * 199 // 2 - looked_at)


def test_a_bucket_that_is_just_not_full_is_looked_at_whole() -> None:
    rows = ["abcdefg" * (3 + number) for number in range(minhash.BUCKET)]
    found = search(rows, 0.8)
    assert (found.skipped, found.candidates) == (0, minhash.BUCKET * (minhash.BUCKET - 1) // 2)


def test_twins_are_found_in_a_crowd() -> None:
    """Rows that share a long template crowd the buckets; pairs that are more alike still meet."""
    draw = random.Random(5)
    vocabulary = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(4, 9))) for _ in range(5000)]
    template = (
        "You are a helpful assistant that answers carefully. Read the passage and answer the question in one full "
        "sentence, quoting the passage where that is possible. Passage: {} Question: {}"
    )

    def words(count: int) -> str:
        return " ".join(draw.choices(vocabulary, k=count))

    crowd = [template.format(words(4), words(3)) for _ in range(2000)]
    twins = [row.rsplit(" ", 1)[0] + " " + words(1) for row in crowd[:300]]
    near = [number for number in range(300) if similarity(crowd[number], twins[number]) >= 0.9]
    found = search([*crowd, *twins], 0.8)
    met = sum(2000 + number in found.removed or number in found.removed for number in near)
    assert found.skipped > 1_000_000
    assert len(near) > 100
    assert met / len(near) >= 0.95


def test_the_set_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"{number} " * 50 for number in range(100, 160)]
    monkeypatch.setattr(minhash, "_HELD", 50)
    asked: list[int] = []
    sets = minhash.Sets(lambda row: (asked.append(row), rows[row])[1])
    for row in range(60):
        assert sets.similarity(0, row) == similarity(rows[0], rows[row])
    assert len(sets._held) <= 12
    assert len(asked) < 120


def test_very_long_texts_are_compared_by_their_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minhash, "LONGEST", 60)
    beginning = "the same beginning of both texts and it is sixty characters " + "."
    found = search([beginning + "then this", beginning + "and something quite different"], 0.9)
    assert found.removed == {1: (0, 1.0)}


@given(st.text(max_size=60))
def test_normal_form(text: str) -> None:
    made = normalise(text)
    assert made == made.strip()
    assert "  " not in made
    assert bool(made) == bool(normalise(f" {text}\n")), "blanks around make no difference"
    assert normalise(f" {text}\n") == made
    assert (
        made or not text.strip() or all(unicodedata.category(sign) in ("Cf", "Zs", "Zl", "Zp", "Cc") for sign in text)
    )


@given(st.lists(st.text("abcXYZ019-+*/=()", min_size=1, max_size=8), min_size=1, max_size=8), st.data())
def test_clothes_make_no_difference(words: list[str], data: st.DataObject) -> None:
    dressed = [
        data.draw(st.sampled_from(("", '"', "“", "¿"))) + data.draw(st.sampled_from((word, word.upper(), word.lower())))
        + data.draw(st.sampled_from(("", ".", ",", ";", "?", "”")))
        for word in words
    ]  # fmt: skip
    blank = data.draw(st.sampled_from((" ", "\n", "\t ", "\u00a0")))
    assert normalise(blank.join(dressed)) == normalise(" ".join(words)) == " ".join(words).lower()
