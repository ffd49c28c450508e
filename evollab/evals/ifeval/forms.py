"""detectable_format and detectable_content: bullets, headings, JSON and other marks that a line shows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_LIGHT = re.compile(r"\*[^\n*]*\*")
_BOLD = re.compile(r"\*\*[^\n*]*\*\*")
_POSTSCRIPTS = {"p.p.s": r"p\.\s?p\.\s?s", "p.s.": r"p\.\s?s\."}


def number_bullet_lists(text: str, given: Mapping[str, Any]) -> bool:
    """Exactly so many lines that begin with * (not **) or with -."""
    lines = [line.lstrip() for line in text.split("\n")]
    count = sum(line.startswith("-") for line in lines)
    at = 0
    while at < len(lines):
        line = lines[at]
        alone = line == "*" and at + 1 < len(lines)  # the line below is taken for the rest of this one
        count += alone or (line.startswith("*") and line[1:2] not in ("", "*"))
        at += 1 + alone
    return count == int(given["num_bullets"])


def constrained_response(text: str, given: Mapping[str, Any]) -> bool:
    return any(option in text for option in OPTIONS)


def number_highlighted_sections(text: str, given: Mapping[str, Any]) -> bool:
    """At least so many *marked* or **marked** parts in one line. A bold one counts in both patterns only where the
    reference counts it twice."""
    light = sum(bool(part.strip("*").strip()) for part in _LIGHT.findall(text))
    bold = sum(bool(part[2:-2].strip()) for part in _BOLD.findall(text))
    return light + bold >= int(given["num_highlights"])


def multiple_sections(text: str, given: Mapping[str, Any]) -> bool:
    """At least so many headings: the mark with a number behind it ("Section 2")."""
    mark = re.escape(given["section_spliter"].strip())
    return len(re.findall(rf"{mark}\s?\d+", text)) >= int(given["num_sections"])


def json_format(text: str, given: Mapping[str, Any]) -> bool:
    """The whole is JSON, in a fence or not."""
    text = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def title(text: str, given: Mapping[str, Any]) -> bool:
    """<<anything>> in one line."""
    for line in text.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start < end - 2 and line[start : end + 2].lstrip("<").rstrip(">").strip():
            return True
    return False


def number_placeholders(text: str, given: Mapping[str, Any]) -> bool:
    """At least so many [anything], each in one line."""
    count = 0
    for line in text.split("\n"):
        at = line.find("[")
        while at >= 0 and (end := line.find("]", at)) >= 0:
            count += 1
            at = line.find("[", end)
    return count >= int(given["num_placeholders"])


def postscript(text: str, given: Mapping[str, Any]) -> bool:
    """The mark of a postscript anywhere, in capitals or not."""
    mark = given["postscript_marker"].strip().lower()
    return re.search(_POSTSCRIPTS.get(mark, re.escape(mark)), text.lower()) is not None
