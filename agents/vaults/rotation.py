"""Changing the master key: every data key is wrapped anew, while sessions go on (ADR 0027).

Each credential is one transaction, so an interruption leaves some under the old key and some under the new one, and
both keys open theirs; whoever goes on finds what is left by the key's id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from agents.errors import NotFound
from agents.vaults.envelope import Envelope, KeyUnavailable, Sealed, WrappedKey
from agents.vaults.master_keys import KeyFile
from agents.vaults.records import CredentialRecord, VaultRepository

_PORTION = 100


@dataclass(frozen=True, slots=True)
class Rotation:
    """What came of it: the key that all are under now, less the ``unreadable``, whose own key is not there."""

    master_key: str
    fresh: bool
    """Whether the key was made now; else an earlier change of it was finished."""
    rewrapped: int
    unreadable: tuple[str, ...]


async def rotate(
    vaults: VaultRepository, envelope: Envelope, file: KeyFile | None, told: Callable[[int], None] = lambda _: None
) -> Rotation:
    """Wrap every data key by the current master key, of which *file*, if any, makes a new one first.

    While something is left under an older key, no new one is made: that change is finished. *told* hears how many are
    done. Raises Unavailable.
    """
    current, fresh = await envelope.current(), False
    if file is not None and not await vaults.under_other_keys(current, 1):
        current, fresh = file.add_key(current), True
    done, unreadable = 0, dict[str, None]()
    while True:
        portion = await vaults.under_other_keys(current, _PORTION + len(unreadable))
        left = [record for record in portion if record.id not in unreadable]
        if not left:
            return Rotation(current, fresh, done, tuple(unreadable))
        for record in left:
            if await _rewrap(vaults, envelope, record):
                done += 1
                told(done)
            else:
                unreadable[record.id] = None


async def _rewrap(vaults: VaultRepository, envelope: Envelope, record: CredentialRecord) -> bool:
    """Wrap one data key anew; False when it cannot be opened. Raises Unavailable."""
    if record.sealed is None:
        return True
    before = record.sealed.key
    try:
        wrapped = await envelope.rewrapped(record.place, before)
    except KeyUnavailable:
        return False
    try:
        await vaults.change_credential(record.vault_id, record.id, lambda stored: _under(stored, before, wrapped))
    except NotFound:
        return True  # deleted meanwhile
    return True


def _under(stored: CredentialRecord, before: WrappedKey, wrapped: WrappedKey) -> CredentialRecord:
    if stored.sealed is None or stored.sealed.key != before:
        return stored
    return replace(stored, sealed=Sealed(wrapped, stored.sealed.fields))
