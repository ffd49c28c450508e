"""How much a text repeats itself, and how varied its words are. Two numbers between 0 and 1 that texts of any length
can be compared by; linear time."""

from __future__ import annotations

import re

LOOK_AT = 50_000
"""Characters of a text that are looked at."""
GRAM = 5
"""Words of a repeated run, the shortest that Gopher counts so."""
WINDOW = 50
"""Words between which variety is measured."""

_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
"""Thai, kana, Han: without blanks between words, a letter counts as one."""
_LETTER = re.compile(f"[{_UNSPACED}]")
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_WORD_OR_LETTER = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:['’][^\W{_UNSPACED}]+)*")


def words_of(text: str) -> list[str]:
    """Case-folded words without punctuation; in scripts without blanks, letters."""
    text = text[:LOOK_AT].casefold()
    return (_WORD_OR_LETTER if not text.isascii() and _LETTER.search(text) else _WORD).findall(text)


def repetition(words: list[str]) -> float:
    """The share of a text, by letters, in runs of GRAM words that stood in it before; 0 for a text that says
    nothing twice, 0.5 for one that stands there twice, 0 for fewer words than a run has.

    Gopher's duplicate 5-gram character fraction (Rae et al. 2021, arXiv 2112.11446, table A1, which drops
    documents above 0.15); of several equal runs the first counts as new, and no letter counts twice.
    """
    grams = list(zip(*(words[at:] for at in range(GRAM)), strict=False))
    if len(set(grams)) == len(grams):
        return 0.0
    seen: set[tuple[str, ...]] = set()
    repeated = end = 0
    for start, gram in enumerate(grams):
        if gram not in seen:
            seen.add(gram)
            continue
        repeated += sum(map(len, words[max(start, end) : start + GRAM]))
        end = start + GRAM
    return repeated / sum(map(len, words))


def lexical_diversity(words: list[str]) -> float | None:
    """The moving-average type-token ratio: different words among WINDOW running ones, through WINDOW, on average
    over all windows (MATTR, Covington and McFall 2010, doi 10.1080/09296171003643098). Unlike the plain ratio it
    doesn't fall with length. None for texts shorter than a window, which nothing can be said of.
    """
    windows = len(words) - WINDOW + 1
    if windows < 1:
        return None
    # A word counts in every window in which it is the first of its kind: one look at where it stood before.
    last: dict[str, int] = {}
    different = 0
    for at, word in enumerate(words):
        first, before = at - WINDOW + 1, last.get(word, -1)
        first = before + 1 if before >= first else max(0, first)
        final = at + 1 if at < windows else windows
        if final > first:
            different += final - first
        last[word] = at
    return different / windows / WINDOW
