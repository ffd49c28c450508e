"""Dataclasses of options as flags of the command line."""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")


def add_options(parser: argparse.ArgumentParser, options: type) -> None:
    """One flag for each field of a dataclass of options; its documentation is the field's own."""
    hints = typing.get_type_hints(options)
    for field in dataclasses.fields(options):
        flag = field.metadata.get("flag", "--" + field.name.replace("_", "-"))
        settings: dict[str, Any] = {"dest": field.name, "default": field.default, "help": field.metadata["help"]}
        if "choices" in field.metadata:
            settings["choices"] = field.metadata["choices"]
        elif "metavar" in field.metadata:
            settings["metavar"] = field.metadata["metavar"]
        kind = hints[field.name]
        if kind is bool:
            settings.pop("metavar", None)
            settings["action"] = "store_false" if field.default else "store_true"
        elif typing.get_origin(kind) is tuple:
            settings["action"] = "append"
            settings["default"] = None
        else:
            plain = [part for part in typing.get_args(kind) if part is not types.NoneType] or [kind]
            settings["type"] = plain[0]
        if field.default not in (None, (), "") and not isinstance(field.default, bool):
            settings["help"] += f" (default: {field.default})"
        parser.add_argument(flag, **settings)


def read_options(arguments: argparse.Namespace, options: type[T]) -> T:
    """The dataclass out of parsed arguments. Raises EvolError on values that don't go together."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(typing.cast(Any, options)):
        value = getattr(arguments, field.name)
        if isinstance(field.default, tuple):
            value = tuple(value or ())
        values[field.name] = value
    return options(**values)
