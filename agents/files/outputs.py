"""What sessions leave in their outputs directories, as files that belong to them (spec A.7, A.10)."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping

from agents.clock import SystemClock
from agents.config import Settings
from agents.files.blobs import Blob
from agents.files.records import FileKind, FileListing, OutputBounds
from agents.files.service import Files, open_files
from agents.hands.output_scan import MOST_BYTES, MOST_FILES
from agents.ids import SessionId
from agents.store.ports import Store

_MOST = OutputBounds(MOST_FILES, MOST_BYTES)
"""Also of those that are no longer in the sandbox."""
_MOST_ROWS = 10_000
"""More than a session's mounts and outputs together can be."""


class KeptOutputs:
    """The OutputFiles (``agents.hands.session_outputs``) of a platform."""

    def __init__(self, files: Files, store: Store) -> None:
        self._files = files
        self._store = store

    async def kept(self, session_id: str) -> Mapping[str, Blob]:
        """See OutputFiles.kept."""
        rows = await self._files.records.list(FileListing(limit=_MOST_ROWS, session_id=session_id))
        return {row.path: Blob(row.sha256, row.size) for row in rows if row.kind is FileKind.OUTPUT and row.path}

    async def keep(self, session_id: str, path: str, size: int, chunks: AsyncIterable[bytes]) -> None:
        """See OutputFiles.keep."""
        session = await self._store.sessions.get(SessionId(session_id))
        await self._files.add_output(chunks, size, session_id, path, session.workspace_id, _MOST)


def outputs_of(settings: Settings, store: Store) -> KeptOutputs:
    """Return the outputs of a platform. Raises StoreUnavailable for a place of a kind that is not installed."""
    return KeptOutputs(open_files(settings, store, SystemClock()), store)
