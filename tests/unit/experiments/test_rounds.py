"""A round against a server, from arrivals to the rows of its trace: everything but Ray is real (tests.conformance)."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.example_hands.storage import DATA_DIR
from agents.experiments.figures_of_rounds import FiguresFile
from agents.experiments.plan import Plan
from agents.experiments.running.deploying import HandsNotReady, add_hands, hand_definitions
from agents.experiments.running.driving import Driver, Played, Stretch, interrupt_unfinished
from agents.experiments.running.observing import RoundObserver
from agents.experiments.running.platform_api import PlatformApi, message
from agents.experiments.running.raw_http import Refused
from agents.experiments.running.rounds import Books, Round
from agents.experiments.trace_rows import UNFINISHED, TraceRow, TraceWriter, read_rows
from agents.experiments.work.arrivals import Arrival
from agents.experiments.work.workloads import PLAN_FILE
from tests.conformance.platform import LivePlatform, in_process

BRAINS: dict[str, Any] = {
    "simulated": {"engine": "replay", "replay_plan": str(PLAN_FILE)},
    "slow": {"engine": "claude", "model": "m"},
}
SETTINGS: dict[str, Any] = {"topology": "decoupled", "brains": BRAINS, "monolith": {"replicas": 1}}
PLAN = Plan.model_validate(
    {
        "name": "p",
        "topologies": [{"name": "apart"}],
        "baseline": "apart",
        "workloads": {name: {"seconds": 5, "first_seconds": 2} for name in ("support", "extraction")},
        "arrivals": [{"kind": "poisson", "load": [8]}, {"kind": "closed", "load": [2]}],
        "seconds": 0.5,
        "warm_up_seconds": 0.1,
        "patience_seconds": 20,
        "prices": {"gpu_usd_per_hour": 3600},
    }
)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePlatform]:
    with in_process(tmp_path_factory.mktemp("platform"), brains=BRAINS, brain={"replay_pace": 0}) as live:
        yield live


@pytest.fixture
async def api(platform: LivePlatform) -> AsyncIterator[PlatformApi]:
    api = PlatformApi(platform.url, platform.key)
    yield api
    api.close()


async def test_every_arrival_is_a_session_whose_parts_pair_up(
    api: PlatformApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_DIR, str(tmp_path))  # hands in this process set it for all of it
    await add_hands(api, hand_definitions(PLAN, PLAN.topologies[0], tmp_path))
    told: list[str] = []
    with TraceWriter(tmp_path / "trace.parquet") as trace:
        books = Books(trace, FiguresFile(tmp_path / "figures.jsonl"), told.append)
        await Round(PLAN, PLAN.topologies[0], 0, SETTINGS, books).play(api)
    rows = list(read_rows(tmp_path / "trace.parquet"))
    by_session: dict[str, list[TraceRow]] = {}
    for row in rows:
        by_session.setdefault(row.session, []).append(row)
    for session, *parts in by_session.values():
        check_session(session, parts)
    assert {(row.arrivals, row.workload) for row in rows} == {
        (arrivals, workload) for arrivals in ("poisson", "closed") for workload in ("support", "extraction")
    }
    figures = FiguresFile(tmp_path / "figures.jsonl").read()
    assert [(each.arrivals, each.gpus) for each in figures] == [("poisson", 1), ("closed", 1)]
    assert all(each.hand_busy_seconds > 0 for each in figures)
    assert all(each.usd > 0.99 * each.seconds for each in figures)  # a dollar a second for the GPU
    assert len(told) == 2


@pytest.mark.parametrize("method", ["watch", "figures"])
async def test_a_round_whose_figures_can_not_be_read_has_its_sessions_all_the_same(
    api: PlatformApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    async def refused(*_: object) -> None:
        raise Refused("nobody listens")

    monkeypatch.setattr(RoundObserver, method, refused)
    told: list[str] = []
    plan = PLAN.model_copy(update={"arrivals": PLAN.arrivals[:1]})
    figures = tmp_path / "figures.jsonl"
    with TraceWriter(tmp_path / "trace.parquet") as trace:
        await Round(plan, PLAN.topologies[0], 0, SETTINGS, Books(trace, FiguresFile(figures), told.append)).play(api)
    assert any(row.kind == "session" for row in read_rows(tmp_path / "trace.parquet"))
    assert not figures.exists()
    assert told[0] == "round 1, apart, poisson 8: no figures of GPUs and hands: nobody listens"


def check_session(session: TraceRow, parts: list[TraceRow]) -> None:
    assert (session.kind, session.outcome, session.retries) == ("session", "ok", 0)
    assert session.ended is not None and session.first is not None
    assert session.due <= session.began <= session.first <= session.ended
    kinds = Counter(row.kind for row in parts)
    assert kinds["inference"] >= 2 and kinds["tool_call"] >= 1 and kinds["state_update"] >= 2
    assert all(row.ended is not None and row.began <= row.ended for row in parts)
    inferences = [row for row in parts if row.kind == "inference"]
    assert session.tokens_out == sum(row.tokens_out for row in inferences) > 0
    assert inferences[-1].first is not None
    assert inferences[-1].began <= inferences[-1].first <= session.ended


async def slow_sessions(api: PlatformApi) -> dict[str, str]:
    """Return the body that creates a session whose model takes as long as its user says."""
    agent = await api.post("/v1/agents", {"name": "slow", "model": "slow"})
    environment = await api.post("/v1/environments", {"name": secrets.token_hex(4), "config": {"type": "cloud"}})
    return {"agent": agent["id"], "environment_id": environment["id"]}


async def test_a_session_that_patience_is_too_short_for_is_unfinished(api: PlatformApi) -> None:
    driver = Driver(api, {"support": {}}, lambda arrival: "never sent", Stretch(0.0, 0.0, 0.0))
    await driver.open_loop(iter([Arrival(0, 0.0, "support"), Arrival(1, 0.0, "support")]))
    assert [(each.fault, each.ended) for each in driver.played] == [(UNFINISHED, None)] * 2


async def test_a_platform_that_refuses_sessions_is_told_by_its_status(api: PlatformApi) -> None:
    driver = Driver(api, {"support": {"agent": "agent_none"}}, lambda arrival: "never sent", Stretch(0.0, 0.0, 20.0))
    await driver.open_loop(iter([Arrival(0, 0.0, "support")]))
    assert [(each.fault, each.ended, each.session) for each in driver.played] == [("http_400", None, "")]


async def test_turns_that_still_run_are_interrupted_before_the_next_load(api: PlatformApi) -> None:
    session = (await api.post("/v1/sessions", await slow_sessions(api)))["id"]
    await api.post(f"/v1/sessions/{session}/events", message("stub: delay=60 text=late"))
    assert await interrupt_unfinished(api, [Played(Arrival(0, 0.0, "support"), session=session)])
    assert (await api.get(f"/v1/sessions/{session}"))["status"] == "idle"


async def test_an_open_loop_waits_for_nobody_and_a_client_without_places_counts_from_when_it_was_due(
    api: PlatformApi,
) -> None:
    body, stretch = {"support": await slow_sessions(api)}, Stretch(0.0, 0.0, 20.0)
    driver = Driver(api, body, lambda arrival: "stub: text=ok", stretch, most_sessions=1)
    await driver.open_loop(iter([Arrival(0, 0.0, "support"), Arrival(1, 0.01, "support")]))
    first, second = driver.played
    assert first.ended is not None and second.began is not None
    assert second.began >= first.ended
    assert second.arrival.due == 0.01


async def test_a_hand_that_can_not_start_is_named(api: PlatformApi) -> None:
    with pytest.raises(HandsNotReady, match="broken"):
        await add_hands(api, {"broken": {"server": "agents.experiments:nothing"}}, within=0.3)
