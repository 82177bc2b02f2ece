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
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from anthropic import AsyncAnthropic

from agents.sessions.partition import partition_of
from agents.telemetry.tracing.trace_query import query_spans
from tests.chaos.cluster import ClusterProcess, ray_environment
from tests.cluster.conversations import DIRECTIVE, PATIENCE, SESSIONS, load
from tests.cluster.instance import Instance
from tests.conformance.platform import LivePlatform, settings_for
from tests.conformance.scene import (
    END,
    REQUEST,
    START,
    Json,
    Scene,
    calls,
    message,
    of_type,
    says,
    text_of,
    toolset,
)
from tests.stub_model import relay, stub_in_thread
from tests.unit.telemetry.tracing.collected import SPANS, counts_of_log

# The first test waits for cluster and platform.
pytestmark = pytest.mark.timeout(300)

BRAIN = "SERVE_REPLICA::hecaton-brain-"
HAND = "SERVE_REPLICA::hecaton-hand-held@1#"
NOT_ON_GPUS = ("harness-", "sandbox-host-", "fleet", "SERVE_REPLICA::hecaton-gateway", f"{BRAIN}main", f"{BRAIN}asleep")
BRAINS: Json = {
    "gpu": {"engine": "replay", "resources": {"num_gpus": 1}},
    # Asleep again by the time that all parts are replaced.
    "asleep": {"engine": "replay", "scaling": {"min_replicas": 0, "downscale_delay_seconds": 5}},
}
HOLDING: Json = {
    "type": "mcp_toolset",
    "mcp_server_name": "held",
    "default_config": {"permission_policy": {"type": "always_allow"}},
}
MOST_HANDS = 3


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

    async def hands(self) -> set[int]:
        """Return the pids of the hand's replicas."""
        actors = await asyncio.to_thread(self.cluster.actors)
        return {pid for pid, name in actors.items() if name.startswith(HAND)}

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


def held(scratch: Path) -> Json:
    """A hand that sleeps as soon as it may, with room for two calls in each replica."""
    until = {"env_vars": {"HELD_UNTIL": str(scratch / "release")}}
    bounds = {"concurrency": 2, "max_replicas": MOST_HANDS, "idle_seconds": 1}
    return {"server": f"{Path(__file__).with_name('held_hand.py')}:server", "runtime_env": until, **bounds}


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
                hands={"held": held(scratch)},
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


async def test_killing_a_harness_is_not_noticed_by_any_client_and_leaves_the_traces_whole(
    ground: Ground, stage: Scene
) -> None:
    async with load(stage) as busy:
        victim = ground.owner(busy.conversations[0].session)
        os.kill(await asyncio.to_thread(ground.actor, victim), signal.SIGKILL)
        await busy.turns(2)
    logs = {each.session: counts_of_log(await stage.log(each.session)) for each in busy.conversations}
    traces: dict[str, Counter[str]] = {}
    async with asyncio.timeout(PATIENCE):
        while traces != logs:
            traces = {session: await _spans(ground, session) for session in logs}
            assert all(traces[session] <= logs[session] for session in logs), (traces, logs)


async def _spans(ground: Ground, session: str) -> Counter[str]:
    """Count the spans of a session that the trace store has so far, by what they are of."""
    sql = "SELECT split_part(name, ' ', 1), count(*) FROM spans WHERE session_id = $session GROUP BY 1"
    found = await asyncio.to_thread(query_spans, ground.instance.data_dir / "traces", sql, {"session": session})
    return Counter({SPANS[name]: count for name, count in found.rows if name in SPANS})


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


async def test_a_hand_that_has_no_replicas_gets_them_for_a_burst_and_no_call_is_lost(
    ground: Ground, stage: Scene, scratch: Path
) -> None:
    await _hand_sleeps(ground)
    thinking, release = await _thinking(ground), scratch / "release"
    release.unlink(missing_ok=True)
    numbers = range(4 * MOST_HANDS)
    await stage.answers(calls(*(("mcp__held__hold", {"number": number}) for number in numbers)), says("done"))
    servers = [{"type": "url", "name": "held", "url": "hand://held"}]
    session = await stage.session(agent=await stage.agent(HOLDING, mcp_servers=servers))
    async with asyncio.timeout(PATIENCE), stage.stream(session) as stream:
        await stage.send(session, message())
        while len(replicas := await ground.hands()) < MOST_HANDS:
            await asyncio.sleep(0.2)
        assert not replicas & {each.pid for each in psutil.Process(ground.raylets["gpu"]).children()}
        release.touch()
        await stream.until("session.status_idle")
    results = of_type(await stage.log(session), "agent.mcp_tool_result")
    assert sorted(text_of(each) for each in results) == sorted(f"held {number}" for number in numbers)
    assert not any(each["is_error"] for each in results)
    assert await _thinking(ground) == thinking


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


async def test_a_hand_that_nobody_calls_has_no_replicas_and_its_end_touches_no_brain(ground: Ground) -> None:
    """Here and not right after the burst: Serve takes its time, and meanwhile the hosts came and went."""
    thinking = await _thinking(ground)
    await _hand_sleeps(ground)
    assert await _thinking(ground) == thinking


async def _hand_sleeps(ground: Ground) -> None:
    async with asyncio.timeout(PATIENCE):
        while await ground.hands():
            await asyncio.sleep(0.2)


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
