"""Linux system calls that Python has no function for, by ctypes: namespaces, mounts, capabilities, prctl."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from functools import cache

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    1,
    2,
    4,
    8,
    32,
    4096,
    16384,
    1 << 18,
)
_MNT_DETACH, _AT_RECURSIVE, _AT_FDCWD, _CAPABILITIES_V3 = 2, 0x8000, -100, 0x20080522
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER, PR_SET_SECCOMP = 1, 38, 36, 22
_NUMBERS = {
    "x86_64": {"clone": 56, "pivot_root": 155, "capset": 126, "mount_setattr": 442},
    "aarch64": {"clone": 220, "pivot_root": 41, "capset": 91, "mount_setattr": 442},
}


@cache
def _libc() -> ctypes.PyDLL:
    """The C library; the interpreter's lock is kept during a call, for a fork's sake."""
    return ctypes.PyDLL(None, use_errno=True)


def machine() -> str:
    """The architecture, "" where its system calls' numbers aren't known or the interpreter is of another width."""
    name = platform.machine()
    return name if name in _NUMBERS and sys.maxsize > 1 << 32 else ""


def syscall(number: int, *arguments: int | bytes | None) -> int:
    """Raises OSError."""
    passed = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    return _checked(_libc().syscall(ctypes.c_long(number), *passed), f"system call {number}")


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return int(result)


def unshare(flags: int) -> None:
    _checked(_libc().unshare(flags), "unshare")


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [None if one is None else os.fsencode(one) for one in (source, target, kind, data)]
    result = _libc().mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3])
    _checked(result, f"mount {target}")


def bind_read_only(source: str, target: str) -> None:
    """Show a folder, with what is mounted in it, read-only at another place. Raises OSError before Linux 5.12."""
    mount(source, target, None, MS_BIND | MS_REC)
    read_only = (1 | 2 | 4).to_bytes(8, sys.byteorder)  # MOUNT_ATTR_RDONLY, _NOSUID, _NODEV; clear nothing
    attributes = read_only + bytes(24)
    number = _NUMBERS[machine()]["mount_setattr"]
    syscall(number, _AT_FDCWD, os.fsencode(target), _AT_RECURSIVE, attributes, len(attributes))


def enter_root(path: str) -> None:
    """Make a mounted folder the root, and let go of the old one."""
    os.chdir(path)
    syscall(_NUMBERS[machine()]["pivot_root"], b".", b".")
    _checked(_libc().umount2(b".", _MNT_DETACH), "umount the old root")
    os.chdir("/")


def map_own_id(user: int, group: int) -> None:
    """In a new user namespace: the ids outside stand for themselves."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def prctl(option: int, value: int) -> None:
    _checked(_libc().prctl(option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3), f"prctl {option}")


def die_with_parent() -> None:
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def drop_capabilities() -> None:
    """For good: without any in the permitted set, and with no_new_privs, none comes back."""
    header = _CAPABILITIES_V3.to_bytes(4, sys.byteorder) + bytes(4)
    syscall(_NUMBERS[machine()]["capset"], header, bytes(24))


def fork(namespaces: int) -> int:
    """os.fork() into new namespaces, in one system call. This process must have one thread."""
    if not namespaces:
        return os.fork()
    number = _NUMBERS[machine()]["clone"]
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    pid = int(
        _libc().syscall(ctypes.c_long(number), ctypes.c_ulong(namespaces | signal.SIGCHLD), None, None, None, None)
    )
    if pid == 0:
        python.PyOS_AfterFork_Child()
        return 0
    python.PyOS_AfterFork_Parent()
    return _checked(pid, "clone")


def set_filter(address: int) -> None:
    """PR_SET_SECCOMP with the filter (struct sock_fprog) at an address."""
    mode = 2
    _checked(
        _libc().prctl(
            PR_SET_SECCOMP, ctypes.c_ulong(mode), ctypes.c_ulong(address), ctypes.c_ulong(0), ctypes.c_ulong(0)
        ),
        "seccomp",
    )
