"""One run of an inference server: from its start to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from agents.brain_settings import BrainDefinition
from agents.brains.claude import ClaudeBrain
from agents.brains.port import BrainRequest, EngineUnusable
from agents.brains.server.presets import LOOPBACK, command_for, preset_of
from agents.brains.server.probe import Probe
from agents.brains.server.process import ServerProcess, is_taken
from agents.config import BrainSettings
from agents.vault import MemoryVault

logger = logging.getLogger(__name__)

HUNG_AFTER_CHECKS = 3
_PATIENCE_IN_CHECKS = 5.0
"""How long one check may take, in ``check_seconds``: a server under load answers late."""
_FIRST_CHECK_SECONDS = 0.02
_DYING_SECONDS = 0.3
"""A request fails a moment before the end of the process is known."""
_KILLED_SECONDS = 15.0
_WARM_UP: list[dict[str, Any]] = [{"role": "user", "content": "Say ok."}]


class ServerRun:
    """Starts one server process, asks it, watches it and ends it."""

    def __init__(
        self,
        definition: BrainDefinition,
        settings: BrainSettings,
        *,
        program: str,
        environment: Mapping[str, str],
        port: int,
    ) -> None:
        """Start *program* on *port*; raises EngineUnusable when no process can be started."""
        self._definition = definition
        self._port = port
        self._ending = False
        preset, [_, *arguments] = preset_of(definition), command_for(definition, port)
        name = Path(program).name
        try:
            self._process = ServerProcess(
                [program, *arguments],
                environment=environment,
                stop_seconds=definition.server.stop_seconds,
                on_line=lambda line: logger.info("%s: %s", name, line),
            )
        except OSError as error:
            raise EngineUnusable(f"the inference server cannot be started: {error}") from error
        logger.info("%s is started on port %d under process %d", name, port, self._process.pid)
        url = f"http://{LOOPBACK}:{port}"
        self._brain = ClaudeBrain(settings, MemoryVault(), base_url=url, local=True)
        self._probe = Probe(
            url,
            health_path=preset.health_path,
            metrics_path=preset.metrics_path,
            patience=definition.server.check_seconds * _PATIENCE_IN_CHECKS,
        )

    async def become_ready(self) -> None:
        """Return when it has answered a first request. Raises EngineUnusable, with the last lines that it printed."""
        patience = self._definition.server.start_seconds
        ready, ended = asyncio.create_task(self._warm_up()), asyncio.create_task(self._process.ended_within(None))
        try:
            await asyncio.wait({ready, ended}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if ready.done() and ready.exception() is None:
                return
            if await self._process.ended_within(_DYING_SECONDS if ready.done() else 0):
                raise EngineUnusable(f"the inference server {self._process.how_it_ended()}")
            fault = f"fails a first request: {ready.exception()}" if ready.done() else f"is not up after {patience:g} s"
            raise EngineUnusable(f"the inference server {fault}; its last lines:\n{self._process.last_lines()}")
        finally:
            ready.cancel()
            ended.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)

    def think(self, request: BrainRequest) -> AsyncIterator[dict[str, Any]]:
        """See Brain.think; ``is_lost`` tells whether a failure is the server's own end."""
        return self._brain.think(request)

    async def count_tokens(self, request: BrainRequest) -> int:
        """See TokenCounter.count_tokens."""
        return await self._brain.count_tokens(request)

    async def metrics(self) -> str:
        """See Probe.metrics."""
        return await self._probe.metrics()

    async def is_lost(self) -> bool:
        """Whether it has ended, or does not answer."""
        return self._ending or not self._process.alive or not await self._probe.is_healthy()

    async def fault(self, checked: Callable[[bool], None]) -> str:
        """Wait until it ends, or hangs and is killed for it; returns in words what happened.

        *checked* is told after each check whether it found the server well.
        """
        missed = 0
        while missed < HUNG_AFTER_CHECKS:
            if await self._process.ended_within(self._definition.server.check_seconds):
                return self._process.how_it_ended()
            well = await self._probe.is_healthy()
            checked(well)
            missed = 0 if well else missed + 1
        self.kill()
        await self._process.ended_within(_KILLED_SECONDS)
        return f"did not answer {missed} checks of its health; its last lines:\n{self._process.last_lines()}"

    def port_was_taken(self) -> bool:
        """Whether, now that it has ended, somebody else has its port."""
        return is_taken(self._port)

    def kill(self) -> None:
        """End it without delay; returns at once."""
        self._ending = True
        self._process.kill()

    async def stop(self) -> None:
        """End it; requests under way fail. May be called again. Raises TimeoutError when it cannot be killed."""
        self._ending = True
        # First, for a server that ends softly waits for its connections.
        await self._brain.aclose()
        try:
            await self._process.stop()
        finally:
            await self._probe.aclose()

    async def _warm_up(self) -> None:
        pause = _FIRST_CHECK_SECONDS
        while not await self._probe.is_healthy():
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._definition.server.check_seconds)
        request = BrainRequest("", self._definition.model or "", _WARM_UP, max_tokens=1)
        async for _ in self.think(request):
            pass
