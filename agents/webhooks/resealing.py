"""Changing the master key: the secrets of registered endpoints go along with those of vaults (ADR 0027)."""

from __future__ import annotations

from agents.listing import Listing
from agents.vaults.envelope import Envelope, KeyUnavailable, Sealed
from agents.webhooks.registrations import MOST_REGISTRATIONS, Registrations


async def reseal(registrations: Registrations, envelope: Envelope) -> tuple[str, ...]:
    """Wrap every data key by the current master key; returns the endpoints whose own key is not there.

    Raises Unavailable; what was done by then stays done.
    """
    current = await envelope.current()
    unreadable: list[str] = []
    for each in await registrations.list(Listing(limit=MOST_REGISTRATIONS, include_archived=True)):
        before = each.sealed
        if before.key.master_key == current:
            continue
        try:
            wrapped = await envelope.rewrapped(each.place, before.key)
        except KeyUnavailable:
            unreadable.append(each.id)
            continue
        await registrations.reseal(each.id, before, Sealed(wrapped, before.fields))
    return tuple(unreadable)
