"""The brain's half of a turn: ask, stream previews, record the answer or the failure, back off."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any

from agents.brains.assembly import Answer, TokenUsage
from agents.brains.chunks import ChunkChain
from agents.brains.first_token import FirstToken
from agents.brains.port import BrainFailure, BrainLost, BrainRequest
from agents.hands.servers.port import Offer
from agents.ids import EventId
from agents.sessions import transitions
from agents.sessions.brain_stream import bounded_stream, pause_after
from agents.sessions.consumption import Consumption
from agents.sessions.delegation import coordinator_tools
from agents.sessions.discovery import Discovery
from agents.sessions.draft import Draft
from agents.sessions.judging import Judge
from agents.sessions.model_requests import Spent
from agents.sessions.owner import ThreadOwner
from agents.sessions.permissions import Toolbox
from agents.sessions.previews import PREVIEWED, PreviewWriter
from agents.sessions.prompting import system_prompt
from agents.sessions.provisioning import begins_turn, provide_sandbox
from agents.sessions.served import offers_told
from agents.sessions.summarizing import record_summary, summary_of, summary_request
from agents.telemetry.tracing import names
from agents.telemetry.tracing.spans import Value

logger = logging.getLogger(__name__)

_REPEATS = 3
"""How often a request whose brain was lost is made again at once; then it counts as failed and backs off."""

Record = Callable[[Draft, Spent], None]
"""Drafts what an answer does to the log, given what it cost."""


class Thinker:
    """Makes the model requests of one session."""

    def __init__(self, owner: ThreadOwner) -> None:
        self._owner = owner
        self._consumption = Consumption(owner)
        self._request_id: EventId | None = None
        self._retry_after: float | None = None
        self._discovery = Discovery(owner)
        self._offers: Mapping[str, Offer] = {}
        self._toolbox_of: tuple[dict[str, Any], Mapping[str, Offer], Toolbox] | None = None
        self._chain = ChunkChain()
        self._judge = Judge(owner)

    def spent(self) -> Spent:
        """What the open request consumed so far, answers that were lost halfway included; nothing before it is made."""
        if self._request_id != self._owner.state.open_request:
            return Spent()
        return self._consumption.spent

    def _toolbox(self) -> Toolbox:
        # By identity: the snapshot is replaced, never changed, when a session's tools are updated.
        agent, known = self._owner.state.agent, self._toolbox_of
        if known is None or known[0] is not agent or known[1] != self._offers:
            definitions = {tool["name"]: tool for tool in self._owner.ports.tool_definitions()}
            internal = coordinator_tools(self._owner.state)
            toolbox = Toolbox(agent["tools"], definitions, self._discovery.urls(), self._offers, internal)
            known = self._toolbox_of = (agent, self._offers, toolbox)
        return known[2]

    def _request(self) -> BrainRequest:
        state = self._owner.state
        agent, toolbox = state.agent, self._toolbox()
        return BrainRequest(
            session_id=state.record.id,
            model=agent["model"]["id"],
            messages=state.conversation.snapshot(),
            system=system_prompt(state.record, agent, has_sandbox_tools=toolbox.has_sandbox_tools),
            tools=toolbox.definitions,
            max_tokens=self._owner.ports.settings.brain.max_tokens,
            effort=agent["model"]["effort"]["type"],
            speed=agent["model"]["speed"],
            inference_geo=agent["model"]["inference_geo"],
            attempt=state.failures + 1,
            principal=state.record.principal,
            versions=dict(state.session.versions),
            live=any(self._owner.ports.bus.wants(state.record.id, kind) for kind in PREVIEWED),
            chain=self._chain,
        )

    async def think(self, request_id: EventId) -> None:
        """Make the model request that the log has opened and record how it ended."""
        self._request_id, self._consumption = request_id, Consumption(self._owner)
        if not self._owner.state.primary:
            self._owner.trace.note(request_id, {names.REQUEST_MODEL: self._owner.state.agent["model"]["id"]})
        try:
            await self._owner.take_slot()
            record = await (self._turn(request_id) if self._owner.state.keeps is None else self._summary())
        except BrainFailure as failure:
            await self._failed(request_id, failure)
            return
        spent = self.spent()

        def change(draft: Draft) -> None:
            if draft.state.open_request == request_id:
                self._judge.count(draft)
                record(draft, spent)

        await self._owner.apply(change)
        await self._consumption.meter(request_id, spent)
        await self._judge.meter()

    def count_judging(self, draft: Draft) -> None:
        """Count what judging the calls of the open request's answer has consumed, before the request is ended."""
        self._judge.count(draft)

    async def meter_unfinished(self, request_id: EventId | None, spent: Spent) -> None:
        """Record what a request consumed that brought no answer: it is in the bill of the session, too."""
        if request_id is not None and spent.usage != TokenUsage():
            await self._consumption.meter(request_id, spent)
            await self._judge.meter()

    async def _turn(self, request_id: EventId) -> Record:
        """Get the agent's next answer. Raises BrainFailure."""
        self._offers = await self._discovery.offers()
        if self._has_sandbox_first():
            await provide_sandbox(self._owner.ports, self._owner.state, request_id)
        answer, preview_ids = await self._answer(self._request)
        rules, toolbox, shown, urls = self._owner.rules, self._toolbox(), self._offers, self._discovery.urls()
        judged = await self._judge.judged(request_id, answer, toolbox, self.spent())

        def record(draft: Draft, spent: Spent) -> None:
            told = offers_told(shown, draft.state.offers, draft.state.failed_servers, urls)
            transitions.record_answer(draft, rules, answer, spent, toolbox, preview_ids, offers=told, judged=judged)

        return record

    def _has_sandbox_first(self) -> bool:
        state, settings = self._owner.state, self._owner.ports.settings.sandbox
        return (
            settings.provision == "before_turn"
            and not state.record.self_hosted
            and self._toolbox().has_sandbox_tools
            and begins_turn(state)
        )

    async def _summary(self) -> Record:
        """Get a summary, from the session's own model when the one meant for it fails. Raises BrainFailure."""
        rules, counts = self._owner.rules, self._owner.ports.compactions
        *others, own = rules.compaction.models(self._owner.state)
        for model in others:
            try:
                summary = await self._summary_by(model)
                break
            except BrainFailure as failure:
                logger.warning("%s made no summary of %s: %s", model, self._owner.state.record.id, failure.message)
                if self._budget_used_up():
                    raise
        else:
            summary = await self._summary_by(own)
        return lambda draft, spent: record_summary(draft, rules, summary, spent, counts)

    async def _summary_by(self, model: str) -> str:
        answer, _ = await self._answer(lambda: summary_request(self._owner, model), previewed=False)
        return summary_of(answer)

    async def _answer(
        self, make: Callable[[], BrainRequest], *, previewed: bool = True
    ) -> tuple[Answer, dict[int, EventId]]:
        """Ask until there is an answer; returns it with the ids of its previews. Raises BrainFailure.

        A brain that is lost in mid-answer is no failure of the model's: half a message never existed (law 7),
        and the same request goes to the next brain. Its previews are given up with it: new ones have new ids.
        """
        ports, consumption = self._owner.ports, self._consumption
        repeats, asked = 0, ports.clock.monotonic()
        while True:
            previews = PreviewWriter(ports.bus, self._owner.state.record.id, self._owner.state.event_thread)
            request = make()
            consumption.begin(request.model)
            first = FirstToken(ports.clock.monotonic)
            try:
                thinking = bounded_stream(ports.brain.think(request), ports.settings.brain, live=request.live)
                with self._owner.trace.asking(self._request_id, "hecaton-brain", "think"):
                    async with aclosing(thinking) as events:
                        async for event in events:
                            first.see(event)
                            if (changes := consumption.feed(event)) and previewed:
                                previews.show(changes)
                answer = consumption.finish()
                self._answered(answer, first, asked=asked, previewed=previewed)
                return answer, previews.ids
            except BrainLost as lost:
                logger.warning("the brain of %s was lost: %s", request.session_id, lost.message)
                if repeats == _REPEATS or self._budget_used_up():
                    raise
                repeats += 1
                ports.metrics.request_repeated()

    def _answered(self, answer: Answer, first: FirstToken, *, asked: float, previewed: bool) -> None:
        """Tell metrics and trace when the answer began, and the trace why it ended."""
        self._note({names.FINISH_REASONS: (answer.stop_reason,)})
        if first.at is None:
            return
        seconds = first.at - asked
        self._note({names.TIME_TO_FIRST_CHUNK: seconds})
        if previewed:
            self._owner.ports.metrics.first_token(answer.route.brain.id if answer.route else None, seconds)

    def _note(self, attributes: Mapping[str, Value]) -> None:
        """Tell the open request's span what the log does not say of it."""
        route, settings = self._consumption.route, self._owner.ports.settings
        engine = settings.engine if route is None else route.brain.definition.engine
        self._owner.trace.note(self._request_id or "", {names.PROVIDER: names.provider(engine), **attributes})

    def _budget_used_up(self) -> bool:
        record, now = self._owner.state.record, self._owner.ports.clock.now()
        return self._owner.rules.budgets.used_up(record, now, unrecorded=self.spent().micro_usd)

    async def _failed(self, request_id: EventId, failure: BrainFailure) -> None:
        logger.warning(
            "model request of %s failed (%s): %s", self._owner.state.record.id, failure.kind, failure.message
        )
        self._retry_after = failure.retry_after
        self._note({names.ERROR_TYPE: failure.kind})
        max_attempts = self._owner.ports.settings.brain.max_attempts
        spent = self.spent()

        def record(draft: Draft) -> None:
            if draft.state.open_request == request_id:
                transitions.record_failure(draft, self._owner.rules, failure, spent, max_attempts=max_attempts)

        await self._owner.apply(record)
        await self.meter_unfinished(request_id, spent)

    async def back_off(self) -> None:
        """Wait before the next attempt, then ask again."""
        settings, failures = self._owner.ports.settings.brain, self._owner.state.failures
        await self._owner.ports.clock.sleep(pause_after(failures, settings, self._retry_after))
        await self._owner.apply(lambda draft: transitions.resume_request(draft, self._owner.rules))
