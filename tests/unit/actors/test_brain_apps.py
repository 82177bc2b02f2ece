"""Brains as Serve applications: what a declaration makes of placement and scaling, and the files of serve_configs."""

from __future__ import annotations

import logging
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from ray import serve
from ray.serve.schema import ServeDeploySchema

from actors import applications
from actors.brain import brain_app, brain_targets
from actors.brain_scaling import LOAD, ReplicasForLoad
from actors.fleet import FleetActor
from agents.brain_settings import BrainDefinition
from agents.brains.purse import Purse
from agents.brains.registry import RegisteredBrain, registry_of
from agents.config import Settings
from agents.errors import InvalidRequest
from agents.settings_loading import load_settings

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = ROOT / "serve_configs"
GPU_NODE = "67707500" * 7


@pytest.fixture(autouse=True)
def nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        {"NodeID": "63707500" * 7, "Alive": True, "Resources": {"CPU": 2}},
        {"NodeID": GPU_NODE, "Alive": True, "Resources": {"CPU": 2, "GPU": 8}},
    ]
    monkeypatch.setattr("actors.placement.ray.nodes", lambda: found)
    monkeypatch.setattr(applications, "check_topology", lambda settings: None)


def deployment(**definition: Any) -> serve.Deployment:
    """The deployment of one brain, as Serve has checked it."""
    brain = RegisteredBrain("b", BrainDefinition(**{"engine": "replay", **definition}))
    return brain_app(Settings(), brain)._bound_deployment


def actor_options(made: serve.Deployment) -> dict[str, Any]:
    return made.ray_actor_options or {}


def test_the_implied_brain_is_one_application_of_the_name_it_always_had() -> None:
    [target] = brain_targets(Settings())
    assert (target.name, target.route_prefix) == ("hecaton-brain", None)


def test_each_declared_brain_is_an_application() -> None:
    settings = load_settings(CONFIGS / "gpu.settings.yaml")
    assert [target.name for target in brain_targets(settings)] == ["hecaton-brain-qwen@1", "hecaton-brain-claude@1"]


def test_a_brain_without_gpus_keeps_off_gpu_nodes() -> None:
    options = actor_options(deployment())
    assert (options["num_cpus"], options["num_gpus"]) == (0.1, 0)
    assert options["label_selector"] == {"ray.io/node-id": f"!in({GPU_NODE})"}


def test_nodes_that_a_declaration_names_are_taken_at_its_word() -> None:
    assert actor_options(deployment(resources={"labels": {"pool": "big"}}))["label_selector"] == {"pool": "big"}
    options = actor_options(deployment(resources={"accelerator_type": "H100"}))
    assert options["accelerator_type"] == "H100" and not options.get("label_selector")


def test_a_gpu_brain_reserves_its_gpus_where_it_says() -> None:
    resources = {"num_cpus": 2, "num_gpus": 0.5, "accelerator_type": "H100", "labels": {"pool": "big"}}
    options = actor_options(deployment(resources=resources))
    assert {name: options[name] for name in ("num_cpus", "num_gpus", "accelerator_type", "label_selector")} == {
        "num_cpus": 2,
        "num_gpus": 0.5,
        "accelerator_type": "H100",
        "label_selector": {"pool": "big"},
    }


def test_the_replica_of_a_spread_model_reserves_all_its_gpus_on_one_node() -> None:
    resources = {"num_cpus": 2, "num_gpus": 1, "tensor_parallel": 4, "accelerator_type": "H100", "labels": {"a": "b"}}
    config = deployment(resources=resources)._replica_config
    assert config.placement_group_bundles == [{"CPU": 8, "GPU": 4, "accelerator_type:H100": 0.001}]
    assert config.placement_group_strategy == "STRICT_PACK"
    assert config.placement_group_bundle_label_selector == [{"a": "b"}]
    assert (config.ray_actor_options["num_cpus"], config.ray_actor_options["num_gpus"]) == (8, 4)


def test_as_many_replicas_as_were_asked_for_or_as_the_load_wants() -> None:
    assert deployment(scaling={"min_replicas": 3, "max_replicas": 3}).num_replicas == 3
    scaling = {
        "min_replicas": 0,
        "max_replicas": 5,
        "target_ongoing_requests": 8,
        "upscale_delay_seconds": 1,
        "downscale_delay_seconds": 2,
    }
    steered = deployment(scaling=scaling)._deployment_config.autoscaling_config
    assert steered is not None
    assert (steered.min_replicas, steered.max_replicas, steered.target_ongoing_requests) == (0, 5, 8)
    assert (steered.upscale_delay_s, steered.downscale_delay_s, steered.downscale_to_zero_delay_s) == (1, 2, 30)
    assert steered.policy.policy_function == f"{ReplicasForLoad.__module__}.{ReplicasForLoad.__name__}"


class Controller:
    """Serve's controller, as far as the policy of one deployment sees it."""

    def __init__(self, made: serve.Deployment | None = None, **definition: Any) -> None:
        scaling = (made or deployment(**definition))._deployment_config.autoscaling_config
        assert scaling is not None
        self.config = scaling
        self.policy: Any = scaling.policy.get_policy()(**scaling.policy.policy_kwargs)
        self.target = 2
        self.time = 0.0

    def decides(self, loads: dict[str, float], *, after: float = 0.0) -> float:
        self.time += after
        context: Any = SimpleNamespace(
            target_num_replicas=self.target,
            current_num_replicas=self.target,
            aggregated_metrics={LOAD: loads} if loads else {},
            current_time=self.time,
            config=self.config,
        )
        return self.policy(context)[0]


@pytest.mark.parametrize(
    ("loads", "wanted"),
    [
        ({}, 2),  # nobody has reported: it stays as it is
        ({"one": 30.0, "two": 18.0}, 6),
        ({"one": 64.0}, 8),  # one that is new takes over what the other has: it adds nothing
        ({"one": 0.5, "two": 0.0}, 0.0625),
        ({"one": 0.0, "two": 0.0}, 0),
        ({"one": 800.0}, 9),
    ],
)
def test_replicas_are_wanted_for_what_is_under_way_and_waits(loads: dict[str, float], wanted: float) -> None:
    scaling = {"min_replicas": 0, "max_replicas": 9, "target_ongoing_requests": 8}
    assert Controller(scaling=scaling).decides(loads) == wanted


GPU: dict[str, Any] = {"resources": {"num_gpus": 0.5, "tensor_parallel": 4}, "price": {"gpu_hour": 2.5}}


def test_a_burst_goes_beyond_as_far_as_its_money_reaches_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    scaling = {"max_replicas": 2, "target_ongoing_requests": 1, "burst": {"usd_per_hour": 24.99}}
    controller = Controller(scaling=scaling, **GPU)
    assert (controller.config.min_replicas, controller.config.max_replicas) == (1, 4)  # at 5 USD each
    logging.getLogger("ray.serve").addHandler(caplog.handler)
    assert controller.decides({"one": 9.0}) == 2
    assert controller.decides({"one": 9.0}, after=29) == 2
    assert controller.decides({"one": 9.0}, after=1) == 4
    controller.target = 4
    assert controller.decides({"one": 1.0}, after=1) == 1
    controller.target = 2
    assert controller.decides({"one": 9.0}, after=1) == 4, "as long as the load wants more, the burst is not over"
    assert controller.decides({"one": 2.0}, after=1) == 2
    assert controller.decides({"one": 9.0}, after=1) == 2
    logging.getLogger("ray.serve").removeHandler(caplog.handler)
    begun, over = [record.getMessage() for record in caplog.records if record.name == "ray.serve"]
    assert begun == "b@1 bursts beyond its 2 replicas: the load wants 9.0; up to 4 may run, for 20 USD per hour"
    assert over == "the burst of b@1 is over: it has its 2 replicas again"


def test_a_ceiling_bounds_replicas_and_bursts() -> None:
    scaling: dict[str, Any] = {"max_replicas": 9, "target_ongoing_requests": 1}
    price = {"gpu_hour": 2.5, "ceiling_usd_per_hour": 20}
    held = Controller(scaling=scaling, price=price, resources=GPU["resources"])
    assert (held.config.max_replicas, held.decides({"one": 99.0})) == (4, 4)
    scaling = {**scaling, "max_replicas": 1, "burst": {"usd_per_hour": 500}}
    assert Controller(scaling=scaling, price=price, resources=GPU["resources"]).config.max_replicas == 4
    alone = {"gpu_hour": 2.5, "ceiling_usd_per_hour": 5}
    assert deployment(scaling={"max_replicas": 3}, price=alone, resources=GPU["resources"]).num_replicas == 1


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> list[Controller]:
    """Two versions on GPUs at 5 USD, of which a third that is fixed and the ceiling leave money for five replicas."""
    monkeypatch.setattr(ReplicasForLoad, "_purses", defaultdict(Purse))
    scaling: dict[str, Any] = {"min_replicas": 0, "max_replicas": 9, "target_ongoing_requests": 1}
    fixed = {"scaling": {"min_replicas": 2, "max_replicas": 2}}
    price = {"gpu_hour": 2.5, "ceiling_usd_per_hour": 35}
    brain = {"engine": "replay", "scaling": scaling, "price": price, "versions": {"2": {}, "3": fixed}}
    settings = Settings.model_validate({"brains": {"b": {**brain, "resources": GPU["resources"]}}})
    one, two, _ = (brain_app(settings, each)._bound_deployment for each in registry_of(settings).brains)
    return [Controller(one), Controller(two)]


def test_versions_on_gpus_share_their_brains_ceiling(versions: list[Controller]) -> None:
    one, two = versions
    assert one.decides({"a": 99.0}) == 4, "the others keep what they need at least"
    one.target = 4
    assert two.decides({"b": 99.0}) == 1
    two.target = 1
    assert one.decides({"a": 2.0}, after=1) == 2
    assert two.decides({"b": 99.0}, after=1) == 1, "the first has its four until Serve has taken two of them back"
    one.target = 2
    assert one.decides({"a": 2.0}, after=1) == 2
    assert two.decides({"b": 99.0}, after=1) == 3
    two.target = 3
    assert one.decides({"a": 99.0}, after=1) == 2
    assert two.decides({"b": 0.0}, after=1) == 0


def test_a_version_that_says_nothing_any_more_keeps_only_what_it_needs(versions: list[Controller]) -> None:
    one, two = versions
    assert two.decides({"b": 99.0}) == 4
    assert one.decides({"a": 99.0}, after=59) == 1
    assert one.decides({"a": 99.0}, after=1) == 4


def test_versions_that_cannot_all_be_paid_for_stop_the_start() -> None:
    price = {"gpu_hour": 2.5, "ceiling_usd_per_hour": 14}
    both = {"engine": "replay", "price": price, "resources": GPU["resources"], "versions": {"2": {}, "3": {}}}
    with pytest.raises(ValidationError, match="the fewest replicas of its versions cost together, 15"):
        BrainDefinition.model_validate(both)


@pytest.mark.parametrize(
    ("definition", "told"),
    [
        ({"scaling": {"burst": {"usd_per_hour": 9}}}, "as they have no price"),
        (
            {"scaling": {"burst": {"usd_per_hour": 9.9}}, **GPU},
            "no replica above max_replicas, at 5 USD per hour each",
        ),
        (
            {"price": {"gpu_hour": 2.5, "ceiling_usd_per_hour": 4}, "resources": GPU["resources"]},
            "fewest replicas cost, 5",
        ),
    ],
)
def test_money_that_buys_nothing_stops_the_start(definition: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        BrainDefinition(**{"engine": "replay", **definition})


# -- serve_configs -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["local.yaml", "gpu.yaml", "monolith.yaml", "hands.yaml"])
def test_serve_accepts_the_configuration(name: str) -> None:
    config = ServeDeploySchema.model_validate(yaml.safe_load((CONFIGS / name).read_text()))
    for application in config.applications:
        module, _, function = application.import_path.partition(":")
        assert module == "actors.applications" and hasattr(applications, function)


def test_the_gpu_configuration_has_an_application_for_each_brain_of_its_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(applications, "check_cluster", lambda settings: None)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "of-nobody")
    config = ServeDeploySchema.model_validate(yaml.safe_load((CONFIGS / "gpu.yaml").read_text()))
    made = {each.name: applications.brain(each.args) for each in config.applications if ":brain" in each.import_path}
    settings = load_settings(CONFIGS / "gpu.settings.yaml")
    assert list(made) == [target.name for target in brain_targets(settings)]
    for name, application in made.items():
        assert name.endswith(application._bound_deployment.init_args[1])
    assert actor_options(made["hecaton-brain-qwen@1"]._bound_deployment)["num_gpus"] == 1
    assert registry_of(settings).find("claude-x-5").name == "claude"


def test_an_application_must_say_which_brain_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applications, "check_cluster", lambda settings: None)
    file = tmp_path / "settings.yaml"
    file.write_text("brains: {a: {engine: replay}, b: {engine: replay}}")
    for args in ({}, {"brain": "c"}):
        with pytest.raises(InvalidRequest, match="there are a@1, b@1"):
            applications.brain({"settings": str(file), **args})
    with pytest.raises(ValidationError):
        applications.gateway({"settings": str(file), "brain": "a"})


# -- the fleet's table ---------------------------------------------------------------------------


async def test_the_fleet_tells_replicas_by_brain_and_wakes_only_a_brain_without_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet = FleetActor.__ray_metadata__.modified_class(Settings().to_json())  # type: ignore[attr-defined]
    woken: list[str] = []
    monkeypatch.setattr(fleet._brains._waker, "wake", woken.append)
    old, new = ("h", 1, b""), ("h", 2, b"")
    # A replica of the release before does not say which brain it is.
    await fleet.register_brain("r1", old)
    await fleet.register_brain("r2", new, "qwen@2")
    table = (await fleet.brains(["qwen@2", "tiny@1"])).value
    assert table == {"default@1": {"r1": old}, "qwen@2": {"r2": new}}
    assert woken == ["tiny@1"]
    await fleet.unregister_brain("r2")
    assert (await fleet.brains()).value == {"default@1": {"r1": old}}
