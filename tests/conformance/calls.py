"""Which requirements show each call and each event type of the SDK: the two tables of docs/compatibility.md.

How far a line is there follows from the manifest: it passes when all its requirements are held by tests, is partial
when some are deferred or ``lacks`` says what is missing, and is absent when none is held.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tests.conformance.requirements import REQUIREMENTS


class State(Enum):
    """How far something is there."""

    PASS = "pass"
    PARTIAL = "partial"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Line:
    """What shows one call or event type. ``shown_by`` are ids of requirements, with blanks between."""

    shown_by: str = ""
    lacks: str = ""

    @property
    def ids(self) -> list[str]:
        return self.shown_by.split()

    @property
    def state(self) -> State:
        held = [each for each in self.ids if _lacking(each) is None]
        if not held:
            return State.ABSENT
        return State.PARTIAL if self.lacks or len(held) < len(self.ids) else State.PASS

    @property
    def what(self) -> str:
        """What is missing; empty for what passes."""
        return "; ".join(each for each in (self.lacks, *map(_lacking, self.ids)) if each)


def _lacking(id: str) -> str | None:
    """What is not there of a requirement; None when a test holds it."""
    return None if REQUIREMENTS[id].deferred is None else REQUIREMENTS[id].text


_NO_DREAMS = Line(lacks="not planned: a 404 that says so")
_NO_BATCHES = Line(lacks="a 404 that says so; hecaton batch runs sessions in bulk")
_NO_WORKFLOWS = Line(lacks="workflows are not planned, so no session has these events")

CALLS: dict[str, Line] = {
    "agents.create": Line("agents:create:minimal agents:create:full agents:skills agents:multiagent"),
    "agents.retrieve": Line("agents:retrieve:version"),
    "agents.update": Line("agents:update:version agents:update:no-op agents:update:lock agents:update:clearing"),
    "agents.list": Line("agents:list agents:list:archived agents:list:times"),
    "agents.archive": Line("agents:archive"),
    "agents.versions.list": Line("agents:versions"),
    "deployment_runs.retrieve": Line("deployments:runs"),
    "deployment_runs.list": Line("deployments:runs"),
    "deployments.create": Line("deployments:schedule deployments:resources"),
    "deployments.retrieve": Line("deployments:life"),
    "deployments.update": Line("deployments:life deployments:schedule"),
    "deployments.list": Line("deployments:life"),
    "deployments.archive": Line("deployments:life"),
    "deployments.pause": Line("deployments:life"),
    "deployments.unpause": Line("deployments:life"),
    "deployments.run": Line("deployments:runs"),
    **{f"dreams.{name}": _NO_DREAMS for name in ("create", "retrieve", "list", "archive", "cancel")},
    "environments.create": Line("environments:create:default environments:create:limited environments:self-hosted"),
    "environments.retrieve": Line("environments:create:default"),
    "environments.update": Line("environments:update environments:update:metadata environments:update:type"),
    "environments.list": Line("environments:list"),
    "environments.delete": Line("environments:delete"),
    "environments.archive": Line("environments:archive"),
    "environments.work.retrieve": Line("workers:heartbeat"),
    "environments.work.update": Line("workers:heartbeat"),
    "environments.work.list": Line("workers:item:created"),
    "environments.work.ack": Line("workers:ack"),
    "environments.work.heartbeat": Line("workers:heartbeat workers:heartbeat:precondition"),
    "environments.work.poll": Line("workers:poll:null workers:poll:reclaim"),
    "environments.work.stats": Line("workers:stats"),
    "environments.work.stop": Line("workers:stop:graceful workers:stop:force"),
    "environments.work.poller": Line("workers:drain"),
    "environments.work.worker": Line("workers:serves workers:several"),
    "files.list": Line("files:upload"),
    "files.delete": Line("files:upload"),
    "files.download": Line("files:outputs files:ranges files:not-downloadable"),
    "files.retrieve_metadata": Line("files:upload"),
    "files.upload": Line("files:upload files:expiry files:strict"),
    "memory_stores.memories.create": Line("memory:texts memory:texts:limits memory:texts:conflict"),
    "memory_stores.memories.retrieve": Line("memory:texts"),
    "memory_stores.memories.update": Line("memory:texts memory:texts:preconditions"),
    "memory_stores.memories.list": Line("memory:texts:list"),
    "memory_stores.memories.delete": Line("memory:texts memory:texts:preconditions"),
    "memory_stores.create": Line("memory:life"),
    "memory_stores.retrieve": Line("memory:life"),
    "memory_stores.update": Line("memory:life"),
    "memory_stores.list": Line("memory:list"),
    "memory_stores.delete": Line("memory:life"),
    "memory_stores.archive": Line("memory:life memory:archived"),
    "memory_stores.memory_versions.retrieve": Line("memory:versions"),
    "memory_stores.memory_versions.list": Line("memory:versions"),
    "memory_stores.memory_versions.redact": Line("memory:redaction"),
    "messages.create": Line("messages:create messages:stream messages:errors"),
    "messages.count_tokens": Line("messages:count-tokens"),
    "messages.stream": Line("messages:stream"),
    "messages.parse": Line("messages:helpers"),
    "messages.tool_runner": Line("messages:helpers messages:threads"),
    "messages.thread": Line(
        "messages:threads", lacks="works with unsupported_request_behavior=continue_unthreaded: no brain holds threads"
    ),
    **{
        f"messages.batches.{name}": _NO_BATCHES
        for name in ("create", "retrieve", "list", "delete", "cancel", "results")
    },
    "models.retrieve": Line("models:retrieve"),
    "models.list": Line("models:list"),
    "sessions.events.list": Line("events:list:filters events:list:order events:list:cursors events:list:queued"),
    "sessions.events.send": Line("events:send:echo events:send:batch events:send:validation events:send:content"),
    "sessions.events.stream": Line("streams:framing streams:open streams:order streams:recipe streams:deltas:opt-in"),
    "sessions.events.tool_runner": Line("tools:runner"),
    "sessions.resources.retrieve": Line("files:resources repositories:mounted"),
    "sessions.resources.update": Line("repositories:token-rotated"),
    "sessions.resources.list": Line("files:resources memory:session"),
    "sessions.resources.delete": Line("files:resources repositories:mounted"),
    "sessions.resources.add": Line("files:resources repositories:at-creation"),
    "sessions.create": Line(
        "sessions:create:forms sessions:create:shape files:mounts memory:session repositories:mounted"
    ),
    "sessions.retrieve": Line("sessions:create:shape"),
    "sessions.update": Line("sessions:update:fields sessions:update:agent sessions:update:event sessions:budget"),
    "sessions.list": Line("sessions:list:filters sessions:list:both-ways"),
    "sessions.delete": Line("sessions:delete sessions:guards"),
    "sessions.archive": Line("sessions:archive sessions:archive:closed"),
    "sessions.threads.events.list": Line("threads:events threads:children:events"),
    "sessions.threads.events.stream": Line("threads:events threads:children:stream"),
    "sessions.threads.retrieve": Line("threads:primary"),
    "sessions.threads.list": Line("threads:primary threads:filters threads:children:list"),
    "sessions.threads.archive": Line("threads:children:archive threads:archive"),
    "skills.create": Line("skills:create skills:name-taken skills:refused"),
    "skills.retrieve": Line("skills:create"),
    "skills.list": Line("skills:list"),
    "skills.delete": Line("skills:create"),
    "skills.versions.create": Line("skills:versions"),
    "skills.versions.retrieve": Line("skills:versions"),
    "skills.versions.list": Line("skills:versions"),
    "skills.versions.delete": Line("skills:versions"),
    "skills.versions.download": Line("skills:download"),
    "vaults.credentials.create": Line("vaults:kinds vaults:write-only vaults:key-unique vaults:twenty"),
    "vaults.credentials.retrieve": Line("vaults:kinds"),
    "vaults.credentials.update": Line("vaults:update"),
    "vaults.credentials.list": Line("vaults:list"),
    "vaults.credentials.delete": Line("vaults:others"),
    "vaults.credentials.archive": Line("vaults:key-unique"),
    "vaults.credentials.mcp_oauth_validate": Line("vaults:validate"),
    "vaults.create": Line("vaults:life"),
    "vaults.retrieve": Line("vaults:life"),
    "vaults.update": Line("vaults:life"),
    "vaults.list": Line("vaults:list"),
    "vaults.delete": Line("vaults:life vaults:cascade"),
    "vaults.archive": Line("vaults:life vaults:cascade"),
    "webhooks.parse_unverified": Line("webhooks:signed"),
    "webhooks.unwrap": Line("webhooks:signed"),
}

EVENTS: dict[str, Line] = {
    "user.message": Line("events:send:echo events:send:content events:queue"),
    "user.interrupt": Line("events:interrupt:thinking events:interrupt:tools events:interrupt:waiting"),
    "user.tool_confirmation": Line("events:confirm:allow events:confirm:deny events:confirm:rules"),
    "user.custom_tool_result": Line("events:custom:round-trip events:custom:early events:custom:error"),
    "user.tool_result": Line("workers:serves workers:confirmation"),
    "user.define_outcome": Line("outcomes:satisfied outcomes:one-at-a-time outcomes:rubric-file outcomes:validation"),
    "system.message": Line("events:system-message events:system-message:place events:system-message:waiting"),
    "agent.message": Line("events:order:text-turn events:text:empty events:text:cut-off"),
    "agent.thinking": Line("events:thinking streams:deltas:thinking"),
    "agent.tool_use": Line("events:order:tool-turn tools:parallel"),
    "agent.tool_result": Line("events:order:tool-turn tools:parallel"),
    "agent.custom_tool_use": Line("events:custom:round-trip"),
    "agent.mcp_tool_use": Line("events:mcp"),
    "agent.mcp_tool_result": Line("events:mcp"),
    "agent.thread_context_compacted": Line("events:compaction"),
    "agent.thread_message_received": Line("threads:children"),
    "agent.thread_message_sent": Line("threads:children"),
    "session.error": Line("events:retry events:retry:kinds events:retry:exhausted mcp:connection repositories:errors"),
    "session.status_running": Line("events:order:text-turn"),
    "session.status_idle": Line("events:order:text-turn events:atomic-status events:budget:pause"),
    "session.status_rescheduled": Line("events:retry"),
    "session.status_terminated": Line("sessions:archive"),
    "session.updated": Line("sessions:update:event"),
    "session.usage": Line("events:usage events:usage:cost"),
    "session.deleted": Line("streams:ends"),
    "session.thread_created": Line("threads:crossposting"),
    "session.thread_status_running": Line("events:order:text-turn"),
    "session.thread_status_idle": Line("events:order:text-turn events:thread-first"),
    "session.thread_status_rescheduled": Line("events:retry"),
    "session.thread_status_terminated": Line("sessions:archive"),
    "span.model_request_start": Line("events:order:spans"),
    "span.model_request_end": Line("events:order:spans"),
    "span.outcome_evaluation_start": Line("outcomes:satisfied outcomes:revision"),
    "span.outcome_evaluation_ongoing": Line(
        "outcomes:satisfied", lacks="comes every 15 seconds: held by tests/unit/sessions/test_outcomes.py only"
    ),
    "span.outcome_evaluation_end": Line("outcomes:satisfied outcomes:revision"),
    "event_start": Line("streams:deltas:prefix streams:deltas:thinking"),
    "event_delta": Line("streams:deltas:prefix streams:deltas:accumulate"),
    **{
        f"workflow_run.{name}": _NO_WORKFLOWS
        for name in (
            "created",
            "status_running",
            "status_idle",
            "status_ended",
            "phase_started",
            "phase_ended",
            "error",
        )
    },
}
