"""Which sockets a sandbox can make: those that its network namespace holds in, and no others.

A namespace keeps IP in, but not every protocol that Linux has: through ``AF_VSOCK`` a virtual machine talks to the host
that it runs on, and one sandbox to another, from any namespace. So a seccomp filter lets a sandbox make sockets of the
families below and refuses the rest as if the kernel had none. ``io_uring`` makes sockets that no filter sees, and a
program of another architecture (32 bits) has other numbers for the same calls: neither is to be had.

The filter is classic BPF over ``struct seccomp_data``; constants are those of Linux' ``seccomp.h``, ``audit.h``,
``filter.h`` and the tables of system calls.
"""

from __future__ import annotations

import errno
import os
import platform
import socket
import struct
from collections.abc import Generator
from contextlib import contextmanager

_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
_MACHINES = {
    # AUDIT_ARCH, and the numbers of socket and socketpair.
    "x86_64": (0xC000003E, 41, 53),
    "aarch64": (0xC00000B7, 198, 199),
}
_IO_URING_SETUP = 425
_X32 = 0x40000000
"""This bit of a number means x86's third way of calling the kernel."""
_NUMBER_AT, _ARCH_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000, 0x80000000


def program() -> bytes:
    """Return the filter for this machine, as bubblewrap takes it. Raises KeyError for another kind of machine."""
    arch, make, make_pair = _MACHINES[platform.machine()]
    # Each line is a code, how many lines to skip when the test is true and when it is not, and a value.
    lines = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_EQUAL, 5, 0, make),
        (_EQUAL, 4, 0, make_pair),
        (_EQUAL, 2, 0, _IO_URING_SETUP),
        (_ANY_BIT, 1, 0, _X32),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _FAIL | errno.ENOSYS),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        *((_EQUAL, len(_FAMILIES) - at, 0, family) for at, family in enumerate(_FAMILIES)),
        (_RETURN, 0, 0, _FAIL | errno.EAFNOSUPPORT),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


@contextmanager
def opened_filter() -> Generator[int]:
    """Open a descriptor that the filter can be read from once; raises OSError, KeyError."""
    reading, writing = os.pipe()
    try:
        try:
            os.write(writing, program())
        finally:
            os.close(writing)
        yield reading
    finally:
        os.close(reading)
