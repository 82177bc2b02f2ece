"""A process that enters a sandbox's namespaces, listens there, and hands the socket back (see ``listener``).

Started as a script of its own, by path, with nothing but the standard library: a user namespace can be entered only
by a process with one thread. Arguments: descriptors of the network namespace and of a socket pair, address, port.
"""

import ctypes
import fcntl
import os
import socket
import sys

_NS_GET_USERNS = 0xB701
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000


def _enter(namespace: int, kind: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, kind) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _main() -> None:
    network, back = int(sys.argv[1]), int(sys.argv[2])
    _enter(fcntl.ioctl(network, _NS_GET_USERNS), _CLONE_NEWUSER)
    _enter(network, _CLONE_NEWNET)
    server = socket.create_server((sys.argv[3], int(sys.argv[4])), backlog=64)
    with socket.socket(fileno=back) as pair:
        socket.send_fds(pair, [b"."], [server.fileno()])


if __name__ == "__main__":
    _main()
