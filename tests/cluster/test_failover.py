"""Parts die, come, go and are replaced while sessions run, on a Ray cluster of several nodes; no client notices.

Bug class this catches: a call that fails because its owner is replaced, a stream that is cut, loses or repeats
events when a session moves, a turn that ends in an error because some part was upgraded. The tests share one
platform and change it one after the other; each holds for whatever the ones before have left.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from anthropic import AsyncAnthropic

from agents.sessions.partition import partition_of
from tests.chaos.cluster import ClusterProcess, ray_environment
from tests.cluster.instance import Instance
from tests.conformance.platform import LivePlatform, settings_for
from tests.conformance.scene import (
    END,
    REQUEST,
    START,
    Json,
    Scene,
    message,
    of_type,
    ordered_results,
    says,
    text_of,
    toolset,
)
from tests.conformance.sse import RawStream, raw_stream
from tests.stub_model import relay, stub_in_thread

# The first test waits for cluster and platform.
pytestmark = pytest.mark.timeout(300)

SESSIONS = 6
PATIENCE = 180.0
BRAIN = "SERVE_REPLICA::hecaton-brain-"
NOT_ON_GPUS = ("harness-", "sandbox-host-", "fleet", "SERVE_REPLICA::hecaton-gateway", f"{BRAIN}main", f"{BRAIN}asleep")
BRAINS: Json = {
    "gpu": {"engine": "replay", "resources": {"num_gpus": 1}},
    # Asleep again by the time that all parts are replaced.
    "asleep": {"engine": "replay", "scaling": {"min_replicas": 0, "downscale_delay_seconds": 5}},
}
DIRECTIVE = 'stub: tools=2 delay=0.02 command="sleep 0.1; echo . >> f; wc -l < f" text=end'


@dataclass(frozen=True, slots=True)
class Ground:
    """A platform on a cluster of a head, two nodes and one more with a GPU, which is none."""

    cluster: ClusterProcess
    raylets: dict[str, int]
    instance: Instance
    platform: LivePlatform

    def actor(self, name: str) -> int:
        """Return the pid of a living actor."""
        return next(pid for pid, each in self.cluster.actors().items() if each == name)

    def on_node(self, raylet: int, kind: str) -> set[str]:
        """Return the names of a kind's actors on a node."""
        names = self.cluster.actors()
        found = {names.get(each.pid, "") for each in psutil.Process(raylet).children()}
        return {name for name in found if name.startswith(kind)}

    def owner(self, session: str) -> str:
        with sqlite3.connect(self.instance.data_dir / "hecaton.db") as database:
            query = "SELECT owner FROM leases WHERE partition = ?"
            return database.execute(query, (partition_of(session, 64),)).fetchone()[0]

    async def brains(self) -> dict[int, str]:
        """Return the names of the brains' replicas by pid."""
        actors = await asyncio.to_thread(self.cluster.actors)
        return {pid: name for pid, name in actors.items() if name.startswith(BRAIN)}

    async def hecaton(self, *words: str) -> str:
        """Run a command on the platform; returns what it printed."""
        command = [sys.executable, "-m", "agents.cli", *words, "--data-dir", str(self.instance.data_dir)]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **self.instance.environment}
        )
        said, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode == 0, said.decode()
        return said.decode()


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    # Short, for Ray puts sockets below it; passable, for sandboxes have users of their own.
    made = Path(tempfile.mkdtemp(prefix="hf-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def served(stub_url: str) -> Json:
    """A brain on two replicas, each with a small inference server as its child; it stands for all of Claude's names."""
    command = [sys.executable, "-S", "-E", relay.__file__, "{port}", stub_url.rpartition(":")[2]]
    server = {"command": command, "health_path": "/_health", "stop_seconds": 2}
    scaling = {"min_replicas": 2, "max_replicas": 2}
    return {"engine": "server", "model": "served", "aliases": ["claude-"], "scaling": scaling, "server": server}


@pytest.fixture(scope="module")
def ground(scratch: Path) -> Iterator[Ground]:
    with stub_in_thread(keep=4000) as stub:
        cluster = ClusterProcess(scratch, settings_for(scratch, stub.url), head_cpus=2)
        try:
            for node, gpus in (("one", 0), ("two", 0), ("gpu", 1)):
                raylets = cluster.add(node, cpus=2, gpus=gpus)
            instance = Instance(
                scratch / "data",
                stub.url,
                environment={**ray_environment(settings_for(scratch, stub.url)), "RAY_ADDRESS": cluster.address},
                harness={"actors": 3, "lease_ttl_seconds": 3, "handover_seconds": 5, "drain_seconds": 5},
                sandbox={"hosts": 2},
                brain={"replay_pace": 0},
                brains={"main": served(stub.url), **BRAINS},
            )
            try:
                yield Ground(cluster, raylets, instance, LivePlatform(instance.up(), stub))
            finally:
                assert instance.down() == 0, instance.output()
        finally:
            assert cluster.close() == 0


@pytest.fixture
async def stage(ground: Ground) -> AsyncIterator[Scene]:
    """The platform's clients; calls are made once: what fails is a failure."""
    platform = ground.platform
    async with (
        AsyncAnthropic(base_url=platform.url, api_key=platform.key, max_retries=0, timeout=60) as client,
        httpx.AsyncClient(
            base_url=platform.url,
            headers={"x-api-key": platform.key},
            timeout=60,
            limits=httpx.Limits(max_connections=200),
        ) as http,
    ):
        environment = await client.beta.environments.create(name=f"failover-{id(client):x}")
        yield Scene(platform, client, http, environment.id)


class Conversation:
    """A session that is kept busy: one turn after the other, watched by a stream that stays open.

    With *reconnects* the stream is opened again behind the last event it showed, as a raw client may.
    """

    def __init__(self, scene: Scene, session: str, *, reconnects: bool) -> None:
        self.session = session
        self.turns = 0
        self.reconnections = 0
        self._scene = scene
        self._reconnects = reconnects
        self._seen: list[str] = []
        self._stopping = False
        self.progress = asyncio.Condition()

    async def run(self) -> None:
        async with aclosing(self._events()) as events:
            await anext(events)
            while not self._stopping:
                await self._scene.send(self.session, message(DIRECTIVE))
                async for event in events:
                    if event["type"] == "session.status_idle":
                        assert event["stop_reason"] == {"type": "end_turn"}, event
                        break
                async with self.progress:
                    self.turns += 1
                    self.progress.notify_all()

    def stop(self) -> None:
        self._stopping = True

    async def _events(self) -> AsyncIterator[Json]:
        """Yield something when the stream stands, then every logged event of the session once."""
        while True:
            resume = {"last-event-id": self._seen[-1]} if self._seen else {}
            path = f"/v1/sessions/{self.session}/events/stream"
            try:
                async with raw_stream(self._scene.http, path, None, resume) as stream:
                    if not self._seen:
                        yield {}
                    async for event in self._logged(stream):
                        yield event
            except (httpx.TransportError, StopAsyncIteration, AssertionError):
                if not self._reconnects:
                    raise
            self.reconnections += 1

    async def _logged(self, stream: RawStream) -> AsyncIterator[Json]:
        while True:
            event = await stream.next(PATIENCE)
            assert event["type"] != "error", event
            if event["processed_at"] is not None:
                self._seen.append(event["id"])
                yield event

    async def check(self, *, hosts_die: bool) -> None:
        """Hold the whole history to what was shown and done."""
        log = await self._scene.log(self.session)
        assert [event["id"] for event in log] == self._seen, "the stream showed every event once and in order"
        results = ordered_results(log)
        assert len(of_type(log, "agent.tool_result")) == len(results) == 2 * self.turns
        assert of_type(log, "session.error", "session.status_rescheduled") == []
        known = 0
        for place, result in enumerate(results):
            if result["is_error"]:
                # Only its own host's death makes a call ambiguous; the model is told so.
                assert hosts_die and "may have taken effect" in text_of(result), (place, text_of(result))
            else:
                known += 1
                # A note on a shell that was started anew may come first.
                lines = int(result["content"][-1]["text"])
                assert known <= lines <= place + 1, f"{lines} lines were written by {place + 1} calls"


@asynccontextmanager
async def load(scene: Scene, *, reconnects: bool = False, hosts_die: bool = False) -> AsyncIterator[Load]:
    """Keep sessions busy while the body runs, which may wait for their progress; then check each of them."""
    agent = await scene.agent(toolset())
    made = [Conversation(scene, await scene.session(agent=agent), reconnects=reconnects) for _ in range(SESSIONS)]
    async with asyncio.TaskGroup() as running, asyncio.timeout(PATIENCE):
        for each in made:
            running.create_task(each.run())
        under_way = Load(made)
        await under_way.turns(1)
        yield under_way
        await under_way.turns(1)
        for each in made:
            each.stop()
    for each in made:
        await each.check(hosts_die=hosts_die)


class Load:
    """Conversations under way."""

    def __init__(self, conversations: list[Conversation]) -> None:
        self.conversations = conversations

    async def turns(self, more: int) -> None:
        """Return when every conversation has had *more* turns from now on."""
        await asyncio.gather(*(self._wait(each, each.turns + more) for each in self.conversations))

    @staticmethod
    async def _wait(conversation: Conversation, turns: int) -> None:
        async with conversation.progress:
            await conversation.progress.wait_for(lambda: conversation.turns >= turns)


async def test_parts_are_spread_over_the_nodes_and_only_a_gpu_brain_is_on_the_gpu(ground: Ground, stage: Scene) -> None:
    await _answered_by(stage, "gpu")
    names = await asyncio.to_thread(ground.cluster.actors)
    placed = {
        node: {names[each.pid] for each in psutil.Process(raylet).children() if each.pid in names}
        for node, raylet in ground.raylets.items()
    }
    assert not [name for name in placed["gpu"] if name.startswith(NOT_ON_GPUS)]
    assert [node for node in placed if any(name.startswith(f"{BRAIN}gpu@1#") for name in placed[node])] == ["gpu"]
    for kind, most in (("harness-", 1), ("sandbox-host-", 1)):
        spread = [sum(name.startswith(kind) for name in placed[node]) for node in ("head", "one", "two")]
        assert max(spread) == most, placed


async def test_a_brain_that_has_scaled_to_zero_is_woken_by_a_request(ground: Ground, stage: Scene) -> None:
    assert not [name for name in (await ground.brains()).values() if name.startswith(f"{BRAIN}asleep@1#")]
    await _answered_by(stage, "asleep")
    assert [name for name in (await ground.brains()).values() if name.startswith(f"{BRAIN}asleep@1#")]


async def _answered_by(scene: Scene, brain: str) -> None:
    """Hold a session that names *brain* and is answered by it, however long it takes to start, without an error."""
    session = await scene.session(agent=await scene.agent(model=brain))
    async with asyncio.timeout(PATIENCE), scene.stream(session) as stream:
        await scene.send(session, message())
        while (await stream.next(PATIENCE))["type"] != "session.status_idle":
            pass
    log = await scene.log(session)
    assert of_type(log, "session.error", "session.status_rescheduled") == []
    assert {end["brain"]["id"] for end in of_type(log, "span.model_request_end")} == {f"{brain}@1"}


async def test_hands_come_with_the_first_call_of_each_session_and_no_brain_is_touched(
    ground: Ground, stage: Scene
) -> None:
    agent = await stage.agent(toolset())
    sessions = [await stage.session(agent=agent) for _ in range(SESSIONS)]
    before, thinking = await _hands(stage), await _thinking(ground)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(stage.turn(session, message(DIRECTIVE)) for session in sessions))
        while await _hands(stage) < before + SESSIONS:
            await asyncio.sleep(0.2)
    assert await _thinking(ground) == thinking


async def _thinking(ground: Ground) -> set[int]:
    """Return the pids of the brains' replicas, but for the one that may fall asleep."""
    return {pid for pid, name in (await ground.brains()).items() if not name.startswith(f"{BRAIN}asleep@1#")}


async def _hands(scene: Scene) -> int:
    """Return how many sandboxes there are, as the hosts said last."""
    hosts: dict[str, Json] = (await scene.get("/-/readyz"))["sandboxes"]
    return sum(host["live"] for host in hosts.values())


async def test_killing_a_harness_is_not_noticed_by_any_client(ground: Ground, stage: Scene) -> None:
    async with load(stage) as busy:
        victim = ground.owner(busy.conversations[0].session)
        os.kill(await asyncio.to_thread(ground.actor, victim), signal.SIGKILL)
        await busy.turns(2)


async def test_harnesses_come_and_go_and_nobody_notices(ground: Ground, stage: Scene) -> None:
    async with load(stage) as busy:
        for count in (1, 3):
            await ground.hecaton("scale", "--harness", str(count))
            await busy.turns(1)
            names = await asyncio.to_thread(ground.cluster.actors)
            assert {name for name in names.values() if name.startswith("harness-")} == {
                f"harness-{index}" for index in range(count)
            }
            assert {ground.owner(each.session) for each in busy.conversations} <= set(names.values())


async def test_sandbox_hosts_come_and_go_and_neither_session_nor_brain_is_touched(ground: Ground, stage: Scene) -> None:
    before = {name for name in (await asyncio.to_thread(ground.cluster.actors)).values() if "sandbox-host" in name}
    thinking = await _thinking(ground)
    async with load(stage) as busy:
        for count in (1, len(before)):
            await ground.hecaton("scale", "--hosts", str(count))
            await busy.turns(1)
            names = await asyncio.to_thread(ground.cluster.actors)
            assert {name for name in names.values() if name.startswith("sandbox-host-")} == {
                f"sandbox-host-{index}" for index in range(count)
            }
    assert thinking == await _thinking(ground)


@pytest.mark.parametrize("victim", ["server", "replica"])
async def test_a_model_server_or_its_replica_killed_in_mid_stream_fails_no_session(
    ground: Ground, stage: Scene, victim: str
) -> None:
    await stage.answers(*[says(["half ", stage.gate("go"), "rest"])] * SESSIONS, *[says(["who", "le"])] * SESSIONS)
    sessions = [await stage.session() for _ in range(SESSIONS)]
    replicas = [pid for pid, name in (await ground.brains()).items() if name.startswith(f"{BRAIN}main@1#")]
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
        previews = {"event_deltas[]": "agent.message"}
        streams = [await stack.enter_async_context(stage.stream(session, previews)) for session in sessions]
        # Each its own: conversations that begin alike would be put together on one replica.
        await asyncio.gather(*(stage.send(session, message(f"go, {session}")) for session in sessions))
        await asyncio.gather(*(stream.until("event_delta") for stream in streams))
        asked = await asyncio.to_thread(stage.platform.stub.seen, SESSIONS, match=stage.mark)
        busy = {pid: _answering(pid, {each["peer"] for each in asked}) for pid in replicas}
        chosen = max(replicas, key=lambda pid: busy[pid])
        for each in _servers_of(chosen) if victim == "server" else [psutil.Process(chosen)]:
            each.kill()
        await stage.release("go")
        await asyncio.gather(*(stream.until("session.status_idle") for stream in streams))
    said_by_others = 0
    for session, stream in zip(sessions, streams, strict=True):
        log = await stage.log(session)
        assert [event["type"] for event in log] == [*START, "user.message", *REQUEST, *END]
        [said] = of_type(log, "agent.message")
        assert text_of(said) in ("half rest", "whole")
        deltas = [event for event in of_type(stream.events, "event_delta") if event["event_id"] == said["id"]]
        assert "".join(event["delta"]["content"]["text"] for event in deltas) == text_of(said)
        said_by_others += text_of(said) == "whole"
    assert said_by_others == busy[chosen] > 0, (busy, await stage.get("/-/readyz"))


def _servers_of(replica: int) -> list[psutil.Process]:
    """Return the inference server below a replica's process; none while it is being started."""
    below = psutil.Process(replica).children(recursive=True)
    return [each for each in below if each.cmdline()[3:4] == [relay.__file__]]


def _answering(replica: int, peers: set[str]) -> int:
    """Return how many of the stub's *peers* are connections of a replica's inference server."""
    connections = [each for server in _servers_of(replica) for each in server.net_connections("tcp")]
    return len({f"{each.laddr.ip}:{each.laddr.port}" for each in connections if each.raddr} & peers)


async def test_every_part_is_replaced_under_load_and_no_session_fails(ground: Ground, stage: Scene) -> None:
    before = await asyncio.to_thread(ground.cluster.actors)
    patient = Scene(stage.platform, stage.client.with_options(max_retries=5), stage.http, stage.environment_id)
    async with load(patient, reconnects=True):
        said = await ground.hecaton("roll")
        assert "done" in said
    after = await asyncio.to_thread(ground.cluster.actors)
    ours = ("harness-", "sandbox-host-", "fleet", "SERVE_REPLICA::hecaton")
    replaced = {pid: name for pid, name in before.items() if name.startswith(ours)}
    assert len(replaced) >= 7
    assert not replaced.keys() & after.keys(), "a process that was there before the roll is there still"


async def test_a_node_that_is_lost_takes_no_session_with_it(ground: Ground, stage: Scene) -> None:
    patient = Scene(stage.platform, stage.client.with_options(max_retries=5), stage.http, stage.environment_id)
    async with load(patient, reconnects=True, hosts_die=True) as busy:
        await asyncio.to_thread(ground.cluster.remove, "two", graceful=False)
        await busy.turns(2)
    raylets = await asyncio.to_thread(ground.cluster.add, "two", cpus=2)
    async with asyncio.timeout(PATIENCE):
        # Or the next node that is lost may take all harnesses with it.
        while not await asyncio.to_thread(ground.on_node, raylets["two"], "harness-"):
            await asyncio.sleep(0.5)
