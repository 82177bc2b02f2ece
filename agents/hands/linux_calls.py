"""The few Linux system calls that the standard library lacks, by number through ``ctypes``.

Why by number: glibc spreads ``setgroups`` and friends over all threads of the process, and here a
worker thread must become somebody else alone. Invariant: inside :func:`acting_as` the calling thread
has the sandbox's user and group ids for file access and not one effective capability, so that the
kernel judges it like the sandboxed shell itself (a thread that kept CAP_NET_ADMIN could write the
host's ``/proc/sys/net`` through the sandbox's own ``/proc``).
"""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import ClassVar

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

# openat2 has one number everywhere; the older calls differ per architecture.
_OPENAT2 = 437
_NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {"setgroups": 116, "setfsuid": 122, "setfsgid": 123, "capget": 125, "capset": 126},
    "aarch64": {"setgroups": 159, "setfsuid": 151, "setfsgid": 152, "capget": 90, "capset": 91},
}
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
        _call(_NUMBERS[platform.machine()]["setgroups"], ctypes.c_size_t(0), ctypes.c_void_p(None))
        _groups_dropped.done = True
    _set_file_ids(uid, uid)
    had = _swap_effective((0, 0))
    try:
        yield
    finally:
        _swap_effective(had)
        _set_file_ids(os.geteuid(), os.getegid())
