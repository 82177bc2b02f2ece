"""One session's calls and costs as its owner commits them: loops and costly turns are found at once.

Nothing here outlives its owner: the next one begins to count where it takes the session up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson

from agents.economics.price_book import MICRO
from agents.governance.anomalies.anomaly import AnomalyKind, Finding
from agents.governance.anomalies.costs import SpendingRate, TurnCosts
from agents.governance.anomalies.loops import LoopWatch
from agents.governance.anomalies.settings import AnomalySettings
from agents.sessions.events import MESSAGES, TOOL_RESULTS, TOOL_USES, Event, EventType, SessionRecord
from agents.sessions.state import SessionState


class SessionWatch:
    """Watches the commits of one session."""

    def __init__(
        self,
        settings: AnomalySettings,
        state: SessionState,
        turns: TurnCosts,
        spending: SpendingRate,
        clock: Callable[[], float],
        report: Callable[[Iterator[Finding]], None],
    ) -> None:
        """*turns* and *spending* are those of all sessions here; *clock* tells seconds that never go backwards."""
        self._turns = turns
        self._spending = spending
        self._clock = clock
        self._report = report
        self._loops: dict[str | None, LoopWatch] = {}
        self._repeats = settings.loop_repeats
        self._calls = {call.id: (call.name, _digest([call.name, call.input])) for call in state.open_calls()}
        self._cost = state.record.usage.token_cost_micro_usd
        self._turn = 0
        self._told = False

    def committed(self, record: SessionRecord, events: Sequence[Event]) -> None:
        """Look at a commit: the row as it is now, and the events that have got their place in the log."""
        self._report(self._findings(record, events))

    def _findings(self, record: SessionRecord, events: Sequence[Event]) -> Iterator[Finding]:
        yield from self._spent(record)
        for event in events:
            if event.type in MESSAGES:
                self._loops.pop(event.thread, None)
            elif event.type in TOOL_USES:
                name = event.body["name"]
                self._calls[event.id] = name, _digest([name, event.body["input"]])
            elif event.type in TOOL_RESULTS:
                yield from self._returned(record.id, event)
            elif event.type is EventType.SESSION_IDLE and event.body["stop_reason"]["type"] != "requires_action":
                self._turns.ended(self._turn / MICRO, self._clock())
                self._turn, self._told = 0, False

    def _spent(self, record: SessionRecord) -> Iterator[Finding]:
        cost = record.usage.token_cost_micro_usd
        spent, self._cost = cost - self._cost, cost
        if spent <= 0:
            return
        now = self._clock()
        self._turn += spent
        self._spending.spend(spent / MICRO, now)
        if not self._told and (finding := self._turns.check(record.id, self._turn / MICRO, now)) is not None:
            self._told = True
            yield finding

    def _returned(self, session_id: str, event: Event) -> Iterator[Finding]:
        call = self._calls.pop(event.body[TOOL_RESULTS[event.type]], None)
        if call is None:
            return
        name, digest = call
        loops = self._loops.setdefault(event.thread, LoopWatch(self._repeats))
        length = loops.add(_digest([digest, event.body.get("content"), event.body.get("is_error")]))
        if length:
            what = f"the same call of {name}" if length == 1 else f"the same round of {length} calls"
            words = f"the session has made {what} {self._repeats} times in a row, with the same results"
            figures = {"calls": length, "repeats": self._repeats}
            yield Finding(AnomalyKind.LOOP, session_id, words, figures, session_id=session_id)


def _digest(value: Any) -> int:
    return hash(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
