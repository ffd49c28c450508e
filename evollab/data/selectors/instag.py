"""Rows that cover many intentions (#InsTag, 2308.07074, algorithm 1): by falling number of tags, a row is
chosen when it brings a tag that this pass has not seen; passes follow one another until there are enough.

Tags are compared without case. A pass over n rows never has to look at them all: the next row chosen is
the first of those that wait for one of the unseen tags, so the whole takes time in proportion to the
number of tags, however many passes there are.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence

from evollab.data.selecting import Candidates, Choice, Need, SelectOptions, Selector, Why, ranked

NAME = "tags"
NO_NEW = "no new tag"


def pick(candidates: Candidates, options: SelectOptions) -> Choice:
    import numpy as np

    tags = [_different(own) for own in candidates.lists[NAME]]
    order = ranked(np.array([len(own) for own in tags], np.float64), candidates.keys).tolist()
    enough = options.n or candidates.size
    chosen: list[int] = []
    passes = 0
    for one in _passes([tags[place] for place in order]):
        passes += 1
        chosen += [order[at] for at in one][: enough - len(chosen)]
        if len(chosen) == enough:
            break

    def why(place: int) -> Why:
        if not tags[place]:
            return Why(NO_NEW, "it has no tags", {"tags": 0})
        return Why(
            NO_NEW, f"none of its {len(tags[place])} tags was new at its turn in any of {passes:,} passes",
            {"tags": len(tags[place])},
        )  # fmt: skip

    return Choice(chosen, why)


def _different(tags: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag.strip().casefold() for tag in tags if tag.strip()))


def _passes(tags: Sequence[Sequence[str]]) -> Iterator[list[int]]:
    """The rows that each pass chooses, until none with tags is left. `tags`: of each row, in their order."""
    waiting: dict[str, list[int]] = defaultdict(list)
    for at in range(len(tags) - 1, -1, -1):
        for tag in tags[at]:
            waiting[tag].append(at)
    taken = bytearray(len(tags))
    while waiting:
        heads: list[tuple[int, str]] = []
        for tag in list(waiting):
            rows = waiting[tag]
            while rows and taken[rows[-1]]:
                rows.pop()
            if rows:
                heads.append((rows[-1], tag))
            else:
                del waiting[tag]
        heapq.heapify(heads)
        seen: set[str] = set()
        one: list[int] = []
        while heads:
            at, tag = heapq.heappop(heads)
            if tag not in seen:
                taken[at] = 1
                one.append(at)
                seen.update(tags[at])
        if one:
            yield one


SELECTOR = Selector(needs=lambda _: (Need(NAME, "list"),), pick=pick)
