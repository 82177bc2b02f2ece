"""Why a brain or a hand has no replica, for those whose requests wait for one.

Serve knows; the fleet asks it, so that no harness has to load Serve for a question that is hardly ever asked.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from actors.names import hand_app_name
from agents.brains.registry import registry_of
from agents.config import Settings
from agents.errors import Unavailable

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 2.0
_HOLDS_SECONDS = 5.0
"""How long it holds what Serve said of what has no replica: it may be deployed anew at any time."""

Fault = tuple[bool, str]
"""Whether Serve has given it up, so that only another deployment helps, and what it says."""


class FaultReport:
    """The answering side, in the fleet."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._apps: Any = None
        self._report: Any = None

    async def faults(self, brains: Sequence[str]) -> dict[str, Fault]:
        """Return what is the matter with those of *brains* (ids) that have no replica, as far as Serve knows."""
        await self._load()
        known = await self._report.states()
        return _lacking({brain: known[brain] for brain in brains if brain in known})

    async def hand_faults(self, hands: Sequence[str]) -> dict[str, Fault]:
        """Return the same of *hands* (ids)."""
        states = await self._load()
        known = await self._apps.applications() or {}
        return _lacking({hand: states.state_of(known.get(hand_app_name(hand))) for hand in hands if known})

    async def _load(self) -> Any:
        # Only now, and in a thread: it loads Serve, which takes memory and half a second.
        states = await asyncio.to_thread(importlib.import_module, "actors.brain_states")
        if self._apps is None:
            self._apps = states.AppReport()
            brains = registry_of(self._settings).brains
            self._report = states.BrainReport(brains, states.apps_of(self._settings), self._apps)
        return states


def _lacking(states: Mapping[str, Any]) -> dict[str, Fault]:
    return {
        name: (state.failed, f"{state.state.value}: {state.message}" if state.message else state.state.value)
        for name, state in states.items()
        if not state.replicas
    }


class KnownFault:
    """What is known of why one brain or hand has no replica; nothing at first."""

    def __init__(self) -> None:
        self._fault: Fault | None = None
        self._ends = 0.0

    def learn(self, fault: Fault | None) -> None:
        """Take note of what Serve says; None: of nothing, or that there are replicas."""
        self._fault, self._ends = fault, asyncio.get_running_loop().time() + _HOLDS_SECONDS

    @property
    def given_up(self) -> bool:
        """Whether Serve has said lately that it has given it up."""
        return self._fault is not None and self._fault[0] and asyncio.get_running_loop().time() < self._ends

    @property
    def said(self) -> str:
        """What Serve said; empty when that is nothing."""
        return "" if self._fault is None else self._fault[1]

    def why(self) -> str:
        """Return the end of a sentence about somebody who waited in vain."""
        return "" if self._fault is None else f": it has no replica ({self.said})"


class FaultFinder:
    """The asking side: one question at a time, every two seconds for as long as somebody has one."""

    def __init__(self, ask: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        """*ask* asks the fleet about some brains or hands, and takes note of the answer. Raises Unavailable."""
        self._ask_fleet = ask
        self._asking: asyncio.Task[None] | None = None
        self._next = 0.0

    def ask(self, names: Sequence[str]) -> None:
        """Ask about *names* (ids), unless that was done just now; returns at once."""
        now = asyncio.get_running_loop().time()
        if names and now >= self._next and (self._asking is None or self._asking.done()):
            self._next = now + _EVERY_SECONDS
            self._asking = asyncio.create_task(self._ask(names))

    async def _ask(self, names: Sequence[str]) -> None:
        try:
            await self._ask_fleet(names)
        except Unavailable as error:
            logger.warning("nobody tells why replicas are lacking: %s", error.message)

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
