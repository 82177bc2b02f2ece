"""Calls under the policy ``auto``: each is judged by a brain before it is logged (spec C.2).

The judging belongs to the model request whose answer makes the calls: nothing of it is logged before all of them are
judged, and with the answer what came of it. A harness that dies meanwhile has logged no call, so the next one makes
the request again and has its calls judged; none can have run. Whatever keeps a judgement from coming (no answer in
time, words that are none, a failure, the budget) makes the call one that the user is asked about.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

from agents.brains.assembly import Answer, Block
from agents.brains.judging import SYSTEM, Judgement, judgement, question
from agents.brains.port import BrainFailure, texts_in
from agents.brains.summarizing import SUMMARY, USER
from agents.ids import EventId
from agents.sessions.asides import Aside, Question
from agents.sessions.draft import Draft
from agents.sessions.model_requests import Spent
from agents.sessions.owner import ThreadOwner
from agents.sessions.permissions import Toolbox

logger = logging.getLogger(__name__)

_AT_ONCE = 4
"""Calls of one answer that are judged at a time: each is a model request, beside those of everybody else."""
_ATTEMPTS = 3
"""How often a judge is asked while it fails: the user can be asked instead."""
_DESCRIPTION_CHARACTERS = 2000


class Judge:
    """Has the calls of one thread's answers judged."""

    def __init__(self, owner: ThreadOwner) -> None:
        self._owner = owner
        self._request_id: EventId | None = None
        self._asides: list[Aside] = []

    async def judged(self, request_id: EventId, answer: Answer, toolbox: Toolbox, spent: Spent) -> dict[int, Judgement]:
        """Return what becomes of those calls of *answer* that are to be judged, by the places of their blocks.

        *spent* is what the open request has consumed so far. Never raises for a judgement that does not come.
        """
        self._request_id, self._asides = request_id, []
        if answer.stop_reason == "refusal":
            return {}
        blocks = answer.blocks
        calls = [place for place, block in enumerate(blocks) if block.input is not None and toolbox.judges(block.name)]
        decided: dict[int, Judgement] = dict.fromkeys(calls, "ask")
        limit, entries = asyncio.Semaphore(_AT_ONCE), self._entries(answer) if calls else []

        async def decide(place: int) -> None:
            async with limit:
                decided[place] = await self._ask(f"{request_id}:judge{place}", blocks[place], entries, toolbox, spent)

        with suppress(TimeoutError):
            async with asyncio.timeout(self._owner.ports.settings.permissions.judge_seconds):
                async with asyncio.TaskGroup() as group:
                    for place in calls:
                        group.create_task(decide(place))
        return decided

    async def _ask(self, key: str, block: Block, entries: list[str], toolbox: Toolbox, spent: Spent) -> Judgement:
        settings, session = self._owner.ports.settings.permissions, self._owner.state.record.id
        call = {"tool": block.name, "description": self._description(toolbox, block.name), "input": block.input}
        messages = question(self._instructions(), entries, call, characters=settings.judge_characters)
        if messages is None:
            return "ask"
        aside = Aside(self._owner, key, beside=lambda: spent.micro_usd + self._spent_but_by(aside))
        self._asides.append(aside)
        asked = Question(
            SYSTEM,
            messages,
            self._model(),
            max_tokens=settings.judge_tokens,
            attempts=_ATTEMPTS,
            whole=True,
            seconds=settings.judge_seconds,
        )
        try:
            answer = await aside.ask(asked)
        except BrainFailure as failure:
            logger.warning("a call of %s was not judged: %s", session, failure.message)
            return "ask"
        return judgement(answer)

    def _model(self) -> str | None:
        wanted, record = self._owner.ports.settings.permissions.judge, self._owner.state.record
        if wanted is not None and record.budget is not None and not self._owner.rules.budgets.knows_cost(wanted):
            return None  # a budget can hold only what has a price: the thread's own model has one
        return wanted

    def _spent_but_by(self, aside: Aside) -> int:
        return sum(each.spent.micro_usd for each in self._asides if each is not aside)

    def _instructions(self) -> list[str]:
        state = self._owner.state
        own: str | None = state.agent["system"]
        said = (each for each in state.conversation.messages if each["role"] == "system")
        remarks = [text for each in said for text in texts_in(each["content"])]
        return [own, *remarks] if own else remarks

    def _entries(self, answer: Answer) -> list[str]:
        """Return the conversation as the judge is shown it, with the answer that makes the calls.

        What the user wants stands in the primary's conversation: a thread that was delegated to has heard only agents.
        """
        compaction, conversation = self._owner.rules.compaction, self._owner.state.conversation
        shown = [block.raw for block in answer.blocks if block.kind != "thinking"]
        messages: list[dict[str, Any]] = [*conversation.messages, {"role": "assistant", "content": shown}]
        entries = compaction.entries(conversation, messages)
        if self._owner.state.primary:
            return entries
        asked = self._owner.state.session.primary.conversation
        wanted = [each for each in compaction.entries(asked, asked.messages) if each.startswith((USER, SUMMARY))]
        return [*wanted, *entries]

    def _description(self, toolbox: Toolbox, name: str) -> str:
        found = next((each["description"] for each in toolbox.definitions if each["name"] == name), "")
        return found[:_DESCRIPTION_CHARACTERS]

    def count(self, draft: Draft) -> None:
        """Add what the judging for the open request has consumed to the session's usage, in the commit that ends it."""
        if self._request_id is not None and draft.state.open_request == self._request_id:
            for aside in self._asides:
                aside.count(draft)

    async def meter(self) -> None:
        """Put what was consumed into the session's bill; doing so again changes nothing."""
        for aside in self._asides:
            await aside.meter()
