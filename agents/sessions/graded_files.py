"""What a session has left in its outputs directory, as a grader is shown it: read where its sandbox is.

The platform's own calls of tools that only look (``own_calls``), under ids that are made of the evaluation's: an
evaluation that is made again reads them again.
"""

from __future__ import annotations

import logging

from agents.brains.summarizing import quoted
from agents.errors import HecatonError
from agents.hands.port import ToolResult
from agents.ids import EventId
from agents.sessions.events import SessionRecord
from agents.sessions.own_calls import own_call
from agents.sessions.ports import HarnessPorts

logger = logging.getLogger(__name__)

OUTPUTS = "/mnt/session/outputs"
_READ = 12
"""Entries of the directory, the newest first, that are read; further ones are named."""
_NAMED = 100


async def graded_files(ports: HarnessPorts, record: SessionRecord, evaluation: EventId) -> list[str]:
    """Return one text for each file there is; none where nothing of the session has run in a sandbox here yet."""
    if record.self_hosted or record.workspace_host is None:
        return []
    try:
        wanted = {"pattern": "**/*", "path": OUTPUTS}
        listed = await own_call(ports, record, f"{evaluation}-outputs", "glob", wanted)
        paths = [] if listed.is_error else [path for path in _text(listed).splitlines() if path.startswith(OUTPUTS)]
        shown: list[str] = []
        for number, path in enumerate(paths[:_READ]):
            found = await own_call(ports, record, f"{evaluation}-output-{number}", "read", {"file_path": path})
            if not (found.is_error and "is a directory" in _text(found)):
                shown.append(f"<file {path}>\n{quoted(_text(found))}")
    except (HecatonError, TimeoutError) as error:
        logger.warning("outputs of %s are graded unseen: %s", record.id, error or type(error).__name__)
        return ["(The files of the session could not be looked at this time.)"]
    named = paths[_READ:_NAMED]
    return [*shown, *(["Not shown:\n" + "\n".join(named)] if named else [])]


def _text(result: ToolResult) -> str:
    return "\n".join(block.get("text") or f"[{block['type']}]" for block in result.content)
