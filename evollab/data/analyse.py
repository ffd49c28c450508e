"""The step `analyse`: what a data set holds, row by row and as a whole.

    FOLDER/kept.jsonl       every row, with its `attributes`
    FOLDER/analysis.json    distributions, breadth, duplicates, what a judge said: what the page is made of
    FOLDER/dedup            the step that looked for duplicates (nothing is removed from the rows here)

Attributes that need no model always; perplexity and IFD with `--lm`; what a judge gives with `--with`.
"""

from __future__ import annotations

import datetime
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evollab.data.attributes import ATTRIBUTES, attributes, chosen
from evollab.data.distributions import Distributions
from evollab.data.findings import contamination, duplicates
from evollab.data.items import Item, RowOptions, read_items, with_attributes
from evollab.data.judge_estimate import estimate
from evollab.data.judge_options import JudgeOptions
from evollab.data.judging import Judged, judge_rows
from evollab.data.rowstep import KEPT, RowStep, place_of, row_files, row_step
from evollab.data.strata import value_of
from evollab.data.tokencount import token_counter
from evollab.llm.option import option
from evollab.llm.pairs import parse_extra
from evollab.llm.session import ModelOptions, session
from evollab.llm.watching import say, seconds
from evollab.records import EvolError, Rejected
from evollab.runs import write_json

if TYPE_CHECKING:
    from evollab.data.likelihood import Likelihoods
    from evollab.data.losses import Tally
    from evollab.data.surroundings import Surroundings

NAME = "analysis"
FACTS = "analysis.json"
NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyseOptions(RowOptions, JudgeOptions):
    """What to find out. The fields of `RowOptions`, `JudgeOptions` and `ModelOptions` come on top."""

    attributes: str = option("attributes that need no model, parted by commas; default: all", "", metavar="LIST")
    tokenizer: str | None = option(
        "tokenizer.json, or a folder with one, that counts tokens; default: an estimate", None, metavar="FILE"
    )
    by: str = option("field that rows are told apart by on the page", "round", metavar="FIELD")
    embed: str | None = option(
        f"what texts are embedded with: hashed (wording), minilm (meaning), a folder or hub id, or {NONE}; default: "
        "minilm where it is installed, else hashed",
        None, metavar="SPEC",
    )  # fmt: skip
    lm: str | None = option(
        "small language model for perplexity and IFD: smollm2, a folder or hub id; default: none", None, metavar="MODEL"
    )
    lm_length: int = option("tokens of a row that the --lm model reads", 1024, metavar="N")
    estimate: bool = option("say what the models would cost, and ask nothing", False)
    near: float = option("similarity from which rows count as near-duplicates; 0: look for none", 0.8, metavar="J")

    def __post_init__(self) -> None:
        JudgeOptions.__post_init__(self)
        if not 0 <= self.near <= 1:
            raise EvolError(f"--near {self.near:g}: expected a similarity above 0, at most 1 (or 0: look for none)")
        self.names()

    def names(self) -> tuple[str, ...]:
        """The attributes without a model that are asked for. Raises EvolError for an unknown one."""
        asked = [name for name in self.attributes.split(",") if name.strip()]
        return chosen(asked, ATTRIBUTES) if asked else tuple(ATTRIBUTES)

    def config(self) -> dict[str, Any]:
        """What the outcome depends on: not how models are reached, nor what they may cost."""
        told = {**asdict(self), **JudgeOptions.config(self), "attributes": list(self.names())}
        for name in ("strict", "estimate", *ModelOptions.__dataclass_fields__):
            told.pop(name, None)
        return told


@dataclass(frozen=True, slots=True)
class AnalyseResult:
    """What came of it. `state`: complete, or stopped (`why`; the same command goes on)."""

    folder: Path
    facts: Mapping[str, Any]
    state: str = "complete"
    why: str = ""
    exit_code: int = 0
    fresh: bool = True

    def __str__(self) -> str:
        counts = self.facts.get("counts", {})
        told = [
            f"{self.folder / KEPT}: {counts.get('kept', 0):,} rows with {counts.get('attributes', 0)} attributes each",
            f"{self.folder / FACTS}: their distributions",
        ]
        if counts.get("rejected"):
            told.append(f"{counts['rejected']:,} rows that could not be used: rejected.jsonl")
        told += [f"note: {note}" for note in self.facts.get("notes", ())]
        if not self.fresh:
            told.append("note: this was done before; nothing was left to do")
        if self.state == "complete":
            told.append(f"next: evol sample {self.folder} --by FIELD --n N    or: evol select {self.folder} --how WAY")
        else:
            told.append(f"stopped: {self.why}; the same command goes on where this stopped")
        return "\n".join(told)


async def analyse(data: str, out: Path | None, options: AnalyseOptions) -> AnalyseResult:
    """Find out about the rows of `data` (a file, a data set's id, a run folder, another step's folder) and write
    the folder `out` (default: see `rowstep.place_of`).

    The same call again goes on where the last one stopped, and pays for nothing twice. Raises EvolError for other
    options or data than the folder was made with, for pipes (rows are read several times), for everything about the
    input and the models.
    """
    if data == "-":
        raise EvolError("-: a pipe can be read once only; expected a file", "write it to a file first")
    with row_step(NAME, data, out, options.config(), verb="analyse", files=(KEPT, FACTS)) as at:
        if at.done is not None:
            return AnalyseResult(at.folder, at.done, fresh=False)
        return await _Analysis(at, options).run()


async def estimate_cost(data: str, options: AnalyseOptions) -> str:
    """What asking the models of `options` would cost, in words; asks nothing. Raises EvolError for models that can't
    be reached, and where `options` name none."""
    if not options.asks:
        raise EvolError("--estimate is about models, and none is named", "add --with MODEL or --target MODEL")
    source = place_of(data, None, NAME).source
    with tempfile.TemporaryDirectory() as folder:
        async with session(Path(folder), options) as opened:
            judge = await opened.model(options.with_model) if options.with_model else None
            target = await opened.model(options.target) if options.target else None
            items = read_items(source, options, lambda _: None)
            prices = (one.ask.price if one else None for one in (judge, target))
            return str(estimate(items, options, *prices))


class _Analysis:
    """One start of the step."""

    def __init__(self, at: RowStep, options: AnalyseOptions) -> None:
        self._at, self._options = at, options
        self._clock = time.monotonic()
        self._started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._models: dict[str, str] = {}
        self._notes: list[str] = []

    def _rows(self, reject: Callable[[Rejected], None] = lambda _: None) -> Iterator[Item]:
        return read_items(self._at.source, self._options, reject)

    async def run(self) -> AnalyseResult:
        self._at.step.write("running", times={"started": self._started})
        if self._options.lm is not None:
            from evollab.llm import causal

            causal.check(self._options.lm)  # before a judge is paid
        facts: dict[str, Any] = {}
        if self._options.near:
            facts["duplicates"] = duplicates(self._at, self._options)
        if (found := contamination(self._at)) is not None:
            facts["contamination"] = found
        surroundings = self._surroundings()
        if not self._options.asks:
            return self._write(facts, surroundings, None)
        async with session(self._at.folder, self._options, parse_extra(self._options.extra_body)) as opened:
            judged = await judge_rows(self._rows(), opened, self._options, self._at.folder)
            self._models |= dict(judged.report.models)
            with judged:
                return self._write(facts, surroundings, judged)

    def _surroundings(self) -> Surroundings | None:
        """Each row's cluster and nearest neighbour, and the whole's breadth; None where nothing is embedded."""
        if self._options.embed == NONE:
            return None
        from evollab.data.surroundings import surroundings

        found = surroundings(self._rows, self._at.folder, self._options.embed, self._options.by, self._options.seed)
        self._models["embedder"] = found.embedder
        return found

    def _likelihoods(self) -> Likelihoods | None:
        if self._options.lm is None:
            return None
        from evollab.data.likelihood import LikelihoodOptions, likelihoods

        wanted = LikelihoodOptions(lm=self._options.lm, lm_length=self._options.lm_length)
        found = likelihoods(self._rows(), wanted, self._at.folder)
        self._models["perplexity"] = found.identity
        return found

    def _write(self, facts: dict[str, Any], around: Surroundings | None, judged: Judged | None) -> AnalyseResult:
        """Every row once more, with all that was found out about it."""
        options = self._options
        counter = token_counter(options.tokenizer)
        likely = self._likelihoods()
        whole = Distributions(options.by)
        names = options.names()
        tokens = 0
        languages: dict[str, int] = {}
        with row_files(self._at.folder) as files:
            for number, item in enumerate(self._rows(files.reject)):
                found = attributes(item, counter, names)
                tokens += found.get("tokens") or 0
                if language := found.get("language"):
                    languages[language] = languages.get(language, 0) + 1
                if around is not None:
                    found |= around.of(number)
                if likely is not None:
                    found |= next(likely)
                if judged is not None:
                    found |= judged[number]
                group = value_of(item.fields, options.by)
                # The map tells more of clusters than a count of them.
                counted = {name: value for name, value in {**item.attributes, **found}.items() if name != "cluster"}
                whole.add(str(group) if isinstance(group, (str, int)) else None, counted)
                files.keep(with_attributes(item, found))
            kept, bad = files.count, files.bad
        told = whole.to_json()
        if likely is not None:
            self._notes += _cut(likely.tally)
        counts = {"rows": kept + bad, "kept": kept, "rejected": bad}
        counts["attributes"] = len(told["numeric"]) + len(told["categorical"])
        state = judged.state if judged is not None else "complete"
        report = judged.report.to_json() if judged is not None else None
        cost = report["cost"] if report else {"calls": 0, "usd": 0.0}
        spent = round(time.monotonic() - self._clock, 2)
        command = " ".join(["evol", "analyse", Path(self._at.source).name])
        page = {
            "version": 1, "name": _name(self._at.source), "rows": kept, "rejected": bad,
            "tokens": tokens if "tokens" in names else None, "counter": counter.name,
            "languages": dict(sorted(languages.items(), key=lambda pair: (-pair[1], pair[0]))),
            "models": self._models, "started": self._started, "seconds": spent, "calls": cost["calls"],
            "usd": cost["usd"], "command": command, "options": self._at.step.config, "notes": self._notes,
            **told, "judge": report, **facts,
            "breadth": around.breadth if around is not None else None,
        }  # fmt: skip
        write_json(self._at.folder / FACTS, {name: value for name, value in page.items() if value is not None})
        summary = {
            "counts": counts, "cost": cost, "notes": self._notes,
            "times": {"started": self._started, "seconds": spent},
        }  # fmt: skip
        if state == "complete":
            self._at.complete(**summary)
        else:
            assert judged is not None
            self._at.step.write("stopped", why=judged.why, **summary)
        say(f"analysed {kept:,} rows in {seconds(spent)}")
        code = judged.exit_code if judged is not None else 0
        return AnalyseResult(self._at.folder, summary, state, judged.why if judged else "", code)


def _cut(tally: Tally) -> list[str]:
    """What a person should know of rows that the language model did not read whole."""
    told = {
        "rows have no response to find a perplexity of": tally.without_response,
        "responses were longer than --lm-length and cut for perplexity and IFD": tally.cut_responses,
        "instructions were longer than half of --lm-length and cut for IFD": tally.cut_instructions,
    }
    return [f"{count:,} {what}" for what, count in told.items() if count]


def _name(source: str) -> str:
    """What to call the data: its file, or the run that a run's file belongs to."""
    path = Path(source)
    return path.parent.parent.name if path.name == "instructions.jsonl" else path.name
