"""n-gram overlap: what counts as a word, what is covered, what convicts."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evollab.data import overlap
from evollab.data.overlap import COMMON, GRAM, LONG, SOLUTION, Hits, Index, Item, Search, words

NUMBERS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()


def said(count: int, mark: str = "w") -> str:
    """`count` words that no other mark has."""
    return " ".join(f"{mark}{number}" for number in range(count))


def search(items: Sequence[Item], rows: Sequence[Sequence[str]], share: float = 0.5) -> Hits:
    looking = Search(Index(items, share))
    for row in rows:
        looking.add(row)
    return looking.hits()


def guilty(items: Sequence[Item], *rows: str, share: float = 0.5) -> set[tuple[int, int]]:
    """(row, text) of each conviction; text is twice the item, plus one for its answer."""
    hits = search(items, [[row] for row in rows], share)
    return set(zip(hits.row[hits.guilty].tolist(), hits.text[hits.guilty].tolist(), strict=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't STOP, e.g. 3.14!", "don t stop e g 3 14"),
        ("def has_close(x: List[int]) -> bool:", "def has close x list int bool"),
        ("Straße ﬁne – “Ünï” x²", "strasse fine ünï x2"),
        ("它是 48个", "它 是 48 个"),
        ("カ_ナ\u3000a", "カ ナ a"),
        ("48/2 = <<48/2=24>>24 clips", "48 2 24 clips"),
        ("cout << a; cin >> b", "cout a cin b"),
        ("____ is the __init__", "is the init"),
        ("\ud800 a", "a"),
        ("", ""),
    ],
)
def test_words(text: str, expected: str) -> None:
    assert words(text) == [word.encode("utf-8", "surrogatepass") for word in expected.split()]


def test_words_are_cut_at_a_length() -> None:
    assert len(words("a " * overlap.LONGEST)) == overlap.LONGEST // 2


def reference(item: list[str], row: list[str]) -> tuple[int, int]:
    """Covered words of the item and its longest stretch in the row, counted one by one."""
    there = [tuple(item[at : at + GRAM]) for at in range(len(item) - GRAM + 1)]
    here = {tuple(row[at : at + GRAM]) for at in range(len(row) - GRAM + 1)}
    covered = [any(gram in here for gram in there[max(0, at - GRAM + 1) : at + 1]) for at in range(len(item))]
    longest = 0
    for begin in range(len(item)):
        for end in range(begin + GRAM, len(item) + 1):
            piece = item[begin:end]
            if any(row[at : at + len(piece)] == piece for at in range(len(row))):
                longest = max(longest, len(piece))
    return sum(covered), longest


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_counts_are_those_of_counting_one_by_one(data: st.DataObject) -> None:
    draw = random.Random(data.draw(st.integers(0, 10**6)))
    item = [f"w{draw.randrange(40)}" for _ in range(data.draw(st.integers(GRAM, 34)))]
    pieces = []
    for _ in range(data.draw(st.integers(1, 4))):
        begin = draw.randrange(len(item))
        pieces += item[begin : begin + draw.randrange(1, 24)] + [f"x{draw.randrange(9)}"] * draw.randrange(3)
    grams = [tuple(item[at : at + GRAM]) for at in range(len(item) - GRAM + 1)]
    assume(len(set(grams)) == len(grams))
    assume(len({tuple(pieces[at : at + GRAM]) for at in range(len(pieces))}) == len(pieces))
    hits = search([Item(0, " ".join(item), "")], [[" ".join(pieces)]])
    covered, longest = reference(item, pieces)
    found = (int(hits.covered[0]), int(hits.run[0])) if len(hits.row) else (0, 0)
    assert found == (covered, longest)
    whole = len(item) < LONG
    needed = len(item) if whole else max(-(-len(item) // 2), LONG)
    assert bool(hits.guilty.any()) == (covered >= needed or (not whole and longest >= LONG))


def test_half_an_item_convicts_less_does_not() -> None:
    item = Item(0, said(40), "")
    half = f"{said(10)} stop {' '.join(f'w{n}' for n in range(20, 30))}"
    less = f"{said(10)} stop {' '.join(f'w{n}' for n in range(20, 29))}"
    assert guilty([item], half, less) == {(0, 0)}
    assert guilty([item], half, less, share=0.45) == {(0, 0), (1, 0)}
    assert guilty([item], half, share=0.6) == set()


def test_thirteen_words_in_one_piece_convict_twelve_do_not() -> None:
    item = Item(0, said(100), "")
    assert guilty([item], f"see {said(13)} there", f"see {said(12)} there") == {(0, 0)}


def test_a_short_row_is_not_enough_for_a_middling_item() -> None:
    """One 8-gram is more than half of fifteen words, and no evidence."""
    item = Item(0, said(15), "")
    assert guilty([item], said(8), said(12), said(13)) == {(2, 0)}


def test_an_item_of_eight_to_twelve_words_has_to_be_there_as_a_whole() -> None:
    item = Item(0, said(10), "")
    assert guilty([item], said(9), f"so: {said(10)}?") == {(1, 0)}


@pytest.mark.parametrize("count", [5, 6, 7])
def test_a_short_item_is_looked_for_anywhere(count: int) -> None:
    item = Item(0, said(count), "")
    assert guilty([item], f"a {said(count)} b", said(count - 1), f"{said(count - 1)} x") == {(0, 0)}


@pytest.mark.parametrize("count", [1, 4])
def test_a_tiny_item_has_to_be_a_whole_turn(count: int) -> None:
    item = Item(0, said(count), "")
    assert guilty([item], f"a {said(count)}", f" {said(count).upper()}!") == {(1, 0)}
    hits = search([item], [["hello", said(count)], ["hello"]])
    assert hits.row.tolist() == [0]


def test_boilerplate_is_no_evidence() -> None:
    frame = said(14, "frame")
    items = [Item(0, f"{frame} {said(30, f'own{n}x')}", "") for n in range(COMMON + 1)]
    assert guilty(items, f"{frame} and something else") == set()
    assert guilty(items[:-1], f"{frame} and something else") == {(0, 2 * n) for n in range(COMMON)}
    # The words that are an item's own count in full, the frame's not at all.
    half = " ".join(f"own0x{n}" for n in range(19))
    assert guilty(items, half) == {(0, 0)}


def test_boilerplate_is_counted_within_a_benchmark() -> None:
    items = [Item(number, said(40), "") for number in range(COMMON + 3)]
    assert guilty(items, said(40)) == {(0, 2 * number) for number in range(COMMON + 3)}


def test_an_item_of_boilerplate_alone_has_to_be_there_as_a_whole() -> None:
    items = [Item(0, said(20), "") for _ in range(COMMON + 1)]
    assert guilty(items, said(20), said(19)) == {(0, 2 * number) for number in range(COMMON + 1)}


def test_a_solution_needs_forty_words() -> None:
    item = Item(0, said(20, "q"), said(60, "a"))
    assert guilty([item], said(39, "a"), said(SOLUTION, "a")) == {(1, 1)}
    assert guilty([Item(0, said(20, "q"), said(30, "a"))], said(30, "a")) == set()
    assert guilty([Item(0, said(20, "q"), said(100, "a"))], said(49, "a"), said(50, "a")) == {(1, 1)}


def test_no_ngram_reaches_from_one_turn_or_row_into_the_next() -> None:
    item = Item(0, said(13), "")
    first, second = " ".join(said(13).split()[:7]), " ".join(said(13).split()[7:])
    assert not len(search([item], [[first, second]]).row)
    assert not len(search([item], [[first], [second]]).row)


def test_batches_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(4)
    pool = [f"w{number}" for number in range(300)]
    items = [Item(n % 2, " ".join(draw.choices(pool, k=draw.randrange(3, 60))), said(50, f"s{n}x")) for n in range(60)]
    rows = []
    for _ in range(200):
        source = draw.choice(items)
        piece = draw.choice((source.question, source.answer)).split()
        begin = draw.randrange(len(piece))
        rows.append([" ".join(draw.choices(pool, k=20)), " ".join(piece[begin : begin + 45]), "hello"])
    whole = search(items, rows)
    assert whole.guilty.any()
    assert not whole.guilty.all()
    monkeypatch.setattr(overlap, "_BATCH", 1)
    single = search(items, rows)
    for name in Hits.__slots__:
        assert getattr(single, name).tolist() == getattr(whole, name).tolist(), name


def test_a_row_that_says_one_thing_over_and_over_costs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [Item(number, f"{said(20, f'm{number}x')} {'0 ' * 20}", "") for number in range(20)]
    monkeypatch.setattr(overlap, "_CROWD", 100)
    looking = Search(Index(items, 0.5))
    looking.add(["0 " * 100_000])
    looking.add([items[3].question])
    hits = looking.hits()
    assert set(hits.text[hits.guilty].tolist()) == {6}


def test_equal_hashes_are_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def zero(codes: overlap.U64, length: int) -> overlap.U64:
        return codes[: max(len(codes) - GRAM, 0)] * 0

    monkeypatch.setattr(overlap, "_hashes", zero)
    item = Item(0, said(13), "")
    assert not len(search([item], [[said(30, "x")]]).row)


def test_the_stretch_is_told() -> None:
    index = Index([Item(0, f"{said(3, 'a')} {' '.join(NUMBERS)} {said(3, 'b')}", "")], 0.5)
    looking = Search(index)
    looking.add([f"count: {' '.join(NUMBERS)}!"])
    hits = looking.hits()
    assert index.stretch(0, int(hits.at[0]), int(hits.run[0])) == " ".join(NUMBERS)


def test_an_index_of_nothing() -> None:
    assert not len(search([], [["anything"]]).row)
    assert not len(search([Item(0, "", "")], [["", "anything"]]).row)
    assert not len(search([Item(0, said(9), "")], []).row)
