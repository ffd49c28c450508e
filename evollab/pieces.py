"""Pieces of a conversation (control tokens and plain text) as token ids, each text coded for its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from evollab.records import EvolError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ANCHORS = ("\n", ":", ".", "0", "a")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as a model gets it.

    text: for people; control tokens stand in it as their names. ids: token ids. mask: for each id 1 where
    it is trained (an assistant's words and the EOS behind them), else 0.
    """

    text: str
    ids: list[int]
    mask: list[int]


@dataclass(frozen=True, slots=True)
class Piece:
    """A control token by its name, or plain text."""

    text: str
    trained: bool = False
    control: bool = False


class Coder:
    """One tokenizer: its control tokens, and how it codes text at the start and in the middle."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if tokenizer.eos_token is None or tokenizer.eos_token_id is None:
            raise EvolError("the tokenizer has no EOS token; a model could not learn to stop", "set its eos_token")
        self._tokenizer = tokenizer
        self.end = str(tokenizer.eos_token)
        self.eos = int(tokenizer.eos_token_id)
        first = tokenizer("a").input_ids[:1]
        self.bos = str(tokenizer.bos_token) if first and first[0] == tokenizer.bos_token_id else ""
        written = str(tokenizer.chat_template or "")
        added = {
            token.content: token
            for token in tokenizer.added_tokens_decoder.values()
            if token.content and (token.special or (token.content in written and not token.content.isspace()))
        }
        names = {*added, *(name for name in tokenizer.special_tokens_map.values() if isinstance(name, str))}
        self._ids = {name: _id(tokenizer, name) for name in names}
        self._takes_before = {name for name, token in added.items() if token.lstrip}
        self._takes_behind = {name for name, token in added.items() if token.rstrip}
        self._first = re.compile(f"[{re.escape(''.join(sorted({name[0] for name in names})))}]")
        self._lengths = sorted({len(name) for name in names}, reverse=True)
        self._control_ids = set(self._ids.values()) - {tokenizer.unk_token_id}
        # Does a text's beginning get a blank of its own? Not where "\nx" is the ids of "\n" and those of "x".
        self._plain_start = self._code("\nx") == [*self._code("\n"), *self._code("x")]
        self._starts_anew = self._code(self.end + "x")[1:] == self._code("x")

    def finds(self, text: str) -> bool:
        """Whether the name of a control token stands in a text."""
        return self._name(text, 0) is not None

    def _name(self, text: str, place: int) -> tuple[int, int] | None:
        """Where the first name of a control token from `place` on begins and ends, the longest one there."""
        for match in self._first.finditer(text, place):
            start = match.start()
            for length in self._lengths:
                name = text[start : start + length]  # shorter where the text ends
                if name in self._ids:
                    return start, start + len(name)
        return None

    def controls(self, text: str, said: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Where control tokens stand in `text`, but for the ranges of what is said (in order)."""
        place, ranges = 0, list(reversed(said))
        while found := self._name(text, place):
            start, end = found
            while ranges and ranges[-1][1] <= start:
                ranges.pop()
            if ranges and ranges[-1][0] < end:
                place = start + 1
                continue
            yield start, end
            place = end

    def encode(self, pieces: Sequence[Piece]) -> Rendered:
        """The ids of pieces, text by text."""
        ids: list[int] = []
        mask: list[int] = []
        before = ""
        joined = _joined(pieces)
        for number, piece in enumerate(joined):
            if piece.control:
                made = [self._ids[piece.text]]
            else:
                text = piece.text.lstrip() if before in self._takes_behind else piece.text
                if number + 1 < len(joined) and joined[number + 1].text in self._takes_before:
                    text = text.rstrip()
                made = self._text(text, anew=not ids or (bool(before) and self._starts_anew))
            before = piece.text if piece.control else ""
            ids += made
            mask += [int(piece.trained)] * len(made)
        return Rendered("".join(piece.text for piece in joined), ids, mask)

    def _text(self, text: str, anew: bool) -> list[int]:
        """The ids of plain text. Names of control tokens are cut behind their first character, so that none
        is found."""
        ids: list[int] = []
        place = 0
        while True:
            found = self._name(text, place)
            cut = found[0] + 1 if found else len(text)
            part = text[place:cut]
            if part:
                ids += self._code(part) if anew or self._plain_start else self._middle(part)
                anew = False
            place = cut
            if found is None:
                break
        if not self._control_ids.isdisjoint(ids):
            raise EvolError("the tokenizer makes a control token out of plain text", "another base model")
        return ids

    def _middle(self, text: str) -> list[int]:
        """The ids of a text that follows another, without the blank that a beginning gets."""
        for anchor in _ANCHORS:
            before = self._code(anchor)
            whole = self._code(anchor + text)
            if whole[: len(before)] == before:
                return whole[len(before) :]
        raise EvolError("the tokenizer can't code a text in two parts", "another base model")

    def _code(self, text: str) -> list[int]:
        coded: list[int] = self._tokenizer.encode(text, add_special_tokens=False, verbose=False)
        return coded


def _id(tokenizer: PreTrainedTokenizerBase, name: str) -> int:
    found = tokenizer.convert_tokens_to_ids(name)
    assert isinstance(found, int)
    return found


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Neighbours that are text, both trained or neither, as one; without empty ones."""
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if not piece.text:
            continue
        if last and not last.control and not piece.control and last.trained == piece.trained:
            joined[-1] = replace(last, text=last.text + piece.text)
        else:
            joined.append(piece)
    return joined
