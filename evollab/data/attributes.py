"""What can be told of a row without a model, in linear time: the attributes of `evol analyse` that cost nothing.

What is said of "the response" holds for all that the assistant says; of several turns, `repetition` looks at each
alone, and a phrase in any of them counts.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from evollab.data import content, phrases, variety
from evollab.data.answerform import ANSWER_FORMATS, answer_format
from evollab.data.items import Item
from evollab.data.language import language_of
from evollab.data.rows import excerpt, names
from evollab.data.tokencount import ESTIMATE, TokenCounter
from evollab.records import EvolError
from evollab.words import count_words


@dataclass(frozen=True)
class _Texts:
    """What the attributes of one row are made from, each made once."""

    item: Item
    counter: TokenCounter

    @cached_property
    def replies(self) -> list[str]:
        return [turn.content for turn in self.item.messages if turn.role == "assistant"]

    @cached_property
    def response(self) -> str:
        return "\n\n".join(self.replies)

    @cached_property
    def whole(self) -> str:
        return "\n\n".join(turn.content for turn in self.item.messages)

    @cached_property
    def response_tokens(self) -> int:
        return sum(map(self.counter.count, self.replies))

    @cached_property
    def tokens(self) -> int:
        others = (turn.content for turn in self.item.messages if turn.role != "assistant")
        return self.response_tokens + sum(map(self.counter.count, others))

    @cached_property
    def words(self) -> list[list[str]]:
        """The words of each reply."""
        return [variety.words_of(reply) for reply in self.replies]

    @cached_property
    def asked(self) -> list[tuple[str, str]]:
        """Each reply, and what was asked before it."""
        pairs, prompt = [], ""
        for turn in self.item.messages:
            if turn.role == "user":
                prompt = turn.content
            elif turn.role == "assistant":
                pairs.append((turn.content, prompt))
        return pairs

    @cached_property
    def diversity(self) -> float | None:
        return variety.lexical_diversity([word for words in self.words for word in words])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


_FOUND: dict[str, tuple[str, Callable[[_Texts], Any]]] = {
    "characters": ("characters of the whole conversation", lambda row: sum(len(m.content) for m in row.item.messages)),
    "words": ("words of the whole conversation", lambda row: sum(count_words(m.content) for m in row.item.messages)),
    "tokens": ("tokens of the whole conversation, by --tokenizer or an estimate", lambda row: row.tokens),
    "turns": ("how often the user speaks", lambda row: sum(m.role == "user" for m in row.item.messages)),
    "response_words": ("words of the response", lambda row: sum(map(count_words, row.replies))),
    "response_tokens": ("tokens of the response", lambda row: row.response_tokens),
    "language": ('language of the prompt (ISO 639), "und" when it can\'t be told',
                 lambda row: language_of(row.item.prompt, row.response)),
    "has_code": ("code, markup or JSON stands in it", lambda row: content.has_code(row.whole)),
    "has_math": ("LaTeX or an equation stands in it", lambda row: content.has_math(row.whole)),
    "has_table": ("a table stands in it: Markdown, HTML, LaTeX or CSV", lambda row: content.has_table(row.whole)),
    "has_url": ("a web address stands in it", lambda row: content.has_url(row.whole)),
    "answer_format": (f"format that the prompt asks for: {', '.join(ANSWER_FORMATS)}",
                      lambda row: answer_format(row.item.prompt)),
    "repetition": ("share of the response in runs of 5 words that stood in it before (of several turns: the most)",
                   lambda row: _rounded(max(map(variety.repetition, row.words), default=0.0))),
    "lexical_diversity": ("different words in 50 running ones of the response (MATTR); null for shorter responses",
                          lambda row: _rounded(row.diversity)),
    "refusal": ("the response declines", lambda row: any(phrases.refusal(*pair) for pair in row.asked)),
    "moralising": ("the response lectures", lambda row: any(phrases.moralising(*pair) for pair in row.asked)),
}  # fmt: skip
ATTRIBUTES: Mapping[str, str] = MappingProxyType({name: meaning for name, (meaning, _) in _FOUND.items()})
"""Attribute -> what it means."""


def attributes(
    item: Item, counter: TokenCounter | None = None, names: Iterable[str] = tuple(ATTRIBUTES)
) -> dict[str, Any]:
    """The attributes `names` of one row, in that order, as JSON has them; None where one says nothing of this row.

    counter: what counts tokens (None: ESTIMATE, see `tokencount`). Raises KeyError for names that are not in
    ATTRIBUTES (see `chosen`), EvolError for `language` without its package.
    """
    row = _Texts(item, counter or ESTIMATE)
    return {name: _FOUND[name][1](row) for name in names}


def chosen(asked: Iterable[str], known: Mapping[str, str], option: str = "--attributes") -> tuple[str, ...]:
    """The names asked for, each once, in the order of `known`. Raises EvolError for one that is not known, saying
    what is, and the nearest."""
    wanted = {name.strip() for name in asked}
    for name in sorted(wanted - set(known)):
        near = difflib.get_close_matches(name, known, 1, 0.5)
        raise EvolError(
            f"{option}: no attribute is called {excerpt(name, 60)!r}; there are: {names(known, 60)}",
            f"did you mean {near[0]}?" if near else "",
        )
    return tuple(name for name in known if name in wanted)
