"""What is counted of a run is what is in its files; odd and broken runs are handled plainly."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import orjson
import pytest

from evollab.llm.store import Store
from evollab.records import Dropped, EvolError, seed_instruction
from evollab.report.calls import BUCKETS, read_calls
from evollab.report.facts import LINEAGES, collect
from evollab.report.lineage import lineage
from evollab.report.spread import Spread
from evollab.runs import locked
from tests.fake_run import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 seeds, 3 rounds. Tests must not change it."""
    return write_run(tmp_path_factory.mktemp("runs") / "made-up", seeds=80, rounds=3, number=4)


@pytest.fixture
def own(run: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(run, tmp_path / "made-up"))


def rows(run: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "1-evolve" / name).read_text("utf-8").split("\n") if line]


def words(row: dict[str, Any]) -> int:
    return len(f"{row['text']} {row['input']}".split())


def test_counts_are_those_of_the_files(run: Path) -> None:
    facts, kept, dropped = collect(run), rows(run, "instructions.jsonl"), rows(run, "dropped.jsonl")
    assert facts.seeds == sum(row["round"] == 0 for row in kept) == 80
    assert facts.kept == sum(row["round"] > 0 for row in kept)
    assert facts.rows == len(kept)
    assert facts.dropped == len(dropped)
    assert facts.tried == 240
    assert facts.answered == sum(bool(row["response"]) for row in kept)
    assert facts.rejected == len(rows(run, "rejected.jsonl"))
    per_seed = Counter(row["root_id"] for row in kept)
    assert facts.evolved == Counter(count - 1 for count in per_seed.values())
    assert (facts.state, facts.name, facts.warnings) == ("complete", "made-up", ())


def test_survival_is_that_of_the_files(run: Path) -> None:
    expected: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for row in rows(run, "instructions.jsonl"):
        if row["round"]:
            expected[row["round"], row["operation"]]["kept"] += 1
    for row in rows(run, "dropped.jsonl"):
        expected[row["instruction"]["round"], row["instruction"]["operation"]][row["rule"]] += 1
    facts = collect(run)
    assert {(c.round, c.operation): Counter({"kept": c.kept, **c.dropped}) for c in facts.cells} == expected
    assert sum(cell.tried for cell in facts.rounds) == 240
    assert facts.rules[0] == Counter(row["rule"] for row in rows(run, "dropped.jsonl")).most_common(1)[0][0]


def test_lengths_and_growth_are_those_of_the_files(run: Path) -> None:
    by_id = {row["id"]: row for row in rows(run, "instructions.jsonl")}
    lengths: dict[int, Counter[int]] = defaultdict(Counter)
    added: dict[str, Counter[int]] = defaultdict(Counter)
    for row in by_id.values():
        lengths[row["round"]][words(row)] += 1
        if row["parent_id"]:
            added[row["operation"]][words(row) - words(by_id[row["parent_id"]])] += 1
    facts = collect(run)
    assert {number: spread.counts for number, spread in facts.lengths.items()} == lengths
    assert {name: spread.counts for name, spread in facts.added.items()} == added
    assert sum(spread.n for spread in facts.growth.values()) == facts.kept


def test_calls_are_those_of_the_database(run: Path) -> None:
    db = sqlite3.connect(run / "calls.db")
    calls = collect(run).calls
    assert calls is not None
    count, tokens_in, tokens_out, usd = db.execute(
        "select count(*), sum(tokens_in), sum(tokens_out), sum(cost) from calls"
    ).fetchone()
    assert (calls.count, calls.tokens_in, calls.tokens_out) == (count, tokens_in, tokens_out)
    assert calls.usd == pytest.approx(usd)
    for group in calls.groups:
        latencies = [
            row[0] for row in db.execute("select latency from calls where purpose = ? order by 1", (group.purpose,))
        ]
        assert group.calls == len(latencies)
        assert group.longest == latencies[-1]
        assert group.p50 == latencies[-(-len(latencies) // 2) - 1]
        assert sum(latency <= group.p99 for latency in latencies) >= 0.99 * len(latencies)
    slowest = [row[0] for row in db.execute("select latency from calls order by 1 desc limit 10")]
    assert [call.latency for call in calls.slowest] == slowest
    kinds = dict(db.execute("select kind, count(*) from failures group by 1"))
    assert {kind: n for (_, kind), n in calls.failures.items()} == kinds
    assert sum(calls.pace) == count
    assert len(calls.pace) == BUCKETS
    first, last = db.execute("select min(at), max(at) from calls").fetchone()
    assert last - first <= calls.seconds < last - first + 10
    assert calls.slowest[0].asked
    assert calls.slowest[0].answered
    db.close()


def test_quantiles() -> None:
    spread = Spread.of(Counter([5, 1, 1, 2, 9, 9, 9, 3, 3, 7]))
    assert [spread.quantile(share) for share in (0, 0.1, 0.2, 0.21, 0.5, 0.9, 1)] == [1, 1, 1, 2, 3, 9, 9]
    assert (spread.n, spread.mean, Spread.of({}).quantile(0.5)) == (10, 4.9, 0)


# ---- lineages ---------------------------------------------------------------------------------------


def test_lineages_are_chosen_the_same_and_varied(run: Path) -> None:
    facts = collect(run)
    assert facts.lineages == collect(run).lineages
    assert len(facts.lineages) == len({line.seed.id for line in facts.lineages}) == LINEAGES
    shown = {row.operation for line in facts.lineages for row in line.line}
    assert shown == {"seed", *(cell.operation for cell in facts.cells)}
    assert any(line.dropped for line in facts.lineages)
    assert any(not line.dropped for line in facts.lineages)
    assert len({len(line.line) for line in facts.lineages}) > 1


def test_every_rule_has_an_example(run: Path) -> None:
    facts = collect(run)
    assert {example.dropped.rule for example in facts.drops} == set(facts.rules)
    for example in facts.drops:
        assert example.parent is not None
        assert example.parent.id == example.dropped.instruction.parent_id


def test_any_row_gives_its_whole_line(run: Path) -> None:
    kept, dropped = rows(run, "instructions.jsonl"), rows(run, "dropped.jsonl")
    roots = Counter(row["root_id"] for row in kept)
    for row in (kept[0], kept[7], kept[-1], dropped[0]["instruction"], dropped[-1]["instruction"]):
        found = lineage(run, row["id"])
        assert found.seed.id == row["root_id"]
        assert len(found.line) == roots[row["root_id"]]
        assert [one.parent_id for one in found.line[1:]] == [one.id for one in found.line[:-1]]
        lost = [d["instruction"]["id"] for d in dropped if d["instruction"]["root_id"] == row["root_id"]]
        assert [d.instruction.id for d in found.dropped] == lost
        assert found.others == 0


def test_the_beginning_of_an_id_will_do(run: Path) -> None:
    name = rows(run, "instructions.jsonl")[9]["id"]
    assert lineage(run, name[:8]) == lineage(run, name)


def test_an_unknown_id_is_answered_with_near_ones(run: Path) -> None:
    name = rows(run, "instructions.jsonl")[9]["id"]
    with pytest.raises(EvolError) as caught:
        lineage(run, name[:-1] + ("0" if name[-1] != "0" else "1"))
    assert name in caught.value.message
    assert "instructions.jsonl" in caught.value.hint


def test_an_ambiguous_id_lists_the_choices(run: Path) -> None:
    firsts = Counter(row["id"][0] for row in rows(run, "instructions.jsonl"))
    with pytest.raises(EvolError, match="several ids"):
        lineage(run, firsts.most_common(1)[0][0])
    with pytest.raises(EvolError, match="no row"):
        lineage(run, "")
    with pytest.raises(EvolError, match="no row"):
        lineage(run, '"quote\\')


def test_another_branch_is_counted_not_mixed_in(tmp_path: Path) -> None:
    seed = seed_instruction("Name a fish.")
    make = lambda text, parent, number: type(seed)(text, seed.id, parent, number, "deepen", "general", text)  # noqa: E731
    a, b, c = make("a1", seed.id, 1), make("b1", seed.id, 1), make("a2", "a1", 2)
    folder = tmp_path / "1-evolve"
    folder.mkdir()
    (folder / "instructions.jsonl").write_bytes(b"".join(row.to_json() + b"\n" for row in (seed, a, b, c)))
    (folder / "dropped.jsonl").write_bytes(Dropped(make("b2", "b1", 2), "copy", "", "").to_json() + b"\n")
    found = lineage(tmp_path, "a1")
    assert [row.text for row in found.line] == ["Name a fish.", "a1", "a2"]
    assert (found.dropped, found.others) == ((), 1)
    assert [row.text for row in lineage(tmp_path, "b2").line] == ["Name a fish.", "b1"]


# ---- runs that are not whole --------------------------------------------------------------------------


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(EvolError, match=r"expected 1-evolve/ .* found notes.txt"):
        collect(tmp_path)
    with pytest.raises(EvolError, match="does not exist"):
        collect(tmp_path / "nothing")
    with pytest.raises(EvolError, match="is a file"):
        collect(tmp_path / "notes.txt")
    (tmp_path / "1-evolve").mkdir()
    with pytest.raises(EvolError, match=r"neither step.json nor instructions.jsonl"):
        collect(tmp_path)


def test_the_mend_names_runs_near_by(run: Path) -> None:
    with pytest.raises(EvolError) as caught:
        collect(run.parent)
    assert "made-up" in caught.value.hint
    with pytest.raises(EvolError) as caught:
        collect(run / "1-evolve")
    assert str(run) in caught.value.hint


def test_without_calls(own: Path) -> None:
    (own / "calls.db").unlink()
    facts = collect(own)
    assert facts.calls is None
    assert any("calls.db" in warning for warning in facts.warnings)


def test_without_step_json(own: Path) -> None:
    (own / "1-evolve/step.json").unlink()
    facts = collect(own)
    assert (facts.state, facts.config, facts.seeds) == ("", {}, 80)
    assert any("step.json" in warning for warning in facts.warnings)


def test_only_step_json(own: Path) -> None:
    for name in ("instructions.jsonl", "dropped.jsonl", "rejected.jsonl"):
        (own / "1-evolve" / name).unlink()
    (own / "calls.db").unlink()
    facts = collect(own)
    assert (facts.rows, facts.tried, facts.survival, facts.cells, facts.lineages) == (0, 0, None, (), ())


def test_a_killed_run_has_part_files_and_cut_lines(own: Path) -> None:
    folder = own / "1-evolve"
    for name in ("instructions.jsonl", "dropped.jsonl"):
        whole = (folder / name).read_bytes()
        (folder / f"{name}.part").write_bytes(whole[: len(whole) // 2 - 3])
        (folder / name).unlink()
    step = orjson.loads((folder / "step.json").read_bytes())
    (folder / "step.json").write_bytes(orjson.dumps({**step, "state": "running"}))
    facts = collect(own)
    complete = (folder / "instructions.jsonl.part").read_bytes().count(b"\n")
    assert facts.rows == complete
    here = {
        row["root_id"] for row in map(json.loads, (folder / "instructions.jsonl.part").read_bytes().split(b"\n")[:-1])
    }
    lost = [json.loads(line)["instruction"] for line in (folder / "dropped.jsonl.part").read_bytes().split(b"\n")[:-1]]
    assert facts.dropped == sum(row["root_id"] in here for row in lost)
    assert facts.state == "killed"
    assert any(".part" in warning for warning in facts.warnings)
    assert lineage(own, facts.lineages[0].leaf.id).leaf == facts.lineages[0].leaf


def test_a_run_going_on_is_not_called_killed(own: Path) -> None:
    folder = own / "1-evolve"
    step = orjson.loads((folder / "step.json").read_bytes())
    (folder / "step.json").write_bytes(orjson.dumps({**step, "state": "running"}))
    with locked(own, "a test"):
        # The lock belongs to an open file, so another process has to look.
        code = "import sys, pathlib; from evollab.report.facts import collect; print(collect(pathlib.Path(sys.argv[1])).state)"
        told = subprocess.run([sys.executable, "-c", code, own], capture_output=True, text=True, check=True)
    assert told.stdout == "running\n"
    assert collect(own).state == "killed"


def test_a_broken_line_is_named(own: Path) -> None:
    path = own / "1-evolve/instructions.jsonl"
    lines = path.read_bytes().split(b"\n")
    for bad, found in (
        (b"{oops", "not JSON"),
        (b"[1]", "found list"),
        (b'{"root_id": "a", "text": 3}', "not an Instruction"),
    ):
        path.write_bytes(b"\n".join([*lines[:4], bad, *lines[4:]]))
        with pytest.raises(EvolError, match=rf"instructions.jsonl:5: .*{found}"):
            collect(own)
    path.write_bytes(b"\n".join(lines))
    with open(own / "1-evolve/dropped.jsonl", "ab") as file:
        file.write(b'{"rule": "copy"}\n')
    with pytest.raises(EvolError, match=r"dropped.jsonl:\d+: not a Dropped"):
        collect(own)


def test_drops_of_seeds_that_are_not_written_are_counted(own: Path) -> None:
    path = own / "1-evolve/instructions.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: len(lines) // 2]))
    facts = collect(own)
    assert facts.dropped == len(rows(own, "dropped.jsonl"))
    assert any("(counted, but without their parents)" in warning for warning in facts.warnings)


def test_a_database_that_is_none(own: Path) -> None:
    (own / "calls.db").write_bytes(b"not a database at all, but long enough to look at" * 10)
    with pytest.raises(EvolError, match=r"calls.db: can't be read"):
        collect(own)


def test_what_warns(own: Path) -> None:
    folder = own / "1-evolve"
    step = orjson.loads((folder / "step.json").read_bytes())
    survival = [{"round": 1, "operation": "deepen", "tried": 1, "kept": 1, "dropped": {}}]
    (folder / "step.json").write_bytes(orjson.dumps({**step, "notes": ["mind the gap"], "survival": survival}))
    with open(folder / "instructions.jsonl", "rb") as file:
        lines = [orjson.loads(line) for line in file]
    for row in lines:
        row["verdicts"] = {"rule": "not equal"} if row["round"] else {}
    lines[1]["response"] = None
    (folder / "instructions.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in lines))
    with sqlite3.connect(own / "calls.db") as db:
        db.execute("update calls set cost = null, model = 'local:tiny' where purpose = 'judge'")
    db.close()
    facts = collect(own)
    told = "\n".join(facts.warnings)
    assert facts.notes == ("mind the gap",)
    for part in ("disagree", "A rule on the words added, not a model", "1 of", "No price is known for local:tiny"):
        assert part in told


# ---- calls ---------------------------------------------------------------------------------------------


def put(store: Store, number: int, *, cost: float | None = 0.001) -> None:
    body = b'{"messages":[{"role":"user","content":"question %d"}]}' % number
    raw = b'{"choices":[{"message":{"content":"answer %d"}}]}' % number
    store.put(
        number.to_bytes(16, "big"), model="m", purpose="evolve", sample=0, status="ok" if number % 5 else "truncated",
        request=body, raw=raw, tokens=(10, number), cost=cost, latency=number / 10,
    )  # fmt: skip


def test_a_journal_counts_like_the_database(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(1, 31):
        put(store, number, cost=None if number > 20 else 0.001)
    store.failed(b"f" * 16, model="m", purpose="judge", kind="timeout", message="slow", latency=1.0)
    while_running = read_calls(tmp_path)
    store.absorb()
    store.close()
    afterwards = read_calls(tmp_path)
    assert while_running == afterwards
    assert afterwards is not None
    assert (afterwards.count, afterwards.unpriced, afterwards.usd) == (30, 10, pytest.approx(0.02))
    assert afterwards.failures == {("judge", "timeout"): 1}
    assert afterwards.slowest[0].asked == "question 30"
    assert afterwards.groups[0].not_ok == {"truncated": 6}
    assert {call.status for call in afterwards.failed} == {"truncated", "timeout"}


def test_a_call_in_both_counts_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, 1)
    store.failed(b"f" * 16, model="m", purpose="judge", kind="timeout", message="slow", latency=1.0)
    journal = (tmp_path / "calls.journal").read_bytes()
    store.absorb()
    put(store, 2)
    both = journal + (tmp_path / "calls.journal").read_bytes()
    store.close()
    (tmp_path / "calls.journal").write_bytes(both + b'{"k":"00')
    calls = read_calls(tmp_path)
    assert calls is not None
    assert calls.count == 2
    assert sum(calls.failures.values()) == 1


def test_a_night_between_two_sittings_is_no_work(tmp_path: Path) -> None:
    write_run(tmp_path / "run", seeds=20, rounds=1)
    before = read_calls(tmp_path / "run")
    with sqlite3.connect(tmp_path / "run/calls.db") as db:
        middle = db.execute("select (min(at) + max(at)) / 2 from calls").fetchone()[0]
        db.execute("update calls set at = at + 40000 where at > ?", (middle,))
    db.close()
    after = read_calls(tmp_path / "run")
    assert before is not None
    assert after is not None
    assert (before.pauses, after.pauses) == (0, 1)
    assert before.seconds - 5 < after.seconds <= before.seconds


def test_odd_bodies_are_shown_as_they_are(tmp_path: Path) -> None:
    write_run(tmp_path / "run", seeds=3, rounds=1)
    with sqlite3.connect(tmp_path / "run/calls.db") as db:
        db.execute("update calls set request = '[]', reply = x'ff00', purpose = null, model = null, latency = 99")
    db.close()
    calls = read_calls(tmp_path / "run")
    assert calls is not None
    assert (calls.groups[0].purpose, calls.slowest[0].asked) == ("", "[]")


def test_no_database_is_written_to(run: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in run.rglob("*")}
    collect(run)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in run.rglob("*")} == before


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs the memory figures of wait4")
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """12,000 rows and 30,000 calls need hardly more than 400 rows and 1,000 calls."""
    peaks = []
    for name, seeds in (("small", 100), ("large", 3000)):
        write_run(tmp_path / name, seeds=seeds, rounds=4)
        code = f"import pathlib; from evollab.report.page import write_report; write_report(pathlib.Path({str(tmp_path / name)!r}))"
        process = subprocess.Popen([sys.executable, "-c", code])
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        peaks.append(usage.ru_maxrss / 1024)
    assert peaks[1] - peaks[0] < 25
