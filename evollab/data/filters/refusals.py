"""Rows whose responses decline, speak of themselves as an AI, or lecture: what the community removed
from WizardLM's data for its "uncensored" variants. Every response of a conversation is looked at.
English only, by the rules of `evollab/data/phrases.py`."""

from __future__ import annotations

from evollab.data.filtering import Check, Filter, FilterOptions, Finding
from evollab.data.items import Item
from evollab.data.phrases import moralising, refusal, self_reference
from evollab.data.rows import excerpt

_SHOWN = 120


def check(item: Item) -> Finding | None:
    prompt = ""
    for turn in item.messages:
        if turn.role == "user":
            prompt = turn.content
        elif turn.role == "assistant" and (found := _look(turn.content, prompt)) is not None:
            return found
    return None


def _look(response: str, prompt: str) -> Finding | None:
    for reason, words in (
        ("refusal", refusal(response, prompt)),
        ("as an AI", self_reference(response)),
        ("moralising", moralising(response, prompt)),
    ):
        if words is not None:
            return Finding(reason, f"it says: {excerpt(words, _SHOWN)}")
    return None


def make(options: FilterOptions) -> Check:
    return check


FILTER = Filter(make)
