"""The small-model shape: what is asked, drawn again, put together, and kept out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.models import good
from tests.running import Runner

SEED = "Name three things to check before buying a used bicycle."


def tail(
    runner: Runner, *completions: str, operation: str = "deepen", seed: str | dict[str, Any] = SEED
) -> list[dict[str, Any]]:
    """Run one round in the tail shape; give the completion requests that were made."""
    replies = list(completions)

    def reply(body: dict[str, Any]) -> object:
        return (replies.pop(0) if replies else completions[-1]) if "prompt" in body else good(body)

    runner(reply, runner.seeds(seed), rounds=1, shape="tail", judging="rule", weights=(f"{operation}=1",))
    return [body for body in runner.asked if "prompt" in body]


def test_the_program_keeps_the_original(runner: Runner) -> None:
    (asked,) = tail(runner, " the bicycle's brakes can be tried out before paying. And more. ")
    assert (asked["temperature"], asked["stop"]) == (0.5, ["\n"])
    assert asked["prompt"].rstrip().endswith(("Also explain how", "Also say what would change if"))
    child = runner.kept()[1].text
    assert child.startswith(f"{SEED} Also ")
    assert child.endswith("the bicycle's brakes can be tried out before paying.")


@pytest.mark.parametrize(
    ("completion", "rule"),
    [
        ("a tree grows in spring.", "off_topic"),
        ("to check used things.", "no_gain"),
        ("yes", "empty"),
        ("a bicycle with a bicycle with a bicycle with a bicycle.", "degenerate"),
        ('the word "bicycle is spelled.', "degenerate"),
        ("", "empty"),
    ],
)
def test_what_does_not_fit_is_drawn_again_and_dropped_in_the_end(runner: Runner, completion: str, rule: str) -> None:
    asked = tail(runner, completion)
    assert len(asked) == (4 if completion else 1) or rule == "empty"
    assert [drop.rule for drop in runner.dropped()] == [rule]
    seeds = [body["seed"] for body in asked]
    assert len(set(seeds)) == len(seeds)


def test_the_first_that_fits_is_taken_and_all_are_counted(runner: Runner) -> None:
    asked = tail(runner, "a tree grows.", "a car stops.", "the bicycle's chain wears out over the years.")
    assert len(asked) == 3
    child = runner.kept()[1]
    assert "chain wears out" in child.text
    assert child.tokens["in"] > sum(body["prompt"].count(" ") for body in asked)


def test_a_new_prompt_must_read_as_a_request(runner: Runner) -> None:
    tail(runner, "The bicycle is a fine thing with wheels.", operation="in-breadth")
    assert [drop.rule for drop in runner.dropped()] == ["answered"]
    tail_run = tail
    runner.folder = runner.folder / "two"
    runner.folder.mkdir()
    tail_run(runner, "Describe how to check a unicycle that was ridden in a circus.", operation="in-breadth")
    assert runner.kept()[1].text == "Describe how to check a unicycle that was ridden in a circus."


def test_data_are_made_by_program_and_go_before_what_follows(runner: Runner) -> None:
    tail(runner, "brakes; frame; tyres; chain | price in euros", operation="complicate-input")
    child = runner.kept()[1].text
    assert "price_in_euros" in child
    assert child.rstrip().endswith("```")
    runner.folder = runner.folder / "again"
    runner.folder.mkdir()
    tail(runner, "brakes; frame; tyres", operation="complicate-input", seed=child)
    assert [drop.rule for drop in runner.dropped()] == ["bad_block"]


def test_the_input_stays_apart(runner: Runner) -> None:
    row = {"instruction": "Sort these bicycles by weight.", "input": "racer, tandem, cargo", "output": ""}
    (asked,) = tail(runner, "the tandem's weight is shared by two riders.", seed=row)
    assert "racer, tandem, cargo" in asked["prompt"]
    child = runner.kept()[1]
    assert (child.input, "racer" in child.text) == ("racer, tandem, cargo", False)
