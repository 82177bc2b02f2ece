"""Which version of a hand a session gets, as one process knows it, and the verdicts on versions that are on trial.

Every process that calls hands has one. They meet in the store: each adds what it counted, reads the sum, and whoever
sees a promise broken takes the version back; a split is one row, so that only one of them does (ADR 16, ADR 26).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from agents.clock import Clock
from agents.errors import NotFound, Unavailable
from agents.governance.audit.entries import AuditEntry
from agents.governance.contract import InvalidContract, Sla
from agents.governance.contracts import contract_of
from agents.governance.hand_records import HandReleaseRecords
from agents.governance.outcomes import KEPT_SECONDS, LONG, SHORT, OutcomeRow, Tally, breach, latency_class, objectives
from agents.governance.records import LOOK_SECONDS, change_split, newest, take_back, withdrawal
from agents.governance.split import Split, StoredSplit, judged, split_in_force, version_for
from agents.hands.deployed.records import HandVersion
from agents.hands.servers.port import Caller, Outcome
from agents.periodic import PeriodicTask

logger = logging.getLogger(__name__)


class HandReleases:
    """The splits of all hands, and what was seen of their versions since it was last written down."""

    def __init__(
        self,
        records: HandReleaseRecords,
        hands: Callable[[], Mapping[str, HandVersion]],
        clock: Clock,
        declared: Mapping[str, str] | None = None,
        *,
        read: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """*hands* tells the versions there are, by id, each hand's in the order in which they came.

        *declared* tells the version that the settings give a hand, by its name; *read* makes *hands* tell the newest.
        """
        self._records = records
        self._hands = hands
        self._clock = clock
        self._read = read
        self._declared = {name: Split(version) for name, version in (declared or {}).items()}
        self._stored: Mapping[str, StoredSplit] = {}
        self._counted = Counter[tuple[str, Outcome, int]]()
        failing = "the versions of hands are as they were known"
        self._looking = PeriodicTask("hand-releases", self.look, clock, every=LOOK_SECONDS, failing=failing)

    async def start(self) -> None:
        """Learn how the sessions are dealt out, and go on learning. Raises Unavailable."""
        if not self._looking.running:
            await self._learn()
            self._looking.start()

    async def close(self) -> None:
        """Stop, after keeping what was counted, as far as the store takes it."""
        await self._looking.finish()

    async def look(self) -> None:
        """Keep what was counted since the last time, learn of changes, judge. Raises Unavailable, Conflict."""
        await self._write_down()
        if not self._hands():
            return
        await self._learn()
        for hand, why in await self._verdicts():
            await self._take_back(hand, why)

    async def _learn(self) -> None:
        read = await self._records.splits()
        self._stored = newest(self._stored, read)

    def _now(self) -> int:
        return int(self._clock.now().timestamp())

    # -- which version ---------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Learn at once what others have done until now. Raises Unavailable."""
        if self._read is not None:
            await self._read()
        await self._learn()

    def versions(self, name: str) -> Sequence[HandVersion]:
        """Return the versions of a hand in the order in which they came; raises NotFound when there is none."""
        found = [hand for hand in self._hands().values() if hand.name == name]
        if not found:
            there = ", ".join(dict.fromkeys(hand.name for hand in self._hands().values()))
            raise NotFound(f"there is no hand {name[:80]!r}; there are: {there or 'none'}")
        return found

    def split(self, name: str) -> Split:
        """Return how the sessions of a hand are dealt out. Raises NotFound."""
        return self._split(name, self.versions(name))

    def _split(self, name: str, versions: Sequence[HandVersion]) -> Split:
        return split_in_force(self._stored.get(name), self._declaration(name), [each.version for each in versions])

    def _declaration(self, name: str) -> Split:
        # Of a hand that the settings do not know, the version that came first is current until another is promoted.
        return self._declared.get(name, Split(""))

    def choose(self, name: str, versions: Sequence[HandVersion], caller: Caller) -> HandVersion:
        """Return the version that a session gets which has none yet."""
        chosen = version_for(name, self._split(name, versions), caller.session_id)
        return next(each for each in versions if each.version == chosen)

    def successor(self, name: str, version: str) -> tuple[str, str] | None:
        """Return the version that takes the place of a withdrawn one, and why it was; None: it was not withdrawn."""
        versions = [hand for hand in self._hands().values() if hand.name == name]
        if version not in [each.version for each in versions]:
            return None
        split = self._split(name, versions)
        why = split.withdrawn.get(version)
        return None if why is None else (split.current, why)

    async def change(self, name: str, change: Callable[[Split], Split], entry: AuditEntry | None = None) -> Split:
        """Let *change* make the next split of a hand; returns it.

        An *entry* is written to the audit trail with the change, if there is one. Raises NotFound, what
        *change* raises, Conflict when others change it all the time, Unavailable.
        """
        versions = [each.version for each in self.versions(name)]
        judging = partial(self._judged, name)
        await change_split(self._records, name, self._declaration(name), versions, change, judging, entry)
        await self._learn()
        return self.split(name)

    # -- how they do -----------------------------------------------------------------------------

    def count(self, hand: str, outcome: Outcome, seconds: float) -> None:
        """Take note of how a call of a version (an id) ended, and after how long."""
        self._counted[hand, outcome, latency_class(seconds)] += 1

    async def _write_down(self) -> None:
        counted, self._counted = self._counted, Counter[tuple[str, Outcome, int]]()
        if not counted:
            return
        now = self._now()
        rows = [
            OutcomeRow(hand, span, now // span * span, outcome, latency, calls)
            for (hand, outcome, latency), calls in counted.items()
            for span in (SHORT, LONG)
        ]
        try:
            await self._records.add_outcomes(rows, now=now)
        except Unavailable:
            self._counted += counted
            raise

    async def tally(self, hand: str, seconds: float, *, span: int | None = None) -> Tally:
        """Return how the calls of a version (an id) went in the last *seconds*. Raises Unavailable."""
        fine = span or (SHORT if seconds <= KEPT_SECONDS[SHORT] else LONG)
        # A row that began before the window counts when some of it is within.
        since = int(self._now() - seconds) // fine * fine
        tally = Tally()
        for row in await self._records.outcomes(fine, since, hand=hand):
            tally.add(row.outcome, row.latency, row.calls)
        return tally

    async def budgets_left(self) -> Mapping[str, float]:
        """Return what is left of each hand's error budget, by its name: of the version in force, by its worst promise.

        One without a contract has none; below 0 a promise is broken. Raises Unavailable.
        """
        left: dict[str, float] = {}
        for name in dict.fromkeys(hand.name for hand in self._hands().values()):
            version = self.split(name).current
            if (sla := self._sla(name, version)) is not None:
                tally = await self.tally(f"{name}@{version}", sla.window_seconds)
                left[name] = 1 - max(each.used for each in objectives(sla, tally))
        return left

    def _judged(self, name: str, split: Split) -> Sequence[str]:
        sla = self._sla(name, split.current)
        return judged(split, 0.0 if sla is None else sla.after_promotion_seconds, self._now())

    def _sla(self, name: str, version: str) -> Sla | None:
        hand = self._hands().get(f"{name}@{version}")
        try:
            contract = None if hand is None else contract_of(hand)
        except InvalidContract:
            # Kept by another release of this platform, perhaps. Its calls are refused with the reason.
            return None
        return None if contract is None else contract.sla

    async def _verdicts(self) -> Sequence[tuple[HandVersion, str]]:
        """Return the versions on trial, or just promoted, that broke a promise, and which."""
        found: list[tuple[HandVersion, str]] = []
        for name in dict.fromkeys(hand.name for hand in self._hands().values()):
            for version in self._judged(name, self.split(name)):
                sla = self._sla(name, version)
                if sla is None:
                    continue
                window = min(sla.window_seconds, KEPT_SECONDS[SHORT])
                why = breach(sla, await self.tally(f"{name}@{version}", window, span=SHORT))
                if why is not None:
                    found.append((self._hands()[f"{name}@{version}"], why))
        return found

    async def _take_back(self, hand: HandVersion, why: str) -> None:
        change, judging = partial(self.change, hand.name), partial(self._judged, hand.name)
        entry = withdrawal(self._clock.now(), "rollbackHand", hand.name, hand.version, why)
        split = await take_back(hand.version, why, change, judging, entry)
        if split is not None:
            logger.warning("hand %s is rolled back to %s: %s", hand.id, split.current, why)
