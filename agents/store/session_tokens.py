"""What sessions keep of their resources, for whoever changes the master key that their tokens are sealed under.

Beside the log's owner, who writes the rest: what is exchanged here says the same as before. An owner that has read
the session earlier writes what it knows when it changes the session's agent or resources; the next change of the key
finds that.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from sqlalchemy import Connection, select, update

from agents.store.codec import decode, encode
from agents.store.engine import Database
from agents.store.tables import session_snapshots
from agents.vaults.resource_tokens import Holder, Kept

_PORTION = 500
_S = session_snapshots.c


class SqlSessionTokens:
    """The resources of all sessions of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def holders(self) -> AsyncGenerator[Holder]:
        """Yield the sessions that have resources. Raises Unavailable."""
        after = ""
        while portion := await self._portion(after):
            for holder in portion:
                yield holder
            after = portion[-1].id

    async def exchange(self, holder: Holder, resources: list[Kept]) -> None:
        """Put *resources* where those of *holder* are still what they were. Raises Unavailable."""
        mine = _S.session_id == holder.id
        stored = select(_S.resources).where(mine).with_for_update()
        change = update(session_snapshots).where(mine).values(resources=encode(resources))

        def work(connection: Connection) -> None:
            text = connection.execute(stored).scalar()
            if text is not None and decode(text) == holder.resources:
                connection.execute(change).close()

        await self._database.write(work, repeatable=True)

    async def _portion(self, after: str) -> list[Holder]:
        having = select(_S.session_id, _S.resources).where(_S.session_id > after, _S.resources.is_not(None))
        statement = having.order_by(_S.session_id).limit(_PORTION)
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return [Holder(session_id, decode(resources)) for session_id, resources in rows]
