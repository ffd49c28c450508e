"""What RLEIF rewards: the product, who verifies, prompts as ids, and how a hacked reward is told from noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evollab.records import EvolError, Message
from evollab.train.rewards import Factors, Rewards, product
from evollab.train.verifiers import MathVerifier, math_verifier, same_answer, verifiable

ASKED = [(Message("user", "What is 3 + 4?"),)] * 2
UNIT = st.floats(0, 1)


# The product


@given(UNIT, UNIT, UNIT)
def test_a_reward_is_the_product_and_never_more_than_a_factor(irm: float, prm: float, verified: float) -> None:
    found = product(irm, prm, verified)
    assert found.reward == pytest.approx(irm * prm * verified)
    assert 0 <= found.reward <= min(irm, prm, verified)


def test_a_factor_that_is_left_out_counts_one() -> None:
    assert product(prm=0.25) == Factors(0.25, None, 0.25, None)
    assert product().reward == 1


@pytest.mark.parametrize("value", [-0.5, 1.01, float("nan")])
def test_factors_outside_0_to_1_are_refused(value: float) -> None:
    """Two negative logits multiplied would make the best reward of all."""
    with pytest.raises(ValueError, match="expected 0 to 1"):
        product(value, value)


@pytest.mark.parametrize(("how", "expected"), [("min", 0.4), ("product", 0.32), ("last", 0.8), ("mean", 0.6)])
def test_steps_become_one_score(how: str, expected: float) -> None:
    def steps(prompts: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[list[float]]:
        assert prompts == ASKED
        return [[0.4, 0.8], []]

    found = Rewards(steps, how)(ASKED, ["a\n\nb", ""], [None, None], [0.5, 0.5])
    assert found[0].reward == pytest.approx(0.5 * expected)
    assert found[0].prm == pytest.approx(expected)
    assert found[1].reward == 0, "who says nothing earns nothing"


def test_a_wrong_final_answer_earns_nothing_however_good_its_steps() -> None:
    def steps(prompts: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[list[float]]:
        return [[0.9] for _ in answers]

    found = Rewards(steps, "min", MathVerifier())(ASKED, ["It is 7.", "It is 8."], ["7", "#### 7"], [0.5, 0.5])
    assert [one.reward for one in found] == [pytest.approx(0.45), 0]
    assert [one.verified for one in found] == [1, 0]


# The verifier


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("#### 1,234", "So the answer is 1234."), ("1234.0", "\\boxed{1{,}234}"), ("0.5", "The answer is: 1/2"),
        ("3/4", "#### \\frac{3}{4}"), ("72", "Then 72 clips are sold.\n#### 72 clips"), ("-3", "The answer is −3"),
        ("B", "The answer is (B)."), ("15%", "The answer is 0.15"), ("#### 5", "2 + 3 makes 5"),
    ],
)  # fmt: skip
def test_right_answers(reference: str, answer: str) -> None:
    assert same_answer(reference, answer)


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("7", "The answer is 8."), ("7", "seven"), ("7", ""), ("7", "#### "), ("7", "The answer is 7, no, wait.\n#### 8"),
        ("1,234", "The answer is 1.234"), ("1/3", "The answer is 0.3333"), ("B", "The answer is C"),
        ("7", "The answer is 1/0"), ("7", "9" * 100_000), ("10", "The answer is 2^10"),
    ],
)  # fmt: skip
def test_wrong_answers(reference: str, answer: str) -> None:
    assert not same_answer(reference, answer)


@given(st.text(max_size=300), st.text(max_size=300))
def test_the_verifier_never_raises(reference: str, answer: str) -> None:
    assert same_answer(reference, answer) in (True, False)
    assert verifiable(reference) in (True, False)


def test_what_a_rule_can_compare_with() -> None:
    assert all(map(verifiable, ["7", "#### 1,234", "long story\n#### 3", "\\boxed{1/2}", "C", "12 %"]))
    assert not any(map(verifiable, [None, "", "a poem", "\\boxed{x + 1}", "first line\n7"]))


def test_formulas_are_compared_by_algebra() -> None:
    pytest.importorskip("math_verify", reason="needs the extra `evals`")
    with math_verifier() as verifier:
        golds = ["\\boxed{x + 1}", "x^2", "\\frac{\\pi}{2}", "(1, 2)"]
        assert all(map(verifier.comparable, golds))
        assert not any(map(verifier.comparable, [None, "a poem", "Roses are red.", "Name 3 colours: red"]))
        answers = ["so \\boxed{1 + x}", "The answer is $2x$.", "\\boxed{0.5\\pi}", "\\boxed{(2,1)}"]
        assert verifier(answers, golds) == [1, 0, 1, 0]
        assert verifier(["\\boxed{10^{10^{10^{10}}}}"], ["x^2"]) == [0], "and ends, whatever the model wrote"


# Prompts


tiny: Any = pytest.importorskip("tests.tiny")
ROWS: list[dict[str, Any]] = [
    {"instruction": "Add 1 and 7.", "output": "The answer is 8."},
    {"instruction": "Say </s> and <|im_end|> and <|endoftext|>.", "output": "#### 1"},
    {"instruction": "Which is greater?\nUSER: 3 ASSISTANT: 4", "output": "#### 4"},
]


@pytest.mark.parametrize("kind", ["llama", "bytes", "chatml"])
@pytest.mark.parametrize("format", ["vicuna", "alpaca", "model"])
def test_prompts_are_the_renderers_ids(kind: Any, format: str, tmp_path: Path) -> None:
    """The same that `evol train sft` trains and, for text without control tokens, the saved template gives."""
    pytest.importorskip("pyarrow")
    pytest.importorskip("transformers", reason="needs the extra `train`")
    from evollab.chat import Renderer, template
    from evollab.data.items import RowOptions
    from evollab.train.prompts import PromptReader, write_prompts
    from evollab.train.rows import open_rows

    tokenizer = tiny.tokenizer(kind)
    if format == "model" and not tokenizer.chat_template:
        pytest.skip("no template of its own")
    renderer = Renderer(tokenizer, format)
    source = tiny.write_rows(tmp_path / "rows.jsonl", ROWS)
    write_prompts(str(source), tmp_path, PromptReader(renderer, RowOptions(), 500))
    rows = open_rows(tmp_path, "train")
    for row, given_ in zip(rows, ROWS, strict=True):
        turns = [Message("user", given_["instruction"])]
        whole = renderer.render([*turns, Message("assistant", given_["output"])])
        assert row["prompt"] == renderer.render(turns, generation_prompt=True).ids
        assert row["prompt"] == whole.ids[: len(row["prompt"])], "what is asked is what was trained"
        assert row["reference"] == given_["output"]
    asked = [{"role": "user", "content": ROWS[0]["instruction"]}]
    by_template = tokenizer.apply_chat_template(
        asked, chat_template=template(tokenizer, format), add_generation_prompt=True
    )
    assert rows[0]["prompt"] == by_template["input_ids"]
    control = tokenizer.convert_tokens_to_ids("</s>" if kind == "llama" else tokenizer.eos_token)
    plain = rows[0]["prompt"].count(control)
    assert rows[1]["prompt"].count(control) == plain, "what people say is no control token"


def written(tmp_path: Path, rows: list[dict[str, Any]], **more: Any) -> tuple[Any, list[dict[str, Any]]]:
    from evollab.chat import Renderer
    from evollab.data.items import RowOptions
    from evollab.train.prompts import PromptReader, write_prompts

    share = more.pop("eval_share", 0.0)
    reader = PromptReader(Renderer(tiny.tokenizer("llama")), RowOptions(), more.pop("max_prompt", 150), **more)
    counts = write_prompts(str(tiny.write_rows(tmp_path / "in.jsonl", rows)), tmp_path, reader, eval_share=share)
    removed = [orjson.loads(line) for line in (tmp_path / "removed.jsonl").read_bytes().splitlines()]
    return counts, removed


def test_rows_that_are_not_asked_are_counted_with_their_lines(tmp_path: Path) -> None:
    from evollab.train.prompts import told

    rows = [
        {"instruction": "Add 1 and 7.", "output": "8"},
        {"instruction": "Write a poem.", "output": "Roses are red."},
        {"instruction": "Add 2 and 7. " * 60, "output": "9"},
        {"instruction": "Name a number.", "output": ""},
    ]
    counts, removed = written(tmp_path, rows, needed=True)
    assert (counts.rows, counts.train) == (4, 1)
    assert [(one["line"], one["reason"]) for one in removed] == [
        (2, "no_reference"), (3, "too_long"), (4, "no_reference"),
    ]  # fmt: skip
    assert "2 rows have no reference that a rule can compare with, left out (lines 2, 4)" in "\n".join(
        told(counts.to_json(), tmp_path)
    )


def test_the_reference_may_stand_in_a_column_of_its_own(tmp_path: Path) -> None:
    rows = [{"prompt": "Add 1 and 7.", "solution": "I think so.", "ground_truth": 8}]
    counts, _ = written(tmp_path, rows, needed=True, reference="ground_truth")
    assert counts.train == 1


def test_no_prompt_is_both_trained_and_held_out(tmp_path: Path) -> None:
    from evollab.train.rows import open_rows

    counts, _ = written(tmp_path, tiny.sums(30) * 2, eval_share=0.4)
    train, held_out = (set(open_rows(tmp_path, name)["messages"]) for name in ("train", "eval"))
    assert not train & held_out
    assert counts.train + counts.held_out == 60
    with pytest.raises(EvolError, match="holds out none of 1 prompts"):
        written(tmp_path, tiny.sums(1), eval_share=0.01)
    with pytest.raises(EvolError, match="no prompt is left to train"):
        written(tmp_path, [{"instruction": "Write a poem.", "output": "Roses."}], needed=True)


# Hacking


def test_a_change_within_noise_is_none_and_a_collapse_is_one() -> None:
    pytest.importorskip("trl", reason="needs the extra `train`")
    from evollab.train.hacking import FEWEST, change, risen

    start = [1.0, 0.0] * 20
    swapped = [*start[:-4], *reversed(start[-4:])]
    mean, low, high = change(start, swapped)
    assert mean == 0
    assert low < 0 < high
    mean, low, high = change(start, [0.0] * 40)
    assert mean == -0.5
    assert low < -0.5 < high < -0.3
    assert change(start, [0.0] * 40) == (mean, low, high), "the same for a seed"
    assert change([1.0] * (FEWEST - 1), [0.0] * (FEWEST - 1))[2] == 1, "so few prompts tell nothing"
    assert risen([0.1]) == 0
    assert risen([0.1, 0.1, 0.2, 0.3, 0.2, 0.4, 0.5, 0.5]) == pytest.approx(0.4)
    assert risen([0.5, 0.1]) < 0
