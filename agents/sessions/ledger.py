"""The ledger of effects: what a session's row says of calls under way and of where its files are (ADR 0009).

Before a call is sent, the incarnation of the host that it is meant for is committed as its *intent*. Invariant:
a call is sent only to the incarnation of its committed intent, and an intent goes with the call's result, in the
same commit. So whoever owns the session next knows which calls may have taken effect, and where to ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from agents.catalog.resources import mounts_of
from agents.catalog.team import server_urls, skills_of
from agents.hands.port import Mount, ToolResult, Workspace
from agents.ids import EventId
from agents.sessions.draft import Draft
from agents.sessions.events import SessionRecord
from agents.skills.choosing import skill_mounts


@dataclass(slots=True)
class EffectCounts:
    """What the ledger was needed for, since the start of the process."""

    resumed: int = 0
    """Calls that an owner before may have sent, and that were asked for again."""
    repeated: int = 0
    """Repeatable calls that were run again because their host was lost."""
    ambiguous: int = 0
    """Calls whose host was lost, of which nobody knows whether they took effect."""


def workspace_of(record: SessionRecord) -> Workspace:
    """Say where the session's tools run, and what its files were last."""
    return Workspace(
        record.id,
        record.environment,
        record.workspace_host,
        record.workspace_version,
        mcp_urls=server_urls(record.agent),
        vault_ids=record.vault_ids,
        mounts=(*_skill_mounts(record), *mounts_of(record.resources)),
    )


def _skill_mounts(record: SessionRecord) -> tuple[Mount, ...]:
    # A worker elsewhere downloads them itself.
    return () if record.self_hosted else skill_mounts(skills_of(record.agent))


def intend(draft: Draft, hosts: Mapping[EventId, str]) -> None:
    """Note the host of each of these calls, unless it was closed meanwhile."""
    intents = {call_id: host for call_id, host in hosts.items() if call_id in draft.state.calls}
    if intents:
        draft.state.set(dispatched={**draft.state.record.dispatched, **intents})


def fold_result(record: SessionRecord, result: ToolResult) -> SessionRecord:
    """Return the row with what a result says of the session's files."""
    if result.host is None:
        return record
    version = record.workspace_version if result.version is None else result.version
    if result.host == record.workspace_host:
        # Results of parallel calls may come in another order than their versions.
        version = max(version, record.workspace_version)
    return replace(record, workspace_host=result.host, workspace_version=version)
