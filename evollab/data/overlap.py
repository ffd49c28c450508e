"""Which benchmark items a data set holds word for word: an index of their n-grams, rows held against it.

Texts are compared as sequences of words (see `words`). What counts, all of it by 8-grams:

covered   the share of an item's words that lie in 8-grams which a row has too (Tülu 3, 2411.15124)
run       the longest unbroken stretch that both have: 13 words are a 13-gram hit (GPT-3, 2005.14165)

An 8-gram that stands in more than five items of one benchmark is its boilerplate ("choose the correct
answer") and no evidence; neither are the words that lie in boilerplate alone. An item of which fewer
than 13 words are left has to be there as a whole.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

GRAM = 8
LONG = 13
"""Words of the stretch that convicts, and the fewest covered words that do."""
SOLUTION = 40
"""The fewest covered words that convict a solution: shorter ones are what anybody writes (a loop, a sum)."""
COMMON = 5
"""Items of a benchmark that may share an 8-gram before it is boilerplate."""
SHORT = 5
"""The fewest words of an item that is looked for anywhere in a row; a shorter one has to be a whole turn."""
LONGEST = 1 << 20
"""Characters of a turn that are looked at, at most."""
_BATCH = 1 << 18
"""Words that are looked up at a time: the working set stays in the cache."""
_CROWD = 1 << 16
"""Matches of one row from which on each 8-gram of it counts once: bounds the work for hostile rows."""
_WORDS = bytes(code if chr(code).isalnum() else 32 for code in range(128)).lower() + bytes(range(128, 256))
_CALCULATED = re.compile(r"<<[^<>=\n]{1,80}=[^<>=\n]{1,40}>>")
_MARKS = re.compile(r"[^\w\x00-\x7f]+")
_IDEOGRAPHS = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_DRAWN = np.random.default_rng(2411_15124)
_TERMS: U64 = _DRAWN.integers(1, 2**64, size=GRAM, dtype=np.uint64) | np.uint64(1)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


def words(text: str) -> list[bytes]:
    """The words of a text, as UTF-8: runs of letters and digits after NFKC, without case; an ideograph
    or kana is a word of its own. So `has_close_elements` is three words, `f(x[1])` is three, 1.5 two,
    and signs are none. GSM8K's calculator notes (<<48/2=24>>) are left out.
    """
    text = text[:LONGEST]
    if "<<" in text:
        text = _CALCULATED.sub(" ", text)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).casefold()
        text = _MARKS.sub(" ", _IDEOGRAPHS.sub(r" \g<0> ", text))
    return text.encode("utf-8", "surrogatepass").translate(_WORDS).split()


class Item(NamedTuple):
    """An item of a benchmark as the index takes it: the benchmark's number, and its texts."""

    benchmark: int
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Hits:
    """Where rows and texts of the index have 8-grams in common, by row and text; equally long arrays.

    row: 0-based, as added. text: 2 * item, or 2 * item + 1 for the item's answer. covered: words of the
    text that lie in common 8-grams. run: words of the longest common stretch; at: where it begins in
    the text. guilty: whether it convicts.
    """

    row: Numbers
    text: Numbers
    covered: Numbers
    run: Numbers
    at: Numbers
    guilty: Flags


@dataclass(frozen=True, slots=True)
class _Grams:
    """Sorted hashes with the places (in the words of the index) where their n-grams begin, and a table
    by which most of what is not among them is told at one look."""

    keys: U64
    first: Numbers
    places: Numbers
    table: Flags
    shift: np.uint64

    @classmethod
    def of(cls, hashes: U64, places: Numbers) -> _Grams:
        order = np.lexsort((places, hashes))
        keys, first = np.unique(hashes[order], return_index=True)
        bits = max(10, int(len(keys) * 16).bit_length())
        shift = np.uint64(64 - bits)
        table = np.zeros(1 << bits, bool)
        table[keys >> shift] = True
        return cls(keys, np.append(first, len(hashes)), places[order], table, shift)

    def find(self, hashes: U64) -> tuple[Numbers, Numbers]:
        """Pairs of what has the same hash: positions in `hashes`, places in the index."""
        at = np.flatnonzero(self.table[hashes >> self.shift])
        key = np.searchsorted(self.keys, hashes[at])
        found = key < len(self.keys)
        found[found] = self.keys[key[found]] == hashes[at[found]]
        at, key = at[found], key[found]
        counts = self.first[key + 1] - self.first[key]
        ends = np.cumsum(counts)
        within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
        return np.repeat(at, counts), self.places[np.repeat(self.first[key], counts) + within]


class Index:
    """The n-grams of benchmark items. `share`: of an item's words (boilerplate apart) that, covered,
    convict a row."""

    def __init__(self, items: Sequence[Item], share: float) -> None:
        self._numbers: dict[bytes, int] = {}
        number = self._numbers.setdefault
        found = array("I")
        ends = array("Q")
        for item in items:
            for text in (item.question, item.answer):
                found.extend([number(word, len(self._numbers) + 1) for word in words(text)])
                ends.append(len(found))
        self.words = np.frombuffer(bytes(found) + bytes(4 * GRAM), np.uint32)
        self.starts = np.concatenate(([0], np.frombuffer(bytes(ends), np.int64)))
        self.lengths = np.diff(self.starts)
        self._spelt = list(self._numbers)
        self.codes = _codes(len(self._numbers) + 1)
        self._of_benchmark = np.array([item.benchmark for item in items], np.int64)
        self._question = np.arange(len(self.lengths)) % 2 == 0
        self._index_grams(share)
        self._index_short()

    def _index_grams(self, share: float) -> None:
        """Choose which 8-grams count for which text, and how many covered words convict."""
        hashes = _hashes(self.codes[self.words], GRAM)
        text = np.repeat(np.arange(len(self.lengths)), self.lengths)
        place = np.arange(len(text))
        inside = place + GRAM <= self.starts[text + 1]
        hashes, text, place = hashes[: len(text)][inside], text[inside], place[inside]
        # The first place of an n-gram in a text stands for all.
        order = np.lexsort((place, text, hashes))
        hashes, text, place = hashes[order], text[order], place[order]
        new = _changes(hashes, text)
        hashes, text, place = hashes[new], text[new], place[new]
        common = self._boilerplate(hashes, text // 2)
        size = len(self.lengths)
        own = _coverage(text[~common], place[~common], size)
        self.whole: Flags = self._question & (own < LONG)
        counts = np.where(self._question[text], self.whole[text] | ~common, ~common & (own[text] >= SOLUTION))
        hashes, text, place = hashes[counts], text[counts], place[counts]
        # Words of each text that can be covered at all.
        self.own = np.where(self.lengths < GRAM, self.lengths, _coverage(text, place, size))
        least = np.where(self._question, LONG, SOLUTION)
        self.needed: Numbers = np.where(
            self.whole, self.own, np.maximum(np.ceil(share * self.own - 1e-9).astype(np.int64), least)
        )
        self._grams = _Grams.of(hashes, place)

    def _boilerplate(self, hashes: U64, item: Numbers) -> Flags:
        """Which of the sorted `hashes` stand in more than COMMON items of the benchmark."""
        benchmark = self._of_benchmark[item]
        order = np.lexsort((item, benchmark, hashes))
        hashes, benchmark, item = hashes[order], benchmark[order], item[order]
        group = np.cumsum(_changes(hashes, benchmark)) - 1
        items = np.bincount(group, weights=_changes(hashes, benchmark, item))
        common = np.empty(len(order), bool)
        common[order] = (items > COMMON)[group]
        return common

    def _index_short(self) -> None:
        """Questions with fewer words than an n-gram has."""
        self._short: dict[int, _Grams] = {}
        for length in range(SHORT, GRAM):
            places = self.starts[:-1][self._question & (self.lengths == length)]
            if len(places):
                self._short[length] = _Grams.of(_hashes(self.codes[self.words], length)[places], places)
        self._tiny: dict[bytes, list[int]] = {}
        for text in np.flatnonzero(self._question & (self.lengths > 0) & (self.lengths < SHORT)).tolist():
            self._tiny.setdefault(self.words[self.starts[text] : self.starts[text + 1]].tobytes(), []).append(text)

    def numbers(self, said: Iterable[bytes]) -> Iterable[int]:
        """Each word's number; 0 for words that no item has."""
        return map(self._numbers.get, said, repeat(0))

    def tiny(self, turn: bytes) -> Sequence[int]:
        """Items of a few words that are all of a turn (its numbers as bytes)."""
        return self._tiny.get(turn, ())

    def text_at(self, place: Numbers) -> Numbers:
        """The text in which each place lies."""
        return np.searchsorted(self.starts, place, "right") - 1

    def stretch(self, text: int, at: int, run: int) -> str:
        """`run` words of a text from its word `at` on."""
        begin = int(self.starts[text]) + at
        return b" ".join(self._spelt[number - 1] for number in self.words[begin : begin + run].tolist()).decode()

    def find(self, numbers: npt.NDArray[np.uint32]) -> tuple[Numbers, Numbers]:
        """Pairs of n-grams that are the same: places in `numbers`, places in the index."""
        here, there = self._grams.find(_hashes(self.codes[numbers], GRAM))
        return self._same(numbers, here, there, GRAM)

    def find_short(self, numbers: npt.NDArray[np.uint32]) -> tuple[Numbers, Numbers]:
        """The same for whole items of fewer words than an n-gram has."""
        found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        for length, grams in self._short.items():
            found.append(self._same(numbers, *grams.find(_hashes(self.codes[numbers], length)), length))
        return np.concatenate([here for here, _ in found]), np.concatenate([there for _, there in found])

    def _same(
        self, numbers: npt.NDArray[np.uint32], here: Numbers, there: Numbers, length: int
    ) -> tuple[Numbers, Numbers]:
        """Equal hashes may be chance, or made on purpose: equal words are wanted."""
        for step in range(length):
            same = numbers[here + step] == self.words[there + step]
            here, there = here[same], there[same]
        return here, there


class Search:
    """Rows held against an index, one by one: `add` each, then `hits`."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._numbers = array("I")
        self._starts: list[int] = []
        self._rows = 0
        self._found: list[Hits] = []

    def add(self, turns: Iterable[str]) -> None:
        """The next row's texts; no n-gram reaches from one into the next."""
        self._starts.append(len(self._numbers))
        tiny = list[int]()
        for turn in turns:
            begin = len(self._numbers)
            self._numbers.extend(self._index.numbers(words(turn)))
            if len(self._numbers) - begin < SHORT:
                tiny += self._index.tiny(self._numbers[begin:].tobytes())
            self._numbers.append(0)
        if tiny:
            row = self._rows + len(self._starts) - 1
            self._found.append(self._entire(np.full(len(tiny), row), np.array(tiny, np.int64)))
        if len(self._numbers) >= _BATCH:
            self._look()

    def hits(self) -> Hits:
        """All that was found, by row and text."""
        self._look()
        none = np.empty(0, np.int64)
        found = [Hits(none, none, none, none, none, np.empty(0, bool)), *self._found]
        parts = {name: np.concatenate([getattr(one, name) for one in found]) for name in Hits.__slots__}
        order = np.lexsort((parts["text"], parts["row"]))
        order = order[_changes(parts["row"][order], parts["text"][order])]
        return Hits(**{name: values[order] for name, values in parts.items()})

    def _look(self) -> None:
        if not self._starts:
            return
        index = self._index
        numbers = np.frombuffer(bytes(self._numbers) + bytes(4 * GRAM), np.uint32)
        starts = np.array(self._starts, np.int64)
        here, there = index.find_short(numbers)
        if len(here):
            self._found.append(self._entire(self._row(starts, here), index.text_at(there)))
        here, there = index.find(numbers)
        if len(here):
            self._found.append(self._weigh(starts, here, there))
        self._rows += len(self._starts)
        self._starts.clear()
        del self._numbers[:]

    def _row(self, starts: Numbers, place: Numbers) -> Numbers:
        return self._rows + np.searchsorted(starts, place, "right") - 1

    def _entire(self, row: Numbers, text: Numbers) -> Hits:
        """Items that are in a row as a whole."""
        length = self._index.lengths[text]
        return Hits(row, text, length, length, np.zeros(len(row), np.int64), np.ones(len(row), bool))

    def _weigh(self, starts: Numbers, here: Numbers, there: Numbers) -> Hits:
        """Matches gathered by row and text."""
        index = self._index
        row, text = self._row(starts, here), index.text_at(there)
        crowded = np.bincount(row - self._rows)[row - self._rows] > _CROWD
        if crowded.any():
            order = np.lexsort((here, there, row))
            kept = order[_changes(row[order], there[order]) | ~crowded[order]]
            here, there, row, text = here[kept], there[kept], row[kept], text[kept]
        order = np.lexsort((there, there - here, text, row))
        row, text, here, there = row[order], text[order], here[order], there[order]
        pair = np.cumsum(_changes(row, text)) - 1
        first = np.flatnonzero(_changes(pair))
        # A run ends where the next match does not stand one word further on in both texts.
        broken = _changes(pair, there - here, there - np.arange(len(there)))
        begins = np.flatnonzero(broken)
        lengths = np.diff(np.append(begins, len(there))) + GRAM - 1
        best = np.lexsort((begins, -lengths, pair[begins]))
        best = best[_changes(pair[begins][best])]
        row, text = row[first], text[first]
        run, at = lengths[best], there[begins[best]] - index.starts[text]
        covered = _coverage(pair, there, len(first))
        guilty = (covered >= index.needed[text]) | ((text % 2 == 0) & ~index.whole[text] & (run >= LONG))
        return Hits(row, text, covered, run, at, guilty)


def _codes(count: int) -> U64:
    """A 64-bit number for each word's number."""
    codes = np.arange(1, count + 1, dtype=np.uint64) * _MIX
    codes ^= codes >> _HALF
    codes *= _TERMS[0]
    codes ^= codes >> _HALF
    return codes


def _hashes(codes: U64, length: int) -> U64:
    """A 64-bit hash of each n-gram of `length`; GRAM fewer than there are codes."""
    count = max(len(codes) - GRAM, 0)
    made: U64 = codes[:count] * _TERMS[0]
    for step in range(1, length):
        made += codes[step : step + count] * _TERMS[step]
    made ^= made >> _HALF
    made *= _MIX
    return made


def _changes(*columns: npt.NDArray[np.generic]) -> Flags:
    """Where any of the sorted columns differs from the place before."""
    new = np.zeros(len(columns[0]), bool)
    new[:1] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return new


def _coverage(group: Numbers, place: Numbers, groups: int) -> Numbers:
    """For each group the words that lie in n-grams which begin at its places; any order, repeats count once."""
    order = np.lexsort((place, group))
    group, place = group[order], place[order]
    reach = np.full(len(place), GRAM)
    together = group[1:] == group[:-1]
    reach[:-1][together] = np.minimum(np.diff(place)[together], GRAM)
    return np.bincount(group, weights=reach, minlength=groups).astype(np.int64)
