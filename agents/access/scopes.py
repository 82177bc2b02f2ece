"""What an API key opens.

``read-only``, ``developer`` and ``admin`` contain one another in this order. ``environment`` stands beside them: it
opens what a worker of a self-hosted environment calls, and nothing else.
"""

from __future__ import annotations

from enum import StrEnum


class KeyScope(StrEnum):
    """The scope of a key, or the least one that an operation asks for."""

    READ_ONLY = "read-only"
    ENVIRONMENT = "environment"
    DEVELOPER = "developer"
    ADMIN = "admin"


_LADDER = (KeyScope.READ_ONLY, KeyScope.DEVELOPER, KeyScope.ADMIN)


def allows(held: KeyScope, needed: KeyScope, *, for_workers: bool = False) -> bool:
    """Whether a key with the scope *held* opens an operation that asks for *needed*.

    *for_workers*: the operation is one of those that workers of environments call.
    """
    if held is KeyScope.ENVIRONMENT:
        return for_workers
    return _LADDER.index(held) >= _LADDER.index(needed)
