from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evollab.evolve.gain import EQUAL_PAIRS, UNEQUAL_PAIRS, added_nothing, read_verdict
from evollab.words import content_words, count_words, language, only_filler, script


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("Equal", "equal"),
        ("Not Equal", "not equal"),
        ("not equal.", "not equal"),
        ("Verdict: NOT-EQUAL", "not equal"),
        ("They are unequal", "not equal"),
        ("The first asks more. So they are not equal.", "not equal"),
        ("One might say Equal, but the second adds a limit. Verdict: Not Equal", "not equal"),
        ("Not equal at first sight; on reflection: Equal", "equal"),
        ("yes", None),
        ("", None),
    ],
)
def test_the_verdict_is_the_last_word_and_not_equal_is_not_equal(reply: str, verdict: str | None) -> None:
    assert read_verdict(reply) == verdict


def test_the_rule_on_what_was_added_knows_the_clear_cases() -> None:
    assert sum(added_nothing(a, b) is not None for a, b in EQUAL_PAIRS) >= 5
    assert all(added_nothing(a, b) is None for a, b in UNEQUAL_PAIRS)


@pytest.mark.parametrize(
    ("text", "words"),
    [("", 0), ("one", 1), ("one two\nthree", 3), ("日本語です", 3), ("猫 and dog", 3), ("it's  well-known", 2)],
)
def test_count_words(text: str, words: int) -> None:
    assert count_words(text) == words


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Explain to me what the difference between the two of them is.", "en"),
        ("Erkläre mir bitte, was der Unterschied zwischen den beiden Sachen ist.", "de"),
        ("Explique-moi quelle est la différence entre les deux et pourquoi elle est dans le texte.", "fr"),
        ("Explícame cuál es la diferencia entre las dos cosas y por qué es una cuestión del texto.", "es"),
        ("Объясни мне, в чём разница между ними.", "cyrillic"),
        ("请解释一下这两者之间的区别是什么。", "zh"),
        ("この二つの違いを説明してください。", "ja"),
        ("اشرح لي الفرق بين الاثنين", "arabic"),
        ('Translate the phrase "Hear no evil, see no evil, do no evil" into Spanish', "en"),
        ("Sort: 1, 2, 3", ""),
        ("x = f(y)", ""),
    ],
)
def test_language_is_clear_or_not_told(text: str, code: str) -> None:
    assert language(text) == code


@given(st.text())
def test_measures_never_raise(text: str) -> None:
    assert count_words(text) >= 0
    language(text)
    script(text)
    only_filler(text)
    assert content_words(text) == content_words(text)
