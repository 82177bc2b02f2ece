"""Versions of hands on a database. A version's row stays when it is removed: what once had its name is what it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, select, update

from agents.errors import NotFound
from agents.hand_settings import HandDefinition
from agents.hands.deployed.records import HandVersion, changed
from agents.hands.servers.port import OfferedTool
from agents.store.codec import Row, RowView, decode, encode, micros, moment_at
from agents.store.engine import Database
from agents.store.inserts import insert_new
from agents.store.tables import hand_sources, hand_versions

if TYPE_CHECKING:
    from agents.store.paging import Statement

_DEADLINE_SECONDS = 10.0

_ADD = insert_new(hand_versions)
_KEEP_SOURCE = insert_new(hand_sources)
_CHANGE = update(hand_versions).where(hand_versions.c.id == bindparam("key"))


def hand_row(hand: HandVersion) -> Row:
    """Return the row of a version."""
    return {
        "id": hand.id,
        "name": hand.name,
        "definition": encode(hand.definition.model_dump(mode="json")),
        "source": hand.source,
        "contract": hand.contract,
        "tools": tools_text(hand.tools),
        "created_at": None if hand.created_at is None else micros(hand.created_at),
        "removed_at": None if hand.removed_at is None else micros(hand.removed_at),
    }


def hand_at(row: RowView) -> HandVersion:
    """Return the version of a row."""
    tools, removed_at = row["tools"], row["removed_at"]
    return HandVersion(
        row["name"],
        HandDefinition(**decode(row["definition"])),
        row["source"],
        row["contract"],
        None if tools is None else tuple(OfferedTool(**tool) for tool in decode(tools)),
        moment_at(row["created_at"]),
        None if removed_at is None else moment_at(removed_at),
    )


def tools_text(tools: Sequence[OfferedTool] | None) -> str | None:
    return None if tools is None else encode([asdict(tool) for tool in tools])


def again(was: HandVersion, now: HandVersion) -> HandVersion:
    """Return what is kept when *now* is added and *was* is there. Raises Conflict."""
    if was.substance != now.substance:
        raise changed(was, now)
    return replace(was, definition=now.definition, removed_at=None)


def unknown(hand: str) -> NotFound:
    return NotFound(f"there is no hand {hand[:100]!r}")


class SqlHands:
    """The HandRecords of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, hand: HandVersion, archive: bytes | None = None) -> HandVersion:
        """See HandRecords.add."""

        def work(connection: Connection) -> HandVersion:
            if archive is not None:
                connection.execute(
                    _KEEP_SOURCE[connection.dialect.name], {"digest": hand.source, "archive": archive}
                ).close()
            if connection.execute(_ADD[connection.dialect.name], hand_row(hand)).rowcount:
                return hand
            kept = again(_read(connection, hand.id), hand)
            row = hand_row(kept)
            row.pop("id")
            connection.execute(_CHANGE.values(row), {"key": hand.id})
            return kept

        return await self._database.write(work, deadline=_DEADLINE_SECONDS, repeatable=True)

    async def get(self, hand: str) -> HandVersion:
        """See HandRecords.get."""
        return await self._database.read(lambda connection: _read(connection, hand), deadline=_DEADLINE_SECONDS)

    async def list(self) -> Sequence[HandVersion]:
        """See HandRecords.list."""
        there = select(hand_versions).where(hand_versions.c.removed_at.is_(None))
        statement = there.order_by(hand_versions.c.name, hand_versions.c.created_at, hand_versions.c.id)
        return await self._database.read(lambda connection: _all(connection, statement), deadline=_DEADLINE_SECONDS)

    async def remove(self, hand: str, moment: datetime) -> HandVersion:
        """See HandRecords.remove."""

        def work(connection: Connection) -> HandVersion:
            was = _read(connection, hand)
            connection.execute(_CHANGE.values(removed_at=micros(moment)), {"key": hand})
            return replace(was, removed_at=moment)

        return await self._database.write(work, deadline=_DEADLINE_SECONDS, repeatable=True)

    async def settle_tools(self, hand: str, tools: Sequence[OfferedTool]) -> None:
        """See HandRecords.settle_tools."""

        def work(connection: Connection) -> None:
            unsettled = _CHANGE.where(hand_versions.c.tools.is_(None))
            connection.execute(unsettled.values(tools=tools_text(tools)), {"key": hand})

        await self._database.write(work, deadline=_DEADLINE_SECONDS, repeatable=True)

    async def source(self, digest: str) -> bytes:
        """See HandRecords.source."""
        statement = select(hand_sources.c.archive).where(hand_sources.c.digest == digest)

        def work(connection: Connection) -> bytes | None:
            return connection.execute(statement).scalar()

        found = await self._database.read(work, deadline=_DEADLINE_SECONDS)
        if found is None:
            raise NotFound(f"there is no source {digest[:80]!r}")
        return bytes(found)


def _read(connection: Connection, hand: str) -> HandVersion:
    row = connection.execute(select(hand_versions).where(hand_versions.c.id == hand)).mappings().first()
    if row is None:
        raise unknown(hand)
    return hand_at(row)


def _all(connection: Connection, statement: Statement) -> list[HandVersion]:
    return [hand_at(row) for row in connection.execute(statement).mappings()]
