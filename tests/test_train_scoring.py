"""Scores by reward models: where they are read, how often they are computed, what is made of them."""

from __future__ import annotations

import math
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers", reason="needs the extra `train`")

import torch

from evollab.chat import Renderer
from evollab.records import EvolError, Message
from evollab.train.scoring import STEP_LABELS, InstructionScorer, StepScorer, aggregate, vote
from evollab.train.steps import SEPARATOR, StepCoder, steps_of
from tests import tiny

torch.set_num_threads(1)


def asked(text: str) -> list[Message]:
    return [Message("user", text)]


# Steps


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("Step 1: add.\nStep 2: halve.\nThe answer is 4.", ["Step 1: add.", "Step 2: halve.\nThe answer is 4."]),
        ("First, add.\n\nThen halve\nit.\n \n\n#### 4", ["First, add.", "Then halve\nit.", "#### 4"]),
        ("3 + 4 = 7\n7 * 2 = 14", ["3 + 4 = 7", "7 * 2 = 14"]),
        ("**Step 1** a\n### Step 2\nb", ["**Step 1** a", "### Step 2\nb"]),
        ("Step 1: one\nstep by step", ["Step 1: one\nstep by step"]),
        ("Run\n```\na\n\nStep 2\n```\ndone", ["Run", "```\na\n\nStep 2\n```", "done"]),
        ("So $$x$$\n\\[\na\n\n= b\n\\]\nend", ["So $$x$$", "\\[\na\n\n= b\n\\]", "end"]),
        (" \n\n", []),
    ],
)
def test_steps_of_answers(text: str, steps: list[str]) -> None:
    assert steps_of(text) == steps


LINES = st.lists(
    st.one_of(
        st.sampled_from(["", " ", "Step 1: a", "step 22", "```", "$$", "$$ x", "\\[", "\\]", "\\[ a \\]", "## Step 3", "\r"]),
        st.text(max_size=8),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=300)
@given(LINES)
def test_what_is_cut_once_stays_so(lines: list[str]) -> None:
    steps = steps_of("\n".join(lines))
    assert steps_of(SEPARATOR.join(steps)) == steps
    assert all(step == step.strip() != "" for step in steps)
    assert "".join("".join(steps).split()) == "".join("".join(lines).split()), "nothing is lost"


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("format", ["vicuna", "alpaca"])
def test_the_end_of_a_step_is_the_end_of_a_token(kind: tiny.Kind, format: str) -> None:
    tokenizer = tiny.tokenizer(kind)
    renderer = Renderer(tokenizer, format)
    code = StepCoder(renderer)
    steps = ["Step 1: add 12 and 30.", "The sum\nis 42", "#### 42"]
    made = code(asked("Add 12 and 30."), steps)
    prompt = renderer.render(asked("Add 12 and 30."), generation_prompt=True).ids
    assert made.ids[: len(prompt)] == prompt
    starts = [len(prompt), *(end + 1 for end in made.ends)]
    parts = [tokenizer.decode(made.ids[start : end + 1]).strip() for start, end in zip(starts, made.ends, strict=False)]
    assert parts == steps
    assert made.ends[-1] == len(made.ids) - 1
    assert code(asked("Add"), []).ends == []
    one = code(asked("Add 12 and 30."), steps[:1])
    assert made.ids[: len(one.ids)] == one.ids, "what follows changes no id before it"


# Instructions


def irm(kind: tiny.Kind = "llama") -> tuple[Any, Any]:
    tokenizer = tiny.tokenizer(kind)
    return tiny.model(tokenizer, head="sequence"), tokenizer


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_scores_lie_between_0_and_1_and_batches_change_nothing(kind: tiny.Kind) -> None:
    model, tokenizer = irm(kind)
    prompts = [asked(f"Add {n} and {'7' * (1 + n % 9)}.") for n in range(40)]
    scores = InstructionScorer(model, tokenizer, "vicuna")(prompts)
    assert len(set(scores)) > 20
    alone = [InstructionScorer(model, tokenizer, "vicuna")([prompt])[0] for prompt in prompts[:6]]
    assert scores[:6] == pytest.approx(alone, abs=1e-5)
    model.score.weight.data *= 1e6
    assert all(0 <= score <= 1 for score in [*scores, *InstructionScorer(model, tokenizer, "vicuna")(prompts)])


def test_each_distinct_prompt_is_scored_once() -> None:
    model, tokenizer = irm()
    seen: list[int] = []
    model.register_forward_hook(lambda _, __, given, ___: seen.append(len(given["input_ids"])), with_kwargs=True)
    scorer = InstructionScorer(model, tokenizer, "vicuna")
    first = scorer([asked("a"), asked("b"), asked("a")])
    assert (seen, scorer.scored) == ([2], 2)
    assert first[0] == first[2] != first[1]
    assert scorer([asked("b"), asked("c")])[0] == first[1]
    assert (seen, scorer.scored) == ([2, 1], 3)
    assert scorer([]) == []


def test_the_score_is_read_at_the_last_token_even_where_that_is_the_padding() -> None:
    """EOS is the padding, and a prompt ends with it: by the token's id the score would be read before it."""
    from evollab.train.reward_batches import last_by_place, left_padded

    model, tokenizer = irm("bytes")
    end = tokenizer.eos_token_id
    assert model.config.pad_token_id == tokenizer.pad_token_id == end
    rows = [[70, 71, 72, end, end], [80, 81]]
    batch = left_padded(rows, end)
    with torch.no_grad(), last_by_place(model):
        got = model(**batch).logits[:, 0].tolist()
    with torch.no_grad():
        hidden = [model.model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1] for ids in rows]
        wanted = [float(model.score(state)) for state in hidden]
        trap = model(**batch).logits[:, 0].tolist()
    assert got == pytest.approx(wanted, abs=1e-5)
    assert trap[0] != pytest.approx(got[0], abs=1e-5)
    assert model.config.pad_token_id == end, "as before"


def test_what_is_no_reward_model_is_refused(tmp_path: Path) -> None:
    base = tiny.checkpoint(tmp_path / "base")
    with pytest.raises(EvolError, match="is no reward model for instructions: it holds LlamaForCausalLM"):
        InstructionScorer(str(base))
    with pytest.raises(EvolError, match="is no reward model for steps"):
        StepScorer(str(base))
    tokenizer = tiny.tokenizer()
    with pytest.raises(EvolError, match="the model has 3 outputs"):
        InstructionScorer(tiny.model(tokenizer, head="sequence", labels=3), tokenizer, "vicuna")
    with pytest.raises(EvolError, match="labels are LABEL_0, LABEL_1, LABEL_2; expected one to be 'correct'"):
        StepScorer(tiny.model(tokenizer, head="token", labels=3), tokenizer, "vicuna")
    with pytest.raises(EvolError, match=r"a text of [\d,]+ tokens is to be scored; the reward model takes 512"):
        InstructionScorer(*irm(), "vicuna")([asked("7" * 600)])
    with pytest.raises(EvolError, match="a model without its tokenizer"):
        InstructionScorer(irm()[0])


# Steps of answers


def test_steps_get_probabilities_of_being_correct() -> None:
    tokenizer = tiny.tokenizer("chatml")
    model = tiny.model(tokenizer, head="token", labels=3)
    model.config.id2label = dict(enumerate(STEP_LABELS))
    scorer = StepScorer(model, tokenizer, "model")
    answers = ["Step 1: a\nStep 2: b", "", "one\n\ntwo\n\nthree"]
    scores = scorer([asked("x"), asked("y"), asked("z, which is longer")], answers)
    assert [len(one) for one in scores] == [len(steps_of(answer)) for answer in answers] == [2, 0, 3]
    assert all(0 < score < 1 for one in scores for score in one)
    made = StepCoder(Renderer(tokenizer, "model"))(asked("x"), steps_of(answers[0]))
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([made.ids])).logits[0, made.ends]
    assert scores[0] == pytest.approx(logits.softmax(-1)[:, 2].tolist(), abs=1e-5)
    with pytest.raises(ValueError, match="zip"):
        scorer([asked("x")], answers)


# What is made of scores


def test_scores_of_steps_as_one() -> None:
    scores = [0.9, 0.5, 0.8]
    assert [aggregate(scores, how) for how in ("min", "product", "last", "mean")] == pytest.approx(
        [0.5, 0.36, 0.8, 2.2 / 3]
    )
    assert aggregate(scores) == 0.5
    assert [aggregate([], how) for how in ("min", "product", "last", "mean")] == [0.0] * 4
    with pytest.raises(EvolError, match="aggregation 'mni': expected min, product, last, mean") as caught:
        aggregate(scores, "mni")
    assert caught.value.hint == "did you mean min?"


@given(st.lists(st.floats(0, 1), max_size=20))
def test_aggregates_stay_between_0_and_1(scores: list[float]) -> None:
    found = {how: aggregate(scores, how) for how in ("min", "product", "last", "mean")}
    assert all(0 <= value <= 1 for value in found.values())
    assert found["product"] <= found["min"] <= found["mean"] + 1e-12


def test_the_vote_counts_scores_not_heads() -> None:
    """Three weak answers say 7, two good ones 12."""
    finals = ["7", "12", "7", None, "7", "12"]
    scores = [0.2, 0.9, 0.3, 1.0, 0.2, 0.8]
    assert vote(["..."] * 6, finals, scores) == "12"
    assert vote(["..."] * 6, finals, [1.0] * 6) == "7", "with equal scores the plurality wins"
    assert vote(["a", "b"], ["x", "y"], [0.5, 0.5]) == "x"
    assert vote(["a"], [None], [1.0]) is None
    assert vote([], [], []) is None
    with pytest.raises(ValueError, match="zip"):
        vote(["a"], ["x", "y"], [1.0])


@given(st.lists(st.tuples(st.sampled_from(string.ascii_lowercase[:4]), st.floats(0, 1)), min_size=1, max_size=12))
def test_a_vote_gives_the_greatest_sum(pairs: list[tuple[str, float]]) -> None:
    finals, scores = [final for final, _ in pairs], [score for _, score in pairs]
    sums = {one: math.fsum(score for final, score in pairs if final == one) for one in finals}
    won = vote(finals, finals, scores)
    assert won is not None
    assert sums[won] == max(sums.values())
