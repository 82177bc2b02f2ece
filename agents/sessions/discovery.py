"""What the MCP servers of a session offer, asked for before each model request (spec C.4).

A server that fails is told once, with ``session.error``, until it is there again; the turn goes on without its tools,
and the next turn asks again. Whether an offer is asked for over the network is for the port to know, which keeps it
for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace

from agents.errors import HecatonError
from agents.hands.servers.port import Offer, ServerRefusedAuth, ToolServer
from agents.hands.servers.router import is_hand
from agents.sessions.draft import Draft
from agents.sessions.lifecycle import report_error
from agents.sessions.owner import ThreadOwner
from agents.sessions.permissions import MCP_TOOLSET
from agents.sessions.served import caller_of

logger = logging.getLogger(__name__)


class Discovery:
    """Asks the servers of one session."""

    def __init__(self, owner: ThreadOwner) -> None:
        self._owner = owner
        self._silent: set[ToolServer] = set()
        """Servers that have failed in this turn, and are not asked again in it."""

    def urls(self) -> dict[str, str]:
        """Return the URLs of the servers that the session's agent has tools of, by name."""
        agent = self._owner.state.agent
        used = {tool["mcp_server_name"] for tool in agent["tools"] if tool["type"] == MCP_TOOLSET}
        return {server["name"]: server["url"] for server in agent["mcp_servers"] if server["name"] in used}

    async def offers(self) -> Mapping[str, Offer]:
        """Return what each server offers that answers in time, by name. Raises what the log raises."""
        urls = self.urls()
        if not urls:
            return {}
        if self._owner.state.rounds <= 1:
            self._silent.clear()
        servers = [ToolServer(name, url) for name, url in urls.items()]
        asked = [server for server in servers if server not in self._silent]
        answers = await asyncio.gather(*(self._ask(server) for server in asked))
        offers: dict[str, Offer] = {}
        failures: dict[str, HecatonError] = {}
        for server, answer in zip(asked, answers, strict=True):
            if isinstance(answer, Offer):
                offers[server.name] = answer
            else:
                failures[server.name] = answer
                self._silent.add(server)
        await self._report(failures)
        return offers

    async def _ask(self, server: ToolServer) -> Offer | HecatonError:
        ports, state = self._owner.ports, self._owner.state
        settings = ports.settings.mcp
        limit = settings.hand_start_seconds if is_hand(server) else settings.connect_timeout_seconds
        try:
            async with asyncio.timeout(limit):
                offer = await ports.servers.offer(server, caller_of(state.record, state.session.hand_versions))
        except HecatonError as failure:
            return failure
        except TimeoutError:
            return HecatonError(f"it did not say within {limit:g} s what it offers")
        except Exception:
            # Tool-call border, as for calls: a server that breaks its client must not end the turn.
            logger.exception("the MCP server %r of %s failed", server.name, state.record.id)
            return HecatonError("the platform failed while it was asked what it offers")
        return replace(offer, tools=tuple(offer.tools))

    async def _report(self, failures: Mapping[str, HecatonError]) -> None:
        """Log what the log does not say yet of these servers."""

        def report(draft: Draft) -> None:
            for name, failure in failures.items():
                type_ = _error_type(failure)
                if draft.state.failed_servers.get(name) != type_:
                    # Its tools are not offered in this turn; the next one asks it again.
                    report_error(draft, type_, f"{name}: {failure.message}", "retrying", server=name)

        known = self._owner.state.failed_servers
        if any(known.get(name) != _error_type(failure) for name, failure in failures.items()):
            await self._owner.apply(report)


def _error_type(failure: HecatonError) -> str:
    refused = isinstance(failure, ServerRefusedAuth)
    return "mcp_authentication_failed_error" if refused else "mcp_connection_failed_error"
