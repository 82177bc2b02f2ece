"""The fleet decides where new sessions go; gateways and harnesses reach it from elsewhere.

Bug class this catches: a breaker that is forgotten with the fleet, hosts and brains of the standby that the parts come
to depend on, losses that nobody hears of.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors import applications, fleet, metrics_keeper, standby_client, standby_keeper
from actors.announcing import Announced, Announcement
from actors.fleet import FleetActor
from actors.monolith import monolith_app
from actors.standby_client import StandbyClient, report_path
from actors.standby_keeper import StandbyKeeper, forget_switch
from agents.clock import ManualClock
from agents.config import Settings
from agents.errors import InvalidRequest, Unavailable
from agents.hands import host_fleet
from agents.hands.announced_hosts import AnnouncedHosts
from agents.hands.host_fleet import HostReport
from agents.hands.incarnation import host_names
from agents.hands.placement import HostPlace, HostState
from agents.seat import seat_name
from agents.settings_sections import StandbySettings
from agents.standby.breaker import Health, Mode, Switch
from agents.standby.health import PathCounter, PathReport
from agents.standby.port import StandbyReport
from agents.telemetry.metrics import render_metrics
from tests.unit.waiting import until

BOUNDS = StandbySettings(enabled=True, min_requests=10, pause_seconds=60)
SETTINGS = Settings(standby=BOUNDS)
SESSIONS, HOST, BRAIN = (("127.0.0.1", port, b"t") for port in (1, 2, 3))
ANNOUNCED = Announcement("m-0", SESSIONS, HostReport("m-0/a", HOST, False, {"live": 0}), {"default@1": BRAIN})
UP = HostPlace(HostState.UP, "sandbox-host-0/a", HOST)
BAD = PathReport(20, 20)


@pytest.fixture(autouse=True)
def notes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    monkeypatch.setattr(standby_keeper, "get_note", kept.get)
    monkeypatch.setattr(standby_keeper, "put_note", kept.__setitem__)
    return kept


def keeper(clock: ManualClock, announced: Announced | None = None) -> StandbyKeeper:
    known = announced or Announced(clock)
    known.take(ANNOUNCED)
    return StandbyKeeper(BOUNDS, clock, hosts=lambda: {"sandbox-host-0": UP}, announced=known)


async def test_what_harnesses_report_switches_and_the_switch_outlives_the_fleet(
    notes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    first = keeper(clock)
    await first.start()
    await first.look()
    assert (first.report().share, notes) == (0.0, {})
    first.take("harness-0", BAD)
    with caplog.at_level(logging.WARNING):
        await first.look()
    assert "new sessions: monolith instead of decoupled: 20 of 20 requests were lost" in caplog.text
    told = first.report()
    assert (told.share, told.switch.mode, told.replicas) == (1.0, Mode.MONOLITH, ["m-0"])
    assert told.figures["switches"] == 1 and told.wire()["mode"] == "monolith"
    second = keeper(clock)
    await second.start()
    assert second.report().switch == told.switch
    forget_switch()
    third = keeper(clock)
    await third.start()
    assert third.report().switch == Switch()


async def test_a_fleet_that_has_just_started_takes_no_replica_for_gone() -> None:
    clock = ManualClock()
    made = StandbyKeeper(BOUNDS, clock, hosts=dict, announced=Announced(clock))
    await made.force("monolith")
    await made.force(None)
    await made.look()
    assert made.report().switch.mode is Mode.MONOLITH
    clock.advance(10)
    await made.look()
    assert made.report().switch.mode is Mode.DECOUPLED


async def test_the_keeper_goes_on_judging_whatever_breaks(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    made = keeper(clock)
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        raise RuntimeError("broken")

    made.look = look  # type: ignore[method-assign]
    watching = asyncio.create_task(made.watch())
    for count in (1, 2):
        await until(lambda count=count: looks == count and clock.sleeping)
        clock.advance(1)
    watching.cancel()
    assert "could not be judged" in caplog.text


@pytest.fixture
def fleet_actor(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(fleet, "host_numbers", list)
    monkeypatch.setattr(metrics_keeper, "get_note", lambda name: None)
    monkeypatch.setattr(host_fleet.HostFleet, "adopt", lambda self, numbers, *, wanted: None)
    monkeypatch.setattr(host_fleet.HostFleet, "table", lambda self: {"sandbox-host-0": UP})
    monkeypatch.setattr(AnnouncedHosts, "table", lambda self: {"m-0": HostPlace(HostState.UP, "m-0/a", HOST)})
    return FleetActor.__ray_metadata__.modified_class(SETTINGS.to_json())  # type: ignore[attr-defined]


async def test_the_fleet_tells_of_the_standbys_host_but_keeps_new_calls_and_requests_off_it(fleet_actor: Any) -> None:
    await fleet_actor.announce(ANNOUNCED)
    assert (await fleet_actor.sessions("m-0")).value == SESSIONS
    assert (await fleet_actor.brains()).value == {}
    hosts = (await fleet_actor.hosts()).value
    assert {name: place.leaving for name, place in hosts.items()} == {"sandbox-host-0": False, "m-0": True}
    await fleet_actor.report_path("harness-0", PathReport(3, 1))
    assert (await fleet_actor.standby()).value.health.requests == 3
    assert (await fleet_actor.force_topology("monolith")).value.share == 1.0
    await fleet_actor.stop()


async def test_a_gateway_goes_by_what_it_heard_last(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [Unavailable("away"), StandbyReport(Switch(), Health(), [], 0.8)]
    asked = list[tuple[Any, ...]]()

    async def ask(*question: Any, timeout: float) -> Any:
        asked.append(question)
        answer = answers.pop(0) if answers else Unavailable("away")
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    monkeypatch.setattr(standby_client, "ask_fleet", ask)
    monkeypatch.setattr(standby_client, "_LOOK_SECONDS", 0.001)
    client = StandbyClient()
    await client.start()
    assert client.share() == 0.0
    await until(lambda: len(asked) > 3)
    assert client.share() == 0.8
    await client.close()
    answers.append(StandbyReport(Switch(), Health(), [], 1.0))
    await client.force("monolith")
    assert client.share() == 1.0 and asked[-1] == ("force_topology", "monolith")


async def test_a_harness_reports_until_it_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = list[Any]()

    async def ask(*question: Any, timeout: float) -> Any:
        heard.append(question)
        if len(heard) == 1:
            raise Unavailable("away")

    monkeypatch.setattr(standby_client, "ask_fleet", ask)
    monkeypatch.setattr(standby_client, "REPORT_SECONDS", 0.001)
    counter = PathCounter()
    counter.count(failed=True)
    reporting = asyncio.create_task(report_path("harness-0", counter, lambda: ["a@1"]))
    await until(lambda: len(heard) >= 3)
    reporting.cancel()
    whole = ("report_path", "harness-0", PathReport(1, 1, ("a@1",)))
    assert heard[:3] == [whole, whole, ("report_path", "harness-0", PathReport(lacking=("a@1",)))]


def test_a_standby_is_deployed_with_the_settings_of_the_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"NodeID": "67707500" * 7, "Alive": True, "Resources": {"CPU": 8}}
    monkeypatch.setattr("actors.placement.ray.nodes", lambda: [node])
    nothing: Callable[[Settings], None] = lambda settings: None  # noqa: E731
    for check in ("check_cluster", "check_topology"):
        monkeypatch.setattr(applications, check, nothing)
    file = tmp_path / "settings.yaml"
    file.write_text("standby: {enabled: true}\nmonolith: {replicas: 2}")
    assert applications.monolith({"settings": str(file)})._bound_deployment.num_replicas == 2
    file.write_text("monolith: {replicas: 2}")
    with pytest.raises(InvalidRequest, match="standby"):
        applications.monolith({"settings": str(file)})
    assert monolith_app(SETTINGS)._bound_deployment.num_replicas == 1
    assert host_names(SETTINGS) == ["sandbox-host-0", seat_name("monolith", 0)]


def test_metrics_tell_how_the_breaker_stands() -> None:
    report = StandbyReport(Switch(Mode.TRIAL, switches=2), Health(20, 3, "no host"), ["m-0"], 0.8)
    lines = render_metrics({}, {}, None, report.figures).decode().splitlines()
    assert {line for line in lines if line.startswith("hecaton_standby")} == {
        "hecaton_standby_share_of_new_sessions 0.8",
        "hecaton_standby_switches 2.0",
        "hecaton_standby_replicas 1.0",
        "hecaton_standby_path_requests 20.0",
        "hecaton_standby_path_requests_lost 3.0",
        "hecaton_standby_path_outage 1.0",
    }
    assert b"standby" not in render_metrics({}, {}, None)
