"""What a process that runs hands answers to those who call them: the serving end of ``actors.hand_pool``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from actors.brain_load import ReplicaLoad
from actors.link_server import LinkServer
from actors.replies import Reply, reply_of
from agents.errors import InvalidRequest

if TYPE_CHECKING:
    from agents.hands.deployed.running_hand import RunningHand

FindHand = Callable[[str], Awaitable["RunningHand"]]
"""Returns the hand with an id. Raises what its callers are to be told."""


def hand_links(find: FindHand, load: ReplicaLoad) -> LinkServer:
    """Return the server of links to the hands that *find* finds; what is asked of them is counted as *load*."""
    calls = _HandCalls(find)
    return LinkServer(lambda stream: load.connect(stream, calls.call, calls.stream))


class _HandCalls:
    def __init__(self, find: FindHand) -> None:
        self._find = find

    async def call(self, method: str, args: Sequence[Any]) -> Reply:
        return await reply_of(self._answer(method, args))

    async def _answer(self, method: str, args: Sequence[Any]) -> Any:
        hand = await self._find(args[0])
        match method, args:
            case "call_tool", (_, call, caller):
                return await hand.call(call, caller)
            case "cancel", (_, keys):
                hand.cancel(keys)
                return None
            case "tools", (_,):
                return list(hand.tools)
            case _:
                raise InvalidRequest(f"no such call: {method}")

    async def stream(self, method: str, args: Sequence[Any]) -> AsyncGenerator[Any, None]:
        del args
        raise InvalidRequest(f"no such stream: {method}")
        yield
