"""A real sandbox host that dies or stops for a while, a harness that dies, and the tool call that was under way.

Bug class this catches: a session that hangs with its host, a shell command that is run twice because something died
beside it, a stopped host that is taken for dead, a shell that dies with the harness that waited for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

import psutil
import pytest

from tests.cluster.instance import Instance
from tests.conformance.requirements import requirement
from tests.conformance.scene import Json, Scene, bash, calls, message, ordered_results, says, text_of, toolset

pytestmark = pytest.mark.timeout(300)

END_TURN = {"type": "end_turn"}
PAUSE_SECONDS = 10.0
"""A host that is stopped for so long has lost nothing (the issue's figure)."""


def commands(instance: Instance) -> Iterator[tuple[psutil.Process, str]]:
    """The instance's processes that live, with their command lines."""
    for each in instance.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            if each.status() != psutil.STATUS_ZOMBIE:
                yield each, " ".join(each.cmdline())


def process_of(instance: Instance, actor: str) -> psutil.Process:
    """The process of an actor class: Ray puts the class in the process's title."""
    (found,) = [process for process, command in commands(instance) if command.startswith(f"ray::{actor}")]
    return found


async def in_mid_call(scene: Scene, instance: Instance, seconds: float) -> str:
    """A session in the middle of a command with an effect; the model looks at the effects after it."""
    sleeper = f"(exec -a {scene.mark} sleep {seconds})"
    await scene.answers(
        calls(bash("echo kept > kept")),
        calls(bash(f"echo once >> effects; {sleeper}; echo slept")),
        calls(bash("cat effects kept")),
        says("done"),
    )
    session = await scene.session(toolset())
    await scene.send(session, message())
    async with asyncio.timeout(30):
        while not any(command.startswith(scene.mark) for _, command in commands(instance)):
            await asyncio.sleep(0.02)
    return session


async def results_of(scene: Scene, session: str) -> list[Json]:
    log = await scene.idle(session)
    assert log[-1]["stop_reason"] == END_TURN
    return ordered_results(log)


def output(result: Json) -> list[str]:
    """The lines of a command's own output, which is the last block; one before it may tell of a new shell."""
    return result["content"][-1]["text"].splitlines()


@requirement("platform:crash:host")
async def test_a_command_whose_host_was_killed_is_ambiguous_and_the_session_goes_on(
    instance: Instance, scene: Scene
) -> None:
    session = await in_mid_call(scene, instance, 600)
    process_of(instance, "SandboxHostActor").send_signal(signal.SIGKILL)
    _, lost, after = await results_of(scene, session)
    assert lost["is_error"] and "fully, partly or not at all" in text_of(lost)
    assert output(after) == ["once", "kept"], "on the next host of that name, or from a checkpoint"
    assert not any(command.startswith(scene.mark) for _, command in commands(instance))
    async with asyncio.timeout(20):
        while any(each.status() == psutil.STATUS_ZOMBIE for each in psutil.Process(instance.pid).children()):
            await asyncio.sleep(0.1)


@requirement("platform:crash:fleet")
async def test_when_the_fleet_dies_with_a_host_the_next_fleet_finds_the_next_host(
    instance: Instance, scene: Scene
) -> None:
    await scene.answers(calls(bash("echo kept > kept")), says("one"), calls(bash("cat kept")), says("two"))
    session = await scene.session(toolset())
    await scene.turn(session)
    victims = [process_of(instance, actor) for actor in ("FleetActor", "SandboxHostActor")]
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
    for victim in victims:
        victim.wait(20)  # a call that reaches a process on its way out is ambiguous, and rightly so
    (after,) = ordered_results(await scene.turn(session))
    assert (after["is_error"], output(after)) == (False, ["kept"])


@requirement("platform:crash:owner")
async def test_a_command_goes_on_while_its_harness_is_replaced_and_its_result_is_the_one_it_gave(
    instance: Instance, scene: Scene
) -> None:
    session = await in_mid_call(scene, instance, 4)
    process_of(instance, "HarnessActor").send_signal(signal.SIGKILL)
    _, slept, after = await results_of(scene, session)
    assert (slept["is_error"], text_of(slept)) == (False, "slept")
    assert output(after) == ["once", "kept"]


@requirement("platform:pause:host")
async def test_a_host_that_is_stopped_for_a_while_loses_nothing(instance: Instance, scene: Scene) -> None:
    session = await in_mid_call(scene, instance, 1)
    host = process_of(instance, "SandboxHostActor")
    host.suspend()
    try:
        await asyncio.sleep(PAUSE_SECONDS)
    finally:
        host.resume()
    _, slept, after = await results_of(scene, session)
    assert (slept["is_error"], text_of(slept)) == (False, "slept")
    assert output(after) == ["once", "kept"]
    assert process_of(instance, "SandboxHostActor").pid == host.pid
