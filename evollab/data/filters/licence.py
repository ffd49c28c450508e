"""Rows whose licence is not among those that may stay; rows without one go, too.

A row's licence is in its own field, or follows from its source (`--licence-of SOURCE=ID`). A row with
several licences stays only where all of them may.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from evollab.data.filtering import Check, Filter, FilterOptions, Finding, parted
from evollab.data.items import Item
from evollab.data.rows import excerpt, kind
from evollab.data.strata import value_of
from evollab.records import EvolError

FIELDS = ("license", "licence")
_LONGEST = 200
_FILLER = re.compile(r"\b(?:the|licen[cs]ed?|version|public|software|international|v)\b|\bv(?=\d)|[\s_,/()-]+")
_NAMES = {
    "apache": "apache-2.0", "apache-2": "apache-2.0", "creative-commons-zero": "cc0-1.0", "cc0": "cc0-1.0",
    "cc-zero": "cc0-1.0", "bsd": "bsd-3-clause", "gpl-3": "gpl-3.0", "gplv3": "gpl-3.0", "mit-0": "mit-0",
    "creative-commons-attribution": "cc-by", "creative-commons-attribution-4.0": "cc-by-4.0",
    "creative-commons-attribution-sharealike-4.0": "cc-by-sa-4.0",
    "creative-commons-attribution-noncommercial-4.0": "cc-by-nc-4.0",
}  # fmt: skip


def normal(name: str) -> str:
    """A licence's identifier in one spelling: "Apache License, Version 2.0" is apache-2.0."""
    text = _FILLER.sub(" ", name[:_LONGEST].casefold())
    text = "-".join(dict.fromkeys(text.split()))
    return _NAMES.get(text, text)


def make(options: FilterOptions) -> Check:
    allowed = {normal(name) for name in parted(options.licences)}
    if not allowed:
        raise EvolError("--filter licence: which licences may stay?", "name them: --licences apache-2.0,mit,cc-by-4.0")
    sources: dict[str, str] = {}
    for pair in options.licence_of:
        source, sign, name = pair.partition("=")
        if not (source and sign and name):
            raise EvolError(
                f"--licence-of {excerpt(pair, 60)!r}: expected SOURCE=ID", "--licence-of dolly=cc-by-sa-3.0"
            )
        sources[source] = name
    fields = (options.licence_field,) if options.licence_field else FIELDS

    def check(item: Item) -> Finding | None:
        return _judge(_licence(item.fields, fields, sources), allowed)

    return check


def _licence(row: Mapping[str, Any], fields: tuple[str, ...], sources: Mapping[str, str]) -> Any:
    for field in fields:
        if (found := value_of(row, field)) not in (None, "", []):
            return found
    if not sources:
        return None
    places = (value_of(row, "source"), value_of(row, "source.file"))
    return next((sources[place] for place in places if isinstance(place, str) and place in sources), None)


def _judge(found: Any, allowed: set[str]) -> Finding | None:
    if found is None:
        return Finding("no licence", "the row says no licence, and none is known of its source")
    names = found if isinstance(found, list) else [found]
    for name in names:
        if not isinstance(name, str):
            return Finding("licence", f"its licence is {kind(name)}; expected a text")
        if normal(name) not in allowed:
            return Finding("licence", f"{excerpt(name, 60)} is not among the licences that may stay")
    return None


FILTER = Filter(make)
