"""What mounts report: told once, to the model and to the session's client, and tried again after a while.

Bug class this catches: a mount that fails and is never tried again, an error that comes with every call, a call of the
platform's own that takes what the model should be told.
"""

from __future__ import annotations

import pickle
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from agents.clock import ManualClock
from agents.config import SandboxSettings
from agents.hands.host import SandboxHost
from agents.hands.mounts import MountReport, Mounts
from agents.hands.port import PROVISION, Mount, MountProblem, ToolCall, ToolResult, Workspace
from agents.hands.sandbox_dirs import SandboxDirs
from tests.unit.hands.results import said

PROBLEM = MountProblem("repository_clone_error", "away", {"repository_url": "https://example.com/r"})
MOUNT = Mount("repository", "sesrsc_1", "/workspace/r", name="1")


class Failing:
    def __init__(self) -> None:
        self.tries = 0

    async def make(self, session_id: str, dirs: SandboxDirs, mounts: Sequence[Mount]) -> MountReport | None:
        del session_id, dirs
        if not mounts:
            return None
        self.tries += 1
        return MountReport((PROBLEM,), (f"try {self.tries}",))


@pytest.fixture
def maker() -> Failing:
    return Failing()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def host(place: Path, maker: Failing, clock: ManualClock) -> AsyncIterator[SandboxHost]:
    settings = SandboxSettings(warm=0, idle_seconds=10_000)
    host = SandboxHost(settings, place / "root", mounts=Mounts({"repository": maker}), clock=clock)
    await host.start()
    yield host
    await host.stop()


async def call(host: SandboxHost, *mounts: Mount, name: str = "bash", **given: Any) -> ToolResult:
    calls = [ToolCall(secrets.token_hex(8), name, given)]
    (result,) = [each async for each in host.execute(Workspace("sesn_a", mounts=mounts), calls)]
    return result


async def test_a_problem_is_told_once_and_the_mount_tried_again_later(
    host: SandboxHost, maker: Failing, clock: ManualClock
) -> None:
    provided = await call(host, MOUNT, name=PROVISION)
    assert (provided.problems, provided.content, maker.tries) == ((), [], 1)
    first = await call(host, MOUNT, command="echo here")
    assert first.problems == (PROBLEM,) and "try 1" in str(first.content) and said(first).endswith("here")
    second = await call(host, MOUNT, command="echo here")
    assert (second.problems, said(second), maker.tries) == ((), "here", 1)
    clock.advance(301)
    later = await call(host, MOUNT, command="echo here")
    assert later.problems == (PROBLEM,) and "try 2" in str(later.content)


async def test_a_mount_that_was_changed_is_tried_at_once(host: SandboxHost, maker: Failing) -> None:
    await call(host, MOUNT, command="true")
    changed = Mount("repository", "sesrsc_1", "/workspace/r", name="2")
    assert "try 2" in str((await call(host, changed, command="true")).content) and maker.tries == 2


class Noting:
    """Has something to tell until it was told."""

    def __init__(self) -> None:
        self.told = 0

    async def make(self, session_id: str, dirs: SandboxDirs, mounts: Sequence[Mount]) -> MountReport | None:
        del session_id, dirs, mounts
        return MountReport(notes=("read this",), told=(self._note,)) if self.told == 0 else None

    def _note(self) -> None:
        self.told += 1


async def test_what_was_to_be_told_is_told_although_the_sandbox_was_put_away_before(place: Path) -> None:
    maker = Noting()
    host = SandboxHost(SandboxSettings(warm=0), place / "root", mounts=Mounts({"repository": maker}))
    await host.start()
    try:
        await call(host, MOUNT, name=PROVISION)
        assert maker.told == 0
        await host.release("sesn_a", destroy=False)
        first = await call(host, MOUNT, command="echo here")
        assert str(first.content).count("read this") == 1 and maker.told == 1
        await host.release("sesn_a", destroy=False)
        assert "read this" not in str((await call(host, MOUNT, command="echo here")).content)
        assert maker.told == 1
    finally:
        await host.stop()


def test_a_result_of_an_earlier_release_has_no_problems() -> None:
    result = ToolResult("call_1", [], problems=(PROBLEM,))
    assert pickle.loads(pickle.dumps(result)) == result
    older = object.__new__(ToolResult)
    older.__setstate__([getattr(result, each.name) for each in fields(result)][:-1])
    assert older.problems == () and older.call_id == "call_1"
