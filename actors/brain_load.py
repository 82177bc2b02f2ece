"""What one brain replica has to do: the requests on it, and its share of those that wait with its callers.

A caller (a harness, a gateway) sends a request only when a replica has a place for it; without its word a full
brain would look no busier than a brain that is just right. And without the replica's word that it can take nothing
just now it would look the least busy of all.
"""

from __future__ import annotations

from actors.link_server import Call, Connection, Stream
from actors.message_stream import Message, MessageStream
from agents.brains.port import BrainFailure, BrainLost

WAITING = "waiting"
"""Kind of the message that says how many of the caller's waiting requests this replica has to count."""
ABLE = "able"
"""Kind of the message that says whether the replica can take requests now; it can until it says otherwise."""


class ReplicaLoad:
    """The callers of a replica, and what they want of it."""

    def __init__(self) -> None:
        self._callers: set[CallerConnection] = set()
        self.able = True
        """Whether the replica can take requests now."""

    def connect(self, stream: MessageStream, call: Call, items: Stream) -> Connection:
        """Take a new caller."""
        caller = CallerConnection(stream, call, items, self)
        self._callers.add(caller)
        if not self.able:
            stream.send((ABLE, False))
        return caller

    def set_able(self, able: bool) -> None:
        """Tell the callers whether to ask anything."""
        if able != self.able:
            self.able = able
            for caller in self._callers:
                caller.stream.send((ABLE, able))

    def judged(self, failure: BrainFailure) -> BrainFailure:
        """Return what *failure* is to the caller.

        A request that was on its way when the callers were told is taken by another replica, or waits with them.
        """
        if failure.kind == "overloaded" and not self.able:
            return BrainLost(failure.message)
        return failure

    def forget(self, caller: CallerConnection) -> None:
        self._callers.discard(caller)

    @property
    def requests(self) -> float:
        """Requests under way or waiting here, and the share of those that wait with the callers."""
        return sum(len(caller.under_way) + caller.waiting for caller in self._callers)


class CallerConnection(Connection):
    """A caller of a brain replica: it asks, and says what waits with it."""

    def __init__(self, stream: MessageStream, call: Call, items: Stream, load: ReplicaLoad) -> None:
        super().__init__(stream, call, items)
        self.waiting = 0.0
        self._load = load

    def received(self, message: Message) -> None:
        if message[0] == WAITING:
            self.waiting = float(message[1])
        else:
            super().received(message)

    async def closed(self) -> None:
        self._load.forget(self)
        await super().closed()
