"""What an operator expects of a backup that was made while agents work: on an empty machine every session goes on."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.asks.stage import RestartableServer, restartable_with
from tests.cluster.instance import plain_environment
from tests.conformance.platform import LivePlatform
from tests.conformance.scene import ASK, Scene, bash, calls, message, of_type, says, text_of, toolset


@pytest.fixture
def elsewhere(server: RestartableServer) -> Iterator[Path]:
    """Another machine's disk: nothing of the first data directory is there."""
    with tempfile.TemporaryDirectory(prefix="hecaton-asks-") as base:
        os.chmod(base, 0o711)
        yield Path(base)


async def hecaton(*arguments: str | Path) -> str:
    def work() -> str:
        done = subprocess.run(
            [sys.executable, "-m", "agents.cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            env=plain_environment(),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return await asyncio.to_thread(work)


async def test_a_backup_of_sessions_at_work_goes_on_on_an_empty_machine(
    server: RestartableServer, scene: Scene, data_dir: Path, elsewhere: Path
) -> None:
    """One session is in the middle of a model request, one waits for a permission, one is idle; all have files. The
    first server works on, and ends, before the second starts on another disk with nothing but the backup."""
    write = bash("echo kept > notes; echo written")
    read = bash("cat notes")

    idle_scene, asking_scene, thinking_scene = scene, sibling(scene), sibling(scene)
    await idle_scene.answers(calls(write), says("noted"))
    idle = await idle_scene.session(toolset())
    await idle_scene.turn(idle)

    await asking_scene.answers(calls(("write", {"file_path": "/workspace/notes", "content": "asked\n"})), calls(read))
    asking = await asking_scene.session(toolset(bash=ASK))
    [event_id] = (await asking_scene.turn(asking))[-1]["stop_reason"]["event_ids"]

    await thinking_scene.answers(calls(write), says([thinking_scene.gate("never")]))
    thinking = await thinking_scene.session(toolset())
    await thinking_scene.send(thinking, message("think"))
    await thinking_scene.shown(2)

    logs = {each: await scene.log(each) for each in (idle, asking, thinking)}
    said = await hecaton("backup", "--data-dir", data_dir, "--out", elsewhere / "backup.tar.gz")
    assert "3 sessions" in said and "warning" not in said

    # What comes after the backup is not in it.
    await idle_scene.answers(calls(bash("echo later > notes")), says("late"))
    await idle_scene.turn(idle)
    await server.end()

    await hecaton("restore", "--from", elsewhere / "backup.tar.gz", "--data-dir", elsewhere / "data")
    await thinking_scene.answers(calls(read), says("done"))
    await asking_scene.answers(says("done"))
    await idle_scene.answers(calls(read), says("done"))
    with restartable_with(elsewhere / "data", server.stub, server.port):
        restored = {each: await scene.log(each) for each in logs}
        for session, before in logs.items():
            assert restored[session][: len(before)] == before
        assert restored[idle] == logs[idle]

        await thinking_scene.idle(thinking)
        log = await thinking_scene.log(thinking)
        assert [output(result) for result in of_type(log, "agent.tool_result")] == ["written", "kept"]
        assert log[-1]["stop_reason"] == {"type": "end_turn"}

        yes = {"type": "user.tool_confirmation", "tool_use_id": event_id, "result": "allow"}
        log = await asking_scene.turn(asking, yes)
        assert [output(result) for result in of_type(log, "agent.tool_result")] == ["asked"]

        log = await idle_scene.turn(idle)
        [result] = of_type(log, "agent.tool_result")
        assert output(result) == "kept" and "made again from a checkpoint" in text_of(result)


def sibling(scene: Scene) -> Scene:
    """Another scene on the same stage: its model has a script of its own."""
    return Scene(LivePlatform(scene.platform.url, scene.platform.stub), scene.client, scene.http, scene.environment_id)


def output(result: dict[str, object]) -> str:
    return text_of(result).rpartition("</system-note>")[2].strip()
