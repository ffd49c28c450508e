"""Row shapes: how a row says what was asked and what was answered, and what we make of it.

Four shapes have names: alpaca (instruction, input, output), self-instruct (instruction, instances),
sharegpt (conversations of from and value), messages (messages of role and content). Other rows are
read by the names that columns with a question and its answer usually have, or by a mapping.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from evollab.data.rows import excerpt, kind, names
from evollab.records import Conversation, EvolError, Instruction, Message, Role, Source, seed_instruction

Fields = Mapping[str, Any]
MAP_HINT = "say which column is which: --map instruction=COLUMN --map output=COLUMN"


class BadFields(ValueError):
    """Why a row's fields are no instruction and no conversation, in words for a person."""


@dataclass(frozen=True, slots=True)
class Example:
    """What a row says: turns, oldest first; the material that the last user turn speaks of; the
    row's own id."""

    turns: tuple[Message, ...]
    input: str = ""
    id: str | None = None


Shape = Callable[[Fields], Example]
"""Reads a row. Raises BadFields."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns that play each part, the first that a row has counts."""

    instruction: tuple[str, ...]
    input: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    system: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    id: tuple[str, ...] = ()


PARTS = ("instruction", "input", "output", "system", "history", "id", "messages")
"""What `--map PART=COLUMN` may name."""
_ALPACA = Columns(("instruction",), ("input",), ("output",), ("system",), ("history",), ("id",))
_ASKED = ("instruction", "prompt", "question", "problem", "query", "input", "text")
_NO_INPUT = ("noinput", "no input")
"""What Alpaca's rows say, in several spellings, where there is no input."""
_GIVEN = ("input", "context")
_ANSWERED = ("output", "response", "completion", "solution", "answer", "target", "best answer")
_SPEAKERS: dict[str, Role] = {
    **{role: role for role in get_args(Role)},
    "human": "user", "prompter": "user",
    "gpt": "assistant", "chatgpt": "assistant", "model": "assistant", "bot": "assistant", "bing": "assistant",
    "bard": "assistant", "claude": "assistant", "function_call": "assistant",
    "function": "tool", "function_response": "tool", "observation": "tool",
}  # fmt: skip


def read_columns(columns: Columns, fields: Fields) -> Example:
    """A row with a column for each part; `history` holds [[question, answer], ...]."""
    asked = _first(fields, columns.instruction)
    if asked is None:
        raise BadFields(f"no field {' or '.join(columns.instruction)}; the row has {names(fields)}")
    turns: list[Message] = []
    if system := _part(fields, columns.system):
        turns.append(Message("system", system))
    if before := _value(fields, columns.history):
        turns += _history(before)
    turns.append(Message("user", _text(fields[asked], asked)))
    if answer := _part(fields, columns.output):
        turns.append(Message("assistant", answer))
    given = _part(fields, columns.input)
    if given.strip(" <>[]().").lower() in _NO_INPUT:
        given = ""
    return Example(tuple(turns), given, _id(_value(fields, columns.id)))


def read_self_instruct(fields: Fields) -> Example:
    """A seed task of Self-Instruct: the instruction with its first instance."""
    instances = fields.get("instances")
    if not isinstance(instances, list) or not all(isinstance(one, dict) for one in instances):
        raise BadFields(f"field 'instances' is {kind(instances)}; expected a list of objects (input, output)")
    first = instances[0] if instances else {}
    return read_columns(_ALPACA, {**fields, "input": first.get("input"), "output": first.get("output")})


def read_turns(column: str, fields: Fields) -> Example:
    """A row with its turns in one column: objects with from and value, or role and content."""
    if column not in fields:
        raise BadFields(f"no field {column}; the row has {names(fields)}")
    items = fields[column]
    if not isinstance(items, list):
        raise BadFields(f"field {column!r} is {kind(items)}; expected a list of turns")
    turns = tuple(_turn(item, f"{column}[{number}]") for number, item in enumerate(items))
    if (system := _part(fields, ("system",))) and not (turns and turns[0].role == "system"):
        turns = (Message("system", system), *turns)
    return Example(turns, id=_id(fields.get("id")))


SHAPES: Mapping[str, Shape] = {
    "messages": partial(read_turns, "messages"),
    "sharegpt": partial(read_turns, "conversations"),
    "self-instruct": read_self_instruct,
    "alpaca": partial(read_columns, _ALPACA),
}


def detect(fields: Fields) -> Shape | None:
    """The shape of a row, None where its columns have none of the usual names."""
    if isinstance(fields.get("messages"), list):
        return SHAPES["messages"]
    if isinstance(fields.get("conversations"), list):
        return SHAPES["sharegpt"]
    if "instruction" in fields and "instances" in fields:
        return SHAPES["self-instruct"]
    for name in (spelling for asked in _ASKED for spelling in _spellings(asked)):
        if isinstance(fields.get(name), str):
            given = tuple(spelling for one in _GIVEN for spelling in _spellings(one) if spelling != name)
            answered = tuple(spelling for one in _ANSWERED for spelling in _spellings(one))
            return partial(read_columns, Columns((name,), given, answered, ("system",), ("history",), ("id",)))
    return None


def _spellings(name: str) -> tuple[str, ...]:
    return name, name.capitalize(), name.title()


def mapped(mapping: Mapping[str, str]) -> Shape:
    """The shape that `--map` describes: each part's column; parts that are not named are not read.
    Raises EvolError for parts that don't exist or don't go together."""
    for part in mapping:
        if part not in PARTS:
            near = difflib.get_close_matches(part, PARTS, 1)
            raise EvolError(
                f"--map {excerpt(part, 40)}=...: no such part; expected {', '.join(PARTS)}",
                f"did you mean {near[0]}?" if near else "it is PART=COLUMN, our name first",
            )
    if "messages" in mapping:
        if len(mapping) > 1:
            raise EvolError("--map messages=COLUMN holds a whole conversation; expected no other part beside it")
        return partial(read_turns, mapping["messages"])
    if "instruction" not in mapping:
        raise EvolError("--map names no instruction; expected at least --map instruction=COLUMN", MAP_HINT)
    return partial(read_columns, Columns(**{part: (column,) for part, column in mapping.items()}))


def to_conversation(example: Example, source: Source) -> Conversation:
    """All turns; the material stands below the last user turn. Raises BadFields for no turns."""
    if not example.turns:
        raise BadFields("no turns")
    turns = example.turns
    if example.input:
        last = _last_user(turns)
        whole = Message("user", f"{turns[last].content}\n\n{example.input}")
        turns = (*turns[:last], whole, *turns[last + 1 :])
    return Conversation(turns, source)


def to_seed(example: Example, domain: str, source: Source) -> Instruction:
    """The last user turn as a seed, the turns before it as its history. What follows it is its
    response where that is a single answer that is not blank. Raises BadFields without a user turn,
    or with a blank one."""
    last = _last_user(example.turns)
    after = example.turns[last + 1 :]
    text = example.turns[last].content
    if _blank(text):
        raise BadFields("the instruction is empty; expected text")
    answered = len(after) == 1 and after[0].role == "assistant" and not _blank(after[0].content)
    return seed_instruction(
        text,
        input=example.input,
        history=example.turns[:last],
        response=after[0].content if answered else None,
        domain=domain,
        source=source,
    )


def _blank(text: str) -> bool:
    return not text or text.isspace()


def _last_user(turns: tuple[Message, ...]) -> int:
    for index in range(len(turns) - 1, -1, -1):
        if turns[index].role == "user":
            return index
    raise BadFields(f"no user turn; there are {names(turn.role for turn in turns)}")


def _first(fields: Fields, columns: Iterable[str]) -> str | None:
    return next((name for name in columns if name in fields), None)


def _value(fields: Fields, columns: Iterable[str]) -> Any:
    return next((fields[name] for name in columns if name in fields), None)


def _part(fields: Fields, columns: Iterable[str]) -> str:
    """The text of the first of `columns` that the row has; "" where it has none, or null."""
    for name in columns:
        if fields.get(name) is not None:
            return _text(fields[name], name)
    return ""


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise BadFields(f"field {excerpt(field, 40)!r} is {kind(value)}; expected text")
    if "\0" in value:
        raise BadFields(f"a NUL character in field {excerpt(field, 40)!r}")
    return value


def _id(value: Any) -> str | None:
    """An id as text: 1 and "1" are the same."""
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None


def _turn(item: Any, where: str) -> Message:
    if not isinstance(item, dict):
        raise BadFields(f"{where} is {kind(item)}; expected an object (from and value, or role and content)")
    speaker, content = _first(item, ("role", "from")), _first(item, ("content", "value"))
    if speaker is None or content is None:
        raise BadFields(f"{where} has {names(item)}; expected from and value, or role and content")
    role = _SPEAKERS.get(str(item[speaker]).lower())
    if role is None:
        said = excerpt(str(item[speaker]), 40)
        raise BadFields(f"{where}: nobody is called {said!r}; expected one of {', '.join(_SPEAKERS)}")
    return Message(role, _text(item[content], f"{where}.{content}"))


def _history(pairs: Any) -> list[Message]:
    if not isinstance(pairs, list) or not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        raise BadFields("field 'history' is not a list of pairs; expected [[question, answer], ...]")
    turns: list[Message] = []
    for question, answer in pairs:
        turns += Message("user", _text(question, "history")), Message("assistant", _text(answer, "history"))
    return turns
