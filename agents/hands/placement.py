"""Which sandbox host a session's calls go to.

A session stays with its host, for its files and its shell are there, and with the host's name when only the
process was replaced, for the files may still be on that disk. Else it goes to one of the others by rendezvous
hashing; that host restores the files from their last checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from agents.hands.incarnation import host_of
from agents.hands.port import Workspace

Address = tuple[str, int, bytes]
"""Host, port and token of the link to an incarnation."""


class HostState(StrEnum):
    """What the fleet knows of a host's process."""

    UP = "up"
    SILENT = "silent"
    """It did not answer lately. It may live, stopped or cut off: its calls are not lost yet."""
    REPLACED = "replaced"
    """The process that was known is gone; the next one has not answered yet."""
    UNKNOWN = "unknown"
    """It has not answered since this table is kept."""


@dataclass(frozen=True, slots=True)
class HostPlace:
    """One host. ``incarnation`` and ``address`` are None unless it is up or silent."""

    state: HostState
    incarnation: str | None = None
    address: Address | None = None
    leaving: bool = False
    """Whether it takes no new calls."""


HostTable = Mapping[str, HostPlace]
"""Hosts by name."""


def choose(table: HostTable, workspace: Workspace, *, patient: bool) -> str | None:
    """Name the incarnation for new calls of a session; None when there is none yet.

    While *patient*, the session's own host is waited for, as long as it may come back.
    """
    own = table.get(host_of(workspace.host)) if workspace.host is not None else None
    if own is not None and not own.leaving:
        if own.state is HostState.UP or (patient and own.state is HostState.SILENT):
            return own.incarnation
        if patient:
            return None
    fit = {
        name: place.incarnation for name, place in table.items() if place.state is HostState.UP and not place.leaving
    }
    return fit[max(fit, key=lambda name: _weight(name, workspace.session_id))] if fit else None


def _weight(host: str, session_id: str) -> bytes:
    return hashlib.blake2b(f"{host}/{session_id}".encode()).digest()


def is_gone(table: HostTable, incarnation: str) -> bool:
    """Whether that life of a host is over, as far as a table tells that was asked for after it was heard of."""
    place = table.get(host_of(incarnation))
    if place is None or place.state is HostState.REPLACED:
        return True
    return place.incarnation is not None and place.incarnation != incarnation
