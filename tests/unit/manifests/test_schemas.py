"""Every object that an overlay makes is what the API it is sent to takes: nothing missing, nothing unknown."""

from __future__ import annotations

import copy
import gzip
import hashlib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from google.protobuf.json_format import ParseError

from tests.unit.manifests.kustomize import Object
from tests.unit.manifests.manifests import ROOT, of_kind, ray_templates, rendered
from tests.unit.manifests.schemas import (
    NEWEST_KUBERNETES,
    OLDEST_KUBERNETES,
    TYPED,
    envoy_bootstrap,
    faults_of_ray_service,
)

_SHARED = ROOT.parent / "shared" / "data" / "crds" / "ray.io_rayservices.yaml.gz"


def test_kubernetes_and_the_operators_take_every_object(overlay: str, objects: list[Object]) -> None:
    versions = (OLDEST_KUBERNETES, NEWEST_KUBERNETES) if overlay == "base" else (OLDEST_KUBERNETES,)
    for made in objects:
        if made["kind"] == "RayService":
            assert faults_of_ray_service(made) == []
        elif made["kind"] in TYPED:
            TYPED[made["kind"]].model_validate(made)
        else:
            for version in versions:
                kubernetes_validate.validate(made, version, strict=True)


def test_kubernetes_takes_the_pods_that_kuberay_makes(objects: list[Object]) -> None:
    for name, template in ray_templates(objects).items():
        pod = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(template)}
        pod["metadata"]["name"] = name
        for version in (OLDEST_KUBERNETES, NEWEST_KUBERNETES):
            kubernetes_validate.validate(pod, version, strict=True)


@pytest.mark.parametrize(
    "fault",
    [
        {"upgradeStrategie": {}},
        {"serveConfigV2": {"applications": []}},
        {"rayClusterConfig": {"workerGroupSpecs": [{"groupName": "hands"}]}},
        {"rayClusterConfig": {"autoscalerOptions": {"version": "v3"}}},
        {"rayClusterConfig": {"gcsFaultToleranceOptions": {"redis": "hecaton-redis:6379"}}},
    ],
)
def test_a_fault_in_the_ray_service_is_found(fault: Object) -> None:
    (service,) = of_kind(rendered("base"), "RayService").values()
    spoiled = {**service["spec"], **fault}
    if "rayClusterConfig" in fault:
        spoiled["rayClusterConfig"] = {**service["spec"]["rayClusterConfig"], **fault["rayClusterConfig"]}
    assert faults_of_ray_service({**service, "spec": spoiled})


def test_an_unknown_field_anywhere_else_is_found() -> None:
    deployment = of_kind(rendered("base"), "Deployment")["hecaton-envoy"]
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, OLDEST_KUBERNETES, strict=True)


def test_the_schema_here_is_the_one_that_was_handed_to_us() -> None:
    ours = Path(__file__).parent / "schemas" / "rayservice.crd.yaml.gz"
    digest = hashlib.sha256(gzip.decompress(ours.read_bytes())).hexdigest()
    assert digest == "0a8fc325e6e22b9231c1f282b309555e2ecf94227ca20a03df3d1d9a403907ab"
    if _SHARED.exists():
        assert hashlib.sha256(gzip.decompress(_SHARED.read_bytes())).hexdigest() == digest


def test_envoy_takes_its_configuration(objects: list[Object]) -> None:
    config: Any = yaml.safe_load(of_kind(objects, "ConfigMap")["hecaton-envoy"]["data"]["envoy.yaml"])
    assert [listener.name for listener in envoy_bootstrap(config).static_resources.listeners] == ["clients", "probes"]
    config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["stream_timeout"] = (
        "1s"
    )
    with pytest.raises(ParseError):
        envoy_bootstrap(config)
