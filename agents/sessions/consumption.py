"""What one model request consumes while it is made, and how that comes into the bill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.brains.assembly import Answer, AnswerAssembler, Change
from agents.brains.route import ROUTE, Route
from agents.sessions.metering import model_request_row
from agents.sessions.model_requests import Spent
from agents.sessions.owner import ThreadOwner


class Consumption:
    """Puts the answers to one request together and counts what all of them consumed, also those that were lost."""

    def __init__(self, owner: ThreadOwner) -> None:
        """The request is one of the owner's thread's, and is made from now on."""
        self._owner = owner
        self._model = ""
        self._asked = owner.ports.clock.monotonic()
        self._before = Spent()
        self._assembler = AnswerAssembler()

    @property
    def spent(self) -> Spent:
        """What was consumed so far, each answer at the price of the brain that gives it."""
        return self._before + self._answers_share()

    @property
    def route(self) -> Route | None:
        """Who gives the answer in the making."""
        return self._assembler.route

    def begin(self, model: str) -> None:
        """Begin an answer of whoever *model* names: what an earlier one consumed stays counted."""
        self._before, self._assembler, self._model = self.spent, AnswerAssembler(), model

    def feed(self, event: dict[str, Any]) -> Sequence[Change]:
        """Take one event of the answer (``AnswerAssembler.feed``). Raises BrainFailure."""
        if event.get("type") == ROUTE:
            self._before = self.spent  # another brain takes over, and the assembler begins anew
        return self._assembler.feed(event)

    def finish(self) -> Answer:
        """Return the answer. Raises BrainFailure when the stream ended too early."""
        return self._assembler.finish()

    def _answers_share(self) -> Spent:
        prices, usage, route = self._owner.ports.prices, self._assembler.usage, self._assembler.route
        speed = self._owner.state.speed_of(self._model)
        if route is None:
            return Spent(usage, prices.cost(self._model, usage, speed=speed))
        own, told = route.brain.definition.price, route.brain.told(self._model)
        micro_usd = prices.cost(told, usage, speed=speed, own=own)
        return Spent(usage, micro_usd, None if route.implied else route.wire())

    async def meter(self, key: str, spent: Spent) -> None:
        """Put *spent* into the session's bill, under a *key* that no other request has; once, however often called."""
        ports = self._owner.ports
        row = model_request_row(
            key,
            self._owner.state.record.id,
            self._model,
            spent.usage,
            seconds=ports.clock.monotonic() - self._asked,
            micro_usd=spent.micro_usd,
            at=ports.clock.now(),
            brain=spent.brain["id"] if spent.brain else "",
        )
        await ports.meter.record([row])
