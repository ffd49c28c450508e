"""Preference rows of any shape as a prompt with two answers, the better one first.

    {"prompt", "chosen", "rejected"}          texts or lists of turns; TRL's
    {"chosen", "rejected"}                    whole conversations; the turns they share are the prompt
    {"conversations", "chosen", "rejected"}   ShareGPT's turns, as LLaMA-Factory has them; also "messages"
    an instruction of any shape, or a record of evollab's, with "chosen" and "rejected" beside it

Texts in which "Human:" and "Assistant:" speak in turn (Anthropic's HH-RLHF) are read as such turns. Where two
plain texts share no prompt the row is refused: to guess one from equal beginnings would cut answers that begin
alike.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evollab.data import formats
from evollab.data.formats import BadFields, Fields
from evollab.data.items import evolved
from evollab.data.rows import kind, names
from evollab.data.strata import value_of
from evollab.records import Message

CHOSEN, REJECTED, MARGIN, DIFFICULTY = "chosen", "rejected", "margin", "difficulty"
OWN = (CHOSEN, REJECTED, MARGIN, DIFFICULTY)
"""What `--map PART=COLUMN` may name besides the parts of an instruction."""
_SCORES = (("chosen_score", "rejected_score"), ("score_chosen", "score_rejected"), ("chosen-rating", "rejected-rating"))
_LINEAGE_ROW = {"id", "root_id", "parent_id", "round", "operation", "text"}
_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):[ ]?")


@dataclass(frozen=True, slots=True)
class Preference:
    """A prompt and two answers to it, each of one turn or (where the conversation went on) more.

    input: the material that the last user turn ends with. root: what the pair's lineage began with, "" for none.
    margin: by how much the chosen answer is better, as its judges say. difficulty: of the prompt.
    """

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    input: str = ""
    id: str | None = None
    root: str = ""
    margin: float | None = None
    difficulty: float | None = None


def read_preference(fields: Fields, mapping: Mapping[str, str]) -> Preference:
    """A row's preference. mapping: our part -> their column. Raises BadFields."""
    columns = {part: mapping.get(part, part) for part in OWN}
    for part in (CHOSEN, REJECTED):
        if columns[part] not in fields:
            raise BadFields(f"no field {columns[part]}; the row has {names(fields)}")
    rest = {name: value for name, value in fields.items() if name not in (columns[CHOSEN], columns[REJECTED])}
    chosen, rejected = (_answer(fields, columns[part]) for part in (CHOSEN, REJECTED))
    example = _context(rest, {part: column for part, column in mapping.items() if part not in OWN})
    if example is None or _is_whole(chosen):
        prompt, chosen, rejected = _shared(_turns(fields, chosen, columns[CHOSEN]), _turns(fields, rejected, REJECTED))
        if example is not None:
            asked = [turn.content for turn in example.turns if turn.role == "user"][-1:]
            if asked and asked[0] not in {turn.content for turn in prompt}:
                raise BadFields("the prompt is not the one that the two conversations begin with")
        example = formats.Example(prompt, id=_text_or_none(fields.get("id")))
    else:
        chosen, rejected = _as_turns(chosen), _as_turns(rejected)
    prompt = _checked(example.turns, chosen, rejected)
    root = fields.get("root_id")
    return Preference(
        _with_input(prompt, example.input), chosen, rejected, example.input, example.id,
        root if isinstance(root, str) else "", _margin(fields, columns[MARGIN]),
        _number(value_of(fields, columns[DIFFICULTY])),
    )  # fmt: skip


Turns = tuple[Message, ...]


def _answer(fields: Fields, column: str) -> str | Turns:
    """A text, or turns."""
    value = fields[column]
    if isinstance(value, str):
        if "\0" in value:
            raise BadFields(f"a NUL character in field {column!r}")
        return value
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise BadFields(f"field {column!r} is {kind(value)}; expected text, a turn, or a list of turns")
    if not value:
        raise BadFields(f"field {column!r} has no turns")
    return formats.read_turns(column, {column: value}).turns


def _context(rest: Fields, mapping: Mapping[str, str]) -> formats.Example | None:
    """What stands before the answers, by the other columns; None where they say nothing."""
    if mapping:
        return _unanswered(formats.mapped(mapping)(rest))
    prompt = rest.get("prompt")
    if isinstance(prompt, list):
        turns = formats.read_turns("prompt", rest)
        return formats.Example(turns.turns, id=turns.id)
    if isinstance(prompt, str) and (turns_of := transcript(prompt)) and turns_of[-1] == Message("assistant", ""):
        return formats.Example(turns_of[:-1], id=_text_or_none(rest.get("id")))
    shape = evolved if rest.keys() >= _LINEAGE_ROW else formats.detect(rest)
    return None if shape is None else _unanswered(shape(rest))


def _unanswered(example: formats.Example) -> formats.Example:
    """Without an answer that the row holds besides the two."""
    turns = example.turns
    while turns and turns[-1].role == "assistant":
        turns = turns[:-1]
    return formats.Example(turns, example.input, example.id)


def transcript(text: str) -> Turns:
    """The turns of a text in which "Human:" and "Assistant:" speak, () for any other text."""
    text = text.strip()
    found = list(_SPEAKER.finditer(text))
    if not found or found[0].start() or found[0][1] != "Human":
        return ()
    ends = [match.start() for match in found[1:]] + [len(text)]
    return tuple(
        Message("user" if match[1] == "Human" else "assistant", text[match.end() : end].strip())
        for match, end in zip(found, ends, strict=True)
    )


def _is_whole(answer: str | Turns) -> bool:
    """Whether it is a conversation from its beginning, not an answer."""
    return not isinstance(answer, str) and answer[0].role != "assistant"


def _turns(fields: Fields, answer: str | Turns, column: str) -> Turns:
    if not isinstance(answer, str):
        system = fields.get("system")
        if isinstance(system, str) and system and answer[0].role != "system":
            return Message("system", system), *answer
        return answer
    if turns := transcript(answer):
        return turns
    raise BadFields(f"no prompt: expected a field prompt, or conversations in chosen and rejected; {column} is a text")


def _as_turns(answer: str | Turns) -> Turns:
    return (Message("assistant", answer),) if isinstance(answer, str) else answer


def _shared(chosen: Turns, rejected: Turns) -> tuple[Turns, Turns, Turns]:
    """The turns that two conversations begin with, and what follows in each."""
    if chosen == rejected:
        return chosen[:-1], chosen[-1:], rejected[-1:]
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    if shared in (len(chosen), len(rejected)):
        raise BadFields("one of the two conversations is the beginning of the other")
    return chosen[:shared], chosen[shared:], rejected[shared:]


def _checked(prompt: Turns, chosen: Turns, rejected: Turns) -> Turns:
    """The prompt. Raises BadFields unless it asks, and both answers are the assistant's."""
    if not prompt or prompt[-1].role in ("assistant", "system"):
        raise BadFields("no user turn before the answers" if not prompt else f"the prompt ends with {prompt[-1].role}")
    if not prompt[-1].content.strip():
        raise BadFields("the prompt is empty; expected text")
    for name, turns in ((CHOSEN, chosen), (REJECTED, rejected)):
        if turns[0].role != "assistant":
            raise BadFields(
                f"{name} differs first in turn {len(prompt) + 1}, the {turns[0].role}'s; expected an answer"
            )
        if turns[-1].role != "assistant":
            raise BadFields(f"{name} ends with the {turns[-1].role}'s turn; expected the assistant's")
    return prompt


def _with_input(prompt: Turns, given: str) -> Turns:
    """The prompt with its material below the last user turn."""
    if not given:
        return prompt
    last = max(number for number, turn in enumerate(prompt) if turn.role == "user")
    whole = Message("user", f"{prompt[last].content}\n\n{given}")
    return (*prompt[:last], whole, *prompt[last + 1 :])


def _margin(fields: Fields, column: str) -> float | None:
    """By the column itself, else the difference of two scores."""
    if (margin := _number(value_of(fields, column))) is not None:
        return margin
    for better, worse in _SCORES:
        first, second = _number(fields.get(better)), _number(fields.get(worse))
        if first is not None and second is not None:
            return first - second
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _text_or_none(value: Any) -> str | None:
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None
