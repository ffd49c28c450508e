"""What a row filter is, and how presets are chosen. The presets are the files in `evollab/data/filters/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evollab.data.files import input_digest
from evollab.data.items import Item, RowOptions
from evollab.data.rows import excerpt
from evollab.llm.option import option
from evollab.plugs import find
from evollab.records import EvolError

FILTERS = "evollab.data.filters"
"""Where presets are found by name; each file has a `FILTER` in it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a row goes: `reason` in a word or two that many rows share, `detail` says what was seen."""

    reason: str
    detail: str


Check = Callable[[Item], Finding | None]
"""Looks at one row; None where it may stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterOptions(RowOptions):
    """Which rows go whatever else is asked, and what the presets need to know."""

    filter: tuple[str, ...] = option(
        "drop rows by presets, parted by commas: refusals (refusals, moralising, 'as an AI'), toxic, pii (addresses, "
        "numbers and keys of persons), licence; or a path to a .py file; repeatable",
        (), metavar="NAME[,NAME]",
    )  # fmt: skip
    licences: tuple[str, ...] = option(
        "what --filter licence lets stay, parted by commas: apache-2.0,mit,cc-by-4.0", (), metavar="ID[,ID]"
    )
    licence_field: str | None = option(
        "the field that has a row's licence, dotted into objects; default: license, licence", None, metavar="FIELD"
    )
    licence_of: tuple[str, ...] = option(
        "the licence of rows without one of their own, by their field source (or source.file); repeatable",
        (), metavar="SOURCE=ID",
    )  # fmt: skip

    def filters(self) -> tuple[str, ...]:
        """The names, each once, in their order."""
        return tuple(dict.fromkeys(parted(self.filter)))


@dataclass(frozen=True, slots=True)
class Filter:
    """A preset. `make` builds its check and raises EvolError for options that don't do. `private`: what
    it finds must not be copied, so of its rows only line and id are written."""

    make: Callable[[FilterOptions], Check]
    private: bool = False


@dataclass(frozen=True, slots=True)
class Filters:
    """The presets that were asked for: (check, whether what it finds is private), private ones first."""

    checks: Sequence[tuple[Check, bool]]

    @property
    def private(self) -> bool:
        return any(private for _, private in self.checks)

    def look(self, item: Item) -> tuple[Finding, bool] | None:
        """The first finding, and whether the row must not be copied. Private presets come first whatever
        the order they were named in, so that no other reason lets their rows be copied."""
        for check, private in self.checks:
            if (found := check(item)) is not None:
                return found, private
        return None


def filters_of(options: FilterOptions) -> Filters:
    """The presets that `options` name. Raises EvolError for an unknown one, and for what one of them lacks."""
    found: list[Filter] = []
    for name in options.filters():
        preset = find(FILTERS, name, "FILTER", "filter")
        if not isinstance(preset, Filter):
            raise EvolError(
                f"filter {excerpt(name, 60)}: FILTER is no Filter", "FILTER = Filter(make), see filtering.py"
            )
        found.append(preset)
    if "licence" not in options.filters() and (options.licences or options.licence_of or options.licence_field):
        raise EvolError("licences are given, and nothing looks at them", "add --filter licence")
    return Filters(sorted(((one.make(options), one.private) for one in found), key=lambda pair: not pair[1]))


def parted(texts: Sequence[str]) -> list[str]:
    """The names in options that may be repeated and hold several, parted by commas."""
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]


def plug_files(names: Sequence[str]) -> Mapping[str, Any]:
    """Of plug-ins given by path, what tells one version from another, for step.json."""
    return {Path(name).name: input_digest(name) for name in names if name.endswith(".py") and Path(name).is_file()}
