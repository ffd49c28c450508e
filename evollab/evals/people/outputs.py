"""Models' answers out of files of any making: whose, to what, and the text."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from evollab.data.files import read_rows
from evollab.data.formats import BadFields
from evollab.data.rows import kind, names
from evollab.data.strata import lookup
from evollab.evals.result import ANSWERS, RESULT
from evollab.records import EvolError, Rejected, digest

IDS = ("id", "question_id", "task_id", "idx")
ASKED = ("turns", "instruction", "prompt", "question", "problem", "text")
_SAID = ("texts", "output", "response", "answer", "completion", "solution")
_WHO = ("generator", "model", "model_id")
_SKILL = ("skill", "Skill", "facts.skill", "category")
_MOST_CHARACTERS = 1 << 20


@dataclass(frozen=True, slots=True)
class Output:
    """One model's answer to one item.

    model: its name, "" where the row doesn't say. id: of the item, as text. turns: what the user says; empty where the
    row has only an id. texts: what the model says, a text for each turn. skill: the group of the item.
    """

    model: str
    id: str | None
    turns: tuple[str, ...]
    texts: tuple[str, ...]
    skill: str = ""

    @property
    def key(self) -> str:
        """16 hex digits for what was asked, white space and Unicode forms aside; "" where that isn't told."""
        return key_of(self.turns) if self.turns else ""


def key_of(turns: tuple[str, ...]) -> str:
    """The name of an item: the same for the same text."""
    return digest(*(" ".join(unicodedata.normalize("NFC", turn).split()) for turn in turns))


@dataclass(frozen=True, slots=True)
class Place:
    """A file of answers, and whose they are by its name (`given`: by the command line, which counts more than rows)."""

    file: str
    model: str
    given: bool


def places_of(runs: tuple[str, ...]) -> list[Place]:
    """The files that arguments name: FILE, NAME=FILE, an evaluation's folder (or one task's in it).

    Raises EvolError for what is none of them.
    """
    found: list[Place] = []
    for run in runs:
        name, sign, rest = run.partition("=")
        given = bool(sign and name and rest) and not Path(run).exists()
        path = Path(rest if given else run)
        if path.is_dir():
            files = [path / ANSWERS] if (path / ANSWERS).is_file() else sorted(path.glob(f"*/{ANSWERS}"))
            if not files:
                raise EvolError(
                    f"{path}: no {ANSWERS} in it or in a folder of it",
                    "give a folder of evol eval, or a file of answers",
                )
            model = name if given else _model_in(path) or path.resolve().name
            found += [Place(str(file), model, True) for file in files]
        elif path.is_file():
            found.append(Place(str(path), name if given else path.name.partition(".")[0], given))
        else:
            raise EvolError(
                f"{path}: there is no such file or folder", "give FILE, NAME=FILE, or a folder of evol eval"
            )
    return found


def _model_in(folder: Path) -> str:
    """What an evaluation's result calls the model, "" where none does."""
    for place in (folder, *sorted(path.parent for path in folder.glob(f"*/{RESULT}"))):
        try:
            result = orjson.loads((place / RESULT).read_bytes())
        except (OSError, orjson.JSONDecodeError):
            continue
        model = result.get("model") if isinstance(result, dict) else None
        if isinstance(model, str) and model:
            return model
    return ""


def read_outputs(place: Place, *, strict: bool, reject: Callable[[Rejected], None]) -> Iterator[Output]:
    """The answers in a file, every one with the name of its model. Of several samples only the first counts; an answer
    that a failed call left without text is none. Rows that can't be used go to `reject`; raises EvolError with
    `strict`, and where no row can be used."""
    used, first = 0, ""
    for row in read_rows(place.file, strict=strict, reject=reject):
        try:
            outputs = outputs_of(row.fields)
        except BadFields as error:
            wrong = f"{place.file}:{row.number}: {error}"
            if strict:
                raise EvolError(wrong) from None
            first = first or wrong
            reject(Rejected(Path(place.file).name, row.number, str(error), ""))
            continue
        used += 1
        for one in outputs:
            model = place.model if place.given or not one.model else one.model
            yield Output(model, one.id, one.turns, one.texts, one.skill)
    if not used:
        raise EvolError(f"{first} (and no other row can be used)", "expected rows such as {instruction, output}")


def outputs_of(fields: Mapping[str, Any]) -> list[Output]:
    """The answers that a row holds: one, two in an annotation row (`output_1`, `output_2`), none in a row that counts
    for nothing. Raises BadFields."""
    if fields.get("failure") or fields.get("sample", 0) not in (0, None):
        return []
    ids = [fields[name] for name in IDS if isinstance(fields.get(name), (str, int))]
    own = str(ids[0]) if ids else None
    turns = texts_of(fields, ASKED)
    if turns and isinstance(fields.get("input"), str) and fields["input"].strip():
        turns = (*turns[:-1], f"{turns[-1]}\n\n{fields['input']}")
    if not turns and own is None:
        raise BadFields(f"no {', '.join(ASKED[1:])} and no id; the row has {names(fields)}")
    skill = _skill(fields)
    found = []
    for end in ("_1", "_2", ""):
        texts = texts_of(fields, (f"output{end}",) if end else _SAID)
        if texts:
            who = (fields.get(f"{name}{end}") for name in _WHO)
            model = next((name for name in who if isinstance(name, str) and name), "")
            found.append(Output(model, own, turns, texts, skill))
    if not found:
        raise BadFields(f"no {', '.join(_SAID)}; the row has {names(fields)}")
    return found


def texts_of(fields: Mapping[str, Any], columns: tuple[str, ...]) -> tuple[str, ...]:
    """The text or texts in the first of `columns` that the row has; () without one. Raises BadFields."""
    for column in columns:
        value = fields.get(column)
        if value is None:
            continue
        found = value if isinstance(value, list) else [value]
        if not found or not all(isinstance(one, str) for one in found):
            raise BadFields(f"field {column!r} is {kind(value)}; expected a text, or texts turn by turn")
        if sum(map(len, found)) > _MOST_CHARACTERS:
            raise BadFields(f"field {column!r} has more than {_MOST_CHARACTERS:,} characters; nobody can read that")
        return tuple(found)
    return ()


def _skill(fields: Mapping[str, Any]) -> str:
    for path in _SKILL:
        try:
            value = lookup(fields, path)
        except ValueError:
            continue
        if isinstance(value, str):
            return value
    return ""
