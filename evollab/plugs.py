"""Plug points: the name is the file. `find` turns a name into the one agreed value in that file."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import importlib.util
import pkgutil
from pathlib import Path
from typing import Any

from evollab.records import EvolError


def find(package: str, name: str, attribute: str, what: str) -> Any:
    """`attribute` out of `<package>/<name>.py`, a path (`./law.py`), or an entry point of the group
    `package`. A wrong name raises EvolError listing what exists and the nearest match."""
    if name.endswith(".py"):
        return _from_path(Path(name), attribute, what)
    built_in = [m.name for m in pkgutil.iter_modules(importlib.import_module(package).__path__)]
    if name in built_in:
        return getattr(importlib.import_module(f"{package}.{name}"), attribute)
    others = {point.name: point for point in importlib.metadata.entry_points(group=package)}
    if name in others:
        return getattr(others[name].load(), attribute)
    known = sorted({*built_in, *others})
    near = difflib.get_close_matches(name, known, 1)
    raise EvolError(
        f"no {what} is called {name!r}; there are: {', '.join(known)}",
        f"did you mean {near[0]}?" if near else f"{what}s of your own: give the path of a .py file with {attribute}",
    )


def _from_path(path: Path, attribute: str, what: str) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise EvolError(f"{what} {path}: there is no such file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, attribute):
        raise EvolError(f"{what} {path}: the file has no {attribute}", f"assign the {what} to the name {attribute}")
    return getattr(module, attribute)
