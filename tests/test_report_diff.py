"""The word diff and the characters it is shown with."""

from __future__ import annotations

import difflib
import time
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from evollab.inert import cut, inert, one_line
from evollab.report.diff import compare

WORDS = st.lists(
    st.sampled_from(["a", "the", "rain", "falls", ",", ".", "\n\n", "x_1", "雨", "が降る", "don't"]), max_size=30
)
TEXTS = st.one_of(st.text(max_size=200), WORDS.map(" ".join))


def marked(old: str, new: str) -> str:
    signs = {"same": "{}", "added": "[+{}+]", "removed": "[-{}-]"}
    return "".join(signs[piece.kind].format(piece.text) for piece in compare(old, new).pieces)


@given(TEXTS, TEXTS)
def test_same_and_added_pieces_are_the_new_text(old: str, new: str) -> None:
    pieces = compare(old, new).pieces
    assert "".join(p.text for p in pieces if p.kind != "removed") == new
    assert all(piece.text for piece in pieces)


@given(TEXTS, TEXTS)
def test_same_and_removed_pieces_are_the_old_words(old: str, new: str) -> None:
    pieces = compare(old, new).pieces
    assert "".join("".join(p.text for p in pieces if p.kind != "added").split()) == "".join(old.split())


@given(TEXTS)
def test_nothing_changed_from_a_text_to_itself(text: str) -> None:
    change = compare(text, text)
    assert all(piece.kind == "same" for piece in change.pieces)
    assert (change.added, change.removed, change.rewrite) == (0, 0, False)


@given(st.lists(st.sampled_from("abcdef"), max_size=14), st.lists(st.sampled_from("abcdef"), max_size=14))
def test_as_short_as_can_be_before_it_is_tidied(old: list[str], new: list[str]) -> None:
    from evollab.report.diff import _shortest

    kinds = _shortest(old, new)
    same = sum(kind == "same" for kind in kinds)
    table = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i, a in enumerate(old):
        for j, b in enumerate(new):
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
    assert same == table[-1][-1]
    assert len(kinds) == len(old) + len(new) - same


def test_what_is_added_at_the_end_is_one_piece() -> None:
    assert marked("Name a fish.", "Name a fish. Say where it lives.") == "Name a fish.[+ Say where it lives.+]"


def test_a_word_in_the_middle() -> None:
    assert marked("Write a poem about rain.", "Write a short poem about rain.") == "Write a[+ short+] poem about rain."


def test_a_stray_word_between_two_changes_joins_them() -> None:
    old, new = "the red big house of mine", "one very old green the tall white brick wall of mine"
    assert marked(old, new).count("[+") == 1


def test_a_new_text_is_called_a_rewrite() -> None:
    assert compare("How do cats purr when they sleep?", "List four rivers of Portugal by length.").rewrite
    assert not compare("How do cats purr?", "How do cats purr when they sleep on a warm stove?").rewrite


def test_characters_count_as_words_where_there_are_no_spaces() -> None:
    assert marked("雨が降る理由を説明", "雨が強く降る理由を説明") == "雨が[+強く+]降る理由を説明"


def test_hostile_sizes_take_no_time() -> None:
    start = time.process_time()
    compare("a" * 100_000, "b" * 100_000)
    compare("a b " * 25_000, "b a " * 25_000)
    compare(" " * 100_000, "\n" * 100_000)
    assert time.process_time() - start < 8


def test_agrees_with_the_standard_library_on_what_stayed() -> None:
    old = ["Plan", "a", "three", "day", "walk", "along", "a", "river", "for", "two", "people"]
    new = ["Plan", "a", "quiet", "three", "day", "walk", "along", "one", "river", "for", "four", "people"]
    ours = sum(len(p.text.split()) for p in compare(" ".join(old), " ".join(new)).pieces if p.kind == "same")
    theirs = sum(block.size for block in difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks())
    assert ours == theirs


@given(st.text())
def test_inert_text_controls_nothing(text: str) -> None:
    shown = inert(text)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n"]
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")
    assert inert(shown) == shown


def test_escapes_are_seen() -> None:
    assert inert("\x1b[31mred\x07\r\n\u202edlrow\x9b1m") == "␛[31mred␇\n<U+202E>dlrow\\x9b1m"


@given(st.text(), st.integers(1, 50))
def test_cut_says_how_much_it_left_out(text: str, limit: int) -> None:
    head, left = cut(text, limit)
    assert text.startswith(head)
    assert len(head) <= limit
    assert len(head) + left == len(text)
    assert "\n" not in one_line(text, limit)
    assert len(one_line(text, limit)) <= limit + 1
