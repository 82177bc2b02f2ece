"""Which topology gets new sessions, over HTTP; a client of the API is told nothing of it.

Bug class this catches: a switch that reaches no session, or one that clients see.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from api_fakes import Server

from agents.api.app import create_app
from agents.ids import SessionId
from agents.sessions.sides import territory
from agents.settings_sections import StandbySettings
from agents.standby.breaker import Forced, Health, Switch, forced
from agents.standby.port import StandbyReport

Make = Callable[..., Awaitable[Server]]
BOUNDS = StandbySettings(enabled=True)


class Breaker:
    """A breaker that does as it is told."""

    def __init__(self) -> None:
        self.switch = Switch()

    def share(self) -> float:
        return self.switch.share(BOUNDS.trial_share)

    async def report(self) -> StandbyReport:
        return StandbyReport(self.switch, Health(20, 2), ["monolith-m-0"], self.share())

    async def force(self, mode: Forced | None) -> StandbyReport:
        self.switch = forced(self.switch, mode, BOUNDS, 1000.0)
        return await self.report()


async def with_standby(make_server: Make, **settings: Any) -> Server:
    server = await make_server(standby=BOUNDS, **settings)
    server.platform = replace(server.platform, standby=Breaker())
    server.client._transport.app = create_app(server.platform)  # type: ignore[attr-defined]
    return server


async def test_new_sessions_go_where_they_are_sent_and_only_the_platforms_own_path_tells(make_server: Make) -> None:
    server = await with_standby(make_server)
    shapes = list[set[str]]()
    for mode in ("decoupled", "monolith"):
        answer = await server.client.post("/-/topology", json={"mode": mode})
        assert (answer.status_code, answer.json()["mode"], answer.json()["forced"]) == (200, mode, True)
        made = await server.session()
        shapes.append(set(made))
        stored = await server.store.sessions.get(SessionId(made["id"]))
        assert stored.partition in territory(mode, 64) and stored.topology == mode  # type: ignore[arg-type]
        told = (await server.client.get(f"/-/topology/sessions/{made['id']}")).json()
        assert told == {"session_id": made["id"], "topology": mode}
    assert shapes[0] == shapes[1] and "topology" not in shapes[0]
    free = (await server.client.post("/-/topology", json={"mode": "auto"})).json()
    assert (
        free
        == (await server.client.get("/-/topology")).json()
        == {
            "mode": "monolith",
            "forced": False,
            "reason": "left to itself by command",
            "since": 1000.0,
            "monolith_share": 1.0,
            "switches": 1,
            "requests": 20,
            "lost": 2,
            "outage": None,
            "replicas": ["monolith-m-0"],
        }
    )


async def test_without_a_standby_there_is_no_choice(server: Server) -> None:
    for answer in (
        await server.client.get("/-/topology"),
        await server.client.post("/-/topology", json={"mode": "monolith"}),
    ):
        assert answer.status_code == 400 and "standby.enabled" in answer.json()["error"]["message"]
    made = await server.session()
    told = (await server.client.get(f"/-/topology/sessions/{made['id']}")).json()
    assert told == {"session_id": made["id"], "topology": None}


async def test_what_is_not_a_mode_or_a_session_or_has_no_key_is_refused(make_server: Make) -> None:
    server = await with_standby(make_server, api_key="secret")
    assert (await server.client.get("/-/topology")).status_code == 401
    assert (await server.client.post("/-/topology", json={"mode": "monolith"})).status_code == 401
    server.client.headers["x-api-key"] = "secret"
    for body in ({"mode": "both"}, {}, {"mode": "auto", "more": 1}):
        assert (await server.client.post("/-/topology", json=body)).status_code == 400
    assert (await server.client.get("/-/topology/sessions/sesn_none")).status_code == 404
    assert (await server.client.get("/-/topology")).json()["mode"] == "decoupled"
