"""Landlock: a process that gives up, for good, all files but the ones named (Linux 5.13 and later)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from evollab.sandbox.guards import linux

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same on all architectures
_READ = 1 << 2 | 1 << 3
"""Read files, list folders."""
_ON_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
_RULE_BENEATH = 1


@cache
def abi() -> int:
    """The version that the kernel speaks; 0: none."""
    try:
        return linux.syscall(_CREATE, None, 0, 1)
    except OSError:
        return 0


def rules(writable: Iterable[str], readable: Iterable[str]) -> int:
    """A descriptor of rules that leave only these folders and files. Raises OSError.

    From version 4 on also no TCP, from 6 on no signals to other processes and no abstract Unix sockets.
    """
    version = abi()
    rights = (1 << 13) - 1
    rights |= (1 << 13 if version >= 2 else 0) | (1 << 14 if version >= 3 else 0) | (1 << 15 if version >= 5 else 0)
    attributes = struct.pack("=QQQ", rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    made = linux.syscall(_CREATE, attributes, 8 if version < 4 else 16 if version < 6 else 24, 0)
    for paths, granted in ((writable, rights & ~1), (readable, _READ)):
        for path in paths:
            _allow(made, path, granted & rights)
    return made


def confine(made: int) -> None:
    """Put this process under rules, for good, and close them. no_new_privs must be set. Raises OSError."""
    linux.syscall(_RESTRICT, made, 0)
    os.close(made)


def _allow(made: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # what isn't there needs no permission
        return
    try:
        if not Path(path).is_dir():
            rights &= _ON_FILES
        linux.syscall(_ADD_RULE, made, _RULE_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)
