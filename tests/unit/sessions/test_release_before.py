"""What a process of the release before sends while a roll is under way is understood (docs/upgrade.md).

Bug class this catches: a field that is new in what crosses processes, and missing in what an older one pickled.
"""

from __future__ import annotations

import pickle
from base64 import b64decode
from dataclasses import fields
from datetime import UTC, datetime

from agents.access.workspaces import DEFAULT_WORKSPACE
from agents.hands.port import Workspace
from agents.sessions.events import SessionRecord

CREATE = (
    "gAWVVAEAAAAAAABdlCiMBGNhbGyUSwGMBmNyZWF0ZZRdlCiMFmFnZW50cy5zZXNzaW9ucy5ldmVudHOUjA1TZXNzaW9uUmVjb3JklJOUKYGU"
    "XZQojAZzZXNuXzGUSwGMCGRhdGV0aW1llIwIZGF0ZXRpbWWUk5RDCgfqCxUAAAAAAACUaAqMCHRpbWV6b25llJOUaAqMCXRpbWVkZWx0YZST"
    "lEsASwBLAIeUUpSFlFKUhpRSlGgXfZSMBG5hbWWUjARjcmV3lHOMB2FnZW50XzGUSwGMBWVudl8xlH2UjAZzdGhyXzGUTn2UKU5oBIwNU2Vz"
    "c2lvblN0YXR1c5STlIwEaWRsZZSFlFKUTksASwBoBIwFVXNhZ2WUk5QpgZRdlChLAEsASwBLAEsASwBLAEsAZWJHAAAAAAAAAABOTowDa2V5"
    "lH2UTksATowIbW9ub2xpdGiUZWJdlGV0lGEu"
)
"""What a gateway of the release with schema 0012 sends to an owner to create a session, byte for byte."""
T0 = datetime(2026, 11, 21, tzinfo=UTC)


def test_a_session_that_an_older_gateway_creates_is_the_default_workspaces() -> None:
    [(_, _, method, [record, _])] = pickle.loads(b64decode(CREATE))
    assert method == "create"
    assert record == SessionRecord(
        id="sesn_1",
        partition=1,
        created_at=T0,
        updated_at=T0,
        agent={"name": "crew"},
        agent_id="agent_1",
        agent_version=1,
        environment_id="env_1",
        environment={},
        thread_id="sthr_1",
        principal="key",
        topology="monolith",
        workspace_id=DEFAULT_WORKSPACE,
    )


def test_a_newer_record_than_this_releases_loses_what_is_not_known_here() -> None:
    [(_, _, _, [record, _])] = pickle.loads(b64decode(CREATE))
    again = object.__new__(SessionRecord)
    again.__setstate__([*(getattr(record, each.name) for each in fields(record)), "later"])
    assert again == record


def test_a_workspace_that_an_older_harness_sends_has_no_mounts() -> None:
    workspace = Workspace("sesn_1", {"type": "cloud"}, "host/1", 3, ("https://mcp",), ("vlt_1",))
    again = object.__new__(Workspace)
    again.__setstate__([getattr(workspace, each.name) for each in fields(workspace) if each.name != "mounts"])
    assert again == workspace and again.mounts == ()
    newer = object.__new__(Workspace)
    newer.__setstate__([*(getattr(workspace, each.name) for each in fields(workspace)), "later"])
    assert newer == workspace
    assert pickle.loads(pickle.dumps(workspace)) == workspace
