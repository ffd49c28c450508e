"""What is compared: items that all models answered, drawn by skill; every pair of models; who judges what, in which
order and with which answer on the left."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from evollab import rng
from evollab.data.raking import apportion
from evollab.data.rows import excerpt
from evollab.evals.people.outputs import Output, Place, read_outputs
from evollab.records import EvolError, Rejected, digest


@dataclass(frozen=True, slots=True)
class Item:
    """Something that all models were asked. id: depends on the text alone. name: its id in the files, where one has
    it. answers: the texts by model."""

    id: str
    name: str | None
    skill: str
    turns: tuple[str, ...]
    answers: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers to one item. `model_1` comes before `model_2` in the order of the arguments."""

    id: str
    item: str
    model_1: str
    model_2: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A comparison as one annotator gets it. left: which model's answer (1 or 2) is answer A."""

    comparison: str
    left: int


@dataclass(slots=True)
class Material:
    """All that can be compared, found in a first pass over the files, without texts."""

    models: list[str] = field(default_factory=list[str])
    answered: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """Model -> the items that it answered."""
    skills: dict[str, str] = field(default_factory=dict[str, str])
    """Item -> its skill, in the order of the files; "" where it has none."""
    ids: dict[str, str | None] = field(default_factory=dict[str, "str | None"])
    """An item's id in the files -> the item; None where several have that id."""
    repeated: int = 0
    """Answers of a model to what it had answered already; the first one counts."""
    unmatched: int = 0
    """Answers to an id for which no file, or more than one text, says what was asked."""

    def item_of(self, output: Output) -> str | None:
        """The item that it answers, by what was asked, else by its id."""
        return output.key or self.ids.get(output.id or "")

    @property
    def shared(self) -> list[str]:
        """The items that all models answered."""
        every = list(self.answered.values())
        return [item for item in self.skills if all(item in one for one in every)]


def survey(places: Sequence[Place], *, strict: bool, reject: Callable[[Rejected], None]) -> Material:
    """Who answered what. Raises EvolError for fewer than two models, and where nothing was answered by all."""
    material = Material()
    for place in places:  # texts first: rows that have only an id need them
        for one in read_outputs(place, strict=strict, reject=reject):
            material.answered.setdefault(one.model, set())
            if not one.key:
                continue
            if not material.skills.setdefault(one.key, one.skill):
                material.skills[one.key] = one.skill
            if one.id is not None and material.ids.setdefault(one.id, one.key) != one.key:
                material.ids[one.id] = None
    for place in places:
        for one in read_outputs(place, strict=False, reject=_unheard):
            item = material.item_of(one)
            if item is None:
                material.unmatched += 1
            elif item in material.answered[one.model]:
                material.repeated += 1
            else:
                material.answered[one.model].add(item)
    material.models = list(material.answered)
    _check(material)
    return material


def _check(material: Material) -> None:
    models = material.models
    if len(models) < 2:
        raise EvolError(
            f"answers of one model only ({', '.join(models) or 'none'}); a comparison needs two",
            "name more files; NAME=FILE says whose answers a file holds",
        )
    if not material.skills:
        raise EvolError("no file says what was asked", "one of them must have instruction, prompt, question or turns")
    if not material.shared:
        told = ", ".join(f"{excerpt(name, 60)} {len(items):,}" for name, items in material.answered.items())
        raise EvolError(
            f"no item was answered by all models (items answered: {told})", "are these outputs for the same prompts?"
        )


def drawn(material: Material, items: int, seed: int) -> list[str]:
    """`items` of the items that all answered (0: all), in proportion to their skills; which ones depends on the seed
    and their texts, not on their order."""
    pool = material.shared
    if not items or items >= len(pool):
        return pool
    groups: dict[str, list[str]] = {}
    for item in pool:
        groups.setdefault(material.skills[item], []).append(item)
    sizes = [len(groups[skill]) for skill in sorted(groups)]
    counts = apportion(items, [float(size) for size in sizes], [0] * len(sizes), sizes)
    taken: set[str] = set()
    for skill, count in zip(sorted(groups), counts, strict=True):
        taken.update(sorted(groups[skill], key=lambda item: (rng.integer(seed, "people", item), item))[:count])
    return [item for item in pool if item in taken]


def fetch(places: Sequence[Place], material: Material, chosen: Sequence[str]) -> Iterator[Item]:
    """The chosen items with their texts, in their order: a second pass over the files."""
    answers: dict[str, dict[str, tuple[str, ...]]] = {item: {} for item in chosen}
    turns: dict[str, tuple[str, ...]] = {}
    named: dict[str, str] = {}
    for place in places:
        for one in read_outputs(place, strict=False, reject=_unheard):
            item = material.item_of(one)
            if item not in answers:
                continue
            answers[item].setdefault(one.model, one.texts)
            if one.turns:
                turns.setdefault(item, one.turns)
            if one.id is not None:
                named.setdefault(item, one.id)
    for item in chosen:
        by_model = {model: answers[item][model] for model in material.models}
        yield Item(item, named.get(item), material.skills[item], turns[item], by_model)


def pairs(item: Item) -> Iterator[Comparison]:
    """Every pair of models whose answers to the item are not the same, word for word."""
    for model_1, model_2 in combinations(item.answers, 2):
        if item.answers[model_1] != item.answers[model_2]:
            yield Comparison(digest(item.id, model_1, model_2), item.id, model_1, model_2)


def assignment(
    comparisons: Sequence[Comparison], annotators: Sequence[str], each: int, seed: int
) -> dict[str, list[Shown]]:
    """What every annotator judges, in an order of their own.

    each: annotators for a comparison, 0: all. Loads differ by one at most, and so do, for every annotator and pair of
    models, the times that either model stands on the left.
    """
    count = len(annotators)
    lots = sorted(comparisons, key=lambda one: (rng.integer(seed, "people lot", one.id), one.id))
    shown: dict[str, list[Shown]] = {}
    for at, annotator in enumerate(annotators):
        mine = [one for place, one in enumerate(lots) if not each or (at - _first(place, each, count)) % count < each]
        shown[annotator] = _for_one(mine, annotator, seed)
    return shown


def _first(place: int, each: int, count: int) -> int:
    """The first of the `each` neighbours (of `count` annotators in a ring) who judge the comparison at `place`. Where
    the ring has come round evenly it moves on by one, so that not always the same people judge together."""
    return place * each + place // (count // math.gcd(each, count))


def _for_one(mine: Sequence[Comparison], annotator: str, seed: int) -> list[Shown]:
    def shuffled(purpose: str) -> list[Comparison]:
        return sorted(mine, key=lambda one: (rng.integer(seed, purpose, annotator, one.id), one.id))

    seen: dict[tuple[str, str], int] = {}
    left: dict[str, int] = {}
    for one in shuffled("people side"):
        pair = (one.model_1, one.model_2)
        number = seen[pair] = seen.get(pair, rng.integer(seed, "people first", annotator, *pair) & 1) + 1
        left[one.id] = 1 + number % 2
    return [Shown(one.id, left[one.id]) for one in shuffled("people order")]


def _unheard(row: Rejected) -> None:
    """For the second time over the same rows: they were put aside already."""
    del row
