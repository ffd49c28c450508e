"""A study's folder: what is compared, by whom, and what they said.

    FOLDER/step.json          what was asked for; another study is refused this folder
    FOLDER/items.jsonl        prompts and all models' answers
    FOLDER/comparisons.jsonl  which two models are compared on which item
    FOLDER/rejected.jsonl     rows that could not be used
    FOLDER/links.json         each annotator's secret; nobody else can read it
    FOLDER/judgements.jsonl   one judgement a line, see `judgements`
    FOLDER/results.json       see `results`

Model names are in these files, and never in what the server sends.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from evollab.data.files import input_digest
from evollab.evals.people import comparisons as made
from evollab.evals.people.comparisons import Comparison, Item
from evollab.evals.people.options import PeopleOptions
from evollab.evals.people.outputs import places_of
from evollab.records import EvolError, Rejected, from_dict
from evollab.runs import Step, open_folder, read_step, sync_folder, whole_file

NAME = "people"
ITEMS = "items.jsonl"
COMPARISONS = "comparisons.jsonl"
REJECTED = "rejected.jsonl"
LINKS = "links.json"


@dataclass(frozen=True, slots=True)
class Study:
    """An open study. offsets: where in `items.jsonl` each item's line begins, bytes. secret: signs the forms."""

    folder: Path
    comparisons: tuple[Comparison, ...]
    offsets: dict[str, int]
    links: dict[str, str]
    secret: str

    @property
    def annotators(self) -> list[str]:
        return list(self.links)

    def item(self, id: str) -> Item:
        """An item with its texts, from disk."""
        with open(self.folder / ITEMS, "rb") as file:
            file.seek(self.offsets[id])
            return _item(file.readline())


def open_study(runs: Sequence[str], folder: Path, options: PeopleOptions) -> tuple[Study, str]:
    """Make a study of the answers in `runs`, or find it again; and words about what is compared.

    Raises EvolError for inputs that can't be compared, and for a folder of another study. More annotators may join one
    where everybody judges everything (`each` 0).
    """
    places = places_of(tuple(runs))
    config = {"items": options.items, "each": options.each, "seed": options.seed}
    if options.each:
        config["annotators"] = options.annotators
    inputs = {"answers": [{"model": one.model, **input_digest(one.file)} for one in places]}
    step = open_folder(folder, NAME, config, inputs, hint="give another --out; judgements stay with what was judged")
    if step.before is None or step.before.get("state") != "complete":
        about = _make(step, runs, options)
    else:
        about = str(step.before.get("about", ""))
    found = _comparisons(folder)
    return Study(folder, found, _offsets(folder / ITEMS), *_links(folder, options.annotators)), about


def _make(step: Step, runs: Sequence[str], options: PeopleOptions) -> str:
    folder, places = step.folder, places_of(tuple(runs))
    count = Counter[str]()
    with whole_file(folder / REJECTED) as aside:

        def reject(row: Rejected) -> None:
            count["rejected"] += 1
            aside.write(row.to_json() + b"\n")

        material = made.survey(places, strict=options.strict, reject=reject)
    chosen = made.drawn(material, options.items, options.seed)
    per_item = len(material.models) * (len(material.models) - 1) // 2
    with whole_file(folder / ITEMS) as items, whole_file(folder / COMPARISONS) as compared:
        for item in made.fetch(places, material, chosen):
            items.write(orjson.dumps(asdict(item)) + b"\n")
            pairs = list(made.pairs(item))
            count["identical"] += per_item - len(pairs)
            count["comparisons"] += len(pairs)
            compared.writelines(orjson.dumps(asdict(one)) + b"\n" for one in pairs)
    if not count["comparisons"]:
        raise EvolError("all answers are the same, word for word: there is nothing to compare", "name other files")
    count["items"] = len(chosen)
    count["left_out"] = len(material.skills) - len(material.shared)
    count["unmatched"], count["repeated"] = material.unmatched, material.repeated
    about = _about(count, material)
    step.write("complete", models=material.models, counts=dict(count), about=about)
    return about


def _about(count: Counter[str], material: made.Material) -> str:
    lines = [
        f"{count['comparisons']:,} comparisons of {len(material.models)} models on {count['items']:,} of "
        f"{len(material.shared):,} prompts"
    ]
    for name, words in (
        ("left_out", "prompts were not answered by all models"),
        ("identical", "pairs of answers are the same word for word; nobody is asked about them"),
        ("unmatched", "answers belong to no known prompt"),
        ("repeated", "answers were given twice; the first counts"),
        ("rejected", f"rows could not be used, see {REJECTED}"),
    ):
        if count[name]:
            lines.append(f"{count[name]:,} {words}")
    return "\n".join(lines)


def is_study(folder: Path) -> bool:
    """Whether a study is there, made to its end."""
    before = read_step(folder)
    return before is not None and before.get("step") == NAME and before.get("state") == "complete"


def models_of(folder: Path) -> list[str]:
    """The models of a study, in their order. Raises EvolError where there is none."""
    before = read_step(folder)
    if before is None or not is_study(folder):
        raise EvolError(f"{folder}: there is no study", "evol people RUNS --out FOLDER makes one")
    return [str(model) for model in before["models"]]


def settings_of(folder: Path) -> dict[str, int]:
    """What a study was made with: `items`, `each`, `seed`. Raises EvolError where there is none."""
    models_of(folder)
    return dict((read_step(folder) or {})["config"])


def read_annotators(folder: Path) -> list[str]:
    """The annotators of a study, in their order. Raises EvolError."""
    return list(_links(folder, 0)[0])


def read_comparisons(folder: Path) -> tuple[Comparison, ...]:
    """The comparisons of a study. Raises EvolError where there is none."""
    models_of(folder)
    return _comparisons(folder)


def read_items(folder: Path) -> Iterator[Item]:
    """The items of a study, one at a time."""
    with open(folder / ITEMS, "rb") as file:
        for line in file:
            yield _item(line)


def _comparisons(folder: Path) -> tuple[Comparison, ...]:
    with open(folder / COMPARISONS, "rb") as file:
        return tuple(from_dict(Comparison, orjson.loads(line)) for line in file)


def _item(line: bytes) -> Item:
    row = orjson.loads(line)
    answers = {model: tuple(texts) for model, texts in row["answers"].items()}
    return Item(row["id"], row["name"], row["skill"], tuple(row["turns"]), answers)


def _offsets(path: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    with open(path, "rb") as file:
        at = 0
        for line in file:
            found[orjson.loads(line)["id"]] = at
            at += len(line)
    return found


def _links(folder: Path, annotators: int) -> tuple[dict[str, str], str]:
    """The secrets of at least so many annotators, kept from the first start on; and the study's own."""
    path = folder / LINKS
    try:
        held = orjson.loads(path.read_bytes())
        links, secret = dict(held["annotators"]), str(held["secret"])
    except FileNotFoundError:
        links, secret = dict[str, str](), secrets.token_urlsafe(32)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise EvolError(f"{path}: not the links of a study", "move it away: new links are made, old ones end") from None
    missing = [name for number in range(annotators) if (name := f"annotator-{number + 1}") not in links]
    links |= {name: secrets.token_urlsafe(24) for name in missing}
    links = dict(sorted(links.items(), key=lambda one: (len(one[0]), one[0])))
    if missing:
        part = path.with_name(f"{path.name}.part")
        part.unlink(missing_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(orjson.dumps({"annotators": links, "secret": secret}, option=orjson.OPT_INDENT_2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        sync_folder(folder)
    return links, secret
