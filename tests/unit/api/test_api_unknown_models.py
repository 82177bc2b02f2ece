"""Agents whose model there is not, or no longer (docs/brains.md); the refusals themselves: tests/conformance.

Bug class this catches: a brain that is taken away locks its agents up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from api_fakes import Server, refusal


async def test_an_agent_whose_model_has_vanished_can_still_be_used_and_changed(
    make_server: Callable[..., Awaitable[Server]],
) -> None:
    server = await make_server(brains={"small": {"engine": "replay"}})
    made = await server.agent(model="small")
    stored = await server.store.agents.get(made["id"])
    old = replace(stored, version=2, body={**stored.body, "model": {**stored.body["model"], "id": "gone"}})
    await server.store.agents.update(old, expected_version=1)
    path = f"/v1/agents/{made['id']}"
    assert "not found; there are small@1" in refusal(
        await server.client.post(path, json={"model": {"id": "gone", "effort": "low"}}), 404, "not_found_error"
    )
    assert (await server.client.post(path, json={"name": "b"})).json()["model"]["id"] == "gone"
    # Its sessions end their turns with an error; one with another model does not.
    assert (await server.session(agent=made["id"]))["agent"]["model"]["id"] == "gone"
    override = {"type": "agent_with_overrides", "id": made["id"], "model": "small"}
    assert (await server.session(agent=override))["agent"]["model"]["id"] == "small"
    assert (await server.client.post(path, json={"model": "small"})).json()["model"]["id"] == "small"
