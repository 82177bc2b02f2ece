"""Finding TCP ports to listen on."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection, Sequence

_PORTS = range(20_000, 29_000)
"""Below those that the kernel hands to outgoing connections, where somebody may slip in before us, and above Ray's."""

SERVER_PORTS = range(29_000, 30_000)
"""For inference servers, which start at any time: none shall take a port that a platform has chosen and not opened."""


_given: set[int] = set()
"""What this process was told, and may not have opened yet: it is told something else as long as there is any."""


def free_port(among: Sequence[int] = _PORTS) -> int:
    """Return a port that nobody has just now. Raises OSError when there is none."""
    return free_ports(1, among=among)[0]


def free_ports(count: int, *, among: Sequence[int] = _PORTS, besides: Collection[int] = ()) -> list[int]:
    """Return *count* different ports that nobody has just now, none of them *besides*, and none twice if that can be.

    Raises OSError if there are fewer.
    """
    found: list[int] = []
    for port in sorted(random.sample(among, len(among)), key=_given.__contains__):
        if port in besides:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            _given.update(found)
            return found
    raise OSError(f"no {count} free ports between {among[0]} and {among[-1]}")
