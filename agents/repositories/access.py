"""The repositories of sessions, by their rows: where each is, and the token that opens it."""

from __future__ import annotations

from pydantic import SecretStr

from agents.catalog.resources import find, resource_wire
from agents.errors import InvalidRequest
from agents.ids import SessionId
from agents.repositories.failures import RepositoryFailed
from agents.repositories.resource import source_in, token_in
from agents.repositories.source import RepositorySource
from agents.store.ports import SessionRepository
from agents.vaults.envelope import Envelope, KeyUnavailable


class StoredRepositories:
    """The RepositoryAccess of a store."""

    def __init__(self, sessions: SessionRepository, envelope: Envelope) -> None:
        self._sessions = sessions
        self._envelope = envelope

    async def repository(self, session_id: str, resource_id: str) -> tuple[RepositorySource, SecretStr | None]:
        """See RepositoryAccess.repository."""
        stored = find((await self._sessions.get(SessionId(session_id))).resources, resource_id)
        try:
            source = source_in(stored)
        except InvalidRequest as error:
            # An earlier release took it. The session goes on without, as without any that cannot be had.
            url = resource_wire(stored)["url"]
            raise RepositoryFailed("clone", url, f"this server does not take it any more ({error.message})") from error
        try:
            return source, await token_in(stored, session_id, self._envelope)
        except KeyUnavailable as error:
            why = f"its authorization token cannot be opened ({error.message}); give it anew"
            raise RepositoryFailed("authentication", source.url, why) from error
