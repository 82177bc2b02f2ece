"""Waiting for a place to think: bounded, in turns, and such that no API key can make another one wait long.

The rule: a place that comes free goes to the principal that holds the fewest places; among equals to the one
that was served least lately; within a principal first come, first served (a session asks one thing at a
time, so that is fairness between sessions too). Hence a principal that holds nothing waits for the next
place that comes free, however many others wait, unless other principals hold nothing either.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from agents.brains.port import BrainFailure

T = TypeVar("T")


def _overloaded(message: str) -> Exception:
    return BrainFailure("overloaded", message, transient=True)


class FairLine(Generic[T]):
    """Who waits, and who is next; the rule without the waiting."""

    def __init__(self) -> None:
        # Ordered dicts, because whoever gives up leaves from the middle.
        self._lines: dict[str, OrderedDict[T, None]] = {}
        self._length = 0
        # Who was served when; as many entries as there are names of API keys.
        self._served: dict[str, int] = {}
        self._turns = itertools.count(1)

    def __len__(self) -> int:
        return self._length

    def add(self, principal: str, item: T) -> None:
        self._lines.setdefault(principal, OrderedDict())[item] = None
        self._length += 1

    def discard(self, principal: str, item: T) -> None:
        line = self._lines.get(principal)
        if line is not None and item in line:
            del line[item]
            self._length -= 1
            if not line:
                del self._lines[principal]

    def next(self, held: Counter[str]) -> tuple[str, T]:
        """Take out who is next, given how many places each principal holds. Raises KeyError when nobody waits."""
        if not self._lines:
            raise KeyError("nobody waits")
        principal = min(self._lines, key=lambda each: (held[each], self._served.get(each, 0)))
        item = next(iter(self._lines[principal]))
        self.discard(principal, item)
        self.note_served(principal)
        return principal, item

    def note_served(self, principal: str) -> None:
        """Remember when *principal* was served last, also without having waited."""
        self._served[principal] = next(self._turns)


class FairQueue:
    """Places whose number may change, and a line before them."""

    def __init__(
        self,
        places: int,
        *,
        most_waiting: int,
        patience: float,
        why: Callable[[], str] = lambda: "",
        refusal: Callable[[str], Exception] = _overloaded,
        what: str = "model request",
    ) -> None:
        """*why* is asked what to say besides when no place came free in *patience* seconds.

        *refusal* makes what is raised then, and when the line is full; *what* names what there are places for.
        """
        self._places = places
        self._most_waiting = most_waiting
        self._patience = patience
        self._why = why
        self._refusal = refusal
        self._what = what
        self._held: Counter[str] = Counter()
        self._line: FairLine[asyncio.Future[None]] = FairLine()

    @property
    def taken(self) -> int:
        return self._held.total()

    @property
    def waiting(self) -> int:
        return len(self._line)

    @property
    def free(self) -> bool:
        """Whether whoever comes now has a place at once."""
        return not self._line and self.taken < self._places

    @property
    def full(self) -> bool:
        """Whether whoever comes now is refused."""
        return (bool(self._line) or self.taken >= self._places) and len(self._line) >= self._most_waiting

    def resize(self, places: int) -> None:
        """Set the number of places; those who hold one above it keep it."""
        self._places = places
        self._deal()

    def refuse(self, failure: Callable[[], Exception]) -> None:
        """Let all who wait fail, each with a *failure* of its own: there is no use in waiting."""
        while self._line:
            _, ticket = self._line.next(self._held)
            if not ticket.done():
                ticket.set_exception(failure())

    @asynccontextmanager
    async def place(self, principal: str, *, patience: float | None = None) -> AsyncGenerator[None]:
        """Hold a place; *patience* is this taker's own, in seconds.

        Raises the refusal (of model requests BrainFailure: overloaded) when the line is full or none came free in
        time, or what it is refused with.
        """
        await self._take(principal, self._patience if patience is None else patience)
        try:
            yield
        finally:
            self._give_back(principal)

    async def _take(self, principal: str, patience: float) -> None:
        if self.free:
            self._held[principal] += 1
            self._line.note_served(principal)
            return
        if self.full:
            raise self._refusal(f"{self._most_waiting} {self._what}s wait already")
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.add(principal, ticket)
        try:
            async with asyncio.timeout(patience):
                await ticket
        except BaseException as error:
            self._line.discard(principal, ticket)
            if ticket.done() and not ticket.cancelled() and ticket.exception() is None:
                # The place came at the moment when its taker gave up.
                self._give_back(principal)
            if isinstance(error, TimeoutError):
                waited = f"no place for a {self._what} came free within {round(patience, 3):g} s{self._why()}"
                raise self._refusal(waited) from None
            raise

    def _give_back(self, principal: str) -> None:
        self._held[principal] -= 1
        if self._held[principal] <= 0:
            del self._held[principal]
        self._deal()

    def _deal(self) -> None:
        while self._line and self.taken < self._places:
            principal, ticket = self._line.next(self._held)
            if not ticket.done():
                self._held[principal] += 1
                ticket.set_result(None)
