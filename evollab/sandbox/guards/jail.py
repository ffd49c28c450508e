"""What holds a program: an empty read-only root, no network, its own process numbers, limits, Landlock, seccomp.

The zygote locks itself in once (`enter`); each program's process gives up the rest (`confine`) before it reads the
first byte of the program.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from evollab.sandbox.guards import landlock, linux, seccomp
from evollab.sandbox.program import Level

HOME = "/tmp"  # noqa: S108 - a file system of the program's own is mounted there
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_FILE = 16 << 20
"""Bytes of a file that a program may write."""
_OPEN = 64
"""Files open at once."""
_ROOM = "size=32m,nr_inodes=2000,mode=700"
"""Of a program's own file system."""
_JUDGE_MEMORY = 3 << 30
_NAMESPACES = linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWIPC if sys.platform == "linux" else 0


class Unavailable(Exception):
    """This level can't be had here; the text says why."""


def guards(level: Level) -> tuple[str, ...]:
    """Which guards a level puts on here. Raises Unavailable where one that it stands for is missing."""
    if sys.platform != "linux":
        if level == "rlimits":
            return ("rlimits",)
        raise Unavailable(f"{sys.platform} has no such guards")
    filters, files = seccomp.known(), landlock.abi() > 0
    if level != "rlimits" and not filters:
        raise Unavailable(f"the system calls of {os.uname().machine} aren't known")
    if level == "landlock" and not files:
        raise Unavailable("the kernel has no Landlock")
    parts = {"namespaces": level == "full", "landlock": files, "seccomp": filters, "rlimits": True}
    return tuple(name for name, there in parts.items() if there)


def libraries() -> list[str]:
    """The folders that Python runs from, real paths, none inside another."""
    paths = sysconfig.get_paths()
    roots = {sys.prefix, sys.base_prefix}
    found = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {f"{root}/{name}" for root in (*roots, "", "/usr") for name in ("lib", "lib64")}
    found |= {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    folders = sorted({os.path.realpath(path) for path in found if Path(path).is_dir()})
    return [path for path in folders if not any(path.startswith(f"{other}/") for other in folders)]


def enter() -> None:
    """Into new user, mount, network, host-name and IPC namespaces with an empty root. Raises Unavailable."""
    user, group = os.geteuid(), os.getegid()
    flags = linux.CLONE_NEWUSER | linux.CLONE_NEWNS | linux.CLONE_NEWNET | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC
    try:
        linux.unshare(flags)
        linux.map_own_id(user, group)
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
        _build_root()
    except OSError as error:
        raise Unavailable(f"namespaces: {error}") from None


def _build_root() -> None:
    """A root with Python's folders and four devices in it, nothing else.

    It is put together on /proc, for there is such a folder everywhere, and nothing that is needed is beneath it.
    """
    root = "/proc"
    folders = libraries()
    links = {name: os.readlink(name) for name in ("/lib", "/lib64") if Path(name).is_symlink()}
    linux.mount("tmpfs", root, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=1m,mode=755")
    for folder in (*folders, HOME, "/dev"):
        Path(root + folder).mkdir(parents=True, exist_ok=True)
    for folder in folders:
        linux.bind_read_only(folder, root + folder)
    for name, target in links.items():
        if not os.path.lexists(root + name):
            Path(root + name).symlink_to(target)
    for _, path, target in _links_to(folders):
        with contextlib.suppress(FileExistsError):
            Path(root + path).parent.mkdir(parents=True, exist_ok=True)
            Path(root + path).symlink_to(target)
    for device in _DEVICES:
        Path(root + device).touch()
        linux.mount(device, root + device, None, linux.MS_BIND)
    linux.enter_root(root)
    read_only = linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV
    linux.mount(None, "/", None, read_only)


def _links_to(folders: list[str]) -> Iterable[tuple[int, str, str]]:
    """Paths that Python's own paths go through as links: how deep, the link, where it leads."""
    found = set()
    for path in {*sys.path, *sysconfig.get_paths().values(), sys.prefix, sys.base_prefix}:
        parts = Path(path).parts
        for depth in range(2, len(parts) + 1):
            link = str(Path(*parts[:depth]))
            if Path(link).is_symlink():
                found.add((depth, link, os.path.realpath(link)))
    return sorted(one for one in found if any(one[2].startswith(f) or f.startswith(one[2]) for f in folders))


def namespaces(level: Level) -> int:
    """The flags of a program's process, beyond what the zygote has."""
    return _NAMESPACES if level == "full" else 0


class Cell:
    """What the processes of one zygote's programs are put into. home: their folder where they get none of their own.

    Made before forking, so that what is the same for all is made once. Raises OSError.
    """

    def __init__(self, parts: tuple[str, ...], home: str) -> None:
        self.parts, self.home = parts, home
        if "namespaces" in parts:
            self.home = HOME
            self._read: tuple[str, ...] = ("/",)
        else:
            Path(home).mkdir(0o700, parents=True, exist_ok=True)
            self._read = (*libraries(), *_DEVICES)
        self._judge_rules = self._solver_rules = -1
        if "landlock" in parts:
            self._judge_rules = landlock.rules(("/dev/null",), self._read)
            if "namespaces" not in parts:
                self._solver_rules = self._rules()
        if "seccomp" in parts:
            seccomp.program(linux.machine(), 1)

    def _rules(self) -> int:
        return landlock.rules((self.home, "/dev/null"), self._read)

    @property
    def descriptors(self) -> tuple[int, int]:
        """The rules for the program's process and for the judge's, open files; -1 for none yet."""
        return self._solver_rules, self._judge_rules

    def confine(self, rules: int, memory: int, seconds: float) -> None:
        """The program's process: into a home of its own, under limits, and no way back."""
        if "namespaces" in self.parts:
            linux.mount("tmpfs", HOME, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC, _ROOM)
        os.chdir(self.home)
        os.environ.update({"HOME": self.home, "TMPDIR": self.home})
        cpu = int(seconds) + 2
        for name, soft, hard in (
            (resource.RLIMIT_AS, memory, memory),
            (resource.RLIMIT_CPU, cpu, cpu + 1),
            (resource.RLIMIT_FSIZE, _FILE, _FILE),
            (resource.RLIMIT_NOFILE, _OPEN, _OPEN),
            (resource.RLIMIT_CORE, 0, 0),
        ):
            _limit(name, soft, hard)
        self._lock(self._rules() if rules < 0 and "landlock" in self.parts else rules)

    def confine_judge(self, rules: int) -> None:
        """The judge's process: it reads what a program answers, and needs no files to write."""
        _limit(resource.RLIMIT_AS, _JUDGE_MEMORY, _JUDGE_MEMORY)
        _limit(resource.RLIMIT_CORE, 0, 0)
        self._lock(rules)

    def _lock(self, rules: int) -> None:
        if sys.platform != "linux":
            return
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        if rules >= 0:
            landlock.confine(rules)
        if linux.machine():
            linux.drop_capabilities()
        if "seccomp" in self.parts:
            seccomp.install(seccomp.program(linux.machine(), os.getpid()))

    def clean(self) -> None:
        """Empty the folder that programs share one after the other."""
        if "namespaces" not in self.parts:
            _empty(self.home)


def _limit(name: int, soft: int, hard: int) -> None:
    most = resource.getrlimit(name)[1]
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    with contextlib.suppress(ValueError, OSError):  # macOS knows no limit of address space
        resource.setrlimit(name, (soft, hard))


def _empty(folder: str) -> None:
    """Remove all that is in a folder, also where the program has taken the permission to away. Follows no links."""
    with contextlib.suppress(OSError, RecursionError):
        Path(folder).chmod(0o700)
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, onerror=_open_up)
            else:
                Path(entry.path).unlink()


def _open_up(_: object, path: str, __: object) -> None:
    """A folder that can't be listed: make it listable and try once more; leave the rest."""
    with contextlib.suppress(OSError):
        if not Path(path).is_symlink():
            Path(path).chmod(0o700)
            shutil.rmtree(path, ignore_errors=True)
