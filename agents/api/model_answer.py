"""One model request of a client: asked once or again, shown as one message, and metered however it ended.

Invariant: what comes out is one message of the Messages API. Events of the platform's own (``hecaton_*``) stay here,
and so does the beginning of an answer that another brain has to give after all: nothing is shown before its content.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from agents.api.message_telemetry import MessageTelemetry
from agents.api.platform import Platform
from agents.brains.assembly import TokenUsage, UsageCount
from agents.brains.message import MessageBuilder
from agents.brains.port import BrainLost, BrainRequest
from agents.brains.registry import Registry
from agents.brains.route import OWN, ROUTE, Route
from agents.errors import Overloaded
from agents.sessions.brain_stream import bounded_stream
from agents.sessions.metering import model_request_row
from agents.telemetry.harness_metrics import UNKNOWN_BRAIN

_log = logging.getLogger(__name__)

_REPEATS = 3
"""How often a request whose brain was lost is made again at once, as for sessions."""
_SHOWN_FROM = frozenset({"content_block_start", "message_stop"})
_NO_SESSION = ""


class ModelAnswer:
    """The answer to one request; to be read once, whole or as it is made."""

    def __init__(
        self,
        platform: Platform,
        registry: Registry,
        request: BrainRequest,
        request_id: str,
        telemetry: MessageTelemetry,
    ) -> None:
        self._platform = platform
        self._registry = registry
        self._request = request
        self._request_id = request_id
        self._telemetry = telemetry
        self._route: Route | None = None
        self._count = UsageCount()
        self._usage = TokenUsage()
        self._micro_usd = 0

    @property
    def brain(self) -> str:
        """Id of the brain that answers, as far as that is known."""
        if self._route is not None:
            return self._route.brain.id
        return self._request.model if self._is_auto else self._platform.releases.releases.find(self._request.model).id

    @property
    def _is_auto(self) -> bool:
        return self._registry.is_auto(self._request.model)

    async def events(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the events of one message. Raises BrainFailure; closing it early cancels the generation."""
        async with aclosing(self._metered()) as events:
            held: list[dict[str, Any]] = []
            shown = False
            async for event in events:
                if event["type"] == ROUTE:
                    held.clear()
                elif shown:
                    yield event
                else:
                    held.append(event)
                    if event["type"] in _SHOWN_FROM:
                        shown = True
                        for each in held:
                            yield each

    async def message(self) -> dict[str, Any]:
        """Return the whole message. Raises BrainFailure."""
        builder = MessageBuilder()
        async with aclosing(self._metered()) as events:
            async for event in events:
                if event["type"] == ROUTE:
                    builder = MessageBuilder()
                builder.feed(event)
        return builder.finish()

    async def _metered(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield what the brain says; a route stands before each new beginning."""
        clock = self._platform.clock
        started = clock.monotonic()
        fault: BaseException | None = None
        try:
            async with aclosing(self._repeated()) as events:
                async for event in events:
                    yield event
        except BaseException as error:
            fault = error
            raise
        finally:
            self._settle()
            brain = UNKNOWN_BRAIN if self._route is None and self._is_auto else self.brain
            self._telemetry.ended(brain, self._route, self._usage, self._micro_usd, fault)
            await self._record(clock.monotonic() - started)

    async def _repeated(self) -> AsyncGenerator[dict[str, Any], None]:
        repeats, shown = 0, False
        while True:
            try:
                async with aclosing(self._once()) as events:
                    async for event in events:
                        shown = shown or event["type"] in _SHOWN_FROM
                        yield event
                return
            except BrainLost as lost:
                # The half answer never existed (law 7) as long as the client has seen nothing of it.
                if repeats == _REPEATS or (shown and self._request.live):
                    raise
                _log.warning("the brain of %s was lost: %s", self._request_id, lost.message)
                repeats += 1
                self._telemetry.repeated()
                self._settle()
                yield {"type": ROUTE}

    async def _once(self) -> AsyncGenerator[dict[str, Any], None]:
        request, settings = self._request, self._platform.settings.brain
        thinking = bounded_stream(self._platform.brain.think(request), settings, live=request.live)
        # This generator is always closed by the task that reads it, so the context is that task's to the end.
        with self._telemetry.asking():
            async with aclosing(thinking) as events:
                async for event in events:
                    self._telemetry.see(event)
                    kind: str = event["type"]
                    if kind == ROUTE:
                        self._settle()
                        self._route = event["route"]
                    else:
                        self._count.see(event)
                    if kind == ROUTE or not kind.startswith(OWN):
                        yield event

    def _settle(self) -> None:
        """Add what the answer so far consumed, at the price of the brain that gave it."""
        request, usage = self._request, self._count.total
        told, own = request.model, None
        if self._route is not None:
            told, own = self._route.brain.told(request.model), self._route.brain.definition.price
        self._micro_usd += self._platform.prices.cost(told, usage, speed=request.speed, own=own)
        self._usage += usage
        self._count = UsageCount()

    async def _record(self, seconds: float) -> None:
        usage = self._usage
        if usage == TokenUsage():
            return
        row = model_request_row(
            self._request_id,
            _NO_SESSION,
            self._request.model,
            usage,
            seconds=seconds,
            micro_usd=self._micro_usd,
            at=self._platform.clock.now(),
            brain="" if self._route is None or self._route.implied else self._route.brain.id,
        )
        try:
            await self._platform.meter.record([row])
        except Overloaded:
            # The answer is out: nothing is left to refuse. The log keeps what the bill lacks.
            _log.error("not metered, as the meter's buffer is full: %r", row)
