"""``/-/topology``: whether new sessions go to the parts or to the standby monolith, and why (docs/operations.md).

Ours, not the vendor's; it takes a key, as it changes things. Nothing of the API itself tells which of the two took a
session: that is for the people who run the platform.
"""

from __future__ import annotations

import logging
from typing import Literal, Required

from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from agents.api.answers import json_answer
from agents.api.platform import Platform
from agents.api.routes import Operation
from agents.api.wire import parse, read_json
from agents.errors import InvalidRequest
from agents.ids import SessionId
from agents.sessions.sides import Side
from agents.standby.port import Standby

_log = logging.getLogger(__name__)


class TopologyParams(TypedDict, total=False):
    """Where new sessions are to go; ``auto`` leaves it to the breaker."""

    mode: Required[Literal["auto", "decoupled", "monolith"]]


class TopologyReport(TypedDict):
    """How the breaker stands, and what it sees of the parts."""

    mode: Literal["decoupled", "monolith", "trial"]
    forced: bool
    reason: str
    since: float | None
    monolith_share: float
    switches: int
    requests: int
    lost: int
    outage: str | None
    replicas: list[str]


class TakenBy(TypedDict):
    """Whom a session was made for; null where there was no choice."""

    session_id: str
    topology: Side | None


class TopologyRoutes:
    """Look, force, and look a session up."""

    def __init__(self, platform: Platform) -> None:
        self._standby = platform.standby
        self._sessions = platform.store.sessions

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        path, tag, one = "/-/topology", "topology", "/-/topology/sessions/{session_id}"
        return [
            Operation("GET", path, self.retrieve, "getTopology", tag, TopologyReport),
            Operation("POST", path, self.force, "setTopology", tag, TopologyReport, body=TopologyParams),
            Operation("GET", one, self.taken_by, "getSessionTopology", tag, TakenBy),
        ]

    def _there(self) -> Standby:
        if self._standby is None:
            raise InvalidRequest("there is no choice of topology here: the platform has no standby (standby.enabled)")
        return self._standby

    async def retrieve(self, request: Request) -> Response:
        del request
        return json_answer((await self._there().report()).wire())

    async def force(self, request: Request) -> Response:
        mode = parse(TopologyParams, await read_json(request))["mode"]
        report = await self._there().force(None if mode == "auto" else mode)
        _log.warning("new sessions: %s by command (by key %r)", mode, request.state.principal)
        return json_answer(report.wire())

    async def taken_by(self, request: Request) -> Response:
        session_id = SessionId(request.path_params["session_id"])
        record = await self._sessions.get(session_id)
        return json_answer({"session_id": session_id, "topology": record.topology})
