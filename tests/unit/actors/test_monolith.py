"""The monolith as a Serve application, and how its replicas are found."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from actors import applications, bootstrap, harness_link
from actors.announcing import Announcement
from actors.brain_states import apps_of, own_app
from actors.fleet import FleetActor
from actors.harness_link import HarnessLink
from actors.monolith import monolith_app, monolith_targets
from actors.session_service import SessionService
from agents.brains.registry import registry_of
from agents.clock import ManualClock
from agents.config import Settings
from agents.errors import InvalidRequest, Unavailable
from agents.hands.host_fleet import HostReport
from agents.hands.incarnation import host_names
from agents.seat import seat_name
from agents.store.memory import MemoryStore
from agents.telemetry.harness_metrics import HarnessMetrics

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = ROOT / "serve_configs"
SETTINGS = Settings(topology="monolith")
SESSIONS, HOST, BRAIN = (("127.0.0.1", port, b"t") for port in (1, 2, 3))
ANNOUNCED = Announcement("m-0", SESSIONS, HostReport("m-0/a", HOST, False, {"live": 0}), {"default@1": BRAIN})


@pytest.fixture(autouse=True)
def nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"NodeID": "67707500" * 7, "Alive": True, "Resources": {"CPU": 8, "GPU": 1}}
    monkeypatch.setattr("actors.placement.ray.nodes", lambda: [node])
    for check in ("check_cluster", "check_topology"):
        monkeypatch.setattr(applications, check, lambda settings: None)


def options(**settings: Any) -> Any:
    return monolith_app(Settings(topology="monolith", **settings))._bound_deployment


def test_the_configuration_is_one_application_beside_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = ServeDeploySchema.model_validate(yaml.safe_load((CONFIGS / "monolith.yaml").read_text()))
    monolith, gateway = config.applications
    assert [monolith.name] == [target.name for target in monolith_targets(SETTINGS)]
    made = applications.monolith(monolith.args)._bound_deployment
    assert made.ray_actor_options is not None and made.ray_actor_options["num_gpus"] == 1
    assert gateway.args == monolith.args


def test_a_monolith_is_not_deployed_with_the_settings_of_parts(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("topology: decoupled")
    with pytest.raises(InvalidRequest, match="topology"):
        applications.monolith({"settings": str(file)})


def test_a_replica_reserves_what_brain_and_hands_need_and_has_the_time_to_drain() -> None:
    gpu = {"engine": "replay", "resources": {"num_gpus": 1, "num_cpus": 2}}
    made = options(brains={"gpu": gpu}, monolith={"replicas": 2}, harness={"drain_seconds": 20})
    assert made.num_replicas == 2
    assert made.ray_actor_options["num_gpus"] == 1 and made.ray_actor_options["num_cpus"] == pytest.approx(2.1)
    assert made._deployment_config.graceful_shutdown_timeout_s > 40
    assert made._deployment_config.max_surge_percent == 0, "there may be no second GPU"


def test_every_brain_of_a_monolith_is_as_its_one_application_is() -> None:
    brain = registry_of(Settings()).brains[0]
    assert (apps_of(SETTINGS)(brain), apps_of(Settings())(brain)) == ("hecaton-monolith", own_app(brain))


def test_results_are_looked_for_where_the_hosts_of_the_topology_keep_them() -> None:
    assert host_names(Settings()) == ["sandbox-host-0"]
    assert host_names(SETTINGS) == [seat_name("monolith", 0)]


def _fleet() -> Any:
    return FleetActor.__ray_metadata__.modified_class(SETTINGS.to_json())  # type: ignore[attr-defined]


async def test_the_fleet_tells_where_a_replica_that_announced_itself_is_until_it_leaves() -> None:
    fleet = _fleet()
    assert isinstance((await fleet.sessions("m-0")).error, Unavailable)
    await fleet.announce(ANNOUNCED)
    assert (await fleet.sessions("m-0")).value == SESSIONS
    assert list((await fleet.brains()).value) == ["default@1"]
    await fleet.withdraw(ANNOUNCED)
    assert isinstance((await fleet.sessions("m-0")).error, Unavailable)
    assert (await fleet.brains()).value == {}


async def test_a_gateway_asks_the_fleet_where_an_owner_is_that_is_no_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(question: str, *args: Any, timeout: float) -> Any:
        return SESSIONS if (question, args) == ("sessions", ("monolith-host-0",)) else None

    monkeypatch.setattr(harness_link, "ask_fleet", ask)
    assert await HarnessLink("monolith-host-0", SETTINGS)._find() == SESSIONS


def test_one_cluster_has_no_platforms_of_both_topologies(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = SimpleNamespace(topology=SimpleNamespace(remote=lambda: SimpleNamespace(value="decoupled")))
    monkeypatch.setattr(bootstrap, "find_fleet", lambda: fleet)
    monkeypatch.setattr(bootstrap.ray, "get", lambda ref, timeout: ref)
    bootstrap.check_topology(Settings())
    with pytest.raises(InvalidRequest, match="decoupled platform"):
        bootstrap.check_topology(SETTINGS)


async def test_a_replica_has_peers_while_another_member_lives_or_nobody_can_tell() -> None:
    store = MemoryStore(ManualClock())
    service = SessionService(SETTINGS, "m-0", pools=Any, hands=Any, figures=dict, metrics=HarnessMetrics())  # type: ignore[arg-type]
    assert not await service.has_peers(), "it was no member yet"
    service._leases = store.leases
    await store.leases.join("m-0", ttl=3)
    assert not await service.has_peers()
    await store.leases.join("m-1", ttl=3)
    assert await service.has_peers()
    service._leases = SimpleNamespace(table=_away)  # type: ignore[assignment]
    assert await service.has_peers()


async def _away() -> None:
    raise Unavailable("the database does not answer")
