"""The outbox of webhooks, on a database and in memory: see ``agents.webhooks.outbox`` for what each does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from sqlalchemy import Connection, bindparam, delete, func, select, update

from agents.governance.audit.entries import AuditEntry
from agents.store.audit_writing import add_entries
from agents.store.codec import micros, micros_or_none
from agents.store.engine import Database
from agents.store.inserts import insert_new
from agents.store.tables import (
    webhook_deliveries,
    webhook_endpoints,
    webhook_registrations,
    webhook_subscriptions,
)
from agents.webhooks.outbox import Delivery

_D, _E = webhook_deliveries.c, webhook_endpoints.c
_R, _S = webhook_registrations.c, webhook_subscriptions.c
_THIS = (_D.endpoint_id == bindparam("endpoint"), _D.message_id == bindparam("message"))
_UNCHANGED = (*_THIS, _D.attempts == bindparam("made"))
"""Whoever took it later has the say."""

_EXPIRE = delete(webhook_deliveries).where(_D.created_at < bindparam("expired"))
_DISABLED = select(_E.id).where(_E.disabled_until > bindparam("now"))
_WAITING = select(func.count()).where(_D.endpoint_id == bindparam("endpoint"))
_ADD = insert_new(webhook_deliveries)
_WITH_DUE = (
    select(_D.endpoint_id)
    .where(_D.endpoint_id.in_(bindparam("endpoints", expanding=True)), _D.due_at <= bindparam("now"))
    .distinct()
    .order_by(_D.endpoint_id)
)
_DUE = (
    select(_D.message_id, _D.body, _D.attempts)
    .where(_D.endpoint_id == bindparam("endpoint"), _D.due_at <= bindparam("now"))
    .order_by(_D.due_at, _D.message_id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_TAKE = update(webhook_deliveries).where(*_THIS).values(due_at=bindparam("until"), attempts=_D.attempts + 1)
_POSTPONE = update(webhook_deliveries).where(*_UNCHANGED).values(due_at=bindparam("due"))
_DELIVERED = delete(webhook_deliveries).where(*_THIS)
_GIVE_UP = delete(webhook_deliveries).where(*_UNCHANGED)
_DROP_ALL = delete(webhook_deliveries).where(_D.endpoint_id == bindparam("endpoint"))
_ANSWERS = (
    update(webhook_endpoints)
    .where(_E.id == bindparam("endpoint"), _E.failures > 0)
    .values(failures=0, disabled_until=None)
)
_FAILURES = select(_E.failures).where(_E.id == bindparam("endpoint")).with_for_update()
_FIRST_FAILURE = insert_new(webhook_endpoints)
_FAIL = (
    update(webhook_endpoints)
    .where(_E.id == bindparam("endpoint"))
    .values(failures=bindparam("number"), disabled_until=bindparam("until"))
)

_DISABLE = (
    update(webhook_registrations)
    .where(_R.id == bindparam("endpoint"), _R.disabled_at.is_(None))
    .values(disabled_at=bindparam("at"), disabled_reason=bindparam("why"))
)
_UNSUBSCRIBE = delete(webhook_subscriptions).where(_S.endpoint_id == bindparam("endpoint"))
_EXPIRED = select(_D.message_id).where(_D.created_at < bindparam("expired")).limit(1)
_CROWDED = (
    select(_D.endpoint_id).group_by(_D.endpoint_id).having(func.count() > bindparam("most")).order_by(_D.endpoint_id)
)
_OLDEST = (
    select(_D.message_id)
    .where(_D.endpoint_id == bindparam("endpoint"))
    .order_by(_D.created_at.desc(), _D.message_id.desc())
    .offset(bindparam("most"))
)
_DROP_OLDEST = delete(webhook_deliveries).where(_D.endpoint_id == bindparam("endpoint"), _D.message_id.in_(_OLDEST))


class SqlOutbox:
    """The Outbox of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, message_id: str, body: str, endpoints: Collection[str], *, now: datetime, most: int, expired: datetime
    ) -> Collection[str]:
        """See Outbox.add."""
        moment = micros(now)
        row = {"message_id": message_id, "body": body, "created_at": moment, "due_at": moment, "attempts": 0}

        def work(connection: Connection) -> list[str]:
            connection.execute(_EXPIRE, {"expired": micros(expired)}).close()
            disabled = set(connection.execute(_DISABLED, {"now": moment}).scalars())
            refused: list[str] = []
            for endpoint in sorted(endpoints):
                waiting = connection.execute(_WAITING, {"endpoint": endpoint}).scalar_one()
                if endpoint in disabled or waiting >= most:
                    refused.append(endpoint)
                else:
                    added = _ADD[connection.dialect.name].values({**row, "endpoint_id": endpoint})
                    connection.execute(added).close()
            return refused

        return await self._database.write(work, repeatable=True)

    async def take(self, room: Mapping[str, int], *, now: datetime, until: datetime) -> Sequence[Delivery]:
        """See Outbox.take."""
        chosen = {"endpoints": [endpoint for endpoint, most in room.items() if most > 0], "now": micros(now)}
        if not chosen["endpoints"]:
            return []
        due = await self._database.read(lambda connection: list(connection.execute(_WITH_DUE, chosen).scalars()))
        if not due:
            return []  # looking must not cost others the lock of a writer
        work = partial(_take, room={endpoint: room[endpoint] for endpoint in due}, now=micros(now), until=micros(until))
        return await self._database.write(work)

    async def delivered(self, delivery: Delivery) -> None:
        """See Outbox.delivered."""

        def work(connection: Connection) -> None:
            connection.execute(_DELIVERED, _place(delivery)).close()
            connection.execute(_ANSWERS, {"endpoint": delivery.endpoint}).close()

        await self._database.write(work, repeatable=True)

    async def postpone(self, delivery: Delivery, due: datetime) -> None:
        """See Outbox.postpone."""
        given = {**_place(delivery), "made": delivery.attempts, "due": micros(due)}
        await self._database.write(lambda connection: connection.execute(_POSTPONE, given).close(), repeatable=True)

    async def give_up(
        self, delivery: Delivery, *, patience: int, until: datetime | None, entry: AuditEntry, reason: str = ""
    ) -> bool:
        """See Outbox.give_up."""
        moment = micros_or_none(until)
        work = partial(_give_up, delivery=delivery, patience=patience, until=moment, entry=entry, reason=reason)
        return await self._database.write(work)

    async def bound(self, *, most: int, expired: datetime) -> Mapping[str, int]:
        """See Outbox.bound."""
        old = {"expired": micros(expired)}

        def look(connection: Connection) -> tuple[bool, list[str]]:
            crowded = list(connection.execute(_CROWDED, {"most": most}).scalars())
            return connection.execute(_EXPIRED, old).first() is not None, crowded

        some_expired, crowded = await self._database.read(look)
        if not some_expired and not crowded:
            return {}  # looking must not cost others the lock of a writer

        def work(connection: Connection) -> dict[str, int]:
            connection.execute(_EXPIRE, old).close()
            lost: dict[str, int] = {}
            for endpoint in crowded:
                oldest = {"endpoint": endpoint, "most": most}
                lost[endpoint] = connection.execute(_DROP_OLDEST, oldest).rowcount
            return lost

        return await self._database.write(work, repeatable=True)


def _place(delivery: Delivery) -> dict[str, object]:
    return {"endpoint": delivery.endpoint, "message": delivery.message_id}


def _take(connection: Connection, room: Mapping[str, int], now: int, until: int) -> list[Delivery]:
    taken: list[Delivery] = []
    for endpoint, most in room.items():
        rows = connection.execute(_DUE, {"endpoint": endpoint, "now": now, "most": most}).all()
        taken += [Delivery(endpoint, message_id, body, attempts + 1) for message_id, body, attempts in rows]
    if taken:
        connection.execute(_TAKE, [{**_place(each), "until": until} for each in taken])
    return taken


def _give_up(
    connection: Connection, delivery: Delivery, patience: int, until: int | None, entry: AuditEntry, reason: str
) -> bool:
    if not connection.execute(_GIVE_UP, {**_place(delivery), "made": delivery.attempts}).rowcount:
        return False
    chosen = {"endpoint": delivery.endpoint}
    first = _FIRST_FAILURE[connection.dialect.name].values(id=delivery.endpoint, failures=0)
    connection.execute(first).close()
    failures = connection.execute(_FAILURES, chosen).scalar_one() + 1
    disabled = failures >= patience
    connection.execute(_FAIL, {**chosen, "number": failures, "until": until if disabled else None}).close()
    if disabled:
        connection.execute(_DROP_ALL, chosen).close()
        connection.execute(_DISABLE, {**chosen, "at": micros(entry.at), "why": reason}).close()
        connection.execute(_UNSUBSCRIBE, chosen).close()
        add_entries(connection, [entry])
    return disabled


@dataclass(frozen=True, slots=True)
class _Waiting:
    delivery: Delivery
    created_at: datetime
    due: datetime


class MemoryOutbox:
    """The Outbox of one process."""

    def __init__(self, record: Callable[[AuditEntry], object] = lambda _: None) -> None:
        """*record* writes to the audit trail."""
        self._record = record
        self._waiting: dict[tuple[str, str], _Waiting] = {}
        self._failures: dict[str, int] = {}
        self._disabled: dict[str, datetime] = {}
        self.on_disabled: Callable[[str, datetime, str], None] = lambda _name, _at, _why: None
        """Hears which endpoint was disabled, when and why."""

    async def add(
        self, message_id: str, body: str, endpoints: Collection[str], *, now: datetime, most: int, expired: datetime
    ) -> Collection[str]:
        self._waiting = {key: each for key, each in self._waiting.items() if each.created_at >= expired}
        refused: list[str] = []
        for endpoint in sorted(endpoints):
            waiting = sum(key[0] == endpoint for key in self._waiting)
            if self._disabled.get(endpoint, now) > now or waiting >= most:
                refused.append(endpoint)
            else:
                added = _Waiting(Delivery(endpoint, message_id, body, 0), now, now)
                self._waiting.setdefault((endpoint, message_id), added)
        return refused

    async def take(self, room: Mapping[str, int], *, now: datetime, until: datetime) -> Sequence[Delivery]:
        taken: list[Delivery] = []
        for endpoint, most in sorted(room.items()):
            due = [(each.due, key) for key, each in self._waiting.items() if key[0] == endpoint and each.due <= now]
            for _, key in sorted(due)[:most]:
                each = self._waiting[key]
                delivery = replace(each.delivery, attempts=each.delivery.attempts + 1)
                self._waiting[key] = replace(each, delivery=delivery, due=until)
                taken.append(delivery)
        return taken

    async def delivered(self, delivery: Delivery) -> None:
        self._waiting.pop((delivery.endpoint, delivery.message_id), None)
        self._failures.pop(delivery.endpoint, None)
        self._disabled.pop(delivery.endpoint, None)

    async def postpone(self, delivery: Delivery, due: datetime) -> None:
        key = delivery.endpoint, delivery.message_id
        each = self._waiting.get(key)
        if each is not None and each.delivery == delivery:
            self._waiting[key] = replace(each, due=due)

    async def give_up(
        self, delivery: Delivery, *, patience: int, until: datetime | None, entry: AuditEntry, reason: str = ""
    ) -> bool:
        key, endpoint = (delivery.endpoint, delivery.message_id), delivery.endpoint
        each = self._waiting.get(key)
        if each is None or each.delivery != delivery:
            return False
        del self._waiting[key]
        self._failures[endpoint] = self._failures.get(endpoint, 0) + 1
        if self._failures[endpoint] < patience:
            return False
        if until is not None:
            self._disabled[endpoint] = until
        self._waiting = _without(self._waiting, endpoint)
        self.on_disabled(endpoint, entry.at, reason)
        self._record(entry)
        return True

    async def bound(self, *, most: int, expired: datetime) -> Mapping[str, int]:
        self._waiting = {key: each for key, each in self._waiting.items() if each.created_at >= expired}
        lost: dict[str, int] = {}
        for endpoint in {name for name, _ in self._waiting}:
            own = [(each.created_at, key) for key, each in self._waiting.items() if key[0] == endpoint]
            for _, key in sorted(own, reverse=True)[most:]:
                del self._waiting[key]
                lost[endpoint] = lost.get(endpoint, 0) + 1
        return lost

    def put(self, endpoint: str, message_id: str, body: str, now: datetime) -> None:
        """Let a message wait for one endpoint."""
        self._waiting.setdefault((endpoint, message_id), _Waiting(Delivery(endpoint, message_id, body, 0), now, now))

    def forget(self, endpoint: str, *, waiting: bool = True) -> None:
        """Forget an endpoint's failures, and what is *waiting* for it."""
        self._failures.pop(endpoint, None)
        self._disabled.pop(endpoint, None)
        if waiting:
            self._waiting = _without(self._waiting, endpoint)


def _without(waiting: Mapping[tuple[str, str], _Waiting], endpoint: str) -> dict[tuple[str, str], _Waiting]:
    return {key: each for key, each in waiting.items() if key[0] != endpoint}
