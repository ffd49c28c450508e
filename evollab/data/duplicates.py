"""Which rows are duplicates of which: an index of all rows, the searches on it, and what they add up to."""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from evollab.data.comparable import normalise
from evollab.data.items import Item
from evollab.data.rows import excerpt
from evollab.data.spool import Spool
from evollab.data.strata import value_of
from evollab.records import EvolError, Role, digest

if TYPE_CHECKING:
    from evollab.data.embed import Embedder
    from evollab.data.minhash import Limits, Sets
    from evollab.data.vectors import Kept, Places

KEEP = ("first", "last", "earliest-round", "latest-round", "longest-response")
HIGHEST = "highest:"
EXACT, NEAR, SEMANTIC = "exact", "near", "semantic"


@dataclass(frozen=True, slots=True)
class Sought:
    """What to look for besides copies. near: Jaccard similarity from which a row is a near-duplicate,
    lineage: the same for rows of one seed. semantic: cosine from which a row says the same, lineage_semantic:
    the same for rows of one seed, embedder: whose cosine. None: not looked for."""

    near: float | None = None
    lineage: float = 1.0
    semantic: float | None = None
    lineage_semantic: float = 1.0
    embedder: Embedder | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """Why a row goes: the reason, the row that stays, how alike the two are (cosine where the reason is
    "semantic", else Jaccard)."""

    reason: str
    stays: int
    similarity: float


@dataclass(slots=True)
class Duplicates:
    """The rows that go; and of the search for near-duplicates: see `minhash.Found`."""

    gone: dict[int, Gone] = field(default_factory=dict[int, Gone])
    candidates: int = 0
    links: int = 0
    clusters: int = 0
    skipped: int = 0


def merit(keep: str, item: Item) -> float | None:
    """The number by which the row with the greatest stays, None where the row has none."""
    value: Any
    match keep:
        case "first":
            return 0.0
        case "last":
            return float(item.number)
        case "earliest-round" | "latest-round":
            value = item.round
        case "longest-response":
            last = item.messages[-1]
            value = len(last.content) if last.role == "assistant" else None
        case _:
            value = value_of(item.fields, keep.removeprefix(HIGHEST))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return -number if keep == "earliest-round" else number


class Index:
    """All that is known of the rows, and where their bytes lie."""

    def __init__(self, folder: Path, *, keep: str, roles: tuple[Role, ...], id_column: str) -> None:
        self._folder = folder
        self._keep = keep
        self._roles = roles
        self._id_column = id_column
        self.rows = Spool(folder)
        self._texts = Spool(folder)
        self.lines = array("Q")
        self._roots = array("Q")
        self._merits = array("d")
        self._digests = bytearray()
        self._with_merit = 0
        self.without_text = 0

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.rows.close()
        self._texts.close()

    def __len__(self) -> int:
        return len(self.lines)

    def add(self, item: Item) -> None:
        said = "\n\n".join(turn.content for turn in item.messages if turn.role in self._roles)
        text = normalise(said).encode("utf-8", "surrogatepass")
        found = merit(self._keep, item)
        # A row without a text is alike none: its digest is its number's.
        self._digests += hashlib.blake2b(text or b"\xff%d" % len(self.lines), digest_size=16).digest()
        self.without_text += not text
        self.rows.add(item.data)
        self._texts.add(text)
        self.lines.append(item.number)
        self._roots.append(int(digest(item.root), 16) if item.root else 0)
        self._with_merit += found is not None
        self._merits.append(-math.inf if found is None else found)

    def check(self) -> None:
        """To be called when all rows are there. Raises EvolError when none has what `keep` asks for."""
        self.rows.flush()
        self._texts.flush()
        if not self._with_merit:
            missing = {"longest-response": "response"}.get(self._keep, "number in the field round")
            if self._keep.startswith(HIGHEST):
                missing = f"number in the field {excerpt(self._keep.removeprefix(HIGHEST), 40)}"
            raise EvolError(f"--keep {excerpt(self._keep, 60)}: no row has a {missing}", "--keep first needs none")

    def text(self, row: int) -> str:
        """The normal form of a row's text."""
        return self._texts[row].decode("utf-8", "surrogatepass")

    def id(self, row: int) -> Any:
        """The id of a row as it stands there, None where it has none."""
        found = orjson.loads(self.rows[row]).get(self._id_column)
        return found if isinstance(found, (str, int)) and not isinstance(found, bool) else None

    def duplicates(self, sought: Sought) -> Duplicates:
        """The rows that go, each with a row that stays and is as alike as `sought` asks.

        Copies come first, then near-duplicates, then rows that say the same; a row goes for the first reason
        that holds. Raises EvolError where texts can't be embedded.
        """
        import numpy as np

        count = len(self)
        order = np.lexsort((np.arange(count), -np.array(self._merits)))
        rank = np.empty(count, np.int64)
        rank[order] = np.arange(count)
        digests = np.frombuffer(bytes(self._digests), "<u8").reshape(count, 2)
        groups = np.lexsort((rank, digests[:, 1], digests[:, 0]))
        new = np.ones(count, bool)
        new[1:] = (digests[groups[1:]] != digests[groups[:-1]]).any(axis=1)
        stays = groups[np.maximum.accumulate(np.where(new, np.arange(count), 0))]
        # Without the copies, and without rows that have no text.
        left = [row for row in np.sort(groups[new]).tolist() if len(self._texts[row])]
        found = self._search(np.array(left, np.int64), rank, sought)
        for row, stay in zip(groups[~new].tolist(), stays[~new].tolist(), strict=True):
            # The copy that would have stayed may itself resemble another row: that one stays for both.
            found.gone[row] = found.gone.get(stay, Gone(EXACT, stay, 1.0))
        return found

    def _search(self, left: Places, rank: Places, sought: Sought) -> Duplicates:
        """What goes among the rows `left`, no two of which are copies."""
        import numpy as np

        from evollab.data import minhash

        roots = np.array(self._roots)[left] if any(self._roots) else np.empty(0, np.uint64)
        limits = minhash.Limits(sought.near or 1.0, sought.lineage, roots)
        found = Duplicates()
        gone: dict[int, Gone] = {}
        if sought.near is not None:
            made = minhash.signatures(self.text(row) for row in left.tolist())
            seen = minhash.near_duplicates(made, lambda at: self.text(int(left[at])), rank[left], limits)
            found = Duplicates({}, seen.candidates, seen.links, seen.clusters, seen.skipped)
            gone = {at: Gone(NEAR, stay, similarity) for at, (stay, similarity) in seen.removed.items()}
        if sought.semantic is not None and sought.embedder is not None:
            texts = (self.text(row) for row in left.tolist())
            vectors = embedded(texts, sought.embedder, len(left), self._folder)
            alike = minhash.Limits(sought.semantic, sought.lineage_semantic, roots)
            gone = self._say_the_same(left, np.argsort(rank[left]).tolist(), vectors, alike, limits, gone)
        found.gone = {int(left[at]): Gone(one.reason, int(left[one.stays]), one.similarity) for at, one in gone.items()}
        return found

    def _say_the_same(
        self, left: Places, order: list[int], vectors: Kept, alike: Limits, near: Limits, gone: dict[int, Gone]
    ) -> dict[int, Gone]:
        """`gone` (near-duplicates) and the rows that say the same as one that stays, by their places in `left`.
        `order`: these places, the ones to prefer first."""
        import numpy as np

        from evollab.data import minhash, semantic

        def thin(settled: list[int], others: list[int]) -> dict[int, Gone]:
            removed = semantic.thin(vectors, np.array([*settled, *others], np.int64), alike, len(settled))
            return {at: Gone(SEMANTIC, stay, cosine) for at, (stay, cosine) in removed.items()}

        gone = gone | thin([], [at for at in order if at not in gone])
        sets = minhash.Sets(lambda at: self.text(int(left[at])))
        # A near-duplicate of a row that has gone since needs another that stays, or stays itself.
        while orphans := [at for at in order if at in gone and gone[at].stays in gone]:
            after = _led(orphans, gone, sets, near)
            leaders = {at: gone.pop(at) for at in orphans if at not in after}
            gone |= after
            gone |= thin([at for at in order if at not in gone and at not in leaders], list(leaders))
        return gone


def embedded(texts: Iterator[str], embedder: Embedder, count: int, scratch: Path) -> Kept:
    """The vectors of `count` texts, those that took long to make kept in the user's cache."""
    from evollab.data.vectors import embed_texts, vector_cache

    return embed_texts(texts, embedder, vector_cache(), total=count, scratch=scratch)


def _led(orphans: list[int], gone: Mapping[int, Gone], sets: Sets, near: Limits) -> dict[int, Gone]:
    """Of rows whose row that stayed has gone, in the order of preference: those that are near-duplicates of
    one before them that had the same row."""
    import numpy as np

    leaders: dict[int, list[int]] = {}
    led: dict[int, Gone] = {}
    for at in orphans:
        before = leaders.setdefault(gone[at].stays, [])
        needed = near.needed(np.full(len(before), at), np.array(before, np.int64)).tolist()
        found = ((sets.similarity(at, one), one, least) for one, least in zip(before, needed, strict=True))
        best = next((Gone(NEAR, one, similarity) for similarity, one, least in found if similarity >= least), None)
        if best is None:
            before.append(at)
        else:
            led[at] = best
    return led
