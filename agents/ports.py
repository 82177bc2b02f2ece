"""Finding TCP ports to listen on."""

from __future__ import annotations

import random
import socket

_PORTS = range(20_000, 29_000)
"""Below those that the kernel hands to outgoing connections, where somebody may slip in before us, and above Ray's."""


def free_port() -> int:
    """Return a port that nobody has just now. Raises OSError when there is none."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return *count* different ports that nobody has just now. Raises OSError when there are fewer."""
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no {count} free ports between {_PORTS.start} and {_PORTS.stop}")
