"""Decontamination by the names of benchmarks: what `evol decontaminate` and recipes call."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from evollab.data import decontaminate as step
from evollab.data.decontaminate_options import DecontaminateOptions, DecontaminateResult
from evollab.evals.sources import FOLDER, read_benchmarks, wanted
from evollab.llm.option import option
from evollab.llm.session import ModelOptions
from evollab.llm.watching import say
from evollab.records import EvolError

MISSING = ("stop", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContaminationOptions(DecontaminateOptions):
    """Which benchmarks, where they are, and what convicts."""

    against: tuple[str, ...] = option(
        "benchmarks by name, parted by commas (gsm8k,humaneval), or all; NAME=FILE for a copy of one; a file of rows "
        "of your own", (), metavar="NAME[,NAME]|FILE",
    )  # fmt: skip
    benchmarks: str | None = option(
        f"folder of local copies, as gsm8k.jsonl and so on; default: ${FOLDER}; what is in neither comes from the hub",
        None, metavar="DIR",
    )  # fmt: skip
    missing: str = option(
        "what to do when a benchmark is not to be had: stop, or note that it was not checked and go on",
        "stop", choices=MISSING,
    )  # fmt: skip

    def __post_init__(self) -> None:
        DecontaminateOptions.__post_init__(self)
        if self.missing not in MISSING:
            raise EvolError(f"--missing {self.missing}: expected {' or '.join(MISSING)}")


async def decontaminate(
    data: str, out: Path | None, options: ContaminationOptions, models: ModelOptions | None = None
) -> DecontaminateResult:
    """Remove the rows of `data` that hold benchmark items (see `data.decontaminate.decontaminate`), the
    benchmarks found by their names.

    Benchmarks that are not to be had are named on stderr, in step.json and in decontamination.json
    (`--missing note`), or end it. Raises EvolError for unknown names with the nearest match.
    """
    sources = read_benchmarks(wanted(options.against), options.benchmarks, missing=options.missing)
    for name, why in sources.missing.items():
        say(f"note: {name} was NOT checked: {why}")
    if not sources.found:
        raise EvolError(
            "none of the benchmarks is to be had, so nothing can be checked", f"name a folder: --benchmarks, ${FOLDER}"
        )
    plain = {field.name: getattr(options, field.name) for field in dataclasses.fields(DecontaminateOptions)}
    return await step.decontaminate(
        data, out, sources.found, DecontaminateOptions(**plain), models=models, not_checked=sources.missing
    )
