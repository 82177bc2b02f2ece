"""Registered endpoints of webhooks, on a database and in memory: see ``agents.webhooks.registrations``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select, update

from agents.errors import Conflict, NotFound
from agents.listing import Listing
from agents.store.announcing import announcement_row
from agents.store.codec import Row, RowView, decode, encode, findable, micros, micros_or_none, moment_at, moment_or_none
from agents.store.engine import Database
from agents.store.memory_catalog import memory_page
from agents.store.paging import page
from agents.store.tables import (
    webhook_deliveries,
    webhook_endpoints,
    webhook_registrations,
    webhook_subscriptions,
)
from agents.store.webhooks import MemoryOutbox
from agents.vaults.envelope import Sealed, WrappedKey
from agents.webhooks.announcing import Announcement
from agents.webhooks.names import EVERYTHING
from agents.webhooks.registrations import Registration

_R = webhook_registrations.c


class SqlRegistrations:
    """The Registrations of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, registration: Registration, *, most: int) -> None:
        """See Registrations.insert."""

        def work(connection: Connection) -> None:
            if connection.execute(select(func.count()).select_from(webhook_registrations)).scalar_one() >= most:
                raise _too_many(most)
            connection.execute(insert(webhook_registrations), _row(registration)).close()
            _subscribe(connection, registration)

        await self._database.write(work)

    async def get(self, endpoint_id: str) -> Registration:
        """See Registrations.get."""
        return await self._database.read(lambda connection: _read(connection, endpoint_id))

    async def list(self, query: Listing) -> Sequence[Registration]:
        """See Registrations.list."""
        statement = page(
            select(webhook_registrations), _R.created_at, _R.id, _R.disabled_at, query, workspace=_R.workspace_id
        )
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [_registration_of(row) for row in rows]

    async def enable(self, endpoint_id: str) -> Registration:
        """See Registrations.enable."""

        def work(connection: Connection) -> Registration:
            if _read(connection, endpoint_id).disabled_at is not None:
                # What a commit added that ended after the disabling: it is of before.
                _drop_waiting(connection, endpoint_id)
            connection.execute(delete(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id)).close()
            changed = update(webhook_registrations).where(_R.id == endpoint_id)
            connection.execute(changed.values(disabled_at=None, disabled_reason=None)).close()
            enabled = _read(connection, endpoint_id)
            _unsubscribe(connection, endpoint_id)
            _subscribe(connection, enabled)
            return enabled

        return await self._database.write(work, repeatable=True)

    async def delete(self, endpoint_id: str) -> None:
        """See Registrations.delete."""

        def work(connection: Connection) -> None:
            _read(connection, endpoint_id)
            _drop_waiting(connection, endpoint_id)
            connection.execute(delete(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id)).close()
            connection.execute(delete(webhook_registrations).where(_R.id == endpoint_id)).close()
            _unsubscribe(connection, endpoint_id)

        await self._database.write(work)

    async def reseal(self, endpoint_id: str, before: Sealed, sealed: Sealed) -> None:
        """See Registrations.reseal."""
        same = (_R.id == endpoint_id, _R.data_key == before.key.text, _R.master_key == before.key.master_key)
        changed = update(webhook_registrations).where(*same).values(_sealed_row(sealed))
        await self._database.write(lambda connection: connection.execute(changed).close())


def _drop_waiting(connection: Connection, endpoint_id: str) -> None:
    """Goes before every other change of an endpoint: a deliverer that gives up takes them in this order."""
    waiting = delete(webhook_deliveries).where(webhook_deliveries.c.endpoint_id == endpoint_id)
    connection.execute(waiting).close()


def _subscribe(connection: Connection, registration: Registration) -> None:
    connection.execute(
        insert(webhook_subscriptions),
        [
            {"workspace_id": registration.workspace_id, "type": name, "endpoint_id": registration.id}
            for name in registration.events
        ],
    ).close()


def _unsubscribe(connection: Connection, endpoint_id: str) -> None:
    wanted = webhook_subscriptions.c.endpoint_id == endpoint_id
    connection.execute(delete(webhook_subscriptions).where(wanted)).close()


def _read(connection: Connection, endpoint_id: str) -> Registration:
    row = None
    if findable(endpoint_id):
        wanted = select(webhook_registrations).where(_R.id == endpoint_id)
        row = connection.execute(wanted).mappings().first()
    if row is None:
        raise _unknown(endpoint_id)
    return _registration_of(row)


class MemoryRegistrations:
    """The Registrations of one process, and what is told to them."""

    def __init__(self, outbox: MemoryOutbox) -> None:
        self._outbox = outbox
        self._found: dict[str, Registration] = {}
        outbox.on_disabled = self._disable

    async def insert(self, registration: Registration, *, most: int) -> None:
        if len(self._found) >= most:
            raise _too_many(most)
        self._found[registration.id] = registration

    async def get(self, endpoint_id: str) -> Registration:
        if endpoint_id not in self._found:
            raise _unknown(endpoint_id)
        return self._found[endpoint_id]

    async def list(self, query: Listing) -> Sequence[Registration]:
        return memory_page(self._found.values(), query)

    async def enable(self, endpoint_id: str) -> Registration:
        before = await self.get(endpoint_id)
        self._found[endpoint_id] = replace(before, disabled_at=None, disabled_reason=None)
        self._outbox.forget(endpoint_id, waiting=before.disabled_at is not None)
        return self._found[endpoint_id]

    async def delete(self, endpoint_id: str) -> None:
        await self.get(endpoint_id)
        del self._found[endpoint_id]
        self._outbox.forget(endpoint_id)

    async def reseal(self, endpoint_id: str, before: Sealed, sealed: Sealed) -> None:
        found = self._found.get(endpoint_id)
        if found is not None and found.sealed.key == before.key:
            self._found[endpoint_id] = replace(found, sealed=sealed)

    def announce(self, *news: Announcement) -> None:
        """Let all who want to know of *news* be told."""
        self.write(map(announcement_row, news))

    def write(self, rows: Iterable[Row]) -> None:
        """Take announcements as rows."""
        for row in rows:
            for each in self._found.values():
                wants = row["told_name"] in each.events or EVERYTHING in each.events
                if wants and each.disabled_at is None and each.workspace_id == row["told_workspace"]:
                    self._outbox.put(each.id, row["told_id"], row["told_body"], moment_at(row["told_at"]))

    def _disable(self, endpoint_id: str, moment: datetime, reason: str) -> None:
        found = self._found.get(endpoint_id)
        if found is not None:
            self._found[endpoint_id] = replace(found, disabled_at=moment, disabled_reason=reason)


def _row(registration: Registration) -> Row:
    return {
        "id": registration.id,
        "workspace_id": registration.workspace_id,
        "url": registration.url,
        "events": encode(registration.events),
        **_sealed_row(registration.sealed),
        "created_at": micros(registration.created_at),
        "disabled_at": micros_or_none(registration.disabled_at),
        "disabled_reason": registration.disabled_reason,
    }


def _sealed_row(sealed: Sealed) -> Row:
    return {
        "sealed": encode(dict(sealed.fields)),
        "data_key": sealed.key.text,
        "master_key": sealed.key.master_key,
    }


def _registration_of(row: RowView) -> Registration:
    return Registration(
        id=row["id"],
        workspace_id=row["workspace_id"],
        url=row["url"],
        sealed=Sealed(WrappedKey(row["master_key"], row["data_key"]), decode(row["sealed"])),
        created_at=moment_at(row["created_at"]),
        events=tuple(decode(row["events"])),
        disabled_at=moment_or_none(row["disabled_at"]),
        disabled_reason=row["disabled_reason"],
    )


def _too_many(most: int) -> Conflict:
    return Conflict(f"there are {most} webhook endpoints, which is the limit: delete one first")


def _unknown(endpoint_id: str) -> NotFound:
    return NotFound(f"webhook endpoint {endpoint_id} not found")
