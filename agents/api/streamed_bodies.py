"""Which requests bring bodies that are read as they come, and how large and slow those may be."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.routing import compile_path
from starlette.types import Scope

from agents.api.routes import Operation
from agents.files.settings import FileSettings

_FORM_BYTES = 1024 * 1024
"""Room for what a form has beside its file: heads of parts, and fields."""


class StreamedBodies:
    """The operations whose bodies are never whole in memory."""

    def __init__(self, operations: Iterable[Operation], settings: FileSettings) -> None:
        self._paths = [(each.method, compile_path(each.path)[0]) for each in operations if each.streams_in]
        self.max_bytes = settings.max_bytes + _FORM_BYTES
        self.seconds = settings.upload_seconds

    def covers(self, scope: Scope) -> bool:
        """Whether a request is for one of them."""
        method, path = scope["method"], scope["path"]
        return any(method == each and pattern.match(path) for each, pattern in self._paths)
