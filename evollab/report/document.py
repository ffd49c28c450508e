"""A self-contained HTML page: its template, style and script in one file, and a policy (CSP by hash) that lets nothing
else load or run, should anything foreign ever slip through the escaping."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from evollab.inert import inert

_HERE = Path(__file__).parent


def fill(
    template: str, styles: Sequence[str], script: str, filters: Mapping[str, Callable[..., Any]], **values: Any
) -> bytes:
    """The page of `template`, UTF-8. `styles`, `script`: files beside this one, which the template puts in as
    `style` and `script` and allows by `policy`. Everything in `values` that is no Markup is made inert and escaped."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_finalize
    )
    environment.filters.update(filters)
    style = "".join(_read(name) for name in styles)
    code = _read(script)
    page = environment.from_string(_read(template)).render(
        style=Markup(style), script=Markup(code), policy=policy(style, code), **values
    )
    return page.encode("utf-8", "replace")


def _finalize(value: Any) -> Any:
    return inert(value) if type(value) is str else value


def _read(name: str) -> str:
    return (_HERE / name).read_text("utf-8")


def policy(style: str, script: str) -> str:
    """What the page may do: this style, this script, pictures that it holds."""

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; style-src {source(style)}; script-src {source(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def for_script(value: object, *, plain: bool = False) -> Markup:
    """JSON that no HTML parser can read as markup. `plain`: letters that are not ASCII as they are (a third of the
    bytes); the text must be inert then."""
    text = json.dumps(value, ensure_ascii=not plain, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
