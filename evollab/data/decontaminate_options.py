"""What `evol decontaminate` can be told, and what it tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evollab.data.embed import EMBED_HELP, Embedder
from evollab.data.items import RowOptions
from evollab.data.rows import excerpt
from evollab.data.rowstep import KEPT, REJECTED, REMOVED
from evollab.llm.option import option
from evollab.records import EvolError

NONE = "none"
SHARE = 0.5
SIMILAR = {True: 0.8, False: 0.55}
"""The similarity that convicts, by whether the embedder sees meaning, or wording alone."""
DOUBTFUL = {True: 0.7, False: 0.5}
"""The same where a model has the last word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecontaminateOptions(RowOptions):
    """What convicts a row."""

    share: float = option(
        "share of an item's words that, in 8-grams which a row has too, convicts the row (above 0, at most 1)",
        SHARE, metavar="SHARE",
    )  # fmt: skip
    text: str = option(
        "where in a row n-grams are looked for: prompt (all that users say) or both (every turn)",
        "both", choices=("prompt", "both"),
    )  # fmt: skip
    embed: str | None = option(f"{EMBED_HELP}; {NONE}: leave reworded items undetected", None, metavar="EMBEDDER")
    similar: float | None = option(
        "cosine of prompt and item from which on a row goes, or is shown to the model of --verdict; default: "
        f"{SIMILAR[True]}, with --verdict {DOUBTFUL[True]} (hashed: {SIMILAR[False]} and {DOUBTFUL[False]})",
        None, metavar="S",
    )  # fmt: skip
    verdict: str | None = option(
        "model that says whether a row and an item that are near are the same task; of these only what it confirms "
        "goes", None, metavar="MODEL",
    )  # fmt: skip
    reply_tokens: int = option("tokens that one verdict may have", 512, metavar="N")

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise EvolError(f"--share {self.share:g}: expected a share above 0, at most 1")
        if self.similar is not None and not 0 < self.similar <= 1:
            raise EvolError(f"--similar {self.similar:g}: expected a cosine above 0, at most 1")
        if self.text not in ("prompt", "both"):
            raise EvolError(f"--text {excerpt(self.text, 40)!r}: expected prompt or both")
        if self.embed == NONE and (self.similar is not None or self.verdict is not None):
            what = "--verdict" if self.similar is None else "--similar"
            raise EvolError(f"{what} is about prompts whose embedding is near an item's, and --embed {NONE} makes none")
        if self.reply_tokens < 1:
            raise EvolError(f"--reply-tokens {self.reply_tokens}: expected 1 or more")
        self.mapping()

    def threshold(self, embed: Embedder) -> float:
        """The similarity that counts."""
        default = (SIMILAR if self.verdict is None else DOUBTFUL)[embed.meaning]
        return default if self.similar is None else self.similar

    def rules(self, embed: Embedder | None) -> dict[str, Any]:
        """What convicts, as it is told."""
        return {
            "share": self.share, "text": self.text, "embed": embed.identity if embed else None,
            "similar": self.threshold(embed) if embed else None, "verdict": self.verdict,
        }  # fmt: skip

    def config(self, embed: Embedder | None) -> dict[str, Any]:
        """What the outcome depends on, for step.json."""
        told = {one.name: getattr(self, one.name) for one in dataclasses.fields(DecontaminateOptions)}
        return {**told, "map": list(self.map), **self.rules(embed)}


@dataclass(frozen=True, slots=True)
class DecontaminateResult:
    """What came of it. account: see `contamination`; {} where it was stopped. state: complete, or stopped,
    with `why`. exit_code: as for `evol evolve`: 0 also at a cap that was asked for, 1 where calls failed."""

    folder: Path
    account: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fresh: bool = True
    state: str = "complete"
    why: str = ""
    exit_code: int = 0

    def __str__(self) -> str:
        if self.state != "complete":
            return f"stopped: {self.why}; the same command goes on, and pays for nothing twice"
        account = self.account
        gone = ", ".join(f"{count:,} {reason}" for reason, count in account["removed"].items()) or "none"
        told = [
            f"{self.folder / KEPT}: {account['kept']:,} of {account['rows']:,} rows",
            f"{self.folder / REMOVED}: {sum(account['removed'].values()):,} rows ({gone})",
            *map(_of_benchmark, account["benchmarks"]),
        ]
        if account["rejected"]:
            told.append(f"{self.folder / REJECTED}: {account['rejected']:,} rows that could not be used")
        told += [f"note: {note}" for note in account["notes"]]
        told += [f"NOT checked: {one['name']} ({one['why']})" for one in account["not_checked"]]
        if not self.fresh:
            told.append("note: this was done before; nothing was left to do")
        return "\n".join(told)


def _of_benchmark(account: Mapping[str, Any]) -> str:
    changes = (f"{kind} {both['before']:,} -> {both['after']:,}" for kind, both in account["hits"].items())
    return f"  {account['name']}: items hit: {', '.join(changes)} of {account['items']:,}"
