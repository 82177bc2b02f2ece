"""The grader's half of a turn: ask a brain whether the outcome is met, say that it goes on, record the verdict.

The grader's context is its own: the outcome, the rubric, a transcript of what was done and the files that it left.
Nothing of the agent's conversation but its words, and none of the agent's thinking.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from agents.brains.grading import SYSTEM, Verdict, grading_message, verdict_in
from agents.brains.port import BrainFailure
from agents.ids import EventId
from agents.sessions.asides import Aside, Question
from agents.sessions.compaction import too_long
from agents.sessions.draft import Draft
from agents.sessions.evaluation import end_evaluation, keep_evaluating
from agents.sessions.graded_files import graded_files
from agents.sessions.lifecycle import TurnRules, give_up
from agents.sessions.model_requests import Spent, pause
from agents.sessions.outcome import FAILED, MAX_ITERATIONS_REACHED, NEEDS_REVISION, Outcome
from agents.sessions.owner import ThreadOwner
from agents.sessions.transitions import ERROR_TYPES, follow_up

logger = logging.getLogger(__name__)

_ONGOING_SECONDS = 15.0
"""How often the log says that an evaluation goes on."""
_ASKED = 2
"""How often a grader is asked whose answer has no verdict."""
_HALVINGS = 3
"""How often it is shown half as much because that was too long: how many tokens a text has is an estimate."""
_FEWEST_CHARACTERS = 1000
_FORM = "Your answer has no verdict in the form that was asked for. Answer again, with <result> and <explanation>."


class Grader:
    """Evaluates the outcomes of one session, for its primary thread."""

    def __init__(self, owner: ThreadOwner) -> None:
        self._owner = owner
        self._evaluation: EventId | None = None
        self._aside: Aside | None = None

    def spent(self) -> Spent:
        """What the evaluation that is under way consumed so far; nothing before it has begun here."""
        if self._aside is None or self._evaluation != self._owner.state.grading:
            return Spent()
        return self._aside.spent

    async def meter_unfinished(self) -> None:
        """Put into the session's bill what an evaluation consumed that brought no verdict."""
        if self._aside is not None:
            await self._aside.meter()

    async def grade(self, evaluation: EventId, outcome: Outcome) -> None:
        """Make the evaluation that the log has opened and record how it ended."""
        # Each making has its row in the bill, and one that a crash has lost none.
        key = f"{evaluation}:{outcome.put_off}" if outcome.put_off else evaluation
        self._evaluation, self._aside = evaluation, Aside(self._owner, key)
        aside, rules = self._aside, self._owner.rules
        try:
            async with self._going_on(evaluation):
                verdict = await self._verdict(aside, evaluation, outcome)
        except BrainFailure as failure:
            words = failure
            logger.warning("no verdict on %s of %s: %s", outcome.id, self._owner.state.record.id, failure.message)
            await self._owner.apply(lambda draft: record_failed_grading(draft, rules, evaluation, words, aside.spent))
        else:
            await self._owner.apply(lambda draft: record_verdict(draft, rules, evaluation, verdict, aside.spent))
        await aside.meter()

    async def _verdict(self, aside: Aside, evaluation: EventId, outcome: Outcome) -> Verdict:
        state, compaction = self._owner.state, self._owner.rules.compaction
        entries = compaction.entries(state.conversation, state.conversation.messages)
        files = await graded_files(self._owner.ports, state.record, evaluation)
        room = compaction.transcript_characters(state, state.agent["model"]["id"])
        characters = max(room - len(outcome.description) - len(outcome.rubric), _FEWEST_CHARACTERS)
        for halvings in range(_HALVINGS + 1):
            asked = grading_message(
                outcome.description,
                outcome.rubric,
                entries,
                iteration=outcome.iteration,
                most=outcome.max_iterations,
                characters=characters,
                files=files,
            )
            try:
                return await self._answered(aside, asked)
            except BrainFailure as failure:
                if halvings == _HALVINGS or not too_long(failure):
                    raise
                logger.info("the grader of %s is shown less: %s", state.record.id, failure.message)
                characters = min(characters, sum(map(len, (*entries, *files)))) // 2
        raise AssertionError("a grader is asked once at least")

    async def _answered(self, aside: Aside, asked: dict[str, Any]) -> Verdict:
        messages = [asked]
        for _ in range(_ASKED):
            answer = await aside.ask(Question(SYSTEM, messages))
            verdict = verdict_in(answer)
            if verdict is not None:
                return verdict
            again = [{"type": "text", "text": _FORM}]
            said = [{"type": "text", "text": answer or "(no answer)"}]
            messages = [asked, {"role": "assistant", "content": said}, {"role": "user", "content": again}]
        raise BrainFailure("request_failed", "The grader gave no verdict.", transient=False)

    @asynccontextmanager
    async def _going_on(self, evaluation: EventId) -> AsyncGenerator[None]:
        """Have the log say, as long as this lasts, that the evaluation is under way."""
        telling = asyncio.create_task(self._tell(evaluation))
        try:
            yield
        finally:
            telling.cancel()
            # Where it could not be told the state is lost, which the next commit raises.
            await asyncio.gather(telling, return_exceptions=True)

    async def _tell(self, evaluation: EventId) -> None:
        while True:
            await self._owner.ports.clock.sleep(_ONGOING_SECONDS)
            await self._owner.apply(lambda draft: keep_evaluating(draft, evaluation))


def _is_open(draft: Draft, evaluation: EventId) -> bool:
    return draft.state.grading == evaluation


def record_verdict(draft: Draft, rules: TurnRules, evaluation: EventId, verdict: Verdict, spent: Spent) -> None:
    """Log a verdict, and what follows: a revision, a closing turn, or the end of the turn."""
    outcome = draft.session.outcome
    if outcome is None or not _is_open(draft, evaluation):
        return
    result = verdict.result
    if result == NEEDS_REVISION and outcome.last:
        result = MAX_ITERATIONS_REACHED
    end_evaluation(draft, result, verdict.explanation, spent)
    follow_up(draft, rules)


def record_failed_grading(
    draft: Draft, rules: TurnRules, evaluation: EventId, failure: BrainFailure, spent: Spent
) -> None:
    """Log that there is no verdict: wait for the budget where it is used up, or else end the turn."""
    if not _is_open(draft, evaluation) or draft.state.interrupted:
        return  # what an interrupt stops is counted where it is applied
    if rules.budgets.used_up(draft.session.record, draft.now, unrecorded=spent.micro_usd):
        # It stays open, and is made once more when there is something to spend again.
        keep_evaluating(draft, evaluation, spent)
        pause(draft, rules)
        return
    end_evaluation(draft, FAILED, f"There is no verdict: {failure.message}", spent)
    give_up(draft, rules, ERROR_TYPES[failure.kind], failure.message)
