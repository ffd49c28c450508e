"""A filter of system calls (seccomp-bpf), put together by hand for x86_64 and aarch64.

Denied: the network, new processes and programs, other processes (signals, tracing, memory), namespaces and mounts,
limits, keys, memory outside the process's own account (memfd, System V), and all numbers newer than this list.
Threads, files, pipes and socket pairs stay.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from functools import cache

from evollab.sandbox.guards import linux

_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NEWEST = 462
"""mseal, Linux 6.10. What came later answers ENOSYS, as on an older kernel."""
_SAME = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_open": 434,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443, "memfd_secret": 447,
    "process_mrelease": 448,
}  # fmt: skip
_DENIED = {
    "x86_64": {
        "socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50, "accept4": 288, "shmget": 29, "semget": 64,
        "msgget": 68, "mq_open": 240, "fork": 57, "vfork": 58, "execve": 59, "execveat": 322, "ptrace": 101,
        "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "tkill": 200, "rt_sigqueueinfo": 129,
        "rt_tgsigqueueinfo": 297, "syslog": 103, "modify_ldt": 154, "pivot_root": 155, "adjtimex": 159,
        "setrlimit": 160,
        "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168,
        "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173, "init_module": 175,
        "delete_module": 176, "quotactl": 179, "clock_settime": 227, "kexec_load": 246, "add_key": 248,
        "request_key": 249, "keyctl": 250, "migrate_pages": 256, "unshare": 272, "move_pages": 279,
        "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304,
        "clock_adjtime": 305, "setns": 308, "finit_module": 313, "seccomp": 317, "memfd_create": 319,
        "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323, "uselib": 134, "personality": 135, "vhangup": 153,
    },
    "aarch64": {
        "socket": 198, "bind": 200, "listen": 201, "accept": 202, "connect": 203, "accept4": 242, "shmget": 194,
        "semget": 190, "msgget": 186, "mq_open": 180, "execve": 221, "execveat": 281, "ptrace": 117,
        "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "tkill": 130, "rt_sigqueueinfo": 138,
        "rt_tgsigqueueinfo": 240, "syslog": 116, "pivot_root": 41, "adjtimex": 171, "setrlimit": 164, "chroot": 51,
        "acct": 89, "settimeofday": 170, "mount": 40, "umount2": 39, "swapon": 224, "swapoff": 225, "reboot": 142,
        "sethostname": 161, "setdomainname": 162, "init_module": 105, "delete_module": 106, "quotactl": 60,
        "clock_settime": 112, "kexec_load": 104, "add_key": 217, "request_key": 218, "keyctl": 219,
        "migrate_pages": 238, "unshare": 97, "move_pages": 239, "perf_event_open": 241, "fanotify_init": 262,
        "name_to_handle_at": 264, "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268, "finit_module": 273,
        "seccomp": 277, "memfd_create": 279, "kexec_file_load": 294, "bpf": 280, "userfaultfd": 282, "personality": 92,
        "vhangup": 58,
    },
}  # fmt: skip
_ASKED = {
    "x86_64": {"clone": 56, "clone3": 435, "prlimit64": 302, "prctl": 157, "kill": 62, "tgkill": 234},
    "aarch64": {"clone": 220, "clone3": 435, "prlimit64": 261, "prctl": 167, "kill": 129, "tgkill": 131},
}
"""Calls whose arguments decide."""
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN, _JUMP = 0x20, 0x15, 0x35, 0x45, 0x06, 0x05
_GROUP = 12
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH, _FIRST, _THIRD = 0, 4, 16, 32
_CLONE_THREAD = 0x10000
_PRCTL = (15, 16, 0x53564D41)
"""Setting and getting a thread's name, naming memory; the rest is none of a program's business."""


def known() -> bool:
    """Whether the system calls of this architecture are known."""
    return linux.machine() in _DENIED


@cache
def _program(machine: str) -> tuple[bytes, bytes]:
    """The filter, 8 bytes an instruction, before and behind the number of the one process that may be signalled."""
    code: list[tuple[int, int, int, int]] = []

    def add(operation: int, value: int, yes: int = 0, no: int = 0) -> None:
        code.append((operation, yes, no, value))

    refuse, asked = _ERROR | errno.EPERM, _ASKED[machine]
    add(_LOAD, _ARCH)
    add(_EQUAL, _AUDIT[machine], 1, 0)
    add(_RETURN, _KILL)
    add(_LOAD, _NUMBER)
    add(_AT_LEAST, _NEWEST + 1, 0, 1)  # also the x32 calls
    add(_RETURN, _ERROR | errno.ENOSYS)
    denied = sorted({*_DENIED[machine].values(), *_SAME.values()})
    groups = [denied[start : start + _GROUP] for start in range(0, len(denied), _GROUP)]
    for place, group in enumerate(groups):  # the kernel tries each number once when a filter comes: let it be quick
        add(_AT_LEAST, group[-1] + 1, len(group) + 2, 0)
        for position, number in enumerate(group):
            add(_EQUAL, number, len(group) - position, 0)
        add(_JUMP, 1 + sum(len(later) + 3 for later in groups[place + 1 :]))
        add(_RETURN, refuse)
    add(_EQUAL, asked["clone3"], 0, 1)
    add(_RETURN, _ERROR | errno.ENOSYS)  # its flags are in memory, where a filter can't look; libc falls back to clone
    add(_EQUAL, asked["clone"], 0, 4)
    add(_LOAD, _FIRST)
    add(_ANY_BIT, _CLONE_THREAD, 1, 0)
    add(_RETURN, refuse)
    add(_RETURN, _ALLOW)
    add(_EQUAL, asked["prlimit64"], 0, 6)
    add(_LOAD, _THIRD)  # the new limit: only asking, with none, is allowed
    add(_EQUAL, 0, 0, 2)
    add(_LOAD, _THIRD + 4)
    add(_EQUAL, 0, 1, 0)
    add(_RETURN, refuse)
    add(_RETURN, _ALLOW)
    add(_EQUAL, asked["prctl"], 0, len(_PRCTL) + 3)
    add(_LOAD, _FIRST)
    for place, option in enumerate(_PRCTL):
        add(_EQUAL, option, len(_PRCTL) - place, 0)
    add(_RETURN, refuse)
    add(_RETURN, _ALLOW)
    add(_EQUAL, asked["kill"], 1, 0)
    add(_EQUAL, asked["tgkill"], 0, 4)
    add(_LOAD, _FIRST)
    before = len(code)
    add(_EQUAL, 0, 1, 0)  # the process's own number is put here
    add(_RETURN, refuse)
    add(_RETURN, _ALLOW)
    add(_RETURN, _ALLOW)
    whole = b"".join(struct.pack("<HBBI", *one) for one in code)
    return whole[: 8 * before + 4], whole[8 * before + 8 :]


def program(machine: str, pid: int) -> bytes:
    """The filter for the process of this number. Its first use on a machine takes longer: before forking, then."""
    before, behind = _program(machine)
    return before + struct.pack("<I", pid) + behind


def install(filter_code: bytes) -> None:
    """Put this process, and all that comes of it, behind a filter, for good. Raises OSError."""
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    buffer = ctypes.create_string_buffer(filter_code, len(filter_code))
    header = struct.pack("HxxxxxxQ", len(filter_code) // 8, ctypes.addressof(buffer))
    address = ctypes.create_string_buffer(header, len(header))
    linux.set_filter(ctypes.addressof(address))
