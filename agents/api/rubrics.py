"""Rubrics of outcomes that are files: read once, when the outcome is defined, so that the log has their text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.api.client_events import check_rubric_text
from agents.catalog import limits
from agents.errors import InvalidRequest, NotFound
from agents.files.records import no_file
from agents.files.service import Files

_BYTES_PER_CHAR = 4  # of UTF-8


class Rubrics:
    """Reads the rubrics that events refer to."""

    def __init__(self, files: Files) -> None:
        self._files = files

    async def resolved(
        self,
        events: Sequence[dict[str, Any]],
        workspace_id: str,
        session_id: str | None = None,
        *,
        where: str = "events",
    ) -> list[dict[str, Any]]:
        """Return *events* of session *session_id* (None: a new one) with the text of every rubric in place of its file.

        Raises InvalidRequest for a file that the workspace does not have or that is another session's, or that is no
        text that a rubric may be.
        """
        resolved: list[dict[str, Any]] = []
        for index, event in enumerate(events):
            if event["type"] == "user.define_outcome" and event["rubric"]["type"] == "file":
                at, file_id = f"{where}[{index}].rubric.file_id", event["rubric"]["file_id"]
                try:
                    text = await self._text(at, file_id, workspace_id, session_id)
                except NotFound as error:
                    raise InvalidRequest(f"{at}: {error.message}", error_code="file_not_found") from None
                event = {**event, "rubric": {"type": "text", "content": text}}
            resolved.append(event)
        return resolved

    async def _text(self, at: str, file_id: str, workspace_id: str, session_id: str | None) -> str:
        file = await self._files.usable(file_id, workspace_id)
        if file.session_id not in (None, session_id):
            raise no_file(file_id)
        if file.size > limits.RUBRIC_CHARS * _BYTES_PER_CHAR:
            raise InvalidRequest(f"{at}: {file_id} has {file.size} bytes, more than a rubric may have")
        try:
            text = (await self._files.whole(file)).decode()
        except FileNotFoundError:
            raise no_file(file_id) from None  # it was removed meanwhile
        except UnicodeDecodeError:
            raise InvalidRequest(f"{at}: {file_id} is no UTF-8 text") from None
        check_rubric_text(at, text)
        return text
