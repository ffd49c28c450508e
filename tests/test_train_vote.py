"""`evol vote`: how rows become questions, what counts as the same answer, who wins, what is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evollab.records import EvolError, Message
from evollab.train.vote import VoteOptions, vote_answers
from evollab.train.vote_rows import final_of
from tests import tiny

OPTIONS = VoteOptions(prm="toy")


def told(prompts: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[list[float]]:
    """A toy model of steps: each answer says its own score at its beginning."""
    return [[float(answer.split()[0])] for answer in answers]


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


ANSWERS = ["0.2 so 15", "0.3 so 15", "0.2 The answer is 15.0.", "0.9 so 14", "0.8 #### 14"]


def test_scores_outvote_the_many(tmp_path: Path) -> None:
    data = tiny.write_rows(
        tmp_path / "a.jsonl",
        [
            {"id": "a", "prompt": "7 doubled?", "answers": ANSWERS, "reference": "14"},
            {"id": "b", "prompt": "3 + 1?", "answers": ["0.9 it is 5", "0.1 it is 4", "0.1 it is 4"], "reference": 4},
            {"id": "c", "prompt": "Which?", "answers": ["0.5 The answer is (B).", "0.1 C"]},
            {"id": "d", "prompt": "Say it.", "answers": ["0.5 I don't know", "0.5 nor do I"], "reference": "7"},
        ],
    )
    found = vote_answers(str(data), tmp_path / "out", OPTIONS, told)
    first, second, third, fourth = lines(tmp_path / "out" / "votes.jsonl")
    assert (first["final"], first["answer"], first["plurality"]) == ("14", "0.9 so 14", "15")
    assert first["weights"] == [
        {"final": "14", "weight": pytest.approx(1.7), "answers": 2},
        {"final": "15", "weight": pytest.approx(0.7), "answers": 3},
    ]
    assert (first["right"], first["plurality_right"]) == (True, False)
    assert (second["right"], second["plurality_right"]) == (False, True)
    assert (third["final"], third["right"]) == ("B", None)
    assert (fourth["final"], fourth["answer"], fourth["right"]) == ("1/2", "0.5 I don't know", False)
    assert found.counts == {"questions": 4, "answers": 12, "silent": 0, "differ": 2, "removed": 0, "rejected": 0}
    assert found.accuracy == {
        "of": 3, "single": pytest.approx((2 / 5 + 2 / 3) / 3), "plurality": pytest.approx(1 / 3),
        "weighted": pytest.approx(1 / 3), "won": 1, "lost": 1,
    }  # fmt: skip
    assert "weighted by steps: 33.3% (" in str(found)
    again = vote_answers(str(data), tmp_path / "out", OPTIONS, told)
    assert "nothing was left to do" in str(again)
    assert again.accuracy == found.accuracy


def test_rows_of_one_id_are_one_question_in_whatever_order(tmp_path: Path) -> None:
    rows = [
        {"id": id_, "prompt": prompt, "answer": answer, "reference": "14"}
        for answer in ANSWERS
        for id_, prompt in ((1, "7 doubled?"), (2, "28 halved?"))
    ]
    data = tiny.write_rows(tmp_path / "a.jsonl", rows)
    found = vote_answers(str(data), tmp_path / "out", OPTIONS, told)
    assert [row["final"] for row in lines(tmp_path / "out" / "votes.jsonl")] == ["14", "14"]
    assert found.counts["answers"] == 10
    without = [{name: row[name] for name in ("prompt", "answer")} for row in rows]
    vote_answers(str(tiny.write_rows(tmp_path / "b.jsonl", without)), tmp_path / "b", OPTIONS, told)
    assert len(lines(tmp_path / "b" / "votes.jsonl")) == 2, "without ids the prompt says what belongs together"


def test_what_cannot_be_voted_on_is_put_aside(tmp_path: Path) -> None:
    data = tiny.write_rows(
        tmp_path / "a.jsonl",
        [
            {"id": "a", "prompt": "7?", "answer": "0.5 so 7"},
            {"id": "a", "prompt": "8?", "answer": "0.5 so 8"},
            {"id": "b", "prompt": "9?", "answers": [9]},
            {"id": "c", "prompt": "9?"},
            {"id": "d", "prompt": "9?", "answers": ["0.5 too long"]},
        ],
    )

    def limited(prompts: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[list[float]]:
        if any("too long" in answer for answer in answers):
            raise EvolError("a text of 9,000 tokens is to be scored; the reward model takes 2,048")
        return told(prompts, answers)

    found = vote_answers(str(data), tmp_path / "out", OPTIONS, limited)
    assert [row["id"] for row in lines(tmp_path / "out" / "votes.jsonl")] == ["a"]
    reasons = {row["line"]: row["reason"] for row in lines(tmp_path / "out" / "removed.jsonl")}
    assert reasons == {2: "other_prompt", 3: "no_answer", 4: "no_answer", 5: "not_scored"}
    assert found.counts["removed"] == 4
    assert "removed.jsonl" in str(found)


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(EvolError, match="no --prm given"):
        VoteOptions()
    with pytest.raises(EvolError, match="expected min, product, last, mean"):
        VoteOptions(prm="x", aggregate="max")
    data = tiny.write_rows(tmp_path / "a.jsonl", [{"prompt": "7?"}])
    with pytest.raises(EvolError, match="no question has answers"):
        vote_answers(str(data), tmp_path / "out", OPTIONS, told)
    assert not (tmp_path / "out" / "votes.jsonl").exists()


@pytest.mark.parametrize(
    ("answer", "final"),
    [
        ("so 0.5", "1/2"), (r"\boxed{\frac{1}{2}}", "1/2"), ("The answer is 1,234 clips.", "1234"), ("x = 7\n#### 8", "8"),
        ("The answer is Option B.", "B"), (r"\boxed{x^2 + 1}", "x^2+1"), ("no idea", None), ("", None),
    ],
)  # fmt: skip
def test_equal_answers_are_written_the_same(answer: str, final: str | None) -> None:
    assert final_of(answer) == final


@given(st.text(max_size=200))
def test_any_text_votes_or_not(answer: str) -> None:
    assert final_of(answer) != ""


def test_a_model_that_was_trained_votes(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="needs the extra `train`")
    made = tiny.tokenizer("llama")
    model = tiny.model(made, head="token", labels=3)
    model.config.id2label = {0: "wrong", 1: "unsure", 2: "correct"}
    model.config.chat_format = "vicuna"
    model.save_pretrained(tmp_path / "prm")
    made.save_pretrained(tmp_path / "prm")
    data = tiny.write_rows(tmp_path / "a.jsonl", [{"prompt": "7 doubled?", "answers": ANSWERS, "answer": "#### 14"}])
    found = vote_answers(str(data), tmp_path / "out", VoteOptions(prm=str(tmp_path / "prm")))
    (row,) = lines(tmp_path / "out" / "votes.jsonl")
    assert len(row["scores"]) == 5
    assert all(0 < score < 1 for score in row["scores"])
    assert row["final"] in ("14", "15")
    assert found.accuracy["single"] == pytest.approx(2 / 5)
