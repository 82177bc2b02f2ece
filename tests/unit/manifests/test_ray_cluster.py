"""The Ray cluster of the manifests is one that the platform's settings, placement and Serve applications fit into."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest
import ray
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.serve.schema import ServeDeploySchema

import actors.up as up
from actors import applications
from actors.names import GATEWAY_APP, brain_app_name
from agents.api.peers import is_loopback
from agents.brains.registry import registry_of
from agents.config import Settings
from agents.settings_loading import load_settings
from tests.unit.manifests.kustomize import Object
from tests.unit.manifests.manifests import (
    ROOT,
    groups,
    of_kind,
    ray_cluster,
    ray_templates,
    serve_config,
    settings_text,
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(("HECATON_", "ANTHROPIC_", "RAY_SERVE_")):
            monkeypatch.delenv(name)


@pytest.fixture
def settings(objects: list[Object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings as a Ray node has them: the file, and every variable of the pod."""
    monkeypatch.setenv("HECATON_DATABASE_URL", "postgresql+asyncpg://hecaton:word@hecaton-postgres:5432/hecaton")
    file = tmp_path / "hecaton.yaml"
    file.write_text(settings_text(objects))
    return load_settings(file)


# -- settings ------------------------------------------------------------------------------------


def test_every_setting_in_the_config_map_is_one(settings: Settings) -> None:
    assert not is_loopback(settings.host)
    assert settings.topology == "decoupled"


def test_every_variable_of_a_ray_node_is_a_setting(
    objects: list[Object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "hecaton.yaml"
    file.write_text(settings_text(objects))
    for template in ray_templates(objects).values():
        (container,) = template["spec"]["containers"]
        for variable in container["env"]:
            monkeypatch.setenv(variable["name"], variable.get("value", "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="))
        monkeypatch.setenv("HECATON_DATABASE_URL", "postgresql+asyncpg://hecaton:word@hecaton-postgres:5432/hecaton")
        loaded = load_settings(file)
        assert loaded.api_key is not None and loaded.database_url is not None
        assert loaded.vaults.master_key is not None and loaded.anthropic_api_key is not None


def test_services_bring_no_variables_that_look_like_settings(objects: list[Object]) -> None:
    # HECATON_GATEWAYS_SERVICE_HOST would be an unknown setting, and stop the platform.
    assert any(name.startswith("hecaton") for name in of_kind(objects, "Service"))
    assert all(template["spec"]["enableServiceLinks"] is False for template in ray_templates(objects).values())


def test_every_node_has_the_settings_where_serve_looks_for_them(objects: list[Object]) -> None:
    paths = {application["args"]["settings"] for application in serve_config(objects)["applications"]}
    assert len(paths) == 1
    folder, _, file = paths.pop().rpartition("/")
    for template in ray_templates(objects).values():
        (container,) = template["spec"]["containers"]
        assert {"name": "settings", "mountPath": folder, "readOnly": True} in container["volumeMounts"]
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        name = volumes["settings"]["configMap"]["name"]
        assert file in of_kind(objects, "ConfigMap")[name]["data"]
        assert {"name": "HECATON_CONFIG", "value": f"{folder}/{file}"} in container["env"]


def test_what_settings_name_as_directories_is_mounted_and_the_data_directory_is_one_for_all(
    objects: list[Object], settings: Settings
) -> None:
    shared = of_kind(objects, "PersistentVolumeClaim")["hecaton-data"]["spec"]["accessModes"]
    (most,) = {group["maxReplicas"] for name, group in groups(objects).items() if name == "hands"}
    # One claim that a single node may mount is enough for kind, which has but one.
    assert shared == (["ReadWriteMany"] if most > 2 else ["ReadWriteOnce"])
    for name, template in ray_templates(objects).items():
        (container,) = template["spec"]["containers"]
        mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        claim = volumes[mounted[str(settings.data_dir)]]["persistentVolumeClaim"]
        assert claim["claimName"] == "hecaton-data"
        if name == "hands":
            # Sandboxes work on the node's own disk, bounded.
            assert volumes[mounted[str(settings.sandbox.root)]]["emptyDir"]["sizeLimit"]
        if name == "brains":
            models = {
                str(brain.definition.model)
                for brain in registry_of(settings).brains
                if brain.definition.resources.num_gpus
            }
            assert all(Path(model).parent == Path("/models") for model in models) and "/models" in mounted


# -- Ray -----------------------------------------------------------------------------------------


def test_ray_is_the_version_that_the_lock_installs(objects: list[Object]) -> None:
    locked = next(line for line in (ROOT / "requirements.lock").read_text().splitlines() if line.startswith("ray=="))
    assert ray_cluster(objects)["rayVersion"] == ray.__version__ == locked.removeprefix("ray==").split()[0]


def test_ray_has_the_settings_that_hecaton_up_gives_it(objects: list[Object], monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = of_kind(objects, "ConfigMap")["hecaton-ray"]["data"]
    environment: dict[str, str] = {}
    monkeypatch.setattr(up.os, "environ", environment)
    up.prepare_environment(Settings())
    # Ports are fixed where one platform has the pod for itself; the image names its own HAProxy.
    of_one_machine = {"HECATON_INSTANCE", *up._HAPROXY_PORTS, "REAL_HAPROXY", "RAY_SERVE_HAPROXY_BINARY_PATH"}
    threads = "RAY_SERVE_HAPROXY_NBTHREAD"
    expected = {name: value for name, value in environment.items() if name not in {*of_one_machine, threads}}
    assert {name: value for name, value in chosen.items() if name != threads} == expected
    for template in ray_templates(objects).values():
        (container,) = template["spec"]["containers"]
        assert container["envFrom"] == [{"configMapRef": {"name": "hecaton-ray"}}]


def test_the_groups_of_brains_and_hands_have_bounds_of_their_own(overlay: str, objects: list[Object]) -> None:
    found = groups(objects)
    assert set(found) == ({"hands"} if overlay == "kind" else {"hands", "brains"})
    for group in found.values():
        assert 0 < group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    if "brains" in found:
        bounds = {name: (group["minReplicas"], group["maxReplicas"]) for name, group in found.items()}
        assert bounds["hands"] != bounds["brains"]
    cluster = ray_cluster(objects)
    assert cluster["enableInTreeAutoscaling"] is True and cluster["autoscalerOptions"]["version"] == "v2"
    # A pod is one Ray node for its whole life with that version.
    assert {template["spec"]["restartPolicy"] for template in ray_templates(objects).values()} == {"Never"}


def _node_types(objects: list[Object]) -> dict[str, Object]:
    """Return what Ray's autoscaler itself reads out of the cluster."""
    config = _derive_autoscaling_config_from_ray_cr(
        {"metadata": {"name": "hecaton", "namespace": "hecaton"}, "spec": ray_cluster(objects)}
    )
    return cast("dict[str, Object]", config["available_node_types"])


def _fits(wanted: dict[str, float], labels: dict[str, str], node: Object) -> bool:
    offered = node["resources"]
    return labels.items() <= node["labels"].items() and all(
        offered.get(name, 0) >= n for name, n in wanted.items() if n
    )


def test_the_autoscaler_finds_a_group_for_every_brain_and_that_only(objects: list[Object], settings: Settings) -> None:
    nodes = _node_types(objects)
    for brain in registry_of(settings).brains if settings.brains else ():
        needs = brain.definition.resources
        assert needs.accelerator_type is None, "a group that has no node yet offers no such resource"
        wanted = {"CPU": needs.num_cpus, "GPU": needs.num_gpus}
        fitting = {name for name, node in nodes.items() if _fits(wanted, dict(needs.labels), node)}
        assert fitting == ({"brains"} if needs.num_gpus else {"hands"})
        if needs.num_gpus:
            group = groups(objects)["brains"]
            scaling = brain.definition.scaling
            assert (scaling.min_replicas, scaling.max_replicas) == (group["minReplicas"], group["maxReplicas"])


def test_beside_a_brain_a_gpu_node_has_no_room_for_a_hand(
    overlay: str, objects: list[Object], settings: Settings
) -> None:
    nodes = _node_types(objects)
    assert "GPU" not in nodes["hands"]["resources"] and nodes["headgroup"]["resources"]["CPU"] == 0
    if overlay != "kind":
        (gpu_brain,) = [brain for brain in registry_of(settings).brains if brain.definition.resources.num_gpus]
        offered = nodes["brains"]["resources"]
        replicas = offered["GPU"] / gpu_brain.definition.resources.num_gpus
        assert offered["CPU"] == replicas * gpu_brain.definition.resources.num_cpus


def test_groups_are_labelled_as_docs_and_settings_name_them(objects: list[Object]) -> None:
    assert {name: group["labels"] for name, group in groups(objects).items()} == {
        name: {"hecaton/part": name} for name in groups(objects)
    }


def test_the_head_outlives_itself_on_redis(objects: list[Object]) -> None:
    options = ray_cluster(objects)["gcsFaultToleranceOptions"]
    host, _, port = options["redisAddress"].partition(":")
    service = of_kind(objects, "Service")[host]
    assert service["spec"]["ports"][0]["port"] == int(port)
    assert options["redisPassword"]["valueFrom"]["secretKeyRef"] == {"name": "hecaton-redis", "key": "password"}
    lines = of_kind(objects, "ConfigMap")["hecaton-redis"]["data"]["redis.conf"].splitlines()
    assert {f"port {port}", "appendonly yes", "appendfsync always", "maxmemory-policy noeviction"} <= set(lines)


def test_ray_asks_for_a_token(objects: list[Object]) -> None:
    assert ray_cluster(objects)["authOptions"] == {"mode": "token"}


def test_there_is_never_a_second_cluster_on_the_same_database(objects: list[Object]) -> None:
    (service,) = of_kind(objects, "RayService").values()
    assert service["spec"]["upgradeStrategy"] == {"type": "None"}


# -- Serve ---------------------------------------------------------------------------------------


def test_serve_takes_the_applications_and_each_is_one_of_the_platform(
    objects: list[Object], settings: Settings
) -> None:
    config = ServeDeploySchema.model_validate(serve_config(objects))
    names = [brain_app_name(brain.id) for brain in registry_of(settings).brains]
    assert [application.name for application in config.applications] == [*names, GATEWAY_APP]
    assert (config.http_options.host, config.http_options.port) == (settings.host, settings.port)
    for application in config.applications:
        module, _, builder = (application.import_path or "").partition(":")
        assert module == applications.__name__ and callable(getattr(applications, builder))
        expected = applications.BrainArguments if builder == "brain" else applications.AppArguments
        given = expected.model_validate(application.args)
        if isinstance(given, applications.BrainArguments):
            found = applications._brain(registry_of(settings), given.brain)
            assert brain_app_name(found.id) == application.name


def test_the_base_runs_what_serve_configs_has_for_a_cluster() -> None:
    from tests.unit.manifests.manifests import rendered

    written: Any = yaml.safe_load((ROOT / "serve_configs" / "cluster.yaml").read_text())
    assert serve_config(rendered("base")) == serve_config(rendered("gke-gpu")) == written


def test_postgresql_takes_the_connections_of_all_processes(objects: list[Object], settings: Settings) -> None:
    (container,) = of_kind(objects, "StatefulSet")["hecaton-postgres"]["spec"]["template"]["spec"]["containers"]
    limit = next(int(word.partition("=")[2]) for word in container["args"] if word.startswith("max_connections="))
    # Nine of each (docs/operations.md), twice as many processes while one replaces the other, and some for people.
    processes = settings.harness.actors + settings.gateway.replicas + settings.sandbox.hosts
    assert 2 * 9 * processes + 20 <= limit
