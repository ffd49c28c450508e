"""Scripted models: functions of the request body alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

Body = dict[str, Any]


def given(prompt: str) -> str:
    """The instruction inside an evolving prompt."""
    return prompt.split("#The Given Prompt#:\n", 1)[1].rsplit("\n\n#", 1)[0]


def kind(body: Body) -> str:
    text = body["messages"][-1]["content"]
    if text.endswith("Verdict:"):
        return "judge"
    if text.endswith(("#Rewritten Prompt#:\n", "#Created Prompt#:\n")):
        return "evolve"
    return "again" if "words too long" in text else "answer"


BLOCK = "\n\n```{fence}\n{data}\n```"
DATA = {
    "an XML document": ("xml", '<a><b n="NUMBER"/></a>'),
    "an SQL table": ("sql", "CREATE TABLE aNUMBER (b INTEGER);"),
    "Python code": ("python", "x = [1, NUMBER]\nprint(x)"),
    "an HTML page": ("html", "<p>one <b>NUMBER</b></p>"),
    "a shell session": ("bash", "$ ls\na  NUMBER"),
    "JSON data": ("json", '{"a": [1, NUMBER]}'),
}


def good(body: Body) -> str:
    """Never fails: evolves by a sentence (with data where data are asked for), judges Not Equal."""
    match kind(body):
        case "judge":
            return "Not Equal"
        case "answer" | "again":
            return "Here are enough words to count as a proper response to what was asked for."
    prompt = body["messages"][-1]["content"]
    if prompt.endswith("#Created Prompt#:\n"):
        return f"Describe how harbour number {body.get('seed', 0) % 9973} weighs two opinions about fog."
    extra = f" Name witness number {body.get('seed', 0) % 9973} and weigh two opposite opinions."
    text = given(prompt) + extra
    for name, (fence, data) in DATA.items():
        if f"by giving it {name} to work on" in prompt:
            text += BLOCK.format(fence=fence, data=data.replace("NUMBER", str(body.get("seed", 0))))
    return text


def replying(**by_kind: str | Callable[[Body], str | Body]) -> Callable[[Body], str | Body]:
    """`good`, but with the given replies for some kinds of request."""

    def reply(body: Body) -> str | Body:
        special = by_kind.get(kind(body))
        if special is None:
            return good(body)
        return special(body) if callable(special) else special

    return reply


def whole(text: str | None, finish: str = "stop", **more: Any) -> Body:
    """A response body as an endpoint sends it."""
    return {
        "choices": [{"message": {"content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5},
        **more,
    }


def raw(body: Body) -> bytes:
    return orjson.dumps(body)
