"""Endpoints that operators register (``/-/webhooks``), and the port to where they are kept.

Beside them there are endpoints of the settings, for anomalies: those are in no store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agents.listing import Listing
from agents.vaults.envelope import Place, Sealed
from agents.webhooks.names import EVERYTHING

SECRET_FIELD = "secret"  # noqa: S105 - a name
"""What the signing secret is called among the sealed fields."""
MOST_REGISTRATIONS = 100
"""Of all workspaces together: each announcement is a row for each endpoint that asks for it."""


@dataclass(frozen=True, slots=True)
class Registration:
    """One endpoint; ``events`` are names, or ``*`` alone. ``sealed`` holds its signing secret.

    A disabled one gets nothing until somebody enables it again; what it missed meanwhile is not told later.
    """

    id: str
    workspace_id: str
    url: str
    sealed: Sealed
    created_at: datetime
    events: tuple[str, ...] = (EVERYTHING,)
    disabled_at: datetime | None = None
    disabled_reason: str | None = None

    @property
    def archived_at(self) -> datetime | None:
        """When it left the list of what is in use, as listings call that."""
        return self.disabled_at

    @property
    def place(self) -> Place:
        """Where its secret belongs."""
        return endpoint_place(self.id)


def endpoint_place(endpoint_id: str) -> Place:
    """Return where an endpoint's secret belongs: no vault's id is like this."""
    return Place("webhooks", endpoint_id)


class Registrations(Protocol):
    """The registered endpoints. Every call may raise Unavailable."""

    async def insert(self, registration: Registration, *, most: int) -> None:
        """Raises Conflict when there are *most* already."""
        ...

    async def get(self, endpoint_id: str) -> Registration:
        """Raises NotFound."""
        ...

    async def list(self, query: Listing) -> Sequence[Registration]:
        """Up to ``limit + 1`` rows; disabled ones only with ``include_archived``."""
        ...

    async def enable(self, endpoint_id: str) -> Registration:
        """Let an endpoint get what is told from now on, with no failures. Raises NotFound.

        One that is enabled already keeps what waits for it.
        """
        ...

    async def delete(self, endpoint_id: str) -> None:
        """Forget an endpoint and what waits for it. Raises NotFound."""
        ...

    async def reseal(self, endpoint_id: str, before: Sealed, sealed: Sealed) -> None:
        """Store a secret that is sealed anew, if it is still sealed as *before*."""
        ...
