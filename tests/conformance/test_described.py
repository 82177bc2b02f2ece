"""What is made of ``/openapi.json``, and of nothing else, works: the document is complete enough for a client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from anthropic import Anthropic

from tests.conformance.described import DescribedClient
from tests.conformance.platform import LivePlatform
from tests.conformance.requirements import requirement
from tests.conformance.scene import MODEL, bash, calls, message, says, toolset

# The server makes the document when it is first asked for it: seconds of work.
_PATIENCE = 60.0


@pytest.fixture(scope="module")
def described(platform: LivePlatform) -> Iterator[DescribedClient]:
    with DescribedClient(platform.url, platform.key, _PATIENCE) as made:
        yield made


@requirement("transport:described")
def test_a_client_made_of_the_description_runs_an_agent(
    described: DescribedClient, platform: LivePlatform, client: Anthropic
) -> None:
    mark = f"mark{time.time_ns()}"
    platform.stub.script(calls(bash("echo left > /mnt/session/outputs/left.txt")), says("done"), match=mark)
    agent = described("createAgent", body={"name": "a", "model": MODEL, "system": mark, "tools": [toolset()]})
    changed = described("updateAgent", agent_id=agent["id"], body={"version": 1, "description": "Leaves a file."})
    assert described("getAgent", agent_id=agent["id"], version=2) == changed
    place = described("createEnvironment", body={"name": mark})
    file = described("uploadFile", body={"file": b"x", "expires_in_seconds": 3600})
    mounted = {"type": "file", "file_id": file["id"]}
    asked = {"agent": agent["id"], "environment_id": place["id"], "resources": [mounted]}
    session = described("createSession", body=asked)["id"]
    with client.beta.sessions.events.stream(session) as stream:
        described("sendEvents", session_id=session, body={"events": [message()]})
        for event in stream:
            if event.type == "session.status_idle":
                break
    events = described("listEvents", session_id=session, limit=1000)["data"]
    assert [each["type"] for each in events if each["type"].startswith("agent.")] == [
        *("agent.tool_use", "agent.tool_result", "agent.message")
    ]
    [left] = [each for each in described("listFiles", scope_id=session)["data"] if each["downloadable"]]
    assert described("downloadFile", file_id=left["id"]) == b"left\n"
    assert described("downloadFile", file_id=left["id"], Range="bytes=1-2", status=206) == b"ef"
    assert described("listResources", session_id=session)["data"][0]["type"] == "file"
    described("archiveSession", session_id=session)
    described("deleteSession", session_id=session)
    assert described("getSession", session_id=session, status=404)["error"]["type"] == "not_found_error"
    only: dict[str, Any] = {"ids[]": [file["id"]]}
    assert [each["id"] for each in described("listFiles", **only)["data"]] == [file["id"]]


@requirement("transport:described")
def test_what_is_not_described_is_noticed(described: DescribedClient) -> None:
    with pytest.raises(KeyError):
        described("listAgents", colour="red")
    for body in (
        {"model": MODEL},
        {"name": 1, "model": MODEL},
        {"name": "a", "model": MODEL, "tools": [{"type": "x"}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            described("createAgent", body=body)
