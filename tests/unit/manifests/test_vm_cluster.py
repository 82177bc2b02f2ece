"""Clusters of machines by Ray's launcher: Ray takes the files, and they make the cluster that Kubernetes would."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start

from tests.unit.manifests.kustomize import Object
from tests.unit.manifests.manifests import ROOT, groups, of_kind, rendered, settings_text

_VM = ROOT / "cluster" / "vm"


def _written(name: str) -> Object:
    return yaml.safe_load((_VM / f"{name}.yaml").read_text())


@pytest.fixture(params=["gcp", "on_premises"])
def cluster(request: pytest.FixtureRequest) -> Object:
    """A file of the launcher, with Ray's defaults where it says nothing."""
    return prepare_config(_written(request.param))


def test_ray_takes_the_cluster_and_installs_nothing_on_the_way(cluster: Object) -> None:
    validate_config(cluster)
    assert not any(cluster[f"{part}setup_commands"] for part in ("", "head_", "worker_"))


def test_an_unknown_field_is_refused() -> None:
    from jsonschema import ValidationError

    with pytest.raises(ValidationError):
        validate_config({**prepare_config(_written("gcp")), "worker_groups": {}})


def _started(commands: list[str]) -> dict[str, Any]:
    """Return how `ray start` understands its line."""
    (line,) = [command for command in commands if "ray start" in command]
    words = shlex.split(line.replace("$RAY_NODE_OPTIONS", "").replace("$(cat /etc/hecaton/part)", "hands"))
    context = start.make_context("start", words[words.index("start") + 1 :], resilient_parsing=False)
    return context.params


def test_the_head_runs_nothing_of_ours_and_its_dashboard_is_not_open(cluster: Object) -> None:
    head = _started(cluster["head_start_ray_commands"])
    assert head["head"] is True and head["num_cpus"] == 0 and head["dashboard_host"] == "127.0.0.1"
    worker = _started(cluster["worker_start_ray_commands"])
    assert worker["head"] is False and worker["address"] == f"$RAY_HEAD_IP:{head['port']}"


def test_machines_of_each_kind_have_bounds_and_labels_of_their_own() -> None:
    kinds = _written("gcp")["available_node_types"]
    assert kinds["head"]["resources"] == {"CPU": 0}
    for name in ("hands", "brains"):
        assert kinds[name]["labels"] == groups(rendered("base"))[name]["labels"]
        assert 0 < kinds[name]["min_workers"] <= kinds[name]["max_workers"]
    assert sum(kinds[name]["max_workers"] for name in ("hands", "brains")) == _written("gcp")["max_workers"]
    assert "GPU" not in kinds["hands"]["resources"]
    # The settings are those of Kubernetes' base.
    qwen = yaml.safe_load(settings_text(rendered("base")))["brains"]["qwen"]
    needs = qwen["resources"]
    assert kinds["brains"]["resources"] == {"CPU": needs["num_cpus"], "GPU": needs["num_gpus"]}
    assert kinds["brains"]["labels"] == needs["labels"]
    assert kinds["brains"]["max_workers"] == qwen["scaling"]["max_replicas"]


def _variables(lines: list[str]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in lines if re.match(r"(RAY|HECATON)_\w+=", line))


def test_ray_has_the_settings_that_it_has_on_kubernetes() -> None:
    there = of_kind(rendered("base"), "ConfigMap")["hecaton-ray"]["data"]
    expected = {name: value for name, value in there.items() if name != "RAY_SERVE_HAPROXY_NBTHREAD"}
    in_container = [each.removeprefix("--env=") for each in _written("gcp")["docker"]["run_options"]]
    on_machine = (_VM / "node.env").read_text().splitlines()
    for variables in (_variables(in_container), _variables(on_machine)):
        assert variables.items() >= expected.items()
        assert variables["RAY_AUTH_MODE"] == "token" and variables["HECATON_CONFIG"] == "/etc/hecaton/hecaton.yaml"
        assert not [name for name in variables if "KEY" in name or "DATABASE" in name], "a secret is in a file of ours"


def test_containers_may_make_sandboxes_and_no_more() -> None:
    options = set(_written("gcp")["docker"]["run_options"])
    needed = {f"--security-opt={each}=unconfined" for each in ("seccomp", "apparmor", "systempaths")}
    assert options >= {*needed, "--security-opt=no-new-privileges", "--cap-drop=ALL"}
    assert not [each for each in options if "privileged" in each and "no-new-privileges" not in each]
    mounted = {each.split(":")[1] for each in options if each.startswith("--volume=")}
    settings = yaml.safe_load(settings_text(rendered("base")))
    assert mounted == {"/etc/hecaton", settings["data_dir"], settings["sandbox"]["root"]}


def test_a_machine_of_ones_own_gets_its_variables_from_the_file(tmp_path: Path) -> None:
    text = (_VM / "node.env").read_text().replace("/etc/hecaton/secrets.env", str(tmp_path / "secrets.env"))
    (tmp_path / "secrets.env").write_text("HECATON_API_KEY='a b'\n")
    (tmp_path / "node.env").write_text(text)
    ours = Path(sys.executable).parent
    shown = subprocess.run(
        ["sh", "-ec", f". {tmp_path / 'node.env'}; env"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{ours}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        timeout=60,
    ).stdout
    variables = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    assert variables["HECATON_API_KEY"] == "a b"
    assert Path(variables["REAL_HAPROXY"]).name == "haproxy" != variables["RAY_SERVE_HAPROXY_BINARY_PATH"]
    assert Path(variables["RAY_SERVE_HAPROXY_BINARY_PATH"]) == ROOT / "actors" / "haproxy"
