"""``/-/webhooks``: registering endpoints (ours)."""

from __future__ import annotations

from typing import Any

import pytest
from api_fakes import Server, refusal

from agents.listing import Listing
from agents.webhooks.registrations import MOST_REGISTRATIONS

URL = "https://hooks.example.com/x"


async def made(server: Server, **fields: Any) -> dict[str, Any]:
    answer = await server.client.post("/-/webhooks", json={"url": URL, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_an_endpoint_is_made_with_a_secret_that_is_shown_once(server: Server) -> None:
    new = await made(server, events=["session.status_idled", "agent.created"])
    assert new.pop("secret").startswith("whsec_")
    assert new["id"].startswith("whk_")
    assert {name: new[name] for name in ("type", "url", "workspace_id", "events", "status", "disabled_reason")} == {
        "type": "webhook_endpoint",
        "url": URL,
        "workspace_id": "default",
        "events": ["session.status_idled", "agent.created"],
        "status": "enabled",
        "disabled_reason": None,
    }
    assert (await server.client.get(f"/-/webhooks/{new['id']}")).json() == new
    assert (await server.client.get("/-/webhooks")).json() == {"data": [new], "next_page": None}


async def test_without_names_it_is_told_everything_of_its_workspace(server: Server) -> None:
    new = await made(server, workspace_id="team-a")
    assert (new["events"], new["workspace_id"]) == (["*"], "team-a")
    assert (await server.client.get("/-/webhooks?workspace_id=team-b")).json()["data"] == []


async def test_the_secret_is_nowhere_but_sealed(server: Server) -> None:
    secret = (await made(server))["secret"]
    [kept] = await server.store.webhook_registrations.list(Listing())
    assert secret not in repr(kept)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"url": "http://127.0.0.1/hook"}, "url: "),
        ({"url": "http://[::1]:8000/"}, "url: "),
        ({"url": "http://169.254.169.254/latest"}, "url: "),
        ({"url": "ftp://hooks.example.com/"}, "url: "),
        ({"url": ""}, "url: "),
        ({"url": "https://h.example/" + "x" * 9000}, "url: "),
        ({"events": []}, "events: "),
        ({"events": ["agent.created", "agent.exploded"]}, "events[1]: "),
        ({"events": ["*", "agent.created"]}, "events: "),
        ({"workspace_id": "Team A"}, "workspace_id: "),
        ({"secret": "whsec_x"}, "secret: "),
    ],
)
async def test_what_is_wrong_is_refused_by_name(server: Server, fields: dict[str, Any], words: str) -> None:
    answer = await server.client.post("/-/webhooks", json={"url": URL, **fields})
    assert refusal(answer, 400).startswith(words)


async def test_a_url_is_needed(server: Server) -> None:
    assert "url" in refusal(await server.client.post("/-/webhooks", json={}), 400)


async def test_an_endpoint_is_deleted(server: Server) -> None:
    new = await made(server)
    gone = await server.client.delete(f"/-/webhooks/{new['id']}")
    assert gone.json() == {"id": new["id"], "type": "webhook_endpoint_deleted"}
    refusal(await server.client.get(f"/-/webhooks/{new['id']}"), 404, "not_found_error")
    refusal(await server.client.delete(f"/-/webhooks/{new['id']}"), 404, "not_found_error")


async def test_a_disabled_endpoint_says_why_and_is_enabled_again(server: Server) -> None:
    new = await made(server)
    server.store.webhooks.on_disabled(new["id"], server.platform.clock.now(), "status 301")
    found = (await server.client.get("/-/webhooks")).json()["data"][0]
    assert (found["status"], found["disabled_reason"]) == ("disabled", "status 301")
    assert found["disabled_at"] is not None
    enabled = (await server.client.post(f"/-/webhooks/{new['id']}/enable")).json()
    assert (enabled["status"], enabled["disabled_at"], enabled["disabled_reason"]) == ("enabled", None, None)


async def test_endpoints_are_bounded(server: Server) -> None:
    for _ in range(MOST_REGISTRATIONS):
        await made(server)
    answer = await server.client.post("/-/webhooks", json={"url": URL})
    assert "limit" in refusal(answer, 409, "conflict_error")
