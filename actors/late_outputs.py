"""Where a sandbox host keeps what sessions leave in their outputs directories."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from typing import TYPE_CHECKING

from actors.late_store import LateStore
from agents.files.blobs import Blob

if TYPE_CHECKING:
    from agents.files.outputs import KeptOutputs


class LateOutputs:
    """The OutputFiles of a sandbox host."""

    def __init__(self, store: LateStore) -> None:
        self._store = store
        self._made: KeptOutputs | None = None

    async def kept(self, session_id: str) -> Mapping[str, Blob]:
        """See OutputFiles.kept."""
        return await (await self._outputs()).kept(session_id)

    async def keep(self, session_id: str, path: str, size: int, chunks: AsyncIterable[bytes]) -> None:
        """See OutputFiles.keep."""
        await (await self._outputs()).keep(session_id, path, size, chunks)

    async def _outputs(self) -> KeptOutputs:
        """Raises as ``LateStore.get``, and StoreUnavailable for a place of files that is not installed."""
        if self._made is None:
            from agents.files.outputs import outputs_of

            self._made = outputs_of(self._store.settings, await self._store.get())
        return self._made
