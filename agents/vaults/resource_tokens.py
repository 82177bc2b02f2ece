"""Tokens that sessions and deployments keep in their resources, and what a change of the master key does to them.

What is sealed is a part of a plain dict, ``{"key": [master key, text], "fields": {name: ciphertext}}``, bound to its
holder and to the resource's ``id``: of a session's resource its ``private`` part, of a deployment's the dict itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.vaults.envelope import Envelope, KeyUnavailable, Place, Sealed, WrappedKey

Kept = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Holder:
    """A session or a deployment with all that it keeps of its resources."""

    id: str
    resources: Sequence[Kept]


Exchange = Callable[[Holder, list[Kept]], Awaitable[None]]
"""Put other resources where those of a holder are still what they were; else do nothing."""


def kept_token(sealed: Sealed) -> Kept:
    """Return what is kept of a sealed token."""
    return {"key": [sealed.key.master_key, sealed.key.text], "fields": dict(sealed.fields)}


def sealed_in(part: Mapping[str, Any]) -> Sealed:
    """Return the sealed token of which *part* was kept."""
    return Sealed(WrappedKey(*part["key"]), part["fields"])


async def reseal(holders: AsyncIterable[Holder], exchange: Exchange, envelope: Envelope) -> tuple[str, ...]:
    """Wrap every data key by the current master key; returns the holders whose own key is not there.

    Raises Unavailable; what was done by then stays done.
    """
    current, unreadable = await envelope.current(), dict[str, None]()
    async for holder in holders:
        if all(_is_under(each, current) for each in holder.resources):
            continue
        after = list(holder.resources)
        for index, each in enumerate(after):
            try:
                after[index] = await _rewrapped(holder.id, each, envelope)
            except KeyUnavailable:
                unreadable[holder.id] = None
        await exchange(holder, after)
    return tuple(unreadable)


def _part(resource: Kept) -> Kept:
    return resource.get("private", resource)


def _is_under(resource: Kept, master_key: str) -> bool:
    part = _part(resource)
    return "key" not in part or part["key"][0] == master_key


async def _rewrapped(holder: str, resource: Kept, envelope: Envelope) -> Kept:
    part = _part(resource)
    if "key" not in part:
        return resource
    sealed = sealed_in(part)
    wrapped = await envelope.rewrapped(Place(holder, resource["id"]), sealed.key)
    anew = {**part, **kept_token(Sealed(wrapped, sealed.fields))}
    return {**resource, "private": anew} if "private" in resource else anew
