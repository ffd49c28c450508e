"""The data card: README.md beside an export, for people and for the Hugging Face hub.

Everything in it that a model, a file or a command line said is escaped: it can't become markup.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evollab import __version__
from evollab.data import targets
from evollab.data.rows import excerpt
from evollab.records import Instruction
from evollab.runs import whole_file

MARK = b"- evollab\n"
"""A line of the front matter by which a card of ours is known."""
_LICENCES = (
    "afl-3.0", "apache-2.0", "bigscience-openrail-m", "bsd-3-clause", "cc", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0",
    "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0",
    "cdla-sharing-1.0", "gpl-3.0", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "mit", "odbl", "odc-by",
    "openrail", "pddl", "unknown",
)  # fmt: skip
"""Names that the hub knows; any other licence is "other" there, with its name beside it."""
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_SHOWN = 600
_FIELDS = {
    "messages": "`messages`: turns of `role` and `content`, the response last",
    "sharegpt": "`conversations`: turns of `from` (human, gpt, system, tool) and `value`, the response last",
    "alpaca": "`instruction`, `input`, `output`; where a row has turns before it, `history` (pairs of question "
    "and answer) and `system`",
    "parquet": "`messages`: turns of `role` and `content`, the response last; `id`, `root_id` (the seed), "
    "`parent_id`, `round` (0: a seed), `operation`, `domain`",
}


@dataclass(slots=True)
class Contents:
    """What an export holds, counted as its rows pass by."""

    rows: int = 0
    kinds: Counter[tuple[int, str]] = field(default_factory=Counter[tuple[int, str]])
    models: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    sample: Instruction | None = None

    def counting(self, rows: Iterable[Instruction]) -> Iterator[Instruction]:
        for row in rows:
            self.rows += 1
            self.kinds[row.round, row.operation] += 1
            self.models.update(row.models.items())
            if self.sample is None or (row.round and not self.sample.round):
                self.sample = row  # an evolved row says more than a seed
            yield row


@dataclass(frozen=True, slots=True)
class Export:
    """What a card tells of: the data file's name, ExportOptions as a dictionary, what was written,
    what there was, and the step.json of the run."""

    file: str
    options: Mapping[str, Any]
    contents: Contents
    available: int
    left_out: Mapping[str, int]
    facts: Mapping[str, Any]

    @property
    def notes(self) -> list[str]:
        """What a reader must know before trusting the numbers."""
        notes: list[str] = []
        asked, rows = self.options["n"], self.contents.rows
        if asked is not None and asked > rows:
            notes.append(f"{asked:,} rows were asked for and there are {rows:,}: all were taken")
        state = self.facts.get("state", "complete")
        if state != "complete":
            notes.append(f"the run is not complete ({state}): it would have made more rows")
        return notes


def write_card(path: Path, export: Export) -> None:
    """Write the card of an export, whole or not at all."""
    with whole_file(path) as file:
        file.write(card(export).encode())


def card(export: Export) -> str:
    """The card: YAML front matter, then Markdown."""
    sections = (
        _front_matter(export),
        _opening(export),
        _rows(export),
        _survival(export),
        _models(export),
        _settings(export),
        _licences(export),
        _sample(export),
        _repeat(export),
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(export: Export) -> str:
    licence = export.options["licence"].lower()
    lines = ["---", f"license: {licence if licence in _LICENCES else 'other'}"]
    if licence not in _LICENCES:
        lines.append(f"license_name: {json.dumps(re.sub('[^a-z0-9.]+', '-', licence).strip('-')[:60] or 'custom')}")
    size = next((name for limit, name in _SIZES if export.contents.rows < limit), "1M<n<10M")
    lines += ["task_categories:", "- text-generation", "tags:", MARK.decode().strip(), "- evol-instruct", "- synthetic"]
    lines += ["size_categories:", f"- {size}", "configs:", "- config_name: default", "  data_files:"]
    return "\n".join([*lines, "  - split: train", f"    path: {export.file}", "---"])


def _opening(export: Export) -> str:
    facts, contents = export.facts, export.contents
    seeds = facts.get("counts", {}).get("seeds")
    rounds = max((number for number, _ in contents.kinds), default=0)
    grown = f" from {seeds:,} seeds" if isinstance(seeds, int) else ""
    lines = [
        "# Evolved instructions",
        f"{contents.rows:,} instructions with responses{grown}, over {rounds} rounds of Evol-Instruct "
        "([arXiv:2304.12244](https://arxiv.org/abs/2304.12244)): in each round a model rewrites an instruction into a "
        "harder one (or, in breadth, into a new one of its kind), rewritings that add nothing or broke are eliminated, "
        f"and what survives is answered and evolves on. Made by evollab {_text(__version__)}. The "
        "rewritings and their responses were written by the models below and checked by programs, not by people.",
        f"Fields: {_FIELDS[export.options['format']]}.",
        *(f"**Note:** {_text(note)}." for note in export.notes),
    ]
    return "\n\n".join(lines)


def _rows(export: Export) -> str:
    kinds, total = export.contents.kinds, export.contents.rows
    table = _table(
        ("round", "operation", "rows", "share"),
        ((number, name, count, f"{count / total:.1%}") for (number, name), count in sorted(kinds.items())),
    )
    drawn = f"{total:,} of {export.available:,} rows that could be used were taken."
    left = "".join(f" Left out: {number:,} rows {why}." for why, number in export.left_out.items())
    return f"## Rows\n\n{drawn}{left}\n\n{table}"


def _survival(export: Export) -> str:
    """What the whole run tried and dropped, which is more than this export holds."""
    survival = export.facts.get("survival")
    if not survival:
        return ""
    rules: Counter[str] = Counter()
    for entry in survival:
        rules.update(entry["dropped"])
    tried = _table(
        ("round", "operation", "tried", "kept", "survival"),
        (
            (one["round"], one["operation"], one["tried"], one["kept"], f"{one['kept'] / max(1, one['tried']):.1%}")
            for one in survival
        ),
    )
    dropped = _table(("rule", "dropped"), rules.most_common())
    return f"## Survival\n\nOf the whole run, before any draw.\n\n{tried}\n\n{dropped}"


def _models(export: Export) -> str:
    models = export.contents.models
    if not models:
        return ""
    rows = ((model, role, count) for (role, model), count in sorted(models.items()))
    return f"## Models\n\nHow many of these rows each model worked on.\n\n{_table(('model', 'as', 'rows'), rows)}"


def _settings(export: Export) -> str:
    config = export.facts.get("config")
    if not config:
        return ""
    rows = [(name, value) for name, value in _flat("", config) if value not in (None, "", [])]
    return f"## Settings\n\n{_table(('option', 'value'), rows)}"


def _licences(export: Export) -> str:
    inputs = export.facts.get("inputs", {})
    seeds = inputs.get("seeds", inputs)
    licence = export.options["licence"]
    said = "unknown: nobody said" if licence == "unknown" else _text(licence)
    lines = [
        "## Sources and licences",
        f"Seeds: {_text(seeds.get('file') or 'unknown')}"
        + (f" (blake2b {_text(seeds['digest'])})" if seeds.get("digest") else "")
        + f". Their licence: {said}.",
        "What models wrote may be bound by the terms of whoever runs them, above all where it is used to train other "
        "models. Look these up for each model named here before you pass this data on.",
    ]
    return "\n\n".join(lines)


def _sample(export: Export) -> str:
    row = export.contents.sample
    if row is None:
        return ""
    target = targets.alpaca if export.options["format"] == "alpaca" else targets.TARGETS[export.options["format"]]
    text = json.dumps(_cut(target(row)), ensure_ascii=False, indent=2)
    text = "\n".join(excerpt(line, len(line)) for line in text.split("\n"))
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"## A row\n\nLong texts are cut.\n\n{fence}json\n{text}\n{fence}"


def _repeat(export: Export) -> str:
    facts = export.facts
    lines = ["## How to repeat it"]
    if command := facts.get("command"):
        lines.append(f"    {excerpt(_public(command), 2000)}")
    options = {name: value for name, value in export.options.items() if name in {"format", "n", "rounds", "seed"}}
    flags = "".join(f" --{name} {value}" for name, value in options.items() if value is not None)
    lines.append(f"    evol export RUN{flags}" + ("" if export.options["shuffle"] else " --no-shuffle"))
    versions = {**facts.get("versions", {})}
    if prompts := facts.get("config", {}).get("settled", {}).get("prompts"):
        versions["prompts"] = prompts
    if versions:
        lines.append(
            "Versions: " + ", ".join(f"{_text(name)} {_text(value)}" for name, value in versions.items()) + "."
        )
    lines.append(
        "A model asked anew answers anew. The same rows come out of the run folder's calls.db, which keeps every "
        "request with its reply."
    )
    return "\n\n".join(lines)


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Nested settings as (dotted name, plain value)."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else str(name), inner)
    elif isinstance(value, list):
        yield prefix, ", ".join(map(str, value))
    else:
        yield prefix, value


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *([_text(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _text(value: object) -> str:
    """Any value as Markdown that shows it and does nothing else."""
    shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else _public(str(value))
    return re.sub(r"([\\`*_{}\[\]<>#|~&!$])", r"\\\1", excerpt(shown, 300))


def _public(text: str) -> str:
    """Without what is nobody's business: addresses of servers, folders of this machine."""
    text = re.sub(r"\b[a-z+]+://\S+", "URL", text)
    return re.sub(r"(?<![\w/.~-])(?:~|\.{1,2})?/(?:[^\s/]+/)*(?=[^\s/])", "", text)


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _SHOWN else value[:_SHOWN] + " ..."
    if isinstance(value, list):
        return [_cut(item) for item in value]
    return {name: _cut(item) for name, item in value.items()} if isinstance(value, dict) else value
