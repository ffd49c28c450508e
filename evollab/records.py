"""The nouns. Every data file of a run is JSONL of one of these; every step takes and yields them."""

from __future__ import annotations

import dataclasses
import hashlib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Self, TypeVar

import orjson

Role = Literal["system", "user", "assistant", "tool"]
R = TypeVar("R")
ROLES: tuple[Role, ...] = typing.get_args(Role)


class EvolError(Exception):
    """Something a person can mend: what was wrong, and the way out.

    `message` says what was found and what was expected; `hint` is the mend (a command, where there
    is one). The command line prints both and exits with `exit_code`, without a traceback.
    """

    def __init__(self, message: str, hint: str = "", *, exit_code: int = 2) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where a row came from: the file's name, its 1-based line (or row) number, the id it had there."""

    file: str
    line: int
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in order, an optional system message first. What readers yield and exporters write."""

    messages: tuple[Message, ...]
    source: Source | None = None

    def to_json(self) -> bytes:
        return orjson.dumps(self)


@dataclass(frozen=True, slots=True)
class Instruction:
    """Something to ask a model, how it came to be, and (once there is one) the response to it.

    `text` is the user turn that evolves; `input` is the material that the text speaks of (Alpaca's
    `input` field), carried verbatim; `history` holds the turns before it, oldest first.
    A seed has round 0, operation "seed", itself as root and no parent.
    """

    id: str
    root_id: str
    parent_id: str | None
    round: int
    operation: str
    domain: str
    text: str
    input: str = ""
    history: tuple[Message, ...] = ()
    response: str | None = None
    source: Source | None = None
    verdicts: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    """What each asked-for opinion said, by name ("judge": "not equal")."""
    models: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    """Which model did what ("evolver": "openai:gpt-4o-mini")."""
    tokens: Mapping[str, int] = dataclasses.field(default_factory=dict[str, int])
    """Tokens paid for this row, {"in": prompt tokens, "out": completion tokens}."""

    @property
    def prompt(self) -> str:
        """The whole user turn as a model gets it: text, then the input when there is one."""
        return f"{self.text}\n\n{self.input}" if self.input else self.text

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation up to and with the user turn."""
        return (*self.history, Message("user", self.prompt))

    def to_json(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, line: bytes | str) -> Self:
        return from_dict(cls, orjson.loads(line))


@dataclass(frozen=True, slots=True)
class Dropped:
    """What elimination removed, in the shape of what was kept, with the reason.

    `rule` names the check (one of `evolve.eliminate.RULES`), `detail` says what it saw, `reply` is
    the model's whole reply, kept so that the decision can be examined and replayed.
    """

    instruction: Instruction
    rule: str
    detail: str
    reply: str

    def to_json(self) -> bytes:
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, line: bytes | str) -> Self:
        return from_dict(cls, orjson.loads(line))


@dataclass(frozen=True, slots=True)
class Rejected:
    """An input row that could not be used: where it stood, why, and its beginning (escaped text)."""

    file: str
    line: int
    reason: str
    text: str

    def to_json(self) -> bytes:
        return orjson.dumps(self)


@cache
def _plan(cls: Any) -> dict[str, Any]:
    """Field name -> record class, (record class,) for a tuple of them, or None for plain values."""
    hints = typing.get_type_hints(cls)
    plan: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        plan[field.name] = None
        for option in (hints[field.name], *typing.get_args(hints[field.name])):
            if dataclasses.is_dataclass(option):
                plan[field.name] = (option,) if typing.get_origin(hints[field.name]) is tuple else option
    return plan


def from_dict(cls: type[R], row: Mapping[str, Any]) -> R:
    """A record out of parsed JSON. Raises EvolError naming fields that the record does not have."""
    plan = _plan(typing.cast(Any, cls))
    if unknown := sorted(set(row) - set(plan)):
        raise EvolError(
            f"{cls.__name__} has no field {', '.join(unknown)}; it has {', '.join(plan)}",
            "was this file written by another version of evollab?",
        )
    values: dict[str, Any] = {}
    for name, value in row.items():
        part = plan[name]
        if part is None or value is None:
            values[name] = value
        elif isinstance(part, tuple):
            values[name] = tuple(from_dict(part[0], item) for item in value)
        else:
            values[name] = from_dict(part, value)
    try:
        return cls(**values)
    except TypeError as error:
        raise EvolError(f"not a {cls.__name__}: {error}") from None


def digest(*parts: object) -> str:
    """16 hex digits that depend on every part and on nothing else (blake2b, parts kept apart)."""
    text = "\x1f".join(map(str, parts))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def seed_instruction(
    text: str,
    *,
    input: str = "",
    history: tuple[Message, ...] = (),
    response: str | None = None,
    domain: str = "general",
    source: Source | None = None,
) -> Instruction:
    """A round-0 instruction. Its id depends on its content alone, so the same seed has the same
    lineage in whatever file, order or shard it stands."""
    key = digest(domain, text, input, *(f"{m.role}\x1e{m.content}" for m in history))
    return Instruction(key, key, None, 0, "seed", domain, text, input, history, response, source)
