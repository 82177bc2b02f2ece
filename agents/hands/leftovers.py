"""What sandboxes leave on a machine when something went wrong: processes, mounts, directories.

Nothing here changes anything; it is how a test or an operator proves that nothing was left. Something is a
leftover when no living host answers for it: a host holds a lock below the root for as long as it lives, and
every process of its sandboxes descends from it. Directories of sessions are files that may be the only copy:
they are leftovers only against a list of the sessions that exist.

Run: ``python -m agents.hands.leftovers ROOT... [--sessions FILE]``; exit status 1 when there is something.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agents.hands.host_lock import STOCK, dead_hosts, living_hosts
from agents.hands.sandbox_dirs import OWN_DIRS, TRASH
from agents.hands.stand_in import fallback_root

MARK = "HECATON_SANDBOX"
"""Variable of processes without isolation: the directory that they were started for."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that nobody answers for; ``what`` names it for a person."""

    kind: Literal["process", "mount", "directory"]
    what: str


def find_leftovers(wanted: Path, *, sessions: Collection[str] | None = None) -> list[Leftover]:
    """Return what is left of the sandboxes below *wanted* (or of the place in /var/tmp that stands in for it).

    With *sessions*, directories of other sessions count too. Raises OSError when a root cannot be read.
    """
    found: list[Leftover] = []
    for place in (wanted.absolute(), fallback_root(wanted.absolute())):
        roots = list(_host_roots(place)) if place.is_dir() else []
        hosts = {pid for root in roots for pid in living_hosts(root).values()}
        # Also without a root: processes outlive their directories.
        found += [Leftover("process", f"{pid} {_title(pid)}") for pid in lost_processes(place, hosts)]
        found += [Leftover("mount", mount.path) for mount in _mounted("self") if mount.path.startswith(f"{place}/")]
        for root in roots:
            found += _directories(root, sessions)
    return found


def _host_roots(place: Path) -> Iterator[Path]:
    """Yield *place* and those directories in it that a host has used as its root."""
    for candidate in (place, *sorted(place.iterdir())):
        if (candidate / STOCK).is_dir():
            yield candidate


@dataclass(frozen=True, slots=True)
class _Mount:
    """One line of proc_pid_mountinfo(5)."""

    device: str
    root: str
    """The directory that is mounted, as its own file system names it."""
    path: str
    """Where."""

    def inside(self, path: Path) -> str:
        """Return what the file system calls *path*, which lies on this mount."""
        below = os.path.relpath(path, self.path)
        return os.path.normpath(os.path.join(self.root, below))


@dataclass(frozen=True, slots=True)
class _Place:
    """A directory, which may be gone, as command lines name it and as mount tables do."""

    path: bytes
    device: str
    inside: str

    @classmethod
    def of(cls, path: Path) -> _Place:
        mount = max(
            (mount for mount in _mounted("self") if path.is_relative_to(mount.path)), key=lambda found: len(found.path)
        )
        return cls(os.fsencode(path) + b"/", mount.device, mount.inside(path) + "/")


def lost_processes(root: Path, hosts: Collection[int]) -> list[int]:
    """Return the processes of sandboxes below *root* that do not descend from one of the *hosts*.

    Plain processes count only where there is no host at all: they may leave their host and work on for it.
    """
    place = _Place.of(root)
    parents = dict(_parents())
    return [
        pid
        for pid in parents
        if not _descends(pid, hosts, parents) and (_is_isolated(pid, place) or (not hosts and _is_plain(pid, place)))
    ]


def _parents() -> Iterator[tuple[int, int]]:
    """Yield pid and parent of every process that is not a zombie (those hold nothing)."""
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError):  # it has just ended
                state, parent = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()[:2]
                if state != b"Z":
                    yield int(name), int(parent)


def _descends(pid: int, ancestors: Collection[int], parents: dict[int, int]) -> bool:
    while pid in parents and pid not in ancestors:
        pid = parents[pid]
    return pid in ancestors


def _is_isolated(pid: int, place: _Place) -> bool:
    """Whether a process is bwrap's or in a sandbox of its: by its command line, or by what it has mounted."""
    program, _, options = _read(pid, "cmdline").partition(b"\0")
    if program.endswith(b"bwrap") and place.path in options:
        return True
    return any(
        mount.device == place.device and mount.root.startswith(place.inside) and mount.path != mount.root
        for mount in _mounted(pid)
    )


def _is_plain(pid: int, place: _Place) -> bool:
    """Whether a process carries the mark of a sandbox without isolation, or of a program that works for one."""
    mark = f"{MARK}=".encode() + place.path
    return any(word.startswith(mark) for word in _read(pid, "environ").split(b"\0"))


def _title(pid: int) -> str:
    return _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")[:200]


def _read(pid: int | Literal["self"], name: str) -> bytes:
    """Return what /proc tells of a process; nothing when it has just ended or is not ours to look at."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _mounted(pid: int | Literal["self"]) -> Iterator[_Mount]:
    for line in _read(pid, "mountinfo").splitlines():
        device, root, path = line.split(b" ")[2:5]
        yield _Mount(os.fsdecode(device), _unescaped(root), _unescaped(path))


def _unescaped(name: bytes) -> str:
    for code, character in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        name = name.replace(code, character)
    return os.fsdecode(name)


def _directories(root: Path, sessions: Collection[str] | None) -> Iterator[Leftover]:
    yield from (Leftover("directory", str(stock)) for stock in dead_hosts(root))
    if not living_hosts(root) and (root / TRASH).is_dir():  # while a host lives, they are on their way out
        yield from (Leftover("directory", str(grave)) for grave in sorted((root / TRASH).iterdir()))
    if sessions is not None:
        for entry in sorted(root.iterdir()):
            own = entry.name in OWN_DIRS or (entry / STOCK).is_dir()
            if entry.is_dir() and not own and entry.name not in sessions:
                yield Leftover("directory", str(entry))


def main() -> int:
    parser = argparse.ArgumentParser(description="List what sandboxes left on this machine.")
    parser.add_argument("roots", nargs="+", type=Path, metavar="ROOT", help="directory of sandboxes (sandbox.root)")
    parser.add_argument("--sessions", type=Path, help="file with the ids of the sessions that exist, one per line")
    arguments = parser.parse_args()
    sessions = set(arguments.sessions.read_text().split()) if arguments.sessions else None
    found = [leftover for root in arguments.roots for leftover in find_leftovers(root, sessions=sessions)]
    sys.stdout.writelines(f"{leftover.kind} {leftover.what}\n" for leftover in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
