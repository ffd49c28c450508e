"""Python: the program's functions are called from the test by name, over a socket.

The program (`solve`) sees the calls and their arguments, one at a time, never the test. The test (`judge`) runs in a
process of its own, where a name that the program defines stands for a `Remote`. The program can't put anything in
the place of a built-in or of a module that the test uses: those are the judge's own.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import os
import random
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from evollab.sandbox.languages import Language
from evollab.sandbox.link import Gone, Link, Remote

_SHOWN = 300
_MODULES = {
    "array", "bisect", "cmath", "collections", "copy", "datetime", "decimal", "fractions", "functools", "heapq",
    "itertools", "json", "math", "operator", "random", "re", "statistics", "string", "sys", "time", "typing",
}  # fmt: skip
"""What a test may use without importing it (the program did, in a benchmark made for one process)."""
_ALIASES = {"np": "numpy"}


def solve(descriptor: int) -> NoReturn:
    """The program's process, once it is locked in: load the code, answer calls until the judge closes."""
    _serve(descriptor)
    os._exit(0)


def _serve(descriptor: int) -> None:
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    space = module.__dict__

    def load(code: str) -> list[str]:
        exec(compile(code, "<solution>", "exec", dont_inherit=True), space)  # noqa: S102 - what this process is for
        return [name for name in space if not name.startswith("__")]

    random.seed(0)
    Link(descriptor, {"load": load, "get": space.__getitem__, **_SERVES}, lambda value: True).serve()


_SERVES: dict[str, Callable[..., Any]] = {
    "attribute": getattr,
    "set": setattr,
    "item": lambda owner, key: owner[key],
    "set_item": lambda owner, key, value: owner.__setitem__(key, value),
    "length": len,
    "iterate": iter,
    "truth": bool,
    "text": str,
    "representation": repr,
    "equal": lambda one, other: bool(one == other),
    "instance": isinstance,
}


def prepare(test: str) -> types.CodeType | str:
    """The test compiled; in words what is wrong with it where it can't be."""
    try:
        return compile(test, "<test>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"the test can't be compiled: {error}"


def judge(descriptor: int, test: types.CodeType | str, code: str, entry: str | None) -> tuple[str, str]:
    """Verdict and detail of one program. The test's own faults count against the program, as in any harness."""
    if isinstance(test, str):
        return "failed", test
    random.seed(0)
    link = Link(descriptor, {}, lambda value: callable(value) or hasattr(type(value), "__next__"))
    try:
        _run(link, test, code, entry)
    except AssertionError as error:
        verdict, detail = "failed", _words("assertion", error)
    except Gone:
        verdict, detail = "crashed", ""
    except BaseException as error:
        verdict, detail = "failed", _words(type(error).__name__, error)
    else:
        verdict, detail = "passed", ""
    if link.gone:  # also where the test took that for a result
        return "crashed", "the program's process ended"
    if verdict == "failed" and link.memory:
        verdict = "memory"
    elif verdict == "failed" and link.limit:
        verdict = "output_limit"
    return verdict, detail


def _run(link: Link, test: types.CodeType, code: str, entry: str | None) -> None:
    defined = link.ask("load", code)
    names = {name for name in defined if type(name) is str}
    if entry is not None and entry not in names:
        raise NameError(f"the program defines no {entry!r}")
    space: dict[str, Any] = {"__name__": "test"}
    for name in _wanted(set(_names(test)), names, entry):
        space[name] = link.ask("get", name)
    for name in set(_names(test)) - space.keys():
        if (module := _ALIASES.get(name, name)) in _MODULES or name in _ALIASES:
            with contextlib.suppress(ImportError):
                space[name] = importlib.import_module(module)
    candidate = space.get(entry) if entry is not None else None
    if entry is not None:
        space.setdefault("candidate", candidate)
    exec(test, space)  # noqa: S102 - the benchmark's own code
    check = space.get("check")
    if entry is not None and callable(check) and not isinstance(check, Remote):
        check(candidate)


def _names(code: types.CodeType) -> Iterator[str]:
    """Every name in a piece of code, attributes too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _wanted(used: set[str], defined: set[str], entry: str | None) -> list[str]:
    """The names that the test gets from the program.

    Never a module, nor a built-in, or a program with its own `abs` would pass as it liked. The entry may be called
    like one (MBPP has a function `sum`); without an entry a built-in's name is the program's only if the test uses
    just one that the program defines, and no other function of it.
    """
    both = used & defined
    own = {name for name in both if not hasattr(builtins, name) and name not in _MODULES and name not in _ALIASES}
    if entry is not None:
        own = (own - {"check"}) | {entry}
    elif not own and len(both - _MODULES - _ALIASES.keys()) == 1:
        own = both - _MODULES - _ALIASES.keys()
    return sorted(own)


def _words(kind: str, error: BaseException) -> str:
    try:
        return f"{kind}: {str(error)[:_SHOWN]}"
    except BaseException:
        return kind


LANGUAGE = Language(
    warm=(
        "abc", "array", "bisect", "calendar", "cmath", "collections", "contextlib", "copy", "dataclasses", "datetime",
        "decimal", "enum", "fractions", "functools", "gc", "hashlib", "heapq", "inspect", "io", "itertools", "json",
        "math", "operator", "queue", "random", "re", "statistics", "string", "sys", "tempfile", "textwrap",
        "threading", "time", "traceback", "types", "typing", "unicodedata",
    ),
    optional=("numpy",),
    solve=solve,
    prepare=prepare,
    judge=judge,
)  # fmt: skip
