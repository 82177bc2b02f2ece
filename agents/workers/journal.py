"""Which calls this machine's worker has begun, so that a worker that was killed runs none of them twice.

The server cannot know what became of a call whose worker died: it offers it again. A mark on disk, made before the
call is run and removed once its result is the server's, tells the next process on this machine. Marks need not
survive the machine's own end: its sandboxes do not either.
"""

from __future__ import annotations

import shutil
from pathlib import Path


class CallJournal:
    """Marks of calls, one file each."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._ours: set[tuple[str, str]] = set()

    def begin(self, session_id: str, call_id: str) -> bool:
        """Mark a call; False when a process before this one had begun it. Raises OSError."""
        if (session_id, call_id) in self._ours:
            return True
        folder = self._root / session_id
        folder.mkdir(parents=True, exist_ok=True)
        try:
            (folder / call_id).touch(exist_ok=False)
        except FileExistsError:
            return False
        self._ours.add((session_id, call_id))
        return True

    def answered(self, session_id: str, call_id: str) -> None:
        """Forget a call whose result the server has."""
        self._ours.discard((session_id, call_id))
        (self._root / session_id / call_id).unlink(missing_ok=True)

    def forget(self, session_id: str) -> None:
        """Forget a session that has no open calls here."""
        self._ours = {each for each in self._ours if each[0] != session_id}
        shutil.rmtree(self._root / session_id, ignore_errors=True)
