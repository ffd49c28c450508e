"""What is trained in a conversation that the tokenizer's own chat template writes.

The template is run, never taken apart: once with what is said, once with names in its place to see where it
goes, and, for templates without `{% generation %}` marks, once for the prompt of every answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from evollab.pieces import Coder, Piece
from evollab.records import EvolError, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MARKERS = re.compile(r"\{%-?\s*generation\s*-?%\}")


def by_template(
    messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase, coder: Coder, prompt: bool
) -> list[Piece]:
    """The pieces of a conversation that a chat template writes. Raises EvolError."""
    rows = [{"role": message.role, "content": message.content} for message in messages]
    text, marked = _written(rows, tokenizer, prompt)
    said = _said(text, rows, tokenizer, prompt)
    if said is None and any(coder.finds(row["content"]) for row in rows):
        raise EvolError(
            "a turn contains the name of a control token, and the chat template changes what is said",
            "--format vicuna takes any text",
        )
    controls = list(coder.controls(text, [(start, end) for start, end, _ in said or ()]))
    if _MARKERS.search(tokenizer.get_chat_template()):
        answers = sum(message.role == "assistant" for message in messages)
        if len(marked) < answers:
            raise EvolError(
                f"the chat template marks {len(marked)} of {answers} turns of the assistant with "
                "{% generation %}", "--format vicuna marks all"
            )  # fmt: skip
        trained = [_ended(start, end, controls) for start, end in marked]
    else:
        trained = [
            _answer(number, rows, text, said, controls, tokenizer)
            for number, message in enumerate(messages)
            if message.role == "assistant"
        ]
    return _cut(text, trained, controls)


def _written(
    rows: Sequence[Mapping[str, str]], tokenizer: PreTrainedTokenizerBase, prompt: bool
) -> tuple[str, list[tuple[int, int]]]:
    """What the template writes, and where it marks generation. Raises EvolError when it refuses."""
    from jinja2 import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template

    chat_template = tokenizer.get_chat_template()
    marks = bool(_MARKERS.search(chat_template))
    write: Any = render_jinja_template  # annotated as giving a string; it gives a list of them
    try:
        texts, ranges = write(
            **{**tokenizer.special_tokens_map, "conversations": [list(rows)], "chat_template": chat_template},
            return_assistant_tokens_mask=marks, add_generation_prompt=prompt,
        )  # fmt: skip
    except (TemplateError, TypeError, ValueError, KeyError, IndexError) as error:
        raise EvolError(f"the chat template refuses the conversation: {str(error)[:200]}") from None
    return texts[0], ranges[0] if marks else []


def _said(
    text: str, rows: Sequence[Mapping[str, str]], tokenizer: PreTrainedTokenizerBase, prompt: bool
) -> list[tuple[int, int, int]] | None:
    """Where in `text` the contents of rows stand: (start, end, row). None where the template does more
    to them than strip blanks from their ends.

    A second rendering with names in place of contents shows where they go.
    """
    named = [{**row, "content": f"\ue000{number}\ue001"} for number, row in enumerate(rows)]
    try:
        pattern, _ = _written(named, tokenizer, prompt)
    except EvolError:
        return None
    parts = re.split("\ue000([0-9]+)\ue001", pattern)
    place, found = len(parts[0]), []
    if not text.startswith(parts[0]):
        return None
    for number, after in zip(map(int, parts[1::2]), parts[2::2], strict=True):
        content = rows[number]["content"]
        for form in (content, content.strip(), content.lstrip(), content.rstrip()):
            end = place + len(form)
            if text.startswith(form, place) and text.startswith(after, end):
                found.append((place, end, number))
                place = end + len(after)
                break
        else:
            return None
    return found if place == len(text) else None


def _answer(
    number: int,
    rows: Sequence[Mapping[str, str]],
    text: str,
    said: list[tuple[int, int, int]] | None,
    controls: list[tuple[int, int]],
    tokenizer: PreTrainedTokenizerBase,
) -> tuple[int, int]:
    """Where in `text` the assistant's turn `number` is trained, by a template without marks: from where
    its prompt ends to the control token behind its words. Raises EvolError."""
    before, _ = _written(rows[:number], tokenizer, True)
    if not text.startswith(before):
        raise EvolError(
            f"turn {number + 1}: the chat template writes earlier turns differently once there is an answer, so it "
            "can't be told what is to be trained",
            "--format vicuna, or a template with {% generation %} marks",
        )
    start = len(before)
    if said is None:
        content = rows[number]["content"].strip()
        place = text.find(content, start)
        end, following = place + len(content), len(text)
    else:
        place, end = next(((at, to) for at, to, row in said if row == number and at >= start), (-1, -1))
        following = next((at for at, _, row in said if row > number and at >= end), len(text))
    if place < 0:
        raise EvolError(f"turn {number + 1}: the chat template leaves out what the assistant says")
    close = next((to for at, to in controls if at >= end and to <= following), None)
    if close is None:
        raise EvolError(
            f"turn {number + 1}: the chat template ends the assistant's turn without a control token; a model "
            "trained so would not learn to stop",
            "--format vicuna",
        )
    return start, close


def _ended(start: int, end: int, controls: list[tuple[int, int]]) -> tuple[int, int]:
    """A marked range so that it ends with its last control token, or the one right behind it."""
    close = max((to for at, to in controls if at >= start and to <= end), default=None)
    close = next((to for at, to in controls if at == end), None) if close is None else close
    if close is None:
        raise EvolError(
            "the chat template's {% generation %} marks end without a control token; a model trained so would not "
            "learn to stop",
            "--format vicuna",
        )
    return start, close


def _cut(text: str, trained: list[tuple[int, int]], controls: list[tuple[int, int]]) -> list[Piece]:
    """`text` in pieces."""
    begins, ends = {start for start, _ in trained}, {end for _, end in trained}
    names = set(controls)
    places = sorted({0, len(text), *begins, *ends, *(place for pair in controls for place in pair)})
    pieces, inside = [], False
    for start, end in pairwise(places):
        inside = start in begins or (inside and start not in ends)
        pieces.append(Piece(text[start:end], inside, (start, end) in names))
    return pieces
