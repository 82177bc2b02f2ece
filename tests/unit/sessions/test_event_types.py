"""Every event type of the API is produced by this release, or is named here with the step that brings it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from anthropic.types.beta.sessions.beta_managed_agents_session_event_type import BetaManagedAgentsSessionEventType

import agents
from agents.sessions.events import EventType

LATER = {
    "workflow_run.created": "workflows stay out",
    "workflow_run.status_running": "workflows stay out",
    "workflow_run.status_idle": "workflows stay out",
    "workflow_run.status_ended": "workflows stay out",
    "workflow_run.error": "workflows stay out",
    "workflow_run.phase_started": "workflows stay out",
    "workflow_run.phase_ended": "workflows stay out",
}
_SESSIONS = Path(agents.__file__).parent / "sessions"


def test_every_type_of_the_sdk_is_ours_or_later() -> None:
    # session.deleted ends streams but is never in history, so it is no filter value of the SDK's list.
    known = set(get_args(BetaManagedAgentsSessionEventType)) | {"session.deleted"}
    ours = {str(type_) for type_ in EventType}
    assert not ours & LATER.keys()
    assert ours | LATER.keys() == known


def test_every_type_of_ours_is_produced_and_folded_or_shown() -> None:
    sources = "\n".join(
        path.read_text() for path in _SESSIONS.glob("*.py") if path.name not in ("events.py", "conversation.py")
    )
    emitted = set(re.findall(r"emit\w*\((?:draft[^,]*,)?\s*EventType\.(\w+)", sources)) | set(
        re.findall(r"new_event_id\(\), EventType\.(\w+)", sources)
    )
    # These come from the client; they are taken into the log as they are, queued first or not.
    taken = {"USER_MESSAGE", "USER_TOOL_CONFIRMATION", "USER_INTERRUPT", "SYSTEM_MESSAGE", "USER_DEFINE_OUTCOME"}
    assert emitted | taken == {type_.name for type_ in EventType}
