"""A benchmark: one file in `tasks/` with a `TASK` in it, found by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evollab.data.benchmark import BenchmarkItem
from evollab.data.formats import BadFields
from evollab.data.rows import Row, kind, names
from evollab.evals.choices import Choices
from evollab.evals.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A benchmark.

    name: what `--against` calls it; the file's name. about: one line for people. licence: of the data.
    hub: ids on the Hugging Face hub (ORG/NAME:SPLIT or ORG/NAME/CONFIG:SPLIT), all of which together
    are the benchmark; none where it is not there in a form that can be read. files: what a local copy
    is called, without its ending, the likeliest first; case and "-" or "_" make no difference. texts:
    what a row asks; None for a row that is not part of the test set; raises `BadFields`. home: where
    people get the data, for messages. trial: how it measures a model, in `evol eval`; None where
    it is there for decontamination alone.
    """

    name: str
    about: str
    licence: str
    files: tuple[str, ...]
    texts: Callable[[Row], BenchmarkItem | None]
    hub: tuple[str, ...] = ()
    home: str = ""
    trial: Trial | Choices | None = None


def text(fields: Mapping[str, Any], *columns: str) -> str:
    """The text in the first of `columns` that the row has. Raises BadFields without one."""
    for column in columns:
        if column in fields:
            if not isinstance(fields[column], str):
                raise BadFields(f"field {column!r} is {kind(fields[column])}; expected text")
            return str(fields[column])
    raise BadFields(f"no field {' or '.join(columns)}; the row has {names(fields)}")


def text_list(fields: Mapping[str, Any], *columns: str) -> list[str]:
    """The list of texts in the first of `columns` that the row has. Raises BadFields without one."""
    for column in columns:
        if column in fields:
            found = fields[column]
            if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
                raise BadFields(f"field {column!r} is {kind(found)}; expected a list of texts")
            return found
    raise BadFields(f"no field {' or '.join(columns)}; the row has {names(fields)}")


def identity(row: Row, *columns: str) -> str:
    """The row's own id in the first of `columns` that it has, else its number."""
    for column in columns:
        value = row.fields.get(column)
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            return str(value)
    return str(row.number)


def chosen(choices: list[str], right: Any) -> str:
    """The right choice, by its 0-based number. Raises BadFields for any other."""
    if not isinstance(right, int) or isinstance(right, bool) or not 0 <= right < len(choices):
        raise BadFields(f"the right choice is {right!r}; expected a number from 0 to {len(choices) - 1}")
    return choices[right]
