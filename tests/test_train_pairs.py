"""Preferences of every shape as ids and masks; slices; nothing vanishes uncounted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("transformers", reason="needs the extra `train`")
pytest.importorskip("datasets", reason="needs the extra `train`")

from evollab.chat import Renderer
from evollab.data.formats import BadFields
from evollab.data.items import RowOptions
from evollab.records import EvolError, Message
from evollab.train.pairs import PairCounts, PairReader, told, write_pairs
from evollab.train.preferences import Preference, read_preference, transcript
from evollab.train.rows import open_rows
from evollab.train.stages import cut, hurts, interval, ordered, replayed
from tests import tiny

SHARED = Path(__file__).parent.parent.parent / "shared" / "data" / "dpo_en_demo_300.jsonl.xz"
USER, GOOD, BAD = Message("user", "Add."), Message("assistant", "3."), Message("assistant", "No.")
PAIR = {"prompt": "Add.", "chosen": "3.", "rejected": "No."}


def turn(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def reader(format: str = "vicuna", kind: tiny.Kind = "llama", *, length: int = 512, **more: Any) -> PairReader:
    rows = RowOptions(map=more.pop("map", ()), strict=more.pop("strict", False))
    return PairReader(Renderer(tiny.tokenizer(kind), format), rows, length, **more)


def made(folder: Path, rows: Sequence[Any], reader: PairReader, **settings: Any) -> tuple[PairCounts, list[Any]]:
    """What `write_pairs` counts, and the pairs that it writes to train on."""
    data = tiny.write_rows(folder / "data.jsonl", list(rows))
    counts = write_pairs(str(data), folder / "out", reader, **settings)
    return counts, list(open_rows(folder / "out", "train") or [])


def removed(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (folder / "out" / "removed.jsonl").read_bytes().splitlines()]


# Shapes

SHAPES: dict[str, dict[str, Any]] = {
    "texts": PAIR,
    "explicit turns": {
        "prompt": [turn("user", "Add.")], "chosen": [turn("assistant", "3.")], "rejected": [turn("assistant", "No.")],
    },
    "implicit turns": {
        "chosen": [turn("user", "Add."), turn("assistant", "3.")],
        "rejected": [turn("user", "Add."), turn("assistant", "No.")],
    },
    "a prompt that the conversations repeat": {
        "prompt": "Add.", "chosen": [turn("user", "Add."), turn("assistant", "3.")],
        "rejected": [turn("user", "Add."), turn("assistant", "No.")],
    },
    "sharegpt": {
        "conversations": [{"from": "human", "value": "Add."}], "chosen": {"from": "gpt", "value": "3."},
        "rejected": {"from": "gpt", "value": "No."},
    },
    "messages": {"messages": [turn("user", "Add.")], "chosen": "3.", "rejected": "No."},
    "messages that end with an answer": {
        "messages": [turn("user", "Add."), turn("assistant", "3.")], "chosen": "3.", "rejected": "No.",
    },
    "question": {"question": "Add.", "chosen": "3.", "rejected": "No."},
    "transcripts": {"chosen": "\n\nHuman: Add.\n\nAssistant: 3.", "rejected": "\n\nHuman: Add.\n\nAssistant: No."},
    "a prompt that is a transcript": {"prompt": "\n\nHuman: Add.\n\nAssistant:", "chosen": "3.", "rejected": "No."},
    "a record of ours": {
        "id": "b", "root_id": "a", "parent_id": "a", "round": 1, "operation": "deepen", "domain": "general",
        "text": "Add.", "response": "3.", "chosen": "3.", "rejected": "No.",
    },
}  # fmt: skip


@pytest.mark.parametrize("row", SHAPES.values(), ids=SHAPES)
def test_every_shape_of_preferences(row: dict[str, Any]) -> None:
    pair = read_preference(row, {})
    assert (pair.prompt, pair.chosen, pair.rejected) == ((USER,), (GOOD,), (BAD,))


def test_alpaca_with_input_and_a_system_message() -> None:
    pair = read_preference({"instruction": "Add.", "input": "1 and 2", "chosen": "3.", "rejected": "No."}, {})
    assert pair.prompt == (Message("user", "Add.\n\n1 and 2"),)
    assert pair.input == "1 and 2"
    system = read_preference({"system": "Be brief.", **PAIR}, {})
    assert system.prompt == (Message("system", "Be brief."), USER)


def test_margins_scores_and_difficulty() -> None:
    def read(**more: Any) -> Preference:
        return read_preference({**PAIR, **more}, {})

    assert read(margin=2).margin == 2
    assert read(chosen_score=9, rejected_score=6.5).margin == 2.5
    assert read(score_chosen=1, score_rejected=0, margin=7).margin == 7
    assert read(margin="much").margin is None
    assert read(margin=float("nan")).margin is None
    assert read(attributes={"difficulty": 8}).difficulty == 8
    assert read_preference({"q": "Add.", "good": "3.", "bad": "No.", "gap": 3}, {
        "instruction": "q", "chosen": "good", "rejected": "bad", "margin": "gap",
    }) == Preference((USER,), (GOOD,), (BAD,), margin=3.0)  # fmt: skip


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "Add.", "chosen": "3."}, "no field rejected; the row has prompt, chosen"),
        ({"chosen": "one", "rejected": "two"}, "no prompt: expected a field prompt"),
        ({**PAIR, "chosen": 3}, "field 'chosen' is a number; expected text, a turn, or a list"),
        ({**PAIR, "chosen": []}, "has no turns"),
        ({**PAIR, "chosen": [turn("assistant", "3."), turn("user", "And?")]}, "chosen ends with the user's turn"),
        ({**PAIR, "prompt": " "}, "the prompt is empty"),
        ({**PAIR, "prompt": [turn("system", "Be brief.")]}, "the prompt ends with system"),
        (
            {"chosen": [turn("user", "A"), turn("assistant", "1")], "rejected": [turn("user", "B"), turn("assistant", "1")]},
            "no user turn before the answers",
        ),
        (
            {"chosen": [turn("user", "A"), turn("assistant", "1")],
             "rejected": [turn("user", "A"), turn("assistant", "1"), turn("user", "B"), turn("assistant", "2")]},
            "one of the two conversations is the beginning of the other",
        ),
        (
            {"prompt": "Other", "chosen": [turn("user", "A"), turn("assistant", "1")],
             "rejected": [turn("user", "A"), turn("assistant", "2")]},
            "not the one that the two conversations begin with",
        ),
    ],
)  # fmt: skip
def test_rows_that_are_no_preference(row: dict[str, Any], words: str) -> None:
    with pytest.raises(BadFields, match=words):
        read_preference(row, {})


def test_transcripts_are_only_those() -> None:
    assert transcript("Human: hi\n\nAssistant: ho\n\nHuman: Human: x") == (
        Message("user", "hi"), Message("assistant", "ho"), Message("user", "Human: x"),
    )  # fmt: skip
    assert transcript("It said\n\nHuman: hi") == ()
    assert transcript("") == ()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "x"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["prompt", "chosen", "rejected", "conversations", "margin", "system"]), _JSON))
def test_any_row_is_a_preference_or_refused(fields: dict[str, Any]) -> None:
    try:
        pair = read_preference(fields, {})
    except BadFields:
        return
    assert pair.chosen[0].role == pair.rejected[0].role == "assistant"
    assert pair.prompt[-1].role in ("user", "tool")


# Ids and masks


@pytest.mark.parametrize(
    ("kind", "format"), [*((kind, form) for kind in tiny.KINDS for form in ("vicuna", "alpaca")), ("chatml", "model")]
)
def test_the_prompt_is_a_prefix_and_the_mask_is_the_answer_with_eos(
    kind: tiny.Kind, format: str, tmp_path: Path
) -> None:
    tokenizer = tiny.tokenizer(kind)
    _, rows = made(
        tmp_path, [{**PAIR, "chosen": "It is 3. ASSISTANT: USER", "rejected": "No </s> no"}], reader(format, kind)
    )
    row = rows[0]
    asked = Renderer(tokenizer, format).render([USER], generation_prompt=True).ids
    assert row["prompt_ids"] == asked
    for side, said in (("chosen", "It is 3. ASSISTANT: USER"), ("rejected", "No </s> no")):
        whole = Renderer(tokenizer, format).render([USER, Message("assistant", said)])
        assert row["prompt_ids"] + row[f"{side}_ids"] == whole.ids
        trained = [one for one, mask in zip(row[f"{side}_ids"], row[f"{side}_mask"], strict=True) if mask]
        assert trained[-1] == tokenizer.eos_token_id, "EOS by id"
        assert trained.count(tokenizer.eos_token_id) == 1, "what is said never ends a turn"
        assert tokenizer.decode(trained[:-1]).strip() == said


def test_in_answers_of_several_turns_only_the_assistant_is_trained(tmp_path: Path) -> None:
    chosen = [turn("assistant", "3."), turn("user", "Sure?"), turn("assistant", "Yes.")]
    _, rows = made(tmp_path, [{**PAIR, "chosen": chosen}], reader())
    row = rows[0]
    trained = [one for one, mask in zip(row["chosen_ids"], row["chosen_mask"], strict=True) if mask]
    text = tiny.tokenizer().decode(trained)
    assert "Sure?" not in text
    assert trained.count(2) == 2
    assert "USER: Sure?" in tiny.tokenizer().decode(row["chosen_ids"])


def test_identical_answers_are_refused_with_their_row(tmp_path: Path) -> None:
    rows = [PAIR, {**PAIR, "rejected": "3."}]
    with pytest.raises(
        EvolError, match=r"data.jsonl:2: chosen and rejected are the same \[1 pairs .*identical"
    ) as error:
        made(tmp_path, rows, reader())
    assert "--allow-unusable" in error.value.hint
    counts, kept = made(tmp_path, rows, reader(), allow_unusable=True)
    assert len(kept) == 1
    assert [(one["reason"], one["line"]) for one in removed(tmp_path)] == [("identical", 2)]
    assert "1 pairs prefer nothing" in told(counts.to_json(), tmp_path)[0]


def test_long_pairs_are_counted_and_told(tmp_path: Path) -> None:
    """The trap: TRL cuts pairs at 1,024 tokens, and drops those whose prompt fills them, without a word."""
    rows = [PAIR, {**PAIR, "chosen": "3. " * 200}, {**PAIR, "prompt": "Add. " * 200}, {**PAIR, "rejected": "3." * 300}]
    counts, kept = made(tmp_path, rows, reader(length=256))
    assert (counts.train, counts.reasons["too_long"], counts.cut) == (1, 3, 0)
    assert [one["line"] for one in removed(tmp_path)] == [2, 3, 4]
    assert "3 pairs are longer than the limit, left out (lines 2, 3, 4)" in told(counts.to_json(), tmp_path)[0]
    counts, kept = made(tmp_path, rows, reader(length=256, too_long="cut"))
    assert (counts.train, counts.reasons["too_long"], counts.cut) == (3, 1, 2)
    assert max(len(one["prompt_ids"]) + len(one["chosen_ids"]) for one in kept) == 256
    with pytest.raises(EvolError, match="3 pairs can't be trained: 3 too_long"):
        made(tmp_path, rows, reader(length=256, too_long="stop"))


def test_pairs_that_are_the_same_as_far_as_the_limit(tmp_path: Path) -> None:
    rows = [{**PAIR, "chosen": "7 " * 300 + "a", "rejected": "7 " * 300 + "b"}, PAIR]
    counts, _ = made(tmp_path, rows, reader(length=256, too_long="cut"), allow_unusable=True)
    assert counts.reasons["identical"] == 1


def test_bad_rows_are_put_aside_and_stop_when_strict(tmp_path: Path) -> None:
    rows = [PAIR, {"prompt": "x"}, {**PAIR, "chosen": " "}]
    counts, _ = made(tmp_path, rows, reader(), allow_unusable=True)
    assert (counts.train, counts.rejected, counts.reasons["nothing_trained"]) == (1, 1, 1)
    with pytest.raises(EvolError, match=r"data\.jsonl:2: no field chosen"):
        made(tmp_path, rows, reader(strict=True))
    with pytest.raises(EvolError, match="no pair is left to train"):
        made(tmp_path, rows[1:2], reader())


def test_no_prompt_and_no_lineage_is_on_both_sides(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{**PAIR, "prompt": f"Add {n % 20}.", "chosen": f"{n}."} for n in range(60)]
    rows += [{**PAIR, "prompt": f"Say {n}.", "root_id": f"r{n % 7}"} for n in range(28)]
    counts, kept = made(tmp_path, rows, reader(), eval_share=0.3, seed=1)
    sides = [{one["root"] for one in side} for side in (kept, open_rows(tmp_path / "out", "eval"))]
    assert counts.held_out
    assert counts.train + counts.held_out == len(rows)
    assert sides[0].isdisjoint(sides[1])
    assert len(sides[0] | sides[1]) == 27
    with pytest.raises(EvolError, match="holds out none of 1 pairs"):
        made(tmp_path, [PAIR], reader(), eval_share=1e-9)


def test_real_preferences(tmp_path: Path) -> None:
    if not SHARED.is_file():
        pytest.skip("needs the LLaMA-Factory demo of preferences beside the repository")
    folder = tmp_path / "out"
    counts = write_pairs(str(SHARED), folder, reader("vicuna", length=512), allow_unusable=True)
    assert counts.rows == 300
    assert counts.train + sum(counts.reasons.values()) == 300
    assert (counts.reasons["identical"], counts.rejected) == (0, 0)


# Slices


def test_order_of_slices() -> None:
    margins = [1.0, 5.0, 3.0, 3.0]
    assert [margins[one] for one in ordered(4, "margin", 0, margins)] == [5, 3, 3, 1]
    assert [margins[one] for one in ordered(4, "difficulty", 0, margins)] == [1, 3, 3, 5]
    assert ordered(50, "random", 0) == ordered(50, "random", 0) != ordered(50, "random", 1)
    with pytest.raises(EvolError, match="--order margin: 1 of 2 pairs have no margin") as error:
        ordered(2, "margin", 0, [1.0, None])
    assert "chosen_score" in error.value.hint


@given(st.integers(1, 200), st.integers(1, 20), st.floats(0, 1))
def test_slices_and_replay(count: int, slices: int, share: float) -> None:
    pairs = ordered(count, "random", 3)
    if count < slices:
        with pytest.raises(EvolError, match=f"there are {count} pairs"):
            cut(pairs, slices)
        return
    parts = cut(pairs, slices)
    assert [pair for part in parts for pair in part] == pairs
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    again = replayed(parts[:-1], share, 3, slices)
    assert len(again) == len(set(again)) == round(share * sum(map(len, parts[:-1])))
    assert set(again).isdisjoint(parts[-1])
    assert sorted(replayed(parts[:-1], 1.0, 3, slices)) == sorted(pairs[: count - len(parts[-1])])


def test_intervals_and_what_hurts() -> None:
    low, high = interval(0.8, 100)  # by hand, Wilson 1927
    assert (low, high) == pytest.approx((0.7112, 0.8666), abs=1e-4)
    assert interval(0.5, 0) == (0.0, 1.0)
    assert hurts(0.8, 0.7, 1000, 0.05)
    assert not hurts(0.8, 0.75, 1000, 0.05), "tolerated"
    assert not hurts(0.5, 0.33, 9, 0.05), "three of nine pairs may be chance"
    assert not hurts(0.5, 0.9, 1000, 0.0)
