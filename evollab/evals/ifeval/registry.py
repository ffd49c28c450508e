"""All instructions by id: what each needs to be told, and its check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evollab.data.formats import BadFields
from evollab.data.rows import excerpt, kind
from evollab.evals.ifeval import forms, keywords, lengths, wholes
from evollab.evals.ifeval.lengths import AT_LEAST, LESS
from evollab.evals.ifeval.words import LONGEST

Check = Callable[[str, Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """An instruction: its check, and the arguments that the data must give, with their types."""

    check: Check
    needs: Mapping[str, type]


RULES: Mapping[str, Rule] = {
    "keywords:existence": Rule(keywords.existence, {"keywords": list}),
    "keywords:frequency": Rule(keywords.frequency, {"keyword": str, "relation": str, "frequency": int}),
    "keywords:forbidden_words": Rule(keywords.forbidden_words, {"forbidden_words": list}),
    "keywords:letter_frequency": Rule(
        keywords.letter_frequency, {"letter": str, "let_relation": str, "let_frequency": int}
    ),
    "language:response_language": Rule(wholes.response_language, {"language": str}),
    "length_constraints:number_sentences": Rule(lengths.number_sentences, {"relation": str, "num_sentences": int}),
    "length_constraints:number_paragraphs": Rule(lengths.number_paragraphs, {"num_paragraphs": int}),
    "length_constraints:number_words": Rule(lengths.number_words, {"relation": str, "num_words": int}),
    "length_constraints:nth_paragraph_first_word": Rule(
        lengths.nth_paragraph_first_word, {"num_paragraphs": int, "nth_paragraph": int, "first_word": str}
    ),
    "detectable_content:number_placeholders": Rule(forms.number_placeholders, {"num_placeholders": int}),
    "detectable_content:postscript": Rule(forms.postscript, {"postscript_marker": str}),
    "detectable_format:number_bullet_lists": Rule(forms.number_bullet_lists, {"num_bullets": int}),
    "detectable_format:constrained_response": Rule(forms.constrained_response, {}),
    "detectable_format:number_highlighted_sections": Rule(forms.number_highlighted_sections, {"num_highlights": int}),
    "detectable_format:multiple_sections": Rule(forms.multiple_sections, {"section_spliter": str, "num_sections": int}),
    "detectable_format:json_format": Rule(forms.json_format, {}),
    "detectable_format:title": Rule(forms.title, {}),
    "combination:two_responses": Rule(wholes.two_responses, {}),
    "combination:repeat_prompt": Rule(wholes.repeat_prompt, {"prompt_to_repeat": str}),
    "startend:end_checker": Rule(wholes.end_checker, {"end_phrase": str}),
    "startend:quotation": Rule(wholes.quotation, {}),
    "change_case:capital_word_frequency": Rule(
        wholes.capital_word_frequency, {"capital_relation": str, "capital_frequency": int}
    ),
    "change_case:english_capital": Rule(wholes.english_capital, {}),
    "change_case:english_lowercase": Rule(wholes.english_lowercase, {}),
    "punctuation:no_comma": Rule(wholes.no_comma, {}),
}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a prompt. name: its id without a language before it. given: its arguments."""

    name: str
    given: Mapping[str, Any]

    @property
    def family(self) -> str:
        return self.name.partition(":")[0]


def instruction(name: Any, given: Any) -> Instruction:
    """An instruction by its id ("punctuation:no_comma", or "en:punctuation:no_comma") and its arguments, where None
    stands for what isn't there. Raises BadFields for an unknown id, and for arguments missing or of another kind."""
    if not isinstance(name, str):
        raise BadFields(f"an instruction's id is {kind(name)}; expected text")
    plain = name.removeprefix("en:")
    rule = RULES.get(plain)
    if rule is None:
        raise BadFields(f"instruction {excerpt(name, 60)}: not one of IFEval's {len(RULES)}")
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise BadFields(f"the arguments of {plain} are {kind(given)}; expected an object")
    for key, wanted in rule.needs.items():
        value = given.get(key)
        if isinstance(value, float) and value.is_integer() and wanted is int:
            value = int(value)
        if not isinstance(value, wanted) or isinstance(value, bool) or not _fits(key, value):
            raise BadFields(f"{plain} needs {key}, which is {excerpt(repr(value), 40)}")
    return Instruction(plain, {key: given[key] for key in rule.needs})


def _fits(key: str, value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, str) and one for one in value)
    if isinstance(value, str):
        return value in (LESS, AT_LEAST) if key.endswith("relation") else bool(value.strip())
    return True


def strict(response: str, instructions: Sequence[Instruction]) -> list[bool]:
    """Whether the response keeps each instruction. An empty response keeps none."""
    text = response[:LONGEST]
    return [bool(text.strip()) and RULES[one.name].check(text, one.given) for one in instructions]


def loose(response: str, instructions: Sequence[Instruction]) -> list[bool]:
    """As `strict`, where one of eight readings of the response will do: without stars, first line, last line."""
    texts = list(variants(response[:LONGEST]))
    return [any(RULES[one.name].check(text, one.given) for text in texts) for one in instructions]


def variants(response: str) -> Iterator[str]:
    """The readings that the loose score tries, but for those that are empty."""
    lines = response.split("\n")
    parts = (response, "\n".join(lines[1:]).strip(), "\n".join(lines[:-1]).strip(), "\n".join(lines[1:-1]).strip())
    for text in dict.fromkeys((*parts, *(part.replace("*", "") for part in parts))):
        if text.strip():
            yield text
