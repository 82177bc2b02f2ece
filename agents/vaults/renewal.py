"""Renewing access tokens: one process at a time spends a refresh token, for it may be good only once.

Who renews says so in the credential's row, for a while; the others wait until the row has another token, or tells why
not. What comes back is written field by field: a token that somebody else has replaced meanwhile stays theirs. A
process that ends between the two leaves a refresh token spent: its claim runs out, and the next to try is told so by
the token endpoint.
"""

from __future__ import annotations

import asyncio
import logging
import secrets as random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from pydantic import SecretStr

from agents.clock import Clock
from agents.errors import NotFound, Unavailable
from agents.vaults.envelope import Envelope
from agents.vaults.records import CredentialRecord, Renewal, RenewalFailure, VaultRepository
from agents.vaults.secrets import OpenSecrets, opened
from agents.vaults.token_endpoint import ExchangeFailed, Grant, TokenEndpoint

logger = logging.getLogger(__name__)

CLAIM_SECONDS = 45.0
"""A claim outlasts an exchange (20 s at most) and writing down what it gave, though the store is away for a moment."""
REFUSED_SECONDS = 60.0
"""An endpoint that said no is not asked again for so long, or until the credential is changed."""
FAILED_SECONDS = 5.0
"""One that did not answer."""
FRESH_SECONDS = 10.0
"""A token that is refused sooner than this after its renewal is not renewed again: that would not help."""
_WAIT_SECONDS = 30.0
_LOOK_SECONDS = 0.1
_LOOK_CEILING = 1.0
_WRITES = 5

State = Literal["renewed", "held", "busy", "free"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a renewal ended: with another token (``record``), or not. ``exchange`` is what this process got, if it asked.

    Without record and failure there was nothing to renew by, or the token is too fresh.
    """

    record: CredentialRecord | None = None
    failure: RenewalFailure | None = None
    exchange: ExchangeFailed | None = None


def state_of(record: CredentialRecord, stale: str, now: datetime) -> State:
    """Say where the renewal of the sealed access token *stale* stands."""
    renewal = record.renewal
    if record.sealed is None or record.sealed.fields["access_token"] != stale:
        return "renewed"
    if renewal.not_before is not None and renewal.not_before > now:
        return "held"
    if renewal.until is not None and renewal.until > now:
        return "busy"
    return "free"


class Renewals:
    """Renews the access tokens of ``mcp_oauth`` credentials."""

    def __init__(self, vaults: VaultRepository, envelope: Envelope, endpoint: TokenEndpoint, clock: Clock) -> None:
        self._vaults = vaults
        self._envelope = envelope
        self._endpoint = endpoint
        self._clock = clock
        self._under_way: dict[str, asyncio.Task[Attempt]] = {}

    async def renew(self, seen: CredentialRecord) -> Attempt:
        """Have the access token replaced that *seen* has. Raises Unavailable when the store does not answer."""
        if seen.sealed is None or "refresh_token" not in seen.sealed.fields:
            return Attempt()
        # A task of its own: whoever waits may leave, but a spent refresh token must be written down.
        task = self._under_way.get(seen.id)
        if task is None or task.done():
            task = self._under_way[seen.id] = asyncio.create_task(self._renew(seen, seen.sealed.fields["access_token"]))
            task.add_done_callback(lambda ended: self._forget(seen.id, ended))
        return await asyncio.shield(task)

    def _forget(self, credential_id: str, ended: asyncio.Task[Attempt]) -> None:
        if self._under_way.get(credential_id) is ended:
            del self._under_way[credential_id]
        if not ended.cancelled():
            ended.exception()  # everyone who waited may have left

    async def _renew(self, seen: CredentialRecord, stale: str) -> Attempt:
        renewer, pause = random.token_hex(8), _LOOK_SECONDS
        ends = self._clock.monotonic() + _WAIT_SECONDS
        try:
            while True:
                record = await self._claimed(seen, stale, renewer)
                match state_of(record, stale, self._clock.now()):
                    case "renewed":
                        return Attempt(None if record.sealed is None else record)
                    case "held":
                        return Attempt(failure=record.renewal.failure)
                    case _ if record.renewal.renewer == renewer:
                        return await self._exchange(record, renewer)
                    case _:
                        pass
                if self._clock.monotonic() >= ends:
                    raise Unavailable(f"vault credential {seen.id} is being renewed elsewhere, which does not end")
                await self._clock.sleep(pause)
                pause = min(pause * 2, _LOOK_CEILING)
        except NotFound:
            return Attempt()

    async def _claimed(self, seen: CredentialRecord, stale: str, renewer: str) -> CredentialRecord:
        """Return the credential as it is, claimed by *renewer* if it was free."""
        record = await self._vaults.credential(seen.vault_id, seen.id)
        if state_of(record, stale, self._clock.now()) != "free":
            return record

        def claim(stored: CredentialRecord) -> CredentialRecord:
            now = self._clock.now()
            if state_of(stored, stale, now) != "free":
                return stored
            until = now + timedelta(seconds=CLAIM_SECONDS)
            return replace(stored, renewal=replace(stored.renewal, renewer=renewer, until=until))

        return await self._vaults.change_credential(seen.vault_id, seen.id, claim)

    async def _exchange(self, record: CredentialRecord, renewer: str) -> Attempt:
        secrets = await opened(self._envelope, record)
        if secrets is None:
            return Attempt()
        try:
            grant = await self._endpoint.refresh(record.auth["refresh"], secrets.values)
        except ExchangeFailed as exchange:
            failure = exchange.failure
            logger.warning("vault credential %s was not renewed: %s", record.id, failure.reason)
            await self._written(record, lambda stored: self._failed(stored, renewer, failure))
            return Attempt(failure=failure, exchange=exchange)
        fresh = await self._written(record, lambda stored: self._renewed(record, stored, secrets, grant))
        return Attempt(fresh if fresh.sealed is not None else None)

    def _failed(self, stored: CredentialRecord, renewer: str, failure: RenewalFailure) -> CredentialRecord:
        if stored.renewal.renewer != renewer:
            return stored  # changed, or claimed by another, meanwhile
        wait = FAILED_SECONDS if failure.transient else REFUSED_SECONDS
        not_before = self._clock.now() + timedelta(seconds=wait)
        return replace(stored, renewal=Renewal(not_before=not_before, failure=failure))

    def _renewed(
        self, spent: CredentialRecord, stored: CredentialRecord, secrets: OpenSecrets, grant: Grant
    ) -> CredentialRecord:
        if stored.sealed is None or spent.sealed is None:
            return stored
        tokens = {"access_token": grant.access_token, "refresh_token": grant.refresh_token}
        fresh: dict[str, SecretStr] = {
            name: token
            for name, token in tokens.items()
            if token is not None and stored.sealed.fields[name] == spent.sealed.fields[name]
        }
        now, lifetime = self._clock.now(), grant.expires_in
        rest = FRESH_SECONDS if lifetime is None else min(FRESH_SECONDS, lifetime / 2)
        changed = replace(
            stored,
            sealed=secrets.sealed(stored.sealed, fresh),
            updated_at=now,
            renewal=Renewal(not_before=now + timedelta(seconds=rest)),
        )
        if "access_token" not in fresh:
            return changed
        return replace(changed, expires_at=None if lifetime is None else now + timedelta(seconds=lifetime))

    async def _written(
        self, record: CredentialRecord, change: Callable[[CredentialRecord], CredentialRecord]
    ) -> CredentialRecord:
        """Change the credential, again while the store is away: what is not written down here is lost."""
        for left in range(_WRITES - 1, -1, -1):
            try:
                return await self._vaults.change_credential(record.vault_id, record.id, change)
            except Unavailable as error:
                if not left:
                    raise
                logger.warning("the renewal of vault credential %s is not written yet: %s", record.id, error.message)
                await self._clock.sleep(_LOOK_CEILING)
        return record
