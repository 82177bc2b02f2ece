"""What a process of the first release (schema 0001) sends to its database, statement for statement.

Written down here once and never changed: the schema may only grow in ways that these statements survive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from agents.sessions.events import SessionRecord
from agents.store.codec import decode, encode, event_row, session_row, snapshot_digest, snapshot_row
from agents.store.engine import Database

Row = dict[str, Any]

_CLAIM = (
    "INSERT INTO leases (partition, owner, epoch, expires_at) VALUES (:partition, NULL, 0, 0) ON CONFLICT DO NOTHING",
    "UPDATE leases SET owner=:owner, epoch=epoch + 1, expires_at=:expires_at WHERE leases.partition = :partition",
)
_HOLDER = "SELECT leases.owner, leases.epoch FROM leases WHERE leases.partition = :partition"
_HEAD = "SELECT sessions.id, sessions.seq, sessions.digest FROM sessions WHERE sessions.id = :id"
_INSERT_SESSION = (
    "INSERT INTO sessions (id, partition, status, seq, queued, created_at, updated_at, archived_at, agent_id, "
    "agent_version, environment_id, digest, state) VALUES (:id, :partition, :status, :seq, :queued, :created_at, "
    ":updated_at, :archived_at, :agent_id, :agent_version, :environment_id, :digest, :state)"
)
_INSERT_SNAPSHOT = (
    "INSERT INTO session_snapshots (session_id, agent, environment) VALUES (:session_id, :agent, :environment)"
)
_ADVANCE = (
    "UPDATE sessions SET status=:status, seq=:seq, queued=:queued, updated_at=:updated_at, archived_at=:archived_at, "
    "state=:state WHERE sessions.id = :id"
)
_INSERT_EVENT = (
    "INSERT INTO events (session_id, seq, id, type, processed_at, body, hidden) "
    "VALUES (:session_id, :seq, :id, :type, :processed_at, :body, :hidden)"
)
_INSERT_QUEUE = (
    "INSERT INTO queue (session_id, id, type, body, hidden) VALUES (:session_id, :id, :type, :body, :hidden)"
)
_CONSUME = "DELETE FROM queue WHERE queue.session_id = :session_id AND queue.id = :id"
_DELETE = (
    "DELETE FROM events WHERE events.session_id = :id",
    "DELETE FROM queue WHERE queue.session_id = :id",
    "DELETE FROM session_snapshots WHERE session_snapshots.session_id = :id",
    "DELETE FROM sessions WHERE sessions.id = :id",
)
_LOAD = (
    "SELECT sessions.id, sessions.partition, sessions.status, sessions.seq, sessions.queued, sessions.created_at, "
    "sessions.updated_at, sessions.archived_at, sessions.agent_id, sessions.agent_version, sessions.environment_id, "
    "sessions.digest, sessions.state, session_snapshots.agent, session_snapshots.environment FROM sessions "
    "JOIN session_snapshots ON sessions.id = session_snapshots.session_id WHERE sessions.id = :id"
)
_STATE = ("principal", "dispatched", "workspace")
_FAR = 2**52
"""Microseconds since the epoch, some ninety years from now: a moment that can be told, as every release wrote."""


class FirstRelease:
    """A writer of the first release, that holds partition 1."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, owner: str) -> int:
        def work(connection: Connection) -> int:
            values = {"partition": 1, "owner": owner, "expires_at": _FAR}
            for statement in _CLAIM:
                connection.execute(text(statement), values)
            return connection.execute(text(_HOLDER), values).one().epoch

        return await self._database.write(work)

    async def create(self, record: SessionRecord) -> None:
        session, snapshot = _session(record), snapshot_row(record)
        await self._run((_INSERT_SESSION, [session]), (_INSERT_SNAPSHOT, [snapshot]))

    async def append(
        self, record: SessionRecord, *events: Any, queue: Sequence[Any] = (), consume: Sequence[str] = ()
    ) -> None:
        """Bring *events* and *record*, the row after them, into the log."""
        first = record.seq - len(events) + 1
        await self._run(
            (_ADVANCE, [_session(record)]),
            (_INSERT_EVENT, [event_row(record.id, event, seq) for seq, event in enumerate(events, first)]),
            (_INSERT_QUEUE, [event_row(record.id, event) for event in queue]),
            (_CONSUME, [{"session_id": record.id, "id": gone} for gone in consume]),
        )

    async def delete(self, session_id: str) -> None:
        await self._run(*((statement, [{"id": session_id}]) for statement in _DELETE))

    async def load(self, session_id: str) -> Row:
        def work(connection: Connection) -> Row:
            connection.execute(text(_HEAD), {"id": session_id}).one()
            return dict(connection.execute(text(_LOAD), {"id": session_id}).mappings().one())

        return await self._database.read(work)

    async def _run(self, *steps: tuple[str, list[Row]]) -> None:
        def work(connection: Connection) -> None:
            for statement, rows in steps:
                if rows:
                    connection.execute(text(statement), rows)

        await self._database.write(work)


def _session(record: SessionRecord) -> Row:
    row = session_row(record, snapshot_digest(record))
    state = decode(row["state"])
    return {**row, "state": encode({name: value for name, value in state.items() if name not in _STATE})}
