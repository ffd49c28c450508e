"""One fixture for each reason to drop, and the near misses that must stay."""

from __future__ import annotations

import pytest

from evollab.evolve.domains.general import DOMAIN
from evollab.evolve.eliminate import (
    ALL_CHECKS,
    PAPER_CHECKS,
    RULES,
    Attempt,
    bad_response,
    first_objection,
)
from evollab.evolve.operation import Format
from evollab.records import Instruction, seed_instruction

SEED = seed_instruction("Explain how rust forms on iron.", response="Iron reacts with oxygen and water to iron oxide.")
JSON = next(op for op in DOMAIN.operations if op.formats).formats[-1]


def objection(
    text: str, *, parent: Instruction = SEED, operation: str = "deepen", form: Format | None = None
) -> str | None:
    found = first_objection(
        Attempt(parent, (parent.text,), DOMAIN.operation(operation), DOMAIN, text, form), ALL_CHECKS
    )
    return found[0] if found else None


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("leak", "#Rewritten Prompt#: Explain how rust forms on iron and steel."),
        ("leak", "Explain how rust forms on iron, as the given prompt asks, but for steel."),
        ("leak", "The Rewritten Prompt says: explain how rust forms on iron at sea."),
        ("leak", "Explain how rust forms on iron. # Given Prompt # ends here."),
        ("method_leak", "Explain how rust forms on iron. Write in the same language as the prompt please."),
        ("method_leak", "Explain how rust forms on iron in [[BLOCK 1]] and steel."),
        ("refusal", "I'm sorry, but I can't rewrite how rust forms on iron."),
        ("refusal", "As an AI language model I explain how rust forms on iron."),
        ("asks_back", "Please provide the prompt you would like me to rewrite about rust on iron."),
        ("asks_back", "Could you share the text so that I can rewrite how rust forms on iron?"),
        ("answered", "Sure! Explain how rust forms on iron and on steel."),
        ("answered", "Here is the rewritten version: explain how rust forms on iron."),
        ("answered", "Answer: rust forms on iron when water and oxygen meet it."),
        ("answered", "Rust on iron forms so: iron reacts with oxygen and water to iron oxide."),
        ("copy", "Explain how rust forms on iron."),
        ("copy", "explain HOW rust forms, on iron"),
        ("copy", "how rust forms"),
        ("degenerate", "... and of the, to it!"),
        ("degenerate", "rust forms on iron " * 12),
        ("language", "Erkläre, wie der Rost auf dem Eisen entsteht und warum das Salz die Sache nicht besser macht."),
        ("drift", "Describe the political consequences of a tariff on imported bicycles in Portugal."),
        ("dangling", "Explain how rust forms on iron with the help of the following table."),
        ("dangling", "Explain how rust forms on iron, using the data provided above."),
    ],
)
def test_dropped(rule: str, text: str) -> None:
    parent = SEED
    if rule == "language":
        parent = seed_instruction("Explain how the rust forms on the iron of a ship that is in the sea for a year.")
    assert objection(text, parent=parent) == rule


@pytest.mark.parametrize(
    "text",
    [
        "Explain how rust forms on iron, and why salt water makes it form faster than fresh water does.",
        "Explain how rust forms on iron to somebody who is sorry for a ruined bicycle.",
        "Explain how rust forms on iron. Please provide a list of three remedies.",
        "Explain how rust forms on iron, given a humid climate. Prompt action is needed: say which.",
        "Certain metals rust. Explain how rust forms on iron, but not on gold.",
        "Explain how rust forms on iron. Use the following table:\n\n| a | b |\n| 1 | 2 |",
        'Explain how rust forms on iron and translate the following sentence: "Iron rusts in the rain."',
        "Explain how rust forms on iron, and answer: is it reversible?",
        "Here is an iron nail. Rewrite how rust forms on it as a question for a quiz.",
    ],
)
def test_kept(text: str) -> None:
    assert objection(text) is None


def test_a_phrase_of_the_parent_is_no_leak() -> None:
    parent = seed_instruction("Continue the story from the given prompt about rust and iron.")
    assert objection("Continue the story from the given prompt about rust, iron and a storm.", parent=parent) is None


def test_a_dangling_phrase_may_point_at_the_input_or_the_turns_before() -> None:
    parent = seed_instruction("Sort these words by length and age.", input="rust, iron, oxygen")
    assert objection("Sort the following words by length, age and beauty.", parent=parent) is None
    assert objection("Sort the following words by length, age and beauty.", parent=parent, operation="in-breadth")


def test_breadth_may_leave_its_parent_behind() -> None:
    text = "Describe the political consequences of a tariff on imported bicycles in Portugal."
    assert objection(text, operation="in-breadth") is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('Explain how rust forms on these iron parts.\n\n```json\n{"a": 1}\n```', None),
        ("Explain how rust forms on these iron parts of a ship.", "bad_block"),
        ('Explain how rust forms on these iron parts.\n\n```json\n{"a": 1\n```', "bad_block"),
        ("Explain how rust forms on iron parts.\n\n```json\n[" + ", ".join(["1"] * 400) + "]\n```", "bad_block"),
    ],
)
def test_complicate_input_must_bring_data(text: str, rule: str | None) -> None:
    assert objection(text, operation="complicate-input", form=JSON) == rule


def test_the_paper_checks_only_its_own_rules() -> None:
    def paper(text: str) -> bool:
        return first_objection(Attempt(SEED, (), DOMAIN.operations[0], DOMAIN, text), PAPER_CHECKS) is not None

    assert paper("#Rewritten Prompt#: x")
    assert not paper("Sure! Explain how rust forms on iron.")


@pytest.mark.parametrize(("words", "rule"), [(79, "unanswerable"), (80, None), (200, None)])
def test_sorry_is_unanswerable_below_eighty_words(words: int, rule: str | None) -> None:
    response = "Sorry, " + " ".join(f"part{n}" for n in range(words - 1))
    for thorough in (False, True):
        found = bad_response(SEED, response, thorough=thorough)
        assert (found and found[0]) == rule


@pytest.mark.parametrize(
    ("response", "rule"),
    [
        ("", "empty"),
        ("...", "degenerate"),
        ("It is what it is.", "degenerate"),
        ("Der Kinderwald liegt in der Stadt " * 4, "degenerate"),
        ("铁在有水和氧气的地方生锈，因为铁会变成氧化铁。", "language"),
        ("As a language model, I have no iron.", "refusal"),
        ("Please provide the table first.", "asks_back"),
        ("Iron rusts when oxygen and water reach its surface together.", None),
    ],
)
def test_responses(response: str, rule: str | None) -> None:
    found = bad_response(SEED, response, thorough=True)
    assert (found and found[0]) == rule


def test_an_instruction_that_holds_its_answer() -> None:
    answer = "Iron atoms give electrons to oxygen while water carries the charge, and flakes of brown oxide grow there"
    child = seed_instruction(f"Explain how rust forms on iron. {answer}. Say it again.")
    found = bad_response(child, answer, thorough=True)
    assert found
    assert found[0] == "answered"


def test_every_check_has_a_documented_rule() -> None:
    assert {rule for rule, _ in ALL_CHECKS} <= set(RULES)


@pytest.mark.parametrize("character", ["a", "#", " ", "the given ", "please provide the text ", "(", "\n"])
def test_hostile_lengths_cost_little(character: str) -> None:
    """Patterns are linear: 300 kB of the worst text is checked in well under the time a call takes."""
    import time

    text = character * (300_000 // len(character))
    clock = time.process_time()
    objection(text)
    bad_response(SEED, text, thorough=True)
    assert time.process_time() - clock < 10
