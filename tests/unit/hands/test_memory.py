"""The in-memory hands beyond the contract: time belongs to the test."""

from __future__ import annotations

import asyncio

from agents.clock import ManualClock
from agents.hands.memory import MemoryHands
from agents.hands.port import ToolCall, ToolResult, Workspace


async def results(hands: MemoryHands, *calls: ToolCall) -> list[ToolResult]:
    return [result async for result in hands.execute(Workspace("sesn_a"), calls)]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_sleeping_command_ends_when_the_clock_says_so() -> None:
    clock = ManualClock()
    hands = MemoryHands(clock=clock)
    running = asyncio.create_task(results(hands, ToolCall("c", "bash", {"command": "sleep 60; echo up"})))
    await settle()
    assert not running.done()
    clock.advance(60)
    (result,) = await running
    assert result.content == [{"type": "text", "text": "up"}]
    assert result.seconds == 60


async def test_a_time_out_comes_when_the_clock_says_so() -> None:
    clock = ManualClock()
    hands = MemoryHands(clock=clock, bash_timeout_seconds=30)
    running = asyncio.create_task(results(hands, ToolCall("c", "bash", {"command": "sleep 60"})))
    await settle()
    clock.advance(30)
    (result,) = await running
    assert result.is_error
    assert "timed out after 30s" in result.content[0]["text"]


async def test_files_can_be_prepared_and_looked_at() -> None:
    hands = MemoryHands()
    hands.files("sesn_a").write("/workspace/in.txt", b"given")
    await results(hands, ToolCall("c", "bash", {"command": "cat in.txt > out.txt && echo more >> out.txt"}))
    assert hands.files("sesn_a").read("/workspace/out.txt") == b"givenmore\n"


async def test_conditions_stop_at_the_first_failure() -> None:
    hands = MemoryHands()
    (result,) = await results(hands, ToolCall("c", "bash", {"command": "false && echo no; echo yes"}))
    assert result.content[0]["text"] == "yes"
