"""Questions to a brain beside the loop: a judge of permissions, a grader of outcomes, an advisor.

The question has a context of its own: it stands in nobody's conversation, and what is answered is text. It goes to the
same brains as the thread's turns, by the same routes, and what it consumes is the session's: in its usage, its bill
and its budget. How to use one::

    aside = Aside(owner, key)
    try:
        said = await aside.ask(Question(system, messages))
    except BrainFailure as failure: ...
    await owner.apply(lambda draft: ... aside.count(draft) ...)  # once, in the commit that has what came of it
    await aside.meter()

Nothing is logged here, so a question whose answer a crash has lost is asked again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from agents.brains.assembly import Answer, TokenUsage
from agents.brains.port import BrainFailure, BrainRequest
from agents.sessions.brain_stream import bounded_stream, pause_after
from agents.sessions.consumption import Consumption
from agents.sessions.draft import Draft
from agents.sessions.model_requests import Spent, add_usage
from agents.sessions.owner import ThreadOwner

logger = logging.getLogger(__name__)


_WHOLE = ("end_turn", "stop_sequence")


@dataclass(frozen=True, slots=True)
class Question:
    """What a brain is asked; messages have the shapes of the Messages API."""

    system: str
    messages: Sequence[dict[str, Any]]
    model: str | None = None
    """Whom to ask, as agents name models; None: the thread's own model."""
    max_tokens: int = 4096
    attempts: int | None = None
    """How often it is asked while failures are transient; None: as often as the agent's own requests are made."""
    whole: bool = False
    """Whether an answer that was cut off is none."""
    seconds: float | None = None
    """Until when there must be an answer, pauses included; None: each attempt has the deadlines of any request."""


class Aside:
    """One question of a thread's; or several in a row, which are counted together."""

    def __init__(self, owner: ThreadOwner, key: str, *, beside: Callable[[], int] = lambda: 0) -> None:
        """*key* names it in the bill: an event's id, or one made from it, that no other request has.

        *beside* tells what else the thread's turn has spent that is not counted yet, in micro-USD.
        """
        self._owner = owner
        self._key = key
        self._beside = beside
        self._consumption = Consumption(owner)

    @property
    def spent(self) -> Spent:
        """What was consumed so far, also by attempts that failed and by one that was cancelled."""
        return self._consumption.spent

    async def ask(self, question: Question) -> str:
        """Return the text of the answer, which may be empty.

        Raises BrainFailure: every attempt failed, the time is over (``request_failed``), the session's budget is used
        up or cannot cap what the model costs (``billing``), the model refused or, where that matters, was cut off
        (``request_failed``, not transient).
        """
        await self._owner.take_slot()
        try:
            async with asyncio.timeout(question.seconds):
                answer = await self._persist(question)
        except TimeoutError as error:
            words = f"no answer from the model within {question.seconds} s"
            raise BrainFailure("request_failed", words, transient=True) from error
        if answer.stop_reason == "refusal":
            raise BrainFailure("request_failed", "the model declined to answer", transient=False)
        if question.whole and answer.stop_reason not in _WHOLE:
            raise BrainFailure("request_failed", f"the answer was cut off ({answer.stop_reason})", transient=False)
        return "".join(block.text for block in answer.blocks if block.kind == "text").strip()

    async def _persist(self, question: Question) -> Answer:
        settings, clock = self._owner.ports.settings.brain, self._owner.ports.clock
        model = question.model or self._owner.state.agent["model"]["id"]
        attempts = question.attempts or settings.max_attempts
        for attempt in range(1, attempts + 1):
            self._check_budget(model)
            try:
                return await self._answer(self._request(question, model, attempt))
            except BrainFailure as failure:
                if not failure.transient or attempt == attempts:
                    raise
                logger.warning("question beside %s failed: %s", self._owner.state.record.id, failure.message)
                await clock.sleep(pause_after(attempt, settings, failure.retry_after))
        raise AssertionError("a question is asked once at least")

    def _check_budget(self, model: str) -> None:
        record, now, budgets = self._owner.state.record, self._owner.ports.clock.now(), self._owner.rules.budgets
        if record.budget is not None and not budgets.knows_cost(model):
            raise BrainFailure("billing", f"{model!r} has no price, and there is a budget", transient=False)
        if budgets.used_up(record, now, unrecorded=self._beside() + self.spent.micro_usd):
            raise BrainFailure("billing", "the session's budget is used up", transient=False)

    async def _answer(self, request: BrainRequest) -> Answer:
        ports, consumption = self._owner.ports, self._consumption
        consumption.begin(request.model)
        stream = bounded_stream(ports.brain.think(request), ports.settings.brain, live=False)
        async with aclosing(stream) as events:
            async for event in events:
                consumption.feed(event)
        return consumption.finish()

    def _request(self, question: Question, model: str, attempt: int) -> BrainRequest:
        state = self._owner.state
        return BrainRequest(
            session_id=state.record.id,
            model=model,
            messages=list(question.messages),
            system=question.system,
            max_tokens=question.max_tokens,
            speed=state.speed_of(model),
            inference_geo=state.agent["model"]["inference_geo"],
            attempt=attempt,
            principal=state.record.principal,
            versions=dict(state.session.versions),
            live=False,
        )

    def count(self, draft: Draft) -> None:
        """Add what was consumed to the usage of the session and of the draft's thread."""
        add_usage(draft, self.spent)

    async def meter(self) -> None:
        """Put what was consumed into the session's bill; doing so again changes nothing."""
        spent = self.spent
        if spent.usage != TokenUsage():
            await self._consumption.meter(self._key, spent)
