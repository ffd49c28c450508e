"""The step `decontaminate`: rows that hold items of benchmarks go, with the item and the evidence.

n-grams (`overlap`) see what was copied, embeddings (`resemblance`) what was reworded; a model
(`leak_verdict`) may say which of the latter are the same task. The data pass by once. In memory are the
benchmarks, some 30 bytes for a row, and what was found; rows wait in nameless files.
"""

from __future__ import annotations

import contextlib
import importlib.util
import time
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from evollab.data.benchmark import Benchmark, BenchmarkItem
from evollab.data.decontaminate_options import NONE, DecontaminateOptions, DecontaminateResult
from evollab.data.embed import Embedder, embedder
from evollab.data.items import Item, read_items
from evollab.data.rows import excerpt
from evollab.data.rowstep import KEPT, REMOVED, RowFiles, RowStep, row_files, row_step
from evollab.data.spool import Spool
from evollab.llm.session import ModelOptions, Session, session
from evollab.llm.watching import say
from evollab.records import EvolError, Rejected
from evollab.runs import write_json

if TYPE_CHECKING:
    from evollab.data.contamination import Checked, Evidence, Finding
    from evollab.data.leak_verdict import Verdicts
    from evollab.data.overlap import Index
    from evollab.data.resemblance import Pair, Prompts

NAME = "decontamination"
ACCOUNT = "decontamination.json"
_INSTALL = "pip install 'evollab[data]'"
_ENOUGH = 13
"""Words with which a question of multiple choice stands for itself; a shorter one counts with its choices."""
_ASKED = 4000
"""Characters of a prompt that are laid aside for the model and for examples."""
_EXCERPT = 300
_ALSO = 20
"""Further items that a removed row is told to hold, at most."""


async def decontaminate(
    data: str,
    out: Path | None,
    benchmarks: Mapping[str, Benchmark],
    options: DecontaminateOptions,
    *,
    models: ModelOptions | None = None,
    not_checked: Mapping[str, str] | None = None,
) -> DecontaminateResult:
    """Remove the rows of `data` (whatever `data.files` reads, a run folder, the folder of another step)
    that hold items of `benchmarks`.

    Writes into the folder `out` (default: see `rowstep.place_of`): kept.jsonl, rows as they came, in their
    order; removed.jsonl, each row with its reason (`contamination.REASONS`), benchmark, item and evidence;
    decontamination.json, the account (`contamination`); rejected.jsonl; step.json; with a model the store
    of its calls. `not_checked`: benchmarks that were wanted and not to be had, and why. Made again only
    where it was not complete. Raises EvolError for a folder made from other data, benchmarks or settings,
    for an embedder or model that isn't there, and for everything about the input.
    """
    if importlib.util.find_spec("numpy") is None:
        raise EvolError("evol decontaminate needs numpy, which is not installed", _INSTALL)
    from evollab.data.contamination import Checked

    embed = None if options.embed == NONE else embedder(options.embed)
    inputs: dict[str, Any] = {
        "benchmarks": {name: {"items": len(one.items), "digest": one.digest()} for name, one in benchmarks.items()},
        "not_checked": sorted(not_checked or {}),
    }
    files = (KEPT, REMOVED, ACCOUNT)
    with row_step(
        "decontamination", data, out, options.config(embed), verb="decontaminate", files=files, inputs=inputs
    ) as at:
        if at.done is not None:
            return DecontaminateResult(at.folder, orjson.loads((at.folder / ACCOUNT).read_bytes()), fresh=False)
        work = _Work(at, options, embed, Checked.of(benchmarks), not_checked or {}, models or ModelOptions())
        return await work.run()


def question_of(item: BenchmarkItem) -> str:
    """What of an item is looked for word for word: its question, a short one with its choices."""
    return item.question if len(item.question.split()) >= _ENOUGH else item.whole


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is laid aside of the rows while they pass by."""

    data: Spool
    asked: Spool
    rejected: Spool
    lines: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, item: Item) -> None:
        self.data.add(item.data)
        self.asked.add(item.asked[:_ASKED].encode("utf-8", "surrogatepass"))
        self.lines.append(item.number)

    def reject(self, row: Rejected) -> None:
        self.rejected.add(row.to_json())

    def flush(self) -> None:
        for spool in (self.data, self.asked, self.rejected):
            spool.flush()

    def text(self, row: int) -> str:
        return self.asked[row].decode("utf-8", "surrogatepass")


@contextlib.contextmanager
def _laid_aside(folder: Path) -> Iterator[_Rows]:
    with contextlib.ExitStack() as stack:
        data, asked, rejected = (stack.enter_context(contextlib.closing(Spool(folder))) for _ in range(3))
        yield _Rows(data, asked, rejected)


@dataclass(frozen=True, slots=True)
class _Work:
    """One start of the step."""

    at: RowStep
    options: DecontaminateOptions
    embed: Embedder | None
    checked: Checked
    not_checked: Mapping[str, str]
    models: ModelOptions

    async def run(self) -> DecontaminateResult:
        clock = time.monotonic()
        self.at.step.write("running")
        cost: dict[str, Any] = {}
        async with contextlib.AsyncExitStack() as stack:
            opened = None
            if self.options.verdict is not None:
                # Before the long work: a model that can't be opened is to be known at once.
                opened = await stack.enter_async_context(session(self.at.folder, self.models))
                await opened.model(self.options.verdict)
            rows = stack.enter_context(_laid_aside(self.at.folder))
            index = self._index()
            evidence = self._evidence(rows, index)
            if opened is not None:
                stopped = await self._ask(opened, evidence, rows, cost)
                if stopped is not None:
                    self.at.step.write("stopped", why=stopped.why, cost=cost)
                    return stopped
            account = self._write(rows, index, evidence)
        counts = {name: account[name] for name in ("rows", "kept", "rejected")} | account["removed"]
        self.at.complete(counts=counts, cost=cost, times={"seconds": round(time.monotonic() - clock, 2)})
        return DecontaminateResult(self.at.folder, account)

    def _index(self) -> Index:
        from evollab.data.overlap import Index
        from evollab.data.overlap import Item as Indexed

        number = {name: number for number, name in enumerate(self.checked.benchmarks)}
        items = zip(self.checked.names, self.checked.items, strict=True)
        return Index(
            [Indexed(number[name], question_of(item), item.answer) for name, item in items], self.options.share
        )

    def _evidence(self, rows: _Rows, index: Index) -> Evidence:
        """The pass over the data, and the embedding of what was laid aside."""
        from evollab.data.contamination import Evidence
        from evollab.data.overlap import Search
        from evollab.data.resemblance import Prompts

        search = Search(index)
        with contextlib.closing(Prompts(self.at.folder)) as prompts:
            for row, item in enumerate(read_items(self.at.source, self.options, rows.reject)):
                rows.add(item)
                asked = [turn.content for turn in item.messages if turn.role == "user"]
                search.add(asked if self.options.text == "prompt" else [turn.content for turn in item.messages])
                if self.embed is not None:
                    prompts.add(row, asked)
            rows.flush()
            return Evidence(search.hits(), self._near(self.embed, prompts) if self.embed is not None else None)

    def _near(self, embed: Embedder, prompts: Prompts) -> list[Pair]:
        from evollab.data.resemblance import about, near_pairs
        from evollab.data.vectors import embed_texts, vector_cache

        cache, scratch = vector_cache(), self.at.folder
        if embed.costly:
            say(f"{len(prompts):,} prompts are embedded by {embed.identity}; --embed {NONE} leaves that out")
        items = embed_texts([about(item) for item in self.checked.items], embed, cache, scratch=scratch)
        turns = embed_texts(prompts.texts(), embed, cache, total=len(prompts), scratch=scratch)
        return near_pairs(items, turns, prompts.rows, self.options.threshold(embed))

    async def _ask(
        self, opened: Session, evidence: Evidence, rows: _Rows, cost: dict[str, Any]
    ) -> DecontaminateResult | None:
        """Ask about what is near and not convicted by n-grams; a result where the run has to stop."""
        from evollab.data.leak_verdict import ask_about
        from evollab.data.resemblance import by_item

        certain = set(evidence.hits.row[evidence.hits.guilty].tolist())
        pairs = by_item([pair for pair in evidence.pairs or () if pair.row not in certain])
        evidence.verdicts = await ask_about(
            pairs, rows.text, lambda item: self.checked.items[item].whole, opened, str(self.options.verdict),
            self.options.reply_tokens,
        )  # fmt: skip
        totals, stop = opened.store.totals, opened.stop
        cost |= {
            "calls": totals.calls, "tokens_in": totals.tokens_in, "tokens_out": totals.tokens_out,
            "usd": None if opened.unpriced else round(totals.usd, 6),
        }  # fmt: skip
        unfinished = evidence.verdicts.unfinished
        if not stop.reason and not unfinished:
            return None
        why = stop.reason or f"{unfinished:,} calls failed"
        return DecontaminateResult(self.at.folder, {}, True, "stopped", why, stop.exit_code if stop.reason else 1)

    def _write(self, rows: _Rows, index: Index, evidence: Evidence) -> dict[str, Any]:
        """The files, and the account."""
        from evollab.data.contamination import benchmark_accounts, by_reason, weigh

        convicted = weigh(evidence, index)
        column = self.options.mapping().get("id", "id")

        def facts(row: int) -> dict[str, Any]:
            return {
                "line": rows.lines[row],
                "id": _id(rows.data[row], column),
                "row_text": excerpt(rows.text(row), _EXCERPT),
            }

        with row_files(self.at.folder) as files:
            for row in range(len(rows.lines)):
                if row not in convicted:
                    files.keep(rows.data[row])
                else:
                    self._put_aside(files, rows, row, convicted[row], column)
            for bad in range(len(rows.rejected)):
                files.rejected.write(rows.rejected[bad] + b"\n")
        account: dict[str, Any] = {
            "rows": len(rows.lines),
            "kept": files.count,
            "rejected": len(rows.rejected),
            "removed": by_reason(findings[0] for findings in convicted.values()),
            "rules": self.options.rules(self.embed),
            "benchmarks": benchmark_accounts(evidence, convicted, index, self.checked, facts),
            "not_checked": [{"name": name, "why": why} for name, why in self.not_checked.items()],
            "verdict": None if evidence.verdicts is None else _told(evidence.verdicts),
            "notes": self._notes(evidence.verdicts),
        }
        write_json(self.at.folder / ACCOUNT, account)
        return account

    def _put_aside(self, files: RowFiles, rows: _Rows, row: int, findings: list[Finding], column: str) -> None:
        first = findings[0]
        item = self.checked.items[first.item]
        text = item.answer if first.reason == "solution" else item.whole
        held = dict.fromkeys((self.checked.names[one.item], self.checked.items[one.item].id) for one in findings)
        also = [{"benchmark": name, "item": one} for name, one in list(held)[1 : _ALSO + 1]]
        files.put_aside(
            rows.data[row], rows.lines[row], _id(rows.data[row], column), first.reason, **first.told(self.checked),
            item_text=excerpt(text, _EXCERPT), also=also,
        )  # fmt: skip

    def _notes(self, verdicts: Verdicts | None) -> list[str]:
        found = []
        for name, benchmark in self.checked.benchmarks.items():
            if benchmark.unreadable:
                found.append(f"{name}: {benchmark.unreadable:,} of its rows could not be read and were NOT checked")
        if self.embed is None:
            found.append("items in other words were not looked for (--embed none)")
        elif self.embed.note:
            found.append(self.embed.note)
        if verdicts is not None and verdicts.split:
            found.append(f"on {len(verdicts.split):,} pairs the model's two verdicts differ; these rows stay")
        if verdicts is not None and verdicts.unparsed:
            found.append(f"{verdicts.unparsed:,} of the model's replies hold no verdict")
        return found


def _id(data: bytes, column: str) -> Any:
    """The id of a row as it stands there, None where it has none."""
    found = orjson.loads(data).get(column)
    return found if isinstance(found, (str, int)) and not isinstance(found, bool) else None


def _told(verdicts: Verdicts) -> dict[str, Any]:
    return {
        "asked": verdicts.asked, "confirmed": len(verdicts.confirmed), "split": len(verdicts.split),
        "passed_over": verdicts.passed_over, "unparsed": verdicts.unparsed,
        "failed": dict(sorted(verdicts.failed.items())),
    }  # fmt: skip
