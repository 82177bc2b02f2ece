"""Hands as Serve applications: what a declaration makes of placement, scaling and environment (ours)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from ray.serve.schema import ServeDeploySchema

from actors import applications, hand, hand_deployer
from actors.hand import hand_app
from agents.config import Settings
from agents.errors import InvalidRequest
from agents.hand_settings import HandDefinition
from agents.hands.deployed.records import HandVersion
from agents.settings_loading import load_settings
from agents.store.database import open_store
from tests.unit.actors.test_brain_apps import CONFIGS, ROOT

OFF_GPUS = {"label_selector": {"ray.io/node-id": "!in(gpu)"}}


@pytest.fixture(autouse=True)
def nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand, "off_gpu_nodes", lambda: OFF_GPUS)


def deployment(**fields: Any) -> Any:
    definition = HandDefinition.model_validate({"server": "crm:server", **fields})
    return hand_app(Settings(), HandVersion("crm", definition, "digest"))._bound_deployment


def test_a_hand_keeps_off_gpu_nodes_unless_it_names_its_own() -> None:
    assert deployment().ray_actor_options == {"num_cpus": 0.1, **OFF_GPUS}
    resources = {"num_cpus": 2, "memory_mb": 100, "labels": {"zone": "a"}}
    assert deployment(resources=resources).ray_actor_options == {
        "num_cpus": 2,
        "memory": 100 * 1024 * 1024,
        "label_selector": {"zone": "a"},
    }


def test_its_replicas_have_an_environment_of_their_own_without_secrets() -> None:
    environment = {"env_vars": {"REGION": "eu"}}
    made = deployment(runtime_env={**environment, "pip": ["httpx"]}, secrets=["CRM_TOKEN"])
    assert made.ray_actor_options["runtime_env"] == environment
    assert "runtime_env" not in deployment(runtime_env={"pip": ["httpx"]}).ray_actor_options, "replicas install those"
    name, definition, source, loopback = made.init_args
    assert (name, source, loopback) == ("crm@1", "digest", True)
    assert HandDefinition.model_validate_json(definition).secrets == ["CRM_TOKEN"]


def test_it_starts_with_one_replica_and_follows_its_calls_down_to_none() -> None:
    steered = deployment(max_replicas=7, concurrency=3, idle_seconds=90)._deployment_config.autoscaling_config
    assert (steered.min_replicas, steered.initial_replicas, steered.max_replicas) == (0, 1, 7)
    assert (steered.target_ongoing_requests, steered.downscale_delay_s) == (3, 90)
    assert steered.downscale_to_zero_delay_s == 90
    # A wake-up that was answered must be forgotten before the hand may end, or it would be started again.
    assert deployment(idle_seconds=0)._deployment_config.autoscaling_config.downscale_to_zero_delay_s == 12
    fixed = deployment(min_replicas=3, max_replicas=3)
    assert (fixed.num_replicas, fixed._deployment_config.autoscaling_config) == (3, None)


def test_calls_under_way_may_end_before_a_replica_does() -> None:
    assert deployment(deadline_seconds=50)._deployment_config.graceful_shutdown_timeout_s == 60
    assert deployment(deadline_seconds=3000)._deployment_config.graceful_shutdown_timeout_s == 130


def test_the_configuration_has_an_application_for_each_hand_of_its_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(applications, "_settings", lambda args: settings)
    monkeypatch.setattr(hand_deployer, "open_platform_store", lambda settings: open_store(tmp_path / "hecaton.db"))
    monkeypatch.chdir(ROOT)
    config = ServeDeploySchema.model_validate(yaml.safe_load((CONFIGS / "hands.yaml").read_text()))
    settings = load_settings(CONFIGS / "hands.settings.yaml", {"data_dir": str(tmp_path)})
    named = {each.name: each.args for each in config.applications if ":hand" in each.import_path}
    assert set(named) == {f"hecaton-hand-{name}@1" for name in settings.hands}
    made = applications.hand(named["hecaton-hand-billing@1"])
    assert made._bound_deployment.init_args[0] == "billing@1"
    with pytest.raises(InvalidRequest, match="there are crm, billing, analytics"):
        applications.hand({"hand": "nobody"})
    with pytest.raises(ValidationError):
        applications.hand({})
