"""Programming languages that the sandbox can run: one file each, holding a `LANGUAGE`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn


@dataclass(frozen=True, slots=True)
class Language:
    """How a program of a language is run and tested.

    warm: modules to import once, before any program. optional: modules to import when a program names them.
    solve: the life of the program's process: gets the socket to the judge, which sends the code over it; never
    returns. judge: runs a prepared test: gets the socket to the program's process, the code and the entry; gives
    verdict and detail. prepare: from the test's source to what `judge` wants; its time isn't counted.
    """

    warm: tuple[str, ...]
    optional: tuple[str, ...]
    solve: Callable[[int], NoReturn]
    prepare: Callable[[str], Any]
    judge: Callable[[int, Any, str, str | None], tuple[str, str]]
