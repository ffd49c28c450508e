"""The tables of a training's page: what each slice of Stage-DPO did, and what became of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from evollab.inert import one_line
from evollab.report.analysis_charts import neat
from evollab.report.training_charts import change
from evollab.report.training_facts import TrainingFacts, finite

_COUNTS: Mapping[str, str] = {
    "train": "trained", "held_out": "held out", "cut": "of these cut at the limit", "too_long": "too long",
    "nothing_trained": "nothing to train", "not_rendered": "don't fit the format", "identical": "both answers the same",
    "rejected": "could not be read",
}  # fmt: skip
_NO_COUNT = frozenset({"rows", "tokens", "trained_tokens", "steps", "with_margin", "with_difficulty", "referenced"})


@dataclass(frozen=True, slots=True)
class Stage:
    """A row of Stage-DPO's table."""

    number: int
    pairs: int
    replayed: int
    steps: int
    start: str
    reference: str
    loss: str
    margin: str
    before: float | None
    after: float | None
    ends: tuple[float, float] | None
    ranking: float | None
    held_out: int
    kept: bool
    drawn: Markup


def stages(facts: TrainingFacts) -> list[Stage]:
    """The table of slices, [] where there is none."""
    found = facts.get("stages")
    return (
        [_stage(at, one) for at, one in enumerate(found[:100], 1) if isinstance(one, Mapping)]
        if isinstance(found, list)
        else []
    )


def _stage(at: int, one: Mapping[str, Any]) -> Stage:
    def whole(name: str) -> int:
        return int(finite(one.get(name)) or 0)

    def model(name: str) -> str:
        return f"slice {whole(name)}" if whole(name) else "base"

    numbers = {name: finite(one.get(name)) for name in ("loss_first", "loss_last", "margin_last")}
    before, after = finite(one.get("accuracy_before")), finite(one.get("accuracy_after"))
    found = one.get("interval_after")
    held = [finite(value) for value in found] if isinstance(found, list) else []
    ends = (held[0], held[1]) if len(held) == 2 and held[0] is not None and held[1] is not None else None
    loss = " → ".join("–" if numbers[name] is None else f"{numbers[name]:.4f}" for name in ("loss_first", "loss_last"))
    margin = "–" if numbers["margin_last"] is None else neat(numbers["margin_last"])
    return Stage(
        number=whole("stage") or at, pairs=whole("pairs"), replayed=whole("replayed"), steps=whole("steps"),
        start=model("start"), reference=model("reference"), loss=loss, margin=margin, before=before, after=after,
        ends=ends, ranking=finite(one.get("ranking_after")), held_out=whole("held_out"),
        kept=one.get("kept") is not False, drawn=change(before, after, ends),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class RowCount:
    """What became of some rows. share: of all."""

    name: str
    title: str
    n: int
    share: float
    lines: str


def row_counts(facts: TrainingFacts) -> list[RowCount]:
    """What became of the rows, in the order in which it is decided; only what there is, and what was trained."""
    counts = facts.get("counts")
    if not isinstance(counts, Mapping):
        return []
    numbers = {
        name: int(value)
        for name, one in counts.items()
        if isinstance(name, str) and name not in _NO_COUNT and (value := finite(one)) is not None and value >= 0
    }
    whole = max(finite(counts.get("rows")) or 0.0, *numbers.values(), 1.0) if numbers else 1.0
    names = sorted(numbers, key=lambda name: list(_COUNTS).index(name) if name in _COUNTS else len(_COUNTS))
    lines = counts.get("lines")
    found = []
    for name in names[:20]:
        n = numbers[name]
        if n or name == "train":
            title = _COUNTS.get(name, one_line(name.replace("_", " "), 60))
            found.append(RowCount(name, title, n, n / whole, _lines(lines, name, n)))
    return found


def _lines(lines: Any, name: str, count: int) -> str:
    """The first few lines of the data, as "6, 25, 66 …"."""
    found = lines.get(name) if isinstance(lines, Mapping) else None
    if not isinstance(found, list):
        return ""
    kept = [f"{int(value):,}" for one in found[:10] if (value := finite(one)) is not None]
    return ", ".join(kept) + (" …" if kept and count > len(kept) else "")
