"""Reading what a judge replied: tolerant of dress (markdown, JSON, words around it), exact about what it says.

Of several verdicts on the same thing the last counts. What is missing, out of range, not whole or not on the list is
no verdict; it never becomes a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from evollab.data.judge_prompts import BLANKS
from evollab.data.skills import CATEGORY_NAMES, HARM_NAMES, SAFETY, SKILL_NAMES, plain

_LOOKED_AT = 8000
"""Characters at the end of a reply that are read."""
_DRESS = " \t\r\n\"'`*_[](){}<>,.;:#"
_MOST_SKILLS = 5
_MOST_TAGS = 5
_TAG_WORDS = 5
_TAG_LENGTH = 60
_MARK = re.compile(r"(\d{1,3})(?:\.0{1,3})?(?![\d.]*\d)(?!\w|,\d)\s*(?:(?:/|out of|of)\s*10(?!\d))?")
_RANGE = re.compile(r"\s*(?:-|–|—|/|to\b|or\b|and\b)\s*\d")
_ITEMS = re.compile(r"[,;|\n]|\band\b")
_NOT_TAG = re.compile(r"[^\w+#./' ]+")


@dataclass(frozen=True, slots=True)
class Form:
    """What a filled form says. found: value by attribute; strays: names that are on no list."""

    found: Mapping[str, Any]
    strays: int = 0


def read_form(reply: str, asked: Iterable[str]) -> Form:
    """The attributes among `asked` that the reply gives: category, skills (list), difficulty and quality (1 to 10),
    safety (with safety_kind, where one is named), tags (list, in normal form)."""
    said = _lines(reply, tuple(_READ))
    found: dict[str, Any] = {}
    strays = 0
    for name in asked:
        if name not in said or said[name].strip(_DRESS) == BLANKS[name].strip(_DRESS):
            continue
        values, unknown = _READ[name](said[name])
        found |= values
        strays += unknown
    return Form(found, strays)


def read_marks(reply: str, letters: Iterable[str]) -> dict[str, int]:
    """The marks from 1 to 10 that stand behind the letters ("A: 7")."""
    said = _lines(reply, tuple(letters))
    marks = {letter: mark(text) for letter, text in said.items()}
    return {letter: value for letter, value in marks.items() if value is not None}


def read_verdict(reply: str) -> bool | None:
    """True for "verdict: yes", False for no; a reply of that one word will do, too."""
    text = _lines(reply, ("verdict",)).get("verdict", reply if len(reply) < 40 else "")
    word = re.match(r"(yes|no)\b", text.strip(_DRESS).casefold())
    return None if word is None else word[1] == "yes"


def _lines(reply: str, names: tuple[str, ...]) -> dict[str, str]:
    """What stands behind each name and a colon, at the beginning of a line or behind a comma or brace (JSON). Of
    several the last that isn't blank."""
    text = reply.rpartition("</think>")[2][-_LOOKED_AT:]
    places = list(_pattern(names).finditer(text))
    said: dict[str, str] = {}
    for number, place in enumerate(places):
        end = places[number + 1].start() if number + 1 < len(places) else len(text)
        value = text[place.end() : end].lstrip(_DRESS.replace("[", ""))
        value = value[: value.find("]") + 1 or None] if value.startswith("[") else value.partition("\n")[0]
        if value.strip(_DRESS):
            said[_same(place[1], names)] = value.strip()
    return said


@cache
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    """Single letters are read as they are: "a: 3" in running text is no mark of A."""
    letters = len(names[0]) == 1
    before, flags = ("(?:[Rr]equest )?", re.NOFLAG) if letters else ("", re.IGNORECASE)
    begins = r"(?:^|(?<=[{,\n]))[ \t>*_\-#\"'`\d.)(]{0,20}"
    return re.compile(rf"{begins}{before}({'|'.join(names)})[*_\"'`) \t]{{0,10}}[:=]", flags)


def _same(name: str, names: tuple[str, ...]) -> str:
    return name if name in names else name.casefold()


def mark(text: str) -> int | None:
    """A whole number from 1 to 10: "7", "7/10", "7 (a few steps)"; not "7.5", "7-8", "11", "seven"."""
    found = _MARK.match(text.strip(_DRESS.replace("-", "")))
    if found is None or _RANGE.match(found.string, found.end()):
        return None
    value = int(found[1])
    return value if 1 <= value <= 10 else None


def _one_mark(name: str) -> Callable[[str], tuple[dict[str, Any], int]]:
    def read(text: str) -> tuple[dict[str, Any], int]:
        value = mark(text)
        return ({} if value is None else {name: value}), 0

    return read


def _category(text: str) -> tuple[dict[str, Any], int]:
    bare = re.split(r"\(| [-–—] |:", text.strip(_DRESS), maxsplit=1)[0]
    name = CATEGORY_NAMES.get(plain(bare))
    return ({}, 1) if name is None else ({"category": name}, 0)


def _skills(text: str) -> tuple[dict[str, Any], int]:
    parts = [plain(re.split(r"\(|:", part, maxsplit=1)[0]) for part in _ITEMS.split(text)]
    named = [part for part in parts if part]
    names = list(dict.fromkeys(SKILL_NAMES[part] for part in named if part in SKILL_NAMES))
    strays = sum(part not in SKILL_NAMES for part in named)
    return ({"skills": names} if 1 <= len(names) <= _MOST_SKILLS else {}), strays  # the whole list is no choice


def _safety(text: str) -> tuple[dict[str, Any], int]:
    words = [word for part in re.split(r"[^\w-]", text.casefold()) if (word := plain(part))]
    if not words or words[0] not in SAFETY or any(word in SAFETY for word in words[1:]):
        return {}, 0  # also where several are named: the question said again is no verdict
    if words[0] == "safe":
        return {"safety": "safe"}, 0
    kinds = [HARM_NAMES[word] for word in words if word in HARM_NAMES]
    return {"safety": words[0]} | ({"safety_kind": kinds[0]} if kinds else {}), int(not kinds)


def _tags(text: str) -> tuple[dict[str, Any], int]:
    made = dict.fromkeys(filter(None, map(normal_tag, re.split(r"[,;|\n]", text))))
    return ({"tags": list(made)[:_MOST_TAGS]} if made else {}), 0


def normal_tag(text: str) -> str:
    """A tag in normal form: lower case, blanks for hyphens and marks, without an article in front; "" for what is
    too long to be one. After InsTag (2308.07074), which also stems words and joins tags of like meaning."""
    words = _NOT_TAG.sub(" ", text.casefold().replace("_", " ")).split()
    words = [word.strip("./'") for word in words]
    if words and words[0] in ("a", "an", "the"):
        del words[0]
    tag = " ".join(filter(None, words))
    usable = len(words) <= _TAG_WORDS and len(tag) <= _TAG_LENGTH and any(map(str.isalpha, tag))
    return tag if usable else ""


def singulars(tags: Mapping[str, int]) -> dict[str, str]:
    """Plural tag -> its singular, where the data has both ("arrays" and "array")."""
    joined: dict[str, str] = {}
    for tag in tags:
        ways = [tag[:-1]] if tag.endswith("s") else []
        if tag.endswith("es"):
            ways.append(tag[:-2])
        if tag.endswith("ies"):
            ways.append(f"{tag[:-3]}y")
        single = next((way for way in ways if way in tags), None)
        if single is not None:
            joined[tag] = single
    return joined


_READ: Mapping[str, Callable[[str], tuple[dict[str, Any], int]]] = {
    "category": _category,
    "skills": _skills,
    "difficulty": _one_mark("difficulty"),
    "quality": _one_mark("quality"),
    "safety": _safety,
    "tags": _tags,
}
