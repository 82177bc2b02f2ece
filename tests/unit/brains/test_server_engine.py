"""The server engine over real processes: a relay (tests/stub_model/relay.py) to a stub in the hands of the test.

Bug class this catches: a server that dies, hangs or never comes up and takes a session, the replica or the GPU with it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from agents.brain_settings import BrainDefinition
from agents.brains.assembly import Answer
from agents.brains.factory import make_engine
from agents.brains.port import BrainFailure, BrainLost, BrainRequest, EngineUnusable
from agents.brains.server import engine as engine_module
from agents.brains.server import probe as probe_module
from agents.brains.server.engine import ServerEngine
from agents.config import Settings
from agents.vault import MemoryVault
from tests.stub_model import RunningStub, relay, running_stub
from tests.unit.brains.answers import answer_of
from tests.unit.waiting import until

REQUEST = BrainRequest("sesn_1", "auto", [{"role": "user", "content": "hello"}])
STALLS = {"content": [{"type": "text", "text": ["half", {"gate": "never"}]}]}


class Ground:
    """Engines whose server is a relay to *stub*."""

    def __init__(self, stub: RunningStub) -> None:
        self.stub = stub
        self.engines: list[ServerEngine] = []

    @property
    def relay(self) -> list[str]:
        return [sys.executable, "-S", "-E", relay.__file__, "{port}", self.stub.url.rpartition(":")[2]]

    def shell(self, script: str) -> list[str]:
        """A shell script that may end with ``"$@"``, the relay."""
        return ["sh", "-c", script, "sh", *self.relay]

    def engine(self, command: list[str] | None = None, **server: Any) -> ServerEngine:
        usual = {"command": command or self.relay, "health_path": "/_health", "check_seconds": 0.5, "stop_seconds": 2}
        definition = BrainDefinition.model_validate(
            {
                "engine": "server",
                "model": "qwen",
                "capabilities": {"max_output_tokens": 1000},
                "server": {**usual, **server},
            }
        )
        engine = make_engine(definition, Settings(), MemoryVault({"anthropic_api_key": "sk-secret"}))
        assert isinstance(engine, ServerEngine)
        self.engines.append(engine)
        return engine

    async def started(self, **server: Any) -> ServerEngine:
        engine = self.engine(**server)
        async with asyncio.timeout(20):
            await engine.start()
        return engine


@pytest.fixture
async def ground() -> AsyncIterator[Ground]:
    async with running_stub() as stub:
        ground = Ground(stub)
        yield ground
        for engine in ground.engines:
            await engine.aclose()


async def think(engine: ServerEngine, request: BrainRequest = REQUEST) -> Answer:
    return await answer_of(engine, request)


async def think_once_it_is_back(engine: ServerEngine) -> Answer:
    while True:
        try:
            return await think(engine)
        except BrainFailure as failure:
            assert isinstance(failure, BrainLost) or (failure.kind == "overloaded" and failure.retry_after)
            await asyncio.sleep(0.01)


async def half_an_answer(engine: ServerEngine, reached: asyncio.Event) -> None:
    async with aclosing(cast("Any", engine.think(REQUEST))) as events:
        async for event in events:
            if event["type"] == "content_block_delta":
                reached.set()


async def start_half_an_answer(ground: Ground, engine: ServerEngine) -> asyncio.Task[None]:
    ground.stub.model.script(STALLS)
    reached = asyncio.Event()
    reader = asyncio.create_task(half_an_answer(engine, reached))
    async with asyncio.timeout(10):
        await reached.wait()
    return reader


def gives_up(engine: ServerEngine) -> bool:
    try:
        engine.check()
    except EngineUnusable:
        return True
    return False


def processes() -> list[psutil.Process]:
    """Relays of this test, and what else their servers are made of."""
    below = psutil.Process().children(recursive=True)
    keepers = [one for one in below if "keeper.py" in " ".join(one.cmdline())]
    return [each for keeper in keepers for each in (keeper, *keeper.children(recursive=True))]


def the_relay() -> psutil.Process:
    [found] = [one for one in processes() if one.cmdline()[3:4] == [relay.__file__]]
    return found


async def test_it_starts_warms_up_and_thinks(ground: Ground) -> None:
    engine = await ground.started()
    [warm_up] = ground.stub.model.requests
    assert (warm_up.body["model"], warm_up.body["max_tokens"]) == ("qwen", 1)
    assert (await think(engine)).blocks[0].text == "ok"
    assert (ground.stub.model.requests[-1].body["model"], ground.stub.model.requests[-1].body["max_tokens"]) == (
        "qwen",
        1000,
    )
    engine.check()


async def test_the_stub_itself_can_be_the_server(ground: Ground) -> None:
    command = [sys.executable, "-m", "tests.stub_model", "--host", "{host}", "--port", "{port}"]
    engine = await ground.started(command=command, stop_seconds=0.1)
    assert (await think(engine)).blocks[0].text == "ok"


async def test_it_waits_for_a_slow_start(ground: Ground) -> None:
    ground.stub.model.well = False
    starting = asyncio.create_task(ground.engine(check_seconds=0.05).start())
    await until(lambda: ground.stub.model.checks >= 3)
    assert not starting.done()
    assert not ground.stub.model.requests
    ground.stub.model.well = True
    async with asyncio.timeout(20):
        await starting


async def test_a_start_that_takes_too_long_fails_and_leaves_nothing(ground: Ground) -> None:
    ground.stub.model.well = False
    with pytest.raises(EngineUnusable, match=r"is not up after 0.3 s; its last lines:\n.*loading"):
        await ground.started(command=ground.shell('echo loading; exec "$@"'), start_seconds=0.3)
    assert processes() == []


async def test_a_server_that_ends_while_starting_is_told_with_its_last_lines(ground: Ground) -> None:
    with pytest.raises(EngineUnusable, match="ended with status 3; its last lines:\nloading\nCUDA out of memory"):
        await ground.started(command=ground.shell("echo loading; echo CUDA out of memory >&2; exit 3"))


async def test_a_first_request_that_fails_is_told(ground: Ground) -> None:
    ground.stub.model.script({"status": 400, "message": "the model has no chat template"})
    with pytest.raises(EngineUnusable, match=r"fails a first request: .*no chat template"):
        await ground.started()
    assert processes() == []


async def test_a_start_that_is_given_up_leaves_nothing(ground: Ground) -> None:
    ground.stub.model.well = False
    engine = ground.engine()
    starting = asyncio.create_task(engine.start())
    await until(lambda: ground.stub.model.checks)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await engine.aclose()
    assert processes() == []


async def test_a_port_that_somebody_took_meanwhile_is_changed(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as rival:
        ports = [engine_module.free_port(engine_module.SERVER_PORTS), rival.getsockname()[1]]
        monkeypatch.setattr(engine_module, "free_port", lambda _: ports.pop())
        engine = await ground.started()
    assert ports == []
    assert (await think(engine)).blocks[0].text == "ok"


async def test_killed_in_mid_stream_it_loses_the_answer_and_serves_again(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    engine = await ground.started()
    reader = await start_half_an_answer(ground, engine)
    killed = the_relay()
    killed.kill()
    with pytest.raises(BrainLost):
        await asyncio.wait_for(reader, 10)
    assert (await think_once_it_is_back(engine)).blocks[0].text == "ok"
    assert the_relay() != killed
    engine.check()
    assert f"was ended by SIGKILL; its last lines:\nrelay {killed.pid} is up" in caplog.text


async def test_requests_are_refused_for_a_moment_while_it_restarts(ground: Ground) -> None:
    engine = await ground.started()
    ground.stub.model.well = False
    checks = ground.stub.model.checks
    the_relay().kill()
    await until(lambda: ground.stub.model.checks > checks + 1)
    with pytest.raises(BrainFailure) as caught:
        await think(engine)
    assert (caught.value.kind, caught.value.transient) == ("overloaded", True)
    assert 1 <= (caught.value.retry_after or 0) <= 60
    engine.check()


async def test_while_its_server_is_away_it_says_so_before_a_request_is_lost(ground: Ground) -> None:
    engine = await ground.started()
    told: list[bool] = []
    engine.watch(told.append)
    reader = await start_half_an_answer(ground, engine)
    assert engine.able
    the_relay().kill()
    with pytest.raises(BrainLost):
        await asyncio.wait_for(reader, 10)
    assert told[0] is False
    await until(lambda: engine.able)
    assert told == [False, True]
    assert (await think(engine)).blocks[0].text == "ok"


async def test_a_server_that_only_missed_a_check_is_asked_again(ground: Ground) -> None:
    engine = await ground.started(check_seconds=1, max_restarts=0)
    ground.stub.model.script({"content": [{"drop": True}]})
    told: list[bool] = []
    engine.watch(told.append)
    ground.stub.model.well = False
    with pytest.raises(BrainFailure):
        await think(engine)
    ground.stub.model.well = True
    await until(lambda: engine.able)
    assert told == [False, True]
    assert (await think(engine)).blocks[0].text == "ok"


async def test_a_failure_of_the_request_alone_stays_one(ground: Ground) -> None:
    engine = await ground.started()
    ground.stub.model.script({"status": 500, "message": "no"}, {"content": [{"drop": True}]})
    for _ in range(2):
        with pytest.raises(BrainFailure) as caught:
            await think(engine)
        assert not isinstance(caught.value, BrainLost)
        assert (caught.value.kind, caught.value.transient) == ("request_failed", True)


async def test_a_server_that_keeps_dying_is_given_up(ground: Ground) -> None:
    engine = await ground.started(max_restarts=1)
    the_relay().kill()
    await think_once_it_is_back(engine)
    engine.check()
    the_relay().kill()
    await until(lambda: gives_up(engine))
    with pytest.raises(EngineUnusable, match="keeps failing; it was ended by SIGKILL"):
        engine.check()
    with pytest.raises(BrainFailure) as caught:
        await think(engine)
    assert caught.value.kind == "overloaded"
    assert processes() == []


async def test_a_server_that_does_not_come_back_is_given_up(ground: Ground, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    script = f'[ -e {broken} ] && echo no weights && exit 4; exec "$@"'
    engine = await ground.started(command=ground.shell(script), max_restarts=1)
    broken.touch()
    the_relay().kill()
    await until(lambda: gives_up(engine))
    with pytest.raises(EngineUnusable, match=r"did not start: .*status 4; its last lines:\nno weights"):
        engine.check()


async def test_a_server_that_hangs_is_replaced(ground: Ground, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    engine = await ground.started(check_seconds=0.1, max_restarts=100)
    reader = await start_half_an_answer(ground, engine)
    hung = the_relay()
    hung.send_signal(signal.SIGSTOP)
    with pytest.raises(BrainLost):
        await asyncio.wait_for(reader, 20)
    await until(lambda: "did not answer 3 checks of its health" in caplog.text)
    assert not hung.is_running()
    assert (await think_once_it_is_back(engine)).blocks[0].text == "ok"


async def test_closing_leaves_no_process_and_loses_what_is_under_way(ground: Ground) -> None:
    family = ground.shell('sleep 300 & setsid sleep 300 & exec "$@"')
    engine = await ground.started(command=family)
    reader = await start_half_an_answer(ground, engine)
    running = processes()
    assert len(running) == 4
    await engine.aclose()
    with pytest.raises(BrainLost):
        await asyncio.wait_for(reader, 10)
    assert not any(one.is_running() for one in running)
    with pytest.raises(BrainLost):
        await think(engine)
    await engine.aclose()
    engine.check()


async def test_the_server_gets_no_key(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "HECATON_ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "sk-secret")
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "x-gateway: sk-secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    # The client would ask a proxy that is not there.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    engine = await ground.started(command=ground.shell('env; exec "$@"'))
    await think(engine)
    assert "CUDA_VISIBLE_DEVICES=3" in caplog.text
    assert "sk-secret" not in caplog.text
    assert "ANTHROPIC_" not in caplog.text
    assert "HECATON_" not in caplog.text
    shown = [shown.to_json() for shown in ground.stub.model.requests]
    assert len(shown) == 2
    assert "sk-secret" not in str(shown)
    assert all("authorization" not in one["headers"] and "x-api-key" not in one["headers"] for one in shown)


async def test_metrics_are_the_servers(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await ground.started(metrics_path="/_health")
    assert await engine.metrics() == '{"served":1}'
    monkeypatch.setattr(probe_module, "_METRICS_BYTES", 5)
    with pytest.raises(BrainFailure, match="more than 5 bytes"):
        await engine.metrics()
    other = await ground.started(metrics_path="/none")
    with pytest.raises(BrainFailure, match="does not tell its metrics"):
        await other.metrics()


async def test_tokens_are_estimated_when_the_server_does_not_count(ground: Ground) -> None:
    assert await (await ground.started()).count_tokens(REQUEST) > 0
