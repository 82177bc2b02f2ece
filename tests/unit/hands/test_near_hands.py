"""A monolith's hands: new calls stay in the process, what was begun on another host is asked for there."""

from __future__ import annotations

import pytest

from agents.hands.memory import MemoryHands
from agents.hands.near_hands import NearHands
from agents.hands.port import ToolCall, ToolResult, Workspace

SESSION = Workspace("sesn_1", host="elsewhere/1")


class OtherHosts(MemoryHands):
    """Another host, and what it was told to forget and to cancel."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[object] = []

    def cancel(self, session_id: str, calls: object) -> None:
        self.told.append(calls)

    async def release(self, session_id: str, *, destroy: bool) -> None:
        self.told.append((session_id, destroy))


@pytest.fixture
def own() -> MemoryHands:
    return MemoryHands()


@pytest.fixture
def others() -> OtherHosts:
    return OtherHosts()


@pytest.fixture
def hands(own: MemoryHands, others: OtherHosts) -> NearHands:
    return NearHands(own, others)


WRITE = ToolCall("c1", "write", {"file_path": "/workspace/f", "content": "x"})
READ = ToolCall("c2", "read", {"file_path": "/workspace/f"})


async def _result(hands: NearHands, call: ToolCall, host: str | None = None) -> ToolResult:
    (result,) = [result async for result in hands.execute(SESSION, [call], host=host)]
    return result


async def _run(hands: NearHands, host: str | None) -> str | None:
    return (await _result(hands, WRITE, host)).host


async def test_new_calls_stay_here_whatever_host_the_session_was_on(hands: NearHands, own: MemoryHands) -> None:
    assert hands.place(SESSION) == await hands.locate(SESSION) == own.incarnation
    assert await _run(hands, None) == await _run(hands, own.incarnation) == own.incarnation


async def test_a_call_that_is_meant_for_another_host_goes_there(hands: NearHands, others: OtherHosts) -> None:
    assert await _run(hands, others.incarnation) == others.incarnation


async def test_calls_are_cancelled_where_they_run(hands: NearHands, own: MemoryHands, others: OtherHosts) -> None:
    hands.cancel("sesn_1", {"c1": own.incarnation})
    assert others.told == []
    hands.cancel("sesn_1", {"c1": own.incarnation, "c2": "elsewhere/1"})
    assert others.told == [{"c2": "elsewhere/1"}]


async def test_every_host_is_told_to_forget_a_session(hands: NearHands, others: OtherHosts) -> None:
    await _run(hands, None)
    await hands.release("sesn_1", destroy=True)
    assert others.told == [("sesn_1", True)]
    assert (await _result(hands, READ)).is_error
