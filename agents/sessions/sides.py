"""Which partitions are whose when a standby monolith runs beside the parts (docs/adr/0021).

The last quarter of the partitions is the monolith's, the rest the harnesses'. That is what they want, not what they
may have: laws 3 to 5 rest on epochs alone, and where one side has no member the other takes everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from agents.seat import MONOLITH

Side = Literal["decoupled", "monolith"]

_PARTS = 4
"""A standby shall be able to hold every new session while parts are mended, and the parts all sessions before that."""


def side_of(member: str) -> Side:
    """Return which side a member is on, by its name."""
    return "monolith" if member.startswith(f"{MONOLITH}-") else "decoupled"


def territory(side: Side, partitions: int) -> range:
    """Return the partitions of one side; neither has none from two partitions on."""
    border = partitions - max(1, partitions // _PARTS)
    return range(border, partitions) if side == "monolith" else range(border)


def wanted_by(me: str, members: Iterable[str], partitions: int) -> tuple[range, Sequence[str]]:
    """Return what *me* and its peers among the live *members* shall hold together, and who those peers are."""
    present = {*members, me}
    peers = sorted(member for member in present if side_of(member) == side_of(me))
    if len(peers) == len(present):
        return range(partitions), peers  # nobody of the other side lives: nothing may be without an owner
    return territory(side_of(me), partitions), peers
