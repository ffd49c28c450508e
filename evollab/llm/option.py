"""Options: fields of a dataclass that the command line has as flags."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(help: str, default: Any = None, **more: Any) -> Any:
    """A dataclass field that is a command-line option too: `help` is its documentation in both
    places; `choices`, `metavar` and `flag` are passed on to the command line."""
    metadata = {"help": help, **more}
    return field(default=default, metadata=metadata)
