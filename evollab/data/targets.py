"""Rows as trainers want them: one function for each format that is exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evollab.records import Instruction, Message

Target = Callable[[Instruction], dict[str, Any]]
_SPEAKERS = {"user": "human", "assistant": "gpt", "system": "system", "tool": "tool"}
PARQUET = {
    "messages": "STRUCT(role VARCHAR, content VARCHAR)[]",
    "id": "VARCHAR",
    "root_id": "VARCHAR",
    "parent_id": "VARCHAR",
    "round": "INTEGER",
    "operation": "VARCHAR",
    "domain": "VARCHAR",
}
"""Columns of a Parquet export, with their types in SQL."""


def turns(row: Instruction) -> tuple[Message, ...]:
    """The whole conversation, response included (a row without one is not exported)."""
    return (*row.messages, Message("assistant", row.response or ""))


def messages(row: Instruction) -> dict[str, Any]:
    """{"messages": [{"role", "content"}, ...]}, the shape of TRL and of chat templates."""
    return {"messages": [{"role": turn.role, "content": turn.content} for turn in turns(row)]}


def sharegpt(row: Instruction) -> dict[str, Any]:
    """{"conversations": [{"from": "human" or "gpt", "value"}, ...]}, as FastChat reads it."""
    return {"conversations": [{"from": _SPEAKERS[turn.role], "value": turn.content} for turn in turns(row)]}


def parquet(row: Instruction) -> dict[str, Any]:
    """The columns of PARQUET: the conversation, and where the row comes from."""
    return messages(row) | {name: getattr(row, name) for name in PARQUET if name != "messages"}


def alpaca(row: Instruction) -> dict[str, Any]:
    """{"instruction", "input", "output"}."""
    return {"instruction": row.text, "input": row.input, "output": row.response}


def alpaca_turns(row: Instruction) -> dict[str, Any]:
    """The same with "system" and "history", a list of [question, answer], as LLaMA-Factory reads them.
    Raises ValueError for turns that don't fit (see `fits_alpaca`)."""
    rest = _after_system(row.history)
    return {
        **alpaca(row),
        "system": row.history[0].content if len(rest) < len(row.history) else "",
        "history": [[asked.content, said.content] for asked, said in zip(rest[::2], rest[1::2], strict=True)],
    }


def fits_alpaca(history: tuple[Message, ...]) -> bool:
    """Whether turns can be told as a system text, if any, then questions each with its answer."""
    rest = _after_system(history)
    return len(rest) % 2 == 0 and all(turn.role == ("user", "assistant")[at % 2] for at, turn in enumerate(rest))


def _after_system(history: tuple[Message, ...]) -> tuple[Message, ...]:
    return history[1:] if history and history[0].role == "system" else history


TARGETS: Mapping[str, Target] = {
    "messages": messages,
    "alpaca": alpaca,
    "sharegpt": sharegpt,
    "parquet": parquet,
}
