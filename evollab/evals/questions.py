"""The questions of a task: read, checked, and where only some are wanted always the same ones."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import orjson

from evollab import rng
from evollab.data.files import read_rows
from evollab.data.formats import BadFields
from evollab.data.rows import Row
from evollab.evals.trial import Question
from evollab.records import EvolError, Rejected


class Item(Protocol):
    """What has an id and groups."""

    @property
    def id(self) -> str: ...

    @property
    def facts(self) -> Mapping[str, str]: ...


T = TypeVar("T", bound=Item)


@dataclass(frozen=True, slots=True)
class Questions:
    """A task's questions. source: where they came from. items: those that are asked, in the order of the file.
    whole: how many there were. unreadable: rows that were none. digest: over the items that are asked."""

    source: str
    items: Sequence[Question]
    whole: int
    unreadable: Sequence[Rejected]

    def digest(self) -> str:
        """32 hex digits over all that is asked and what is right."""
        state = hashlib.blake2b(digest_size=16)
        for item in self.items:
            state.update(orjson.dumps([item.id, item.turns, repr(item.gold)]))
        return state.hexdigest()


def read_questions(
    places: Sequence[str], question: Callable[[Row], Question | None], limit: int | None, groups: Sequence[str]
) -> Questions:
    """Read a task's questions from files or hub ids. Raises EvolError where no row is one, and for two of one id."""
    found: list[Question] = []
    bad: list[Rejected] = []
    for row in _rows(places, bad):
        try:
            item = question(row)
        except BadFields as error:
            bad.append(Rejected(places[0], row.number, str(error), ""))
            continue
        if item is not None:
            found.append(item)
    if not found:
        why = f": {bad[0].reason}" if bad else ""
        raise EvolError(f"{places[0]}: no row of it is a question of this task{why}", "is it the file of another task?")
    seen: set[str] = set()
    for item in found:
        if item.id in seen:
            raise EvolError(f"{places[0]}: two questions have the id {item.id!r}", "is the file there twice?")
        seen.add(item.id)
    return Questions(places[0], some(found, limit, groups), len(found), bad)


def _rows(places: Sequence[str], bad: list[Rejected]) -> Iterator[Row]:
    number = 0
    for place in places:
        for row in read_rows(place, reject=bad.append):
            number += 1
            yield row if len(places) == 1 else row._replace(number=number)


def some(items: Sequence[T], limit: int | None, groups: Sequence[str] = ()) -> list[T]:
    """`limit` of the items in their order, chosen by a hash of their ids: always the same, whatever model is measured.
    The shares of the groups (values of the facts `groups` taken together) are kept as far as whole items can."""
    if limit is None or limit >= len(items):
        return list(items)
    strata: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for at, item in enumerate(items):
        strata[tuple(item.facts.get(name, "") for name in groups)].append(at)
    for places in strata.values():
        places.sort(key=lambda at: rng.integer("eval limit", items[at].id))
    exact = {key: limit * len(places) / len(items) for key, places in strata.items()}
    share = {key: int(value) for key, value in exact.items()}
    rest = sorted(strata, key=lambda key: (share[key] - exact[key], rng.integer("eval limit", *key)))
    for key in rest[: limit - sum(share.values())]:
        share[key] += 1
    chosen = {at for key, places in strata.items() for at in places[: share[key]]}
    return [item for at, item in enumerate(items) if at in chosen]


def plain(facts: Mapping[str, Any]) -> dict[str, str]:
    """Facts as texts, without those that are missing."""
    return {name: str(value) for name, value in facts.items() if value not in (None, "")}
