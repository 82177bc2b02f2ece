"""The registered endpoints as a deliverer needs them: live ones, with their signing secrets opened."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from agents.clock import Clock
from agents.config import Settings
from agents.errors import Unavailable
from agents.listing import Listing
from agents.telemetry import catalogue
from agents.telemetry.recorder import Recorder
from agents.vaults.envelope import Envelope, Sealed
from agents.vaults.master_keys import master_keys
from agents.webhooks.delivery import REGISTERED, Webhooks
from agents.webhooks.endpoint import Endpoint
from agents.webhooks.outbox import Outbox
from agents.webhooks.registrations import MOST_REGISTRATIONS, SECRET_FIELD, Registration, Registrations

logger = logging.getLogger(__name__)

_FRESH_SECONDS = 2.0
"""For how long what was read is taken for true: an endpoint that was just made waits so long at most."""


class RegisteredEndpoints:
    """Reads them again every few seconds, and opens a secret once."""

    def __init__(self, registrations: Registrations, envelope: Envelope, clock: Clock) -> None:
        self._registrations = registrations
        self._envelope = envelope
        self._clock = clock
        self._opened: dict[str, tuple[Sealed, Endpoint]] = {}
        self._unreadable: set[str] = set()
        self._read_at: float | None = None

    async def __call__(self) -> Sequence[Endpoint]:
        """Return the endpoints that are to get something. Raises Unavailable when the store does not answer."""
        now = self._clock.monotonic()
        if self._read_at is None or now - self._read_at >= _FRESH_SECONDS:
            live = await self._registrations.list(Listing(limit=MOST_REGISTRATIONS))
            self._opened = {each.id: opened for each in live if (opened := await self._open(each)) is not None}
            self._read_at = now
        return [endpoint for _, endpoint in self._opened.values()]

    async def _open(self, registration: Registration) -> tuple[Sealed, Endpoint] | None:
        known = self._opened.get(registration.id)
        if known is not None and known[0] == registration.sealed:
            return known
        sealed = registration.sealed
        try:
            key = await self._envelope.key_of(registration.place, sealed.key)
            secret = key.open(SECRET_FIELD, sealed.fields[SECRET_FIELD])
        except Unavailable as error:
            # What waits for it waits on; a key service that is away is no reason to hold up the others.
            if registration.id not in self._unreadable:
                logger.error("webhook %s gets nothing, its secret cannot be opened: %s", registration.id, error.message)
            self._unreadable.add(registration.id)
            return None
        self._unreadable.discard(registration.id)
        return sealed, Endpoint(registration.id, registration.url, secret)


def registered_webhooks(
    settings: Settings, registrations: Registrations, outbox: Outbox, clock: Clock, recorder: Recorder
) -> Webhooks:
    """Return what delivers to the registered endpoints, in one process of several."""
    for outcome in ("ok", "error"):
        recorder.count(catalogue.WEBHOOK_ATTEMPTS, outcome, by=0)
    return Webhooks(
        (),
        outbox,
        settings.network.guard(),
        clock,
        REGISTERED,
        registered=RegisteredEndpoints(registrations, Envelope(master_keys(settings)), clock),
        told=lambda outcome: recorder.count(catalogue.WEBHOOK_ATTEMPTS, outcome),
    )
