"""The step as a whole, on a scripted model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import orjson
import pytest

from evollab.llm import CallFailed
from evollab.records import EvolError
from tests.models import good, kind, replying, whole
from tests.running import Runner


def step(runner: Runner, out: str = "run") -> dict:
    return orjson.loads((runner.folder / out / "1-evolve/step.json").read_bytes())


def test_the_papers_accounts(runner: Runner, seeds_file: Path) -> None:
    """52 seeds, 4 rounds, 3 calls each: 624 calls and 52 + 208 rows; scaled, the paper's 624,000."""
    result = runner(good, seeds_file, preset="paper", rounds=4)
    assert result.state == "complete"
    assert len(runner.asked) == 624
    assert Counter(map(kind, runner.asked)) == {"evolve": 208, "answer": 208, "judge": 208}
    assert len(runner.kept()) == 260
    assert not runner.dropped()
    assert {body["top_p"] for body in runner.asked if kind(body) == "evolve"} == {0.9}


def test_release_draws_five_operations_at_its_own_top_p(runner: Runner, seeds_file: Path) -> None:
    runner(good, seeds_file, preset="release", rounds=4)
    operations = {row.operation for row in runner.kept()} - {"seed"}
    assert operations == {"add-constraint", "deepen", "concretise", "reasoning", "in-breadth"}
    assert {body["top_p"] for body in runner.asked if kind(body) == "evolve"} == {0.95}


def test_efficient_asks_two_calls_and_an_answer_for_what_survives(runner: Runner, seeds_file: Path) -> None:
    def judge(body: dict) -> str:
        return "Equal" if body["seed"] % 3 == 0 else "Not Equal"

    runner(replying(judge=judge), seeds_file, rounds=2)
    born = len(runner.kept()) - 52
    counts = Counter(map(kind, runner.asked))
    assert counts["evolve"] == counts["judge"] == 104
    assert counts["answer"] == born == 104 - len(runner.dropped())
    assert {drop.rule for drop in runner.dropped()} == {"no_gain"}


def test_lineage(runner: Runner, seeds_file: Path) -> None:
    runner(good, seeds_file, rounds=3)
    rows = {row.id: row for row in runner.kept()}
    assert len(rows) == 52 * 4
    for row in rows.values():
        if row.round:
            parent = rows[row.parent_id or ""]
            assert (parent.round, parent.root_id) == (row.round - 1, row.root_id)
            assert row.response
            assert row.tokens["in"] > 0
        else:
            assert row.root_id == row.id
            assert row.parent_id is None


def test_a_dropped_childs_parent_tries_again_next_round(runner: Runner) -> None:
    def evolve(body: dict) -> str:
        return "#Rewritten Prompt#: leak" if len(runner.asked) == 1 else good(body)

    runner(replying(evolve=evolve), runner.seeds("Explain why the sky looks blue at noon."), rounds=3, preset="paper")
    (drop,) = runner.dropped()
    seed, second, third = runner.kept()
    assert (drop.rule, drop.instruction.round, drop.instruction.parent_id) == ("leak", 1, seed.id)
    assert drop.reply == "#Rewritten Prompt#: leak"
    assert (second.round, second.parent_id) == (2, seed.id)
    assert (third.round, third.parent_id) == (3, second.id)


@pytest.mark.parametrize("concurrency", [1, 7, 256])
def test_the_result_does_not_depend_on_concurrency(runner: Runner, seeds_file: Path, concurrency: int) -> None:
    import asyncio

    async def slow(body: dict) -> str:
        await asyncio.sleep((body["seed"] % 7) / 2000)
        return good(body)

    runner(good, seeds_file, out="plain", rounds=2, concurrency=3)
    runner(slow, seeds_file, out="other", rounds=2, concurrency=concurrency)
    assert runner.files("plain") == runner.files("other")


def test_seed_numbers_change_the_draws(runner: Runner, seeds_file: Path) -> None:
    runner(good, seeds_file, out="a", rounds=1, seed=1)
    runner(good, seeds_file, out="b", rounds=1, seed=2)
    a, b = ([row.operation for row in runner.kept(out)] for out in "ab")
    assert a != b


def test_weights(runner: Runner, seeds_file: Path) -> None:
    runner(good, seeds_file, rounds=2, weights=("deepen=1", "reasoning=3"))
    counts = Counter(row.operation for row in runner.kept() if row.round)
    assert set(counts) == {"deepen", "reasoning"}
    assert counts["reasoning"] > counts["deepen"]


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (("depen=1",), "no operation 'depen'"),
        (("deepen=x",), "OPERATION=NUMBER"),
        (("deepen=-1",), "0 or more"),
        (("deepen=nan",), "0 or more"),
        (("deepen=0",), "all weights are 0"),
    ],
)
def test_bad_weights(runner: Runner, seeds_file: Path, weights: tuple[str, ...], says: str) -> None:
    with pytest.raises(EvolError, match=says):
        runner(good, seeds_file, weights=weights)
    assert not runner.asked


def test_a_finished_run_asks_nothing_again(runner: Runner, seeds_file: Path) -> None:
    runner(good, seeds_file, rounds=1)
    files = runner.files()
    result = runner(good, seeds_file, rounds=1)
    assert (result.state, runner.asked) == ("complete", [])
    assert runner.files() == files


def test_replay_from_the_store_alone(runner: Runner, seeds_file: Path) -> None:
    import shutil

    runner(good, seeds_file, rounds=2)
    files = runner.files()
    shutil.rmtree(runner.folder / "run/1-evolve")
    runner(good, seeds_file, rounds=2)
    assert not runner.asked
    assert runner.files() == files


def test_other_settings_are_refused_by_name(runner: Runner, seeds_file: Path) -> None:
    runner(good, seeds_file, rounds=1)
    with pytest.raises(EvolError, match=r"rounds was 1, now 2"):
        runner(good, seeds_file, rounds=2)
    runner(good, seeds_file, rounds=1, concurrency=3, max_calls=10_000)  # pacing is no part of the result


def test_other_seeds_are_refused(runner: Runner) -> None:
    runner(good, runner.seeds("Explain tides to a sailor."), rounds=1)
    with pytest.raises(EvolError, match="seeds was"):
        runner(good, runner.seeds("Explain winds to a sailor."), rounds=1)


def test_a_cap_stops_cleanly_and_a_higher_one_goes_on(runner: Runner, seeds_file: Path) -> None:
    result = runner(good, seeds_file, rounds=2, max_calls=100, concurrency=8)
    assert (result.state, result.exit_code, len(runner.asked)) == ("stopped", 0, 100)
    assert "--max-calls 100" in result.why
    assert runner.kept()
    result = runner(good, seeds_file, rounds=2, max_calls=10_000, concurrency=8)
    assert result.state == "complete"
    assert len(runner.asked) == 52 * 2 * 3 - 100
    runner(good, seeds_file, out="whole", rounds=2)
    assert runner.files() == runner.files("whole")


def test_money_cap(runner: Runner, seeds_file: Path) -> None:
    result = runner(good, seeds_file, rounds=4, max_cost=0.01, concurrency=4)
    assert result.state == "stopped"
    assert 0.005 < result.facts["cost"]["usd"] <= 0.01


def test_unusable_replies_are_classes_not_text(runner: Runner) -> None:
    seeds = runner.seeds(*(f"Explain subject number {n} to a sailor." for n in range(6)))
    replies = {
        0: whole("cut off in the", "length"),
        1: whole(None, "content_filter"),
        2: {"status": 400, "error": {"message": "too long for this model"}},
        3: {"status": 400, "error": {"code": "content_filter", "message": "filtered"}},
        4: whole(""),
    }

    def evolve(body: dict) -> object:
        number = int(body["messages"][0]["content"].split("subject number ")[1][0])
        return dict(replies[number]) if number in replies else good(body)

    result = runner(replying(evolve=evolve), seeds, rounds=1)
    assert result.state == "complete"
    rules = [(drop.rule, drop.detail.split(":")[0]) for drop in runner.dropped()]
    assert rules == [
        ("truncated", "truncated"), ("call_failed", "content_filter"), ("call_failed", "bad_request"),
        ("call_failed", "content_filter"), ("empty", "blank reply"),
    ]  # fmt: skip
    assert runner.dropped()[0].reply == "cut off in the"


def test_passing_faults_are_asked_again(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evollab.llm.ask.random.uniform", lambda *_: 0.0)
    faults = [
        {"status": 429, "retry_after": 0.01, "error": {"message": "slow down"}},
        {"status": 503, "error": {"message": "busy"}},
        {"choices": []},
        whole(None),
    ]

    def reply(body: dict) -> object:
        return faults.pop(0) if faults else good(body)

    result = runner(reply, runner.seeds("Explain tides to a sailor."), rounds=1, concurrency=1)
    assert (result.state, result.facts["cost"]["retries"]) == ("complete", 4)
    assert not runner.dropped()


def test_calls_that_never_succeed_leave_the_lineage_for_the_next_start(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evollab.llm.ask.random.uniform", lambda *_: 0.0)
    seeds = runner.seeds("Explain tides to a sailor.", "Explain winds to a sailor.")

    def broken(body: dict) -> object:
        return {"status": 500} if "tides" in str(body) else good(body)

    result = runner(broken, seeds, rounds=2, concurrency=2)
    assert (result.state, result.exit_code) == ("stopped", 1)
    assert "1 lineages wait for calls that failed (server 1)" in result.why
    assert [row.root_id for row in runner.kept()].count(runner.kept()[0].id) == 1  # no failure became a row
    assert runner(good, seeds, rounds=2).state == "complete"
    assert len(runner.kept()) == 6


@pytest.mark.parametrize(("status", "hint"), [(401, "export|check the key"), (404, "model's name"), (402, "no credit")])
def test_errors_that_concern_everybody_stop_at_once(runner: Runner, seeds_file: Path, status: int, hint: str) -> None:
    with pytest.raises(EvolError, match=f"HTTP {status}") as caught:
        runner(lambda _: {"status": status, "error": {"message": "no"}}, seeds_file, concurrency=2)
    import re

    assert re.search(hint, caught.value.hint)
    assert len(runner.asked) <= 2


def test_a_server_that_refuses_every_row_ends_the_run(runner: Runner, seeds_file: Path) -> None:
    with pytest.raises(EvolError, match="refuses every request"):
        runner(lambda _: {"status": 400, "error": {"message": "seed?"}}, seeds_file, concurrency=1)
    assert len(runner.asked) == 8


def test_equal_requests_are_one_call(runner: Runner) -> None:
    seeds = runner.seeds(*(f"Explain subject number {n} to a sailor." for n in range(20)))
    runner(replying(evolve="Explain one and the same new subject to a captain.", judge=good), seeds, rounds=1,
           send_seed=False, added_words=0, weights=("in-breadth=1",))  # fmt: skip
    assert Counter(map(kind, runner.asked))["answer"] == 1
    assert len(runner.kept()) == 40


def test_seed_answers(runner: Runner) -> None:
    seeds = runner.seeds("Explain tides.", {"instruction": "Explain winds.", "output": "They blow."})
    for mode, asked in (("keep", 0), ("missing", 1), ("all", 2)):
        runner(good, seeds, out=mode, rounds=1, answer_seeds=mode)
        answers = [row.response for row in runner.kept(mode) if not row.round]
        assert sum(kind(body) == "answer" for body in runner.asked) == asked + 2
        assert [bool(answer) for answer in answers] == [mode != "keep", True]


def test_history_goes_to_the_answerer_and_stays(runner: Runner) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is a fjord?"},
        {"role": "assistant", "content": "A drowned valley."},
        {"role": "user", "content": "Where would I find the longest one of them?"},
    ]
    seeds = runner.folder / "chat.jsonl"
    seeds.write_bytes(orjson.dumps({"messages": turns}) + b"\n")
    runner(good, seeds, rounds=1)
    answer = next(body for body in runner.asked if kind(body) == "answer")
    assert [m["role"] for m in answer["messages"]] == ["system", "user", "assistant", "user"]
    assert answer["messages"][-1]["content"].startswith("Where would I find the longest")
    assert [len(row.history) for row in runner.kept()] == [3, 3]


def test_over_budget_is_asked_once_more_then_dropped(runner: Runner) -> None:
    seeds = runner.seeds("Explain why the sky looks blue at noon.")
    long = "Explain why the sky looks blue at noon. " + " ".join(f"Name reason {n} too." for n in range(12))

    runner(replying(evolve=long, again=long), seeds, out="a", rounds=1)
    assert [drop.rule for drop in runner.dropped("a")] == ["over_budget"]
    assert len(runner.asked) == 2
    runner(replying(evolve=long, again="Explain why the sky looks blue at noon on Mars and on Earth."), seeds, out="b",
           rounds=1, weights=("deepen=1",))  # fmt: skip
    assert [row.text for row in runner.kept("b")][1] == "Explain why the sky looks blue at noon on Mars and on Earth."
    follow_up = runner.asked[1]["messages"]
    assert [m["role"] for m in follow_up] == ["user", "assistant", "user"]
    assert "words too long" in follow_up[2]["content"]


def test_model_errors_are_not_swallowed(runner: Runner, seeds_file: Path) -> None:
    def bug(body: dict) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        runner(bug, seeds_file)
    assert CallFailed  # a bug in a script is no failed call


@pytest.mark.parametrize("name", ["seeds.jsonl", "seeds.json", "seeds.csv"])
def test_the_seeds_are_counted_beside_the_work(runner: Runner, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from evollab.evolve import step as module
    from evollab.evolve.options import EvolveOptions
    from evollab.evolve.progress import Total

    monkeypatch.setattr(module, "_COUNT_AFTER", 0)
    path = runner.folder / name
    rows = [{"instruction": f"Explain subject number {n}."} for n in range(7)]
    if name.endswith("csv"):
        path.write_text("instruction\n" + "\n".join(row["instruction"] for row in rows) + "\n")
    elif name.endswith("json"):
        path.write_bytes(orjson.dumps(rows))
    else:
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    for limit, seen in ((None, 7), (3, 3), (9, 7)):
        total = Total(limit)
        module._count(str(path), EvolveOptions(model="scripted:m", limit=limit), total)
        assert total.seeds == seen
