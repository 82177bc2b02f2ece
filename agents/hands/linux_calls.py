"""The few Linux system calls that the standard library lacks, by number through ``ctypes``.

Why by number: glibc spreads ``setgroups`` and friends over all threads of the process, and here a
thread must become somebody else alone. Invariants: inside :func:`acting_as` the calling thread
has the sandbox's user and group ids for file access and not one effective capability, so that the
kernel judges it like the sandboxed shell itself (a thread that kept CAP_NET_ADMIN could write the
host's ``/proc/sys/net`` through the sandbox's own ``/proc``); a program started inside :func:`spawning_as`
is the sandbox's user and nobody else, and the thread is itself again when the block ends.
"""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import ClassVar

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

# openat2 has one number everywhere; the older calls differ per architecture.
_OPENAT2 = 437
_NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {
        "setgroups": 116,
        "setresuid": 117,
        "setresgid": 119,
        "setfsuid": 122,
        "setfsgid": 123,
        "capget": 125,
        "capset": 126,
    },
    "aarch64": {
        "setgroups": 159,
        "setresuid": 147,
        "setresgid": 149,
        "setfsuid": 151,
        "setfsgid": 152,
        "capget": 90,
        "capset": 91,
    },
}
_UNCHANGED = -1
_PR_SET_PDEATHSIG = 1
_PR_GET_PDEATHSIG = 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_groups_dropped = threading.local()


class _OpenHow(ctypes.Structure):
    _fields_: ClassVar = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


class _CapabilityHeader(ctypes.Structure):
    _fields_: ClassVar = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapabilityWord(ctypes.Structure):
    _fields_: ClassVar = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def _call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def openat2(dir_fd: int, path: str, flags: int, *, mode: int = 0, resolve: int) -> int:
    """Open *path* below *dir_fd* under the given resolution rules and return a descriptor; raises OSError."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return _call(
        _OPENAT2,
        ctypes.c_int(dir_fd),
        ctypes.c_char_p(encoded),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )


def missing_support() -> str | None:
    """Return why confined file access cannot work on this machine, or None when it can."""
    if platform.machine() not in _NUMBERS:
        return f"the file tools know the Linux system calls of x86_64 and aarch64, not of {platform.machine()}"
    try:
        os.close(openat2(os.open("/", os.O_PATH), ".", os.O_PATH, resolve=RESOLVE_IN_ROOT))
    except OSError as error:
        return f"the kernel refuses openat2 ({error.strerror}); Linux 5.6 or newer is needed to confine the file tools"
    return None


def _swap_effective(wanted: tuple[int, int]) -> tuple[int, int]:
    """Set this thread's effective capabilities (two words of bits) and return those it had."""
    numbers = _NUMBERS[platform.machine()]
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    words = (_CapabilityWord * 2)()
    _call(numbers["capget"], ctypes.byref(header), words)
    before = (int(words[0].effective), int(words[1].effective))
    for word, bits in zip(words, wanted, strict=True):
        word.effective = bits
    _call(numbers["capset"], ctypes.byref(header), words)
    return before


def _set_file_ids(uid: int, gid: int) -> None:
    # Both calls report no error: asking again with an impossible id returns the id in force.
    numbers = _NUMBERS[platform.machine()]
    for name, wanted in (("setfsgid", gid), ("setfsuid", uid)):
        _call(numbers[name], ctypes.c_uint(wanted))
        if _call(numbers[name], ctypes.c_uint(0xFFFFFFFF)) != wanted:
            raise PermissionError(f"{name}({wanted}) was refused")


@contextmanager
def acting_as(uid: int | None) -> Generator[None]:
    """Let this thread touch files as *uid* without any capability; None changes nothing.

    For worker threads only: supplementary groups are dropped for the thread's whole life. Raises OSError.
    """
    if uid is None:
        yield
        return
    if not getattr(_groups_dropped, "done", False):
        _set_groups([])
        _groups_dropped.done = True
    _set_file_ids(uid, uid)
    had = _swap_effective((0, 0))
    try:
        yield
    finally:
        _swap_effective(had)
        _set_file_ids(os.geteuid(), os.getegid())


@contextmanager
def spawning_as(uid: int | None) -> Generator[None]:
    """Let programs that this thread starts meanwhile be *uid*, without groups or capabilities; None changes nothing.

    What a program like ``setpriv`` does, without the time of starting one. The thread keeps the way back in its
    saved ids; ``execve`` replaces those of the program, so that it has none. The block must not await.
    Raises OSError; only root may ask.
    """
    if uid is None:
        yield
        return
    uids, gids, groups = os.getresuid(), os.getresgid(), os.getgroups()
    death_signal = ctypes.c_int(0)
    _libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(death_signal), 0, 0, 0)
    try:
        _set_groups([])
        _set_ids("setresgid", uid, uid, _UNCHANGED)
        # Ambient capabilities are the one kind that a program of an ordinary user would inherit.
        _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        _set_ids("setresuid", uid, uid, _UNCHANGED)
        yield
    finally:
        _set_ids("setresuid", *uids)
        _set_ids("setresgid", *gids)
        _set_groups(groups)
        # The kernel forgets it when a thread's ids change.
        _libc.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)


def _set_ids(name: str, real: int, effective: int, saved: int) -> None:
    _call(_NUMBERS[platform.machine()][name], *(ctypes.c_int(value) for value in (real, effective, saved)))


def _set_groups(groups: list[int]) -> None:
    array = (ctypes.c_uint32 * len(groups))(*groups)
    _call(_NUMBERS[platform.machine()]["setgroups"], ctypes.c_size_t(len(groups)), array)
