"""Does a piece of data parse as what it says it is? Reading only: nothing is run or fetched."""

from __future__ import annotations

import ast
import json
import shlex
import sqlite3
from collections.abc import Callable
from html.parser import HTMLParser
from xml.parsers import expat

_MAX = 20_000


def _xml(text: str) -> str | None:
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise ValueError("declares entities")  # nothing legitimate here needs them; bombs do

    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(text.strip(), True)
    except expat.ExpatError:
        try:  # several elements side by side are still data
            parser = expat.ParserCreate()
            parser.EntityDeclHandler = refuse
            parser.Parse(f"<all>{text}</all>", True)
        except expat.ExpatError as error:
            return str(error)
    return None


def _json(text: str) -> str | None:
    json.loads(text)
    return None


def _python(text: str) -> str | None:
    ast.parse(text)
    return None


def _sql(text: str) -> str | None:
    first = text.lstrip().split(None, 1)[0].upper() if text.strip() else ""
    if text.lstrip().startswith(("|", "+--", "-")) or "|" in text.split("\n", 1)[0]:
        return None if sum("|" in line for line in text.split("\n")) >= 2 else "a table of one line"
    if first not in ("CREATE", "INSERT", "SELECT", "WITH", "UPDATE", "DELETE", "ALTER", "DROP", "BEGIN", "--", "/*"):
        return f"begins with {first[:20]!r}"
    return None if sqlite3.complete_statement(text.rstrip().rstrip(";") + ";") else "an unfinished statement"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen += 1


def _html(text: str) -> str | None:
    parser = _Tags()
    parser.feed(text)
    parser.close()
    return None if parser.seen else "no tags"


def _shell(text: str) -> str | None:
    body = "\n".join(line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#"))
    if not body:
        return "no commands"
    if "$ " in body or "# " in body:  # a session: commands and what they printed
        return None
    shlex.split(body.replace("<<", ""), posix=True)
    return None


_READERS: dict[str, Callable[[str], str | None]] = {
    "xml": _xml,
    "json": _json,
    "python": _python,
    "sql": _sql,
    "html": _html,
    "bash": _shell,
}


def parses(kind: str, text: str) -> str | None:
    """None when `text` reads as `kind` (xml, json, python, sql, html, bash), else what is wrong."""
    if len(text) > _MAX:
        return f"{len(text):,} characters"
    try:
        return _READERS[kind](text)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        return str(error).split("\n", 1)[0][:100] or type(error).__name__
