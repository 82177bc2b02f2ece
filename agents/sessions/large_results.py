"""Results of servers that are too long for a model: the whole text goes into the session's sandbox (spec C.1).

As with the built-in tools, the model sees the beginning, the end, and the path of a file that has all of it. Where the
session has no sandbox tool to read it with, or no sandbox takes it, what is missing is missing, and the text says so.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from agents.errors import HecatonError
from agents.hands.port import ToolResult
from agents.hands.servers.port import ServerResult
from agents.sessions.events import SessionRecord
from agents.sessions.own_calls import own_call
from agents.sessions.permissions import AGENT_TOOLSET
from agents.sessions.ports import HarnessPorts
from agents.sessions.thread_state import ThreadState

logger = logging.getLogger(__name__)

MOST_CHARS = 100_000
"""Spec C.1: what a result may show of its text."""
_PREVIEW_CHARS = 8_000
"""Of each of the two ends, as for the built-in tools."""
_FOLDER = "/tmp/tool-output"  # noqa: S108 - the sandbox's, where the built-in tools put theirs


async def fitted(
    ports: HarnessPorts, state: ThreadState, result: ServerResult
) -> tuple[ServerResult, ToolResult | None]:
    """Return *result* as it may be shown, and what the sandbox says that has taken the whole of it, if one has."""
    texts = [_text(block) for block in result.content]
    if sum(map(len, texts)) <= MOST_CHARS:
        return result, None
    whole = "\n".join(text for text in texts if text)
    kept = await _keep(ports, state.record, result.call_id, whole) if _can_read(state) else None
    where = f"the whole of it is in {_path(result.call_id)}" if kept else "the rest could not be kept"
    note = f"[result truncated: {len(whole)} characters; {where}]"
    shown = f"{whole[:_PREVIEW_CHARS]}\n\n{note}\n\n{whole[-_PREVIEW_CHARS:]}"
    others = [block for block, text in zip(result.content, texts, strict=True) if not text]
    return replace(result, content=[{"type": "text", "text": shown}, *others]), kept


def _text(block: dict[str, Any]) -> str:
    """Return what a block says in text; images and encoded documents are bounded where they come from."""
    if block["type"] == "document" and block["source"]["type"] == "text":
        return block["source"]["data"]
    return block.get("text", "")


def _can_read(state: ThreadState) -> bool:
    """Whether the thread's agent may read files of a sandbox here."""
    for toolset in state.agent["tools"]:
        if toolset["type"] == AGENT_TOOLSET and not state.record.self_hosted:
            configs = {config["name"]: config for config in toolset["configs"]}
            return configs.get("read", toolset["default_config"])["enabled"]
    return False


async def _keep(ports: HarnessPorts, record: SessionRecord, call_id: str, text: str) -> ToolResult | None:
    """Write *text* into the session's sandbox; None when it does not take it."""
    body = {"file_path": _path(call_id), "content": text}
    try:
        # Writing the same file twice does no harm (agents.hands.toolset.REPEATABLE).
        result = await own_call(ports, record, f"{call_id}-whole", "write", body)
    except (HecatonError, TimeoutError) as error:
        logger.warning("a result of %s was not kept: %s", record.id, error or type(error).__name__)
        return None
    return None if result.is_error else result


def _path(call_id: str) -> str:
    return f"{_FOLDER}/{call_id}.txt"
