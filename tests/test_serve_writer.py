"""Tokens to text: no broken characters, nothing of a stop string, log-probs only for what is shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers", reason="needs the extra `serve`")

from evollab.serve.engine import Chance, Token
from evollab.serve.tokentext import TokenTexts
from evollab.serve.writer import Detokenizer, Lead, Stops, Writer
from tests import tiny

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def decoder(kind: tiny.Kind) -> Any:
    tokenizer = tiny.tokenizer(kind)
    return lambda ids: tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def ids_of(kind: tiny.Kind, text: str) -> list[int]:
    ids: list[int] = tiny.tokenizer(kind).encode(text, add_special_tokens=False)
    return ids


def pieces(decode: Any, ids: list[int], before: list[int]) -> list[str]:
    made = Detokenizer(decode, before)
    return [*[made.push(one) for one in ids], made.flush()]


@pytest.mark.parametrize("kind", ["bytes", "chatml", "llama"])
@given(text=TEXTS)
@settings(max_examples=60, deadline=None)
def test_pieces_are_whole_characters_and_add_up(kind: tiny.Kind, text: str) -> None:
    decode = decoder(kind)
    before, ids = ids_of(kind, "ASSISTANT:"), ids_of(kind, text)
    found = pieces(decode, ids, before)
    assert "".join(found) == decode(before + ids)[len(decode(before)) :]
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in found)


@pytest.mark.parametrize("kind", ["bytes", "chatml", "llama"])
@given(ids=st.lists(st.integers(3, tiny.VOCABULARY - 1), max_size=60))
@settings(max_examples=60, deadline=None)
def test_bytes_that_are_no_text_come_out_too(kind: tiny.Kind, ids: list[int]) -> None:
    """A random model writes anything: nothing is held back for ever."""
    decode = decoder(kind)
    made = Detokenizer(decode, ())
    held = 0
    for one in ids:
        held = 0 if made.push(one) else held + 1
        assert held <= 9
    made.flush()


def test_a_blank_before_a_word_is_kept_behind_a_prompt() -> None:
    decode = decoder("llama")
    ids = ids_of("llama", "The answer")
    assert decode(ids) == "The answer"
    assert "".join(pieces(decode, ids, ids_of("llama", "capital"))) == " The answer"


@given(
    text=st.text("abc", max_size=30), stops=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), cuts=st.data()
)
@settings(max_examples=200, deadline=None)
def test_stop_strings_over_any_cut(text: str, stops: list[str], cuts: st.DataObject) -> None:
    looked = Stops(stops)
    shown, place, stopped = "", 0, False
    while place < len(text) and not stopped:
        size = cuts.draw(st.integers(1, 4))
        piece, stopped = looked.push(text[place : place + size])
        shown += piece
        place += size
        assert not any(stop in shown for stop in stops)
    shown += "" if stopped else looked.flush()
    ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    assert stopped == bool(ends)
    assert shown == (text[: min(ends)[1]] if ends else text)


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_of_two_stop_strings_the_one_that_is_complete_first_counts(size: int) -> None:
    looked = Stops(["a", "bab"])
    shown = ""
    for place in range(0, 6, size):
        piece, stopped = looked.push("bbbbab"[place : place + size])
        shown += piece
        if stopped:
            break
    assert shown == "bbbb"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([" Paris", "."], "Paris."), ([" ", "Paris"], "Paris"), ([" "], ""), (["Paris"], "Paris"), ([], ""),
        (["    return 1"], "    return 1"), ([" ", " x"], "  x"), (["\n", "x"], "\nx"), ([" \n"], " \n"),
    ],
)  # fmt: skip
def test_one_space_before_an_answer_goes(parts: list[str], expected: str) -> None:
    lead = Lead()
    assert "".join([*[lead.push(part) for part in parts], lead.push("", final=True)]) == expected


def chance(id: int) -> Chance:
    return Chance(Token(str(id), b"", -1.0), (), 0)


def test_log_probs_belong_to_what_is_shown() -> None:
    decode = decoder("bytes")
    text = "the list STOP here"
    ids = ids_of("bytes", text)
    writer = Writer(decode, (), ["STOP"], trim=False, offset=5)
    shown, told = "", []
    for one in ids:
        written = writer.push(one, chance(one))
        shown += written.text
        told += written.chances
        if written.stopped:
            break
    assert shown == "the list "
    assert told
    assert "".join(decode([int(one.token.text)]) for one in told).startswith(shown)
    assert [one.offset for one in told] == sorted(one.offset for one in told)
    assert told[0].offset == 5
    assert all(one.offset < 5 + len(shown) for one in told)


def test_everything_held_back_comes_at_the_end() -> None:
    decode = decoder("bytes")
    ids = ids_of("bytes", "a ST")
    writer = Writer(decode, (), ["STOP"], trim=False, offset=0)
    written = [writer.push(one, chance(one)) for one in ids]
    assert "ST" not in "".join(one.text for one in written)
    last = writer.flush()
    assert "".join(one.text for one in [*written, last]) == "a ST"
    assert sum(len(one.chances) for one in [*written, last]) == len(ids)


@pytest.mark.parametrize("kind", ["bytes", "chatml", "llama"])
@given(text=TEXTS)
@settings(max_examples=60, deadline=None)
def test_the_bytes_of_tokens_make_the_text(kind: tiny.Kind, text: str) -> None:
    tokenizer = tiny.tokenizer(kind)
    texts = TokenTexts(tokenizer)
    ids = ids_of(kind, text)
    raw = b"".join(texts.written(one) for one in ids)
    assert raw.decode("utf-8").lstrip(" ") == tokenizer.decode(ids).lstrip(" ")


@pytest.mark.parametrize("kind", ["bytes", "chatml", "llama"])
def test_offsets_of_a_prompt(kind: tiny.Kind) -> None:
    tokenizer = tiny.tokenizer(kind)
    text = "Add 12 and 30: é \u4f60 sum"
    ids = tokenizer(text).input_ids
    shown = tokenizer.decode(ids, skip_special_tokens=True)
    offsets = TokenTexts(tokenizer).offsets(ids, shown)
    assert len(offsets) == len(ids)
    assert offsets == sorted(offsets)
    assert offsets[-1] < len(shown)
    whole = [one for one in ids if not TokenTexts(tokenizer).token(one, None).text.startswith("bytes:")]
    assert len(whole) < len(ids), "half characters have names too"
