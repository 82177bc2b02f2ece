"""Three sessions that are at work when a backup is made, and what becomes of them where it is restored."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.cluster.instance import plain_environment
from tests.conformance.scene import ASK, Json, Scene, bash, calls, message, of_type, says, text_of, toolset

_WRITE = bash("echo kept > notes; echo written")
_READ = bash("cat notes")


async def hecaton(*arguments: str | Path) -> str:
    """Run a command as an operator does; returns what it says."""

    def work() -> str:
        done = subprocess.run(
            [sys.executable, "-m", "agents.cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=100,
            env=plain_environment(),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return await asyncio.to_thread(work)


class SessionsAtWork:
    """One is idle, one waits for a permission, one is in the middle of a model request; all have files."""

    def __init__(self, scene: Scene) -> None:
        self._idle, self._asking, self._thinking = scene, sibling(scene), sibling(scene)
        self.ids: tuple[str, str, str] = ("", "", "")
        self._asked = ""
        self._logs: dict[str, list[Json]] = {}

    async def begin(self) -> None:
        await self._idle.answers(calls(_WRITE), says("noted"))
        idle = await self._idle.session(toolset())
        await self._idle.turn(idle)

        write: tuple[str, Json] = ("write", {"file_path": "/workspace/notes", "content": "asked\n"})
        await self._asking.answers(calls(write), calls(_READ))
        asking = await self._asking.session(toolset(bash=ASK))
        [self._asked] = (await self._asking.turn(asking))[-1]["stop_reason"]["event_ids"]

        await self._thinking.answers(calls(_WRITE), says([self._thinking.gate("never")]))
        thinking = await self._thinking.session(toolset())
        await self._thinking.send(thinking, message("think"))
        await self._thinking.shown(2)
        self.ids = idle, asking, thinking
        self._logs = {each: await self._idle.log(each) for each in self.ids}

    async def go_on_where_they_were(self) -> None:
        """What comes after the backup is not in it."""
        await self._idle.answers(calls(bash("echo later > notes")), says("late"))
        await self._idle.turn(self.ids[0])

    async def prepare(self) -> None:
        """Tell the model what to say where the backup is restored."""
        await self._thinking.answers(calls(_READ), says("done"))
        await self._asking.answers(says("done"))
        await self._idle.answers(calls(_READ), says("done"))

    async def go_on(self, restored: Scene, *, elsewhere: bool = True) -> None:
        """Each goes on, on the files that it had; on another machine they come from checkpoints."""
        idle, asking, thinking = self.ids
        found = {each: await restored.log(each) for each in self.ids}
        for session, before in self._logs.items():
            assert found[session][: len(before)] == before
        assert found[idle] == self._logs[idle]

        log = await restored.idle(thinking)
        assert [output(result) for result in of_type(log, "agent.tool_result")] == ["written", "kept"]
        assert log[-1]["stop_reason"] == {"type": "end_turn"}

        yes = {"type": "user.tool_confirmation", "tool_use_id": self._asked, "result": "allow"}
        log = await restored.turn(asking, yes)
        assert [output(result) for result in of_type(log, "agent.tool_result")] == ["asked"]

        log = await restored.turn(idle)
        [result] = of_type(log, "agent.tool_result")
        assert output(result) == "kept"
        assert ("made again from a checkpoint" in text_of(result)) == elsewhere

    async def end(self) -> None:
        """Let the model answer what it was never to answer, where the sessions were made."""
        await self._thinking.release("never")
        await self._thinking.idle(self.ids[2])


def sibling(scene: Scene) -> Scene:
    """Another scene on the same stage: its model has a script of its own."""
    return Scene(scene.platform, scene.client, scene.http, scene.environment_id, scene.patience)


def output(result: dict[str, Any]) -> str:
    return text_of(result).rpartition("</system-note>")[2].strip()
