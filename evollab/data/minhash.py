"""Near-duplicates among many texts: MinHash signatures, the pairs they make likely, the pairs that are.

Texts are compared as sets of their character 5-grams; how alike two are is the Jaccard similarity of
the sets (shared 5-grams through all 5-grams of both). A signature is the least value of each of 128
hash functions over a text's 5-grams: two signatures agree in each place with the probability that is
the similarity (Broder 1997). Rows whose signatures agree in a whole band of places become candidates;
each candidate is then verified on the sets themselves, so that nothing is called alike on an estimate.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

GRAM = 5
"""Characters of one n-gram. A shorter text is padded to one."""
HASHES = 128
"""Places of a signature: 512 bytes a row."""
SURE = 0.98
"""A pair at the threshold shares a band with at least this probability."""
BUCKET = 32
"""Rows that share a band: up to so many are compared all with all."""
WINDOW = 8
"""In a fuller bucket (a text that many rows have in common makes them) a row is compared with so many that
stand next to it; the bucket is sorted by its rows' next band, so that the most alike stand together."""
LONGEST = 1 << 20
"""Characters of a text that are compared, at most."""
_SPREAD = 3.0
"""Standard deviations that an estimate may lie below the threshold before a pair is passed over."""
_BATCH = 1 << 18
"""Characters whose 5-grams are hashed at a time: the working set stays in the cache."""
_PAIRS = 1 << 13
_HELD = 4 << 20
"""5-grams that the cache of sets may hold (8 bytes each)."""
_PLACES = np.random.default_rng(2304_12244)
_TERMS = _PLACES.integers(1, 2**64, size=GRAM, dtype=np.uint64) | np.uint64(1)
_FACTORS = _PLACES.integers(1, 2**32, size=HASHES, dtype=np.uint32) | np.uint32(1)
_FLIPS = _PLACES.integers(0, 2**32, size=HASHES, dtype=np.uint32)
_BAND_TERMS = _PLACES.integers(1, 2**64, size=HASHES, dtype=np.uint64) | np.uint64(1)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


def layout(threshold: float) -> tuple[int, int]:
    """How a signature is cut: (bands, places in each), with as long bands as still find a pair at
    `threshold` with probability SURE. At 0.8 it is 18 bands of 7 (0.985; 16 of 8 would be 0.947)."""
    for width in range(HASHES, 1, -1):
        bands = HASHES // width
        if 1 - (1 - threshold**width) ** bands >= SURE:
            return bands, width
    return HASHES, 1


def signatures(texts: Iterable[str]) -> U32:
    """The signatures of `texts`, one a row: shape (texts, HASHES)."""
    blocks: list[U32] = []
    held: list[str] = []
    size = 0
    for text in texts:
        held.append(text[:LONGEST].ljust(GRAM))
        size += len(held[-1])
        if size >= _BATCH:
            blocks.append(_signatures(held))
            held, size = [], 0
    if held:
        blocks.append(_signatures(held))
    made = np.empty((sum(map(len, blocks)), HASHES), np.uint32)
    end = len(made)
    while blocks:  # from the end, each block let go once it is copied
        block = blocks.pop()
        made[end - len(block) : end] = block
        end -= len(block)
    return made


def gram_set(text: str) -> U64:
    """The 5-grams of a text as sorted 64-bit hashes, each once."""
    found = _hashes(text[:LONGEST].ljust(GRAM))
    found.sort()
    keep = np.empty(len(found), bool)
    keep[0] = True
    np.not_equal(found[1:], found[:-1], out=keep[1:])
    return found[keep]


def jaccard(one: U64, other: U64) -> float:
    """How alike two sets of `gram_set` are, 0 to 1."""
    both = np.concatenate((one, other))
    both.sort(kind="stable")  # merges two sorted runs
    shared = int(np.count_nonzero(both[1:] == both[:-1]))
    return shared / (len(both) - shared)


def _hashes(text: str) -> U64:
    """A 64-bit hash of each 5-gram, in order, repeats included."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    count = len(codes) - GRAM + 1
    made: U64 = codes[:count] * _TERMS[0]
    for place in range(1, GRAM):
        made += codes[place : place + count] * _TERMS[place]
    made ^= made >> _HALF
    made *= _MIX
    return made


def _signatures(texts: list[str]) -> U32:
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    values = (_hashes("".join(texts)) >> _HALF).astype(np.uint32)
    starts = np.cumsum(lengths) - lengths
    # Every second segment holds the n-grams that reach from one text into the next; they are not used.
    edges = np.stack((starts, starts + lengths - GRAM + 1), axis=1).ravel()[:-1]
    made = np.empty((HASHES, len(texts)), np.uint32)
    scratch = np.empty_like(values)
    for place in range(HASHES):
        np.bitwise_xor(values, _FLIPS[place], out=scratch)
        np.multiply(scratch, _FACTORS[place], out=scratch)
        made[place] = np.minimum.reduceat(scratch, edges)[::2]
    return made.T.copy()


@dataclass(frozen=True, slots=True)
class Limits:
    """How alike two rows must be to count as duplicates: `near`; `lineage` where both have the same
    root. `roots`: 64-bit numbers, 0 for rows without one; empty where no row has one."""

    near: float
    lineage: float
    roots: U64

    def needed(self, one: Places, other: Places) -> npt.NDArray[np.float64]:
        """The similarity that each pair needs."""
        needed = np.full(len(one), self.near)
        if len(self.roots):
            roots = self.roots[one]
            needed[(roots == self.roots[other]) & (roots != 0)] = self.lineage
        return needed


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pairs of rows that are likely alike, one < other, sorted; and how many pairs shared a bucket too
    full to look at all of it."""

    one: Places
    other: Places
    skipped: int


def candidates(made: U32, limits: Limits) -> Candidates:
    """The pairs that share a band and whose signatures agree about as often as `limits` asks."""
    bands, width = layout(limits.near)
    count = len(made)
    keys = [_band_keys(made[:, band * width : (band + 1) * width]) for band in range(bands)]
    found: list[Places] = []
    skipped = 0
    for band, key in enumerate(keys):
        order = np.lexsort((keys[(band + 1) % bands], key))
        key = key[order]
        sizes = _bucket_sizes(key)
        skipped += _beyond_window(sizes)
        full = np.repeat(sizes, sizes) > BUCKET
        in_band: list[Places] = []
        at = np.arange(count)
        for distance in range(1, BUCKET):
            if distance == WINDOW + 1:
                at = at[~full[at]]
            at = at[at + distance < count]
            at = at[key[at] == key[at + distance]]
            if not len(at):
                break
            ends = np.sort(np.stack((order[at], order[at + distance])), axis=0)
            ends = ends[:, likely(made, ends[0], ends[1], limits)]
            in_band.append(ends[0] * count + ends[1])
        if in_band:
            found.append(np.unique(np.concatenate(in_band)))
    pairs = np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)
    return Candidates(pairs // max(count, 1), pairs % max(count, 1), skipped)


def likely(made: U32, one: Places, other: Places, limits: Limits) -> npt.NDArray[np.bool_]:
    """Which pairs' signatures agree in so many places that they may be as alike as `limits` asks."""
    needed = limits.needed(one, other)
    least = needed - _SPREAD * np.sqrt(needed * (1 - needed) / HASHES)
    return agreement(made, one, other) >= least


def agreement(made: U32, one: Places, other: Places) -> npt.NDArray[np.float64]:
    """The share of places in which the signatures of each pair agree: an estimate of their similarity,
    with a standard deviation of 0.04 or less."""
    shares = np.empty(len(one))
    for start in range(0, len(one), _PAIRS):
        part = slice(start, start + _PAIRS)
        shares[part] = np.count_nonzero(made[one[part]] == made[other[part]], axis=1)
    return shares / HASHES


def _band_keys(band: U32) -> U64:
    key = np.zeros(len(band), np.uint64)
    for place in range(band.shape[1]):
        key += band[:, place].astype(np.uint64) * _BAND_TERMS[place]
    key ^= key >> _HALF
    return key


def _bucket_sizes(key: U64) -> Places:
    """How many there are of each value of the sorted `key`."""
    edges = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1], [True])))
    return np.diff(edges)


def _beyond_window(sizes: Places) -> int:
    """Pairs that share a bucket and are not looked at, for they stand too far apart in it."""
    beyond = sizes[sizes > BUCKET] - WINDOW
    return int((beyond * (beyond - 1) // 2).sum())


class Sets:
    """The 5-gram sets of rows, made when asked for, the latest ones kept."""

    def __init__(self, text_of: Callable[[int], str]) -> None:
        self._text_of = text_of
        self._held: OrderedDict[int, U64] = OrderedDict()
        self._size = 0

    def similarity(self, one: int, other: int) -> float:
        return jaccard(self[one], self[other])

    def __getitem__(self, row: int) -> U64:
        if row in self._held:
            return self._held[row]
        made = gram_set(self._text_of(row))
        self._held[row] = made
        self._size += len(made)
        while self._size > _HELD and len(self._held) > 2:
            self._size -= len(self._held.popitem(last=False)[1])
        return made


@dataclass(slots=True)
class Found:
    """What `near_duplicates` found: removed row -> (row that stays, their similarity); `clusters`: how
    many groups of connected rows; `candidates`: likely pairs; `links`: those found to be as alike as
    asked that connect the clusters; `skipped`: pairs not looked at, for their bucket or cluster was too
    full (a pair counts once for each bucket that it shares)."""

    removed: dict[int, tuple[int, float]] = field(default_factory=dict[int, tuple[int, float]])
    clusters: int = 0
    candidates: int = 0
    links: int = 0
    skipped: int = 0


_FEW = 1024
"""Rows that stay of one cluster which a further row of it is held against, at most."""
_CLOSEST = 32
"""Of these, how many are compared in full."""


def near_duplicates(made: U32, text_of: Callable[[int], str], rank: Places, limits: Limits) -> Found:
    """Which rows are too like another row that stays.

    `made`: signatures; `text_of`: a row's text; `rank`: each row's place in the order of preference
    (0 first, no two alike). Rows connected by verified pairs are a cluster. In a cluster the rows are
    taken by rank, and one is removed where a row that stays is as alike as `limits` asks: a chain of
    small changes does not remove its far end, and what a removed row is said to resemble it resembles.
    """
    likely_pairs = candidates(made, limits)
    sets = Sets(text_of)
    alike: dict[int, dict[int, float]] = {}
    leader: dict[int, int] = {}
    found = Found(candidates=len(likely_pairs.one), skipped=likely_pairs.skipped)
    for one, other, least in _one_by_one(likely_pairs, limits):
        if one in leader and other in leader and _leader(leader, one) == _leader(leader, other):
            continue  # settled within their cluster
        similarity = sets.similarity(one, other)
        if similarity >= least:
            alike.setdefault(one, {})[other] = similarity
            alike.setdefault(other, {})[one] = similarity
            leader[_leader(leader, one)] = _leader(leader, other)
            found.links += 1
    clusters: dict[int, list[int]] = {}
    for row in alike:
        clusters.setdefault(_leader(leader, row), []).append(row)
    found.clusters = len(clusters)
    for rows in clusters.values():
        rows.sort(key=lambda row: int(rank[row]))
        _thin(rows, alike, _Look(made, sets, limits), found)
    return found


def _one_by_one(pairs: Candidates, limits: Limits) -> Iterator[tuple[int, int, float]]:
    """Each pair with the similarity that it needs."""
    for start in range(0, len(pairs.one), _PAIRS):
        one, other = pairs.one[start : start + _PAIRS], pairs.other[start : start + _PAIRS]
        yield from zip(one.tolist(), other.tolist(), limits.needed(one, other).tolist(), strict=True)


def _leader(leader: dict[int, int], row: int) -> int:
    """The row that stands for the cluster of `row`, the way there made shorter (path halving)."""
    while (above := leader.setdefault(row, row)) != row:
        leader[row] = leader[above]
        row = leader[row]
    return row


@dataclass(frozen=True, slots=True)
class _Look:
    """All that is needed to compare two rows in full."""

    made: U32
    sets: Sets
    limits: Limits

    def nearest(self, row: int, others: list[int]) -> tuple[float, int] | None:
        """One of `others` that is as alike as asked: the most alike by estimate that holds."""
        there = np.array(others, np.int64)
        here = np.full(len(there), row, np.int64)
        may = np.flatnonzero(likely(self.made, here, there, self.limits))
        if not len(may):
            return None
        shares = agreement(self.made, here[may], there[may])
        needed = self.limits.needed(here, there)
        for at in may[np.argsort(-shares, kind="stable")][:_CLOSEST].tolist():
            similarity = self.sets.similarity(row, others[at])
            if similarity >= needed[at]:
                return similarity, others[at]
        return None


def _thin(rows: list[int], alike: dict[int, dict[int, float]], look: _Look, found: Found) -> None:
    """Settle one cluster, its rows in the order of preference."""
    order, stay = list[int](), set[int]()
    for row in rows:
        known = [(similarity, other) for other, similarity in alike[row].items() if other in stay]
        best: tuple[float, int] | None = max(known, key=lambda one: one[0]) if known else None
        if best is None and order:
            found.skipped += max(0, len(order) - _FEW)
            best = look.nearest(row, order[-_FEW:])
        if best is None:
            order.append(row)
            stay.add(row)
        else:
            found.removed[row] = (best[1], best[0])
