"""Names of sandbox hosts and of their lives.

A host keeps its name and its directory; each start of its process is a new *incarnation*, ``<host>/<hex>``. What a
host remembers of calls dies with its process, so a call that was sent to one incarnation is never answered from
the memory of the next.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from agents.config import Settings
from agents.seat import MONOLITH, seat_name

_NAME = re.compile(r"sandbox-host-(\d+)")


def host_name(number: int) -> str:
    """Return the name of the host with this number."""
    return f"sandbox-host-{number}"


def host_names(settings: Settings) -> list[str]:
    """Return the names of the hosts that ``up`` starts on this machine."""
    parts = settings.sandbox.hosts if settings.topology == "decoupled" else 0
    replicas = settings.monolith.replicas if settings.has_monolith else 0
    return [*map(host_name, range(parts)), *(seat_name(MONOLITH, number) for number in range(replicas))]


def host_number(name: str) -> int | None:
    """Return the number of a host's name; None when *name* is none."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def new_incarnation(host: str) -> str:
    """Return a name for this life of *host*, unique for ever."""
    return f"{host}/{secrets.token_hex(8)}"


def host_of(incarnation: str) -> str:
    """Return the name of the host whose life this is."""
    return incarnation.rpartition("/")[0]


def host_root(settings: Settings, host: str) -> Path:
    """Return where *host* keeps its sandboxes: a place of its own, on whichever machine it runs."""
    return (settings.sandbox.root or settings.data_dir / "sandboxes") / host
