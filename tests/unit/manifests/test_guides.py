"""docs/kubernetes.md and docs/vm_cluster.md name what there is, and kind's own file fits its overlay."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from agents.config import Settings
from tests.unit.manifests.kustomize import Object
from tests.unit.manifests.manifests import KUBERNETES, ROOT, of_kind, pod_templates, rendered
from tests.unit.manifests.schemas import NEWEST_KUBERNETES, OLDEST_KUBERNETES

_GUIDE = (ROOT / "docs" / "kubernetes.md").read_text()


def _secrets_of(objects: list[Object]) -> set[tuple[str, str]]:
    references = re.findall(r"\{'name': '([\w-]+)', 'key': '([\w-]+)'", str(pod_templates(objects)))
    return set(references)


def test_every_secret_that_pods_name_is_made_by_a_line_of_the_guide() -> None:
    commands = _GUIDE.replace("\\\n", " ")
    made = {
        (name, key)
        for name, rest in re.findall(r"create secret generic ([\w-]+)(.*)", commands)
        for key in re.findall(r"--from-literal=([\w-]+)=", rest)
    }
    assert made == _secrets_of(rendered("base"))


def test_every_object_of_the_base_is_explained() -> None:
    explained = set(re.findall(r"`([\w-]+)`", _GUIDE))
    kinds = ("RayService", "ConfigMap", "StatefulSet", "PersistentVolumeClaim", "Deployment", "Service")
    told_by_kind = {"NetworkPolicies", "PodDisruptionBudgets", "ServiceAccounts"}
    assert all(f"| {kind} |" in _GUIDE for kind in told_by_kind)
    for kind in kinds:
        # What only configures another object goes with it.
        names = {name for name in of_kind(rendered("base"), kind)} - {
            "hecaton-envoy",
            "hecaton-redis",
            "hecaton-postgres",
        }
        assert names <= explained, (kind, names - explained)


@pytest.mark.parametrize("name", ["kubernetes.md", "vm_cluster.md"])
def test_files_that_the_guides_name_are_there(name: str) -> None:
    text = (ROOT / "docs" / name).read_text()
    named = set(re.findall(r"(?<![\w/])((?:cluster|tests|serve_configs)/[\w./-]+[\w])", text))
    assert len(named) > 4 and not [path for path in named if not (ROOT / path).exists()]
    for path in re.findall(r"`((?:overlays|components)/[\w-]+)`", text):
        assert (KUBERNETES / path / "kustomization.yaml").exists(), path


def test_the_guide_names_the_versions_that_are_checked() -> None:
    assert f"Kubernetes {OLDEST_KUBERNETES} to {NEWEST_KUBERNETES}" in _GUIDE
    config: Any = yaml.safe_load((KUBERNETES / "overlays" / "kind" / "cluster.yaml").read_text())
    (node,) = config["nodes"]
    assert node["image"].startswith(f"kindest/node:v{OLDEST_KUBERNETES}.")


def test_kind_leads_the_port_of_the_laptop_to_envoy() -> None:
    config: Any = yaml.safe_load((KUBERNETES / "overlays" / "kind" / "cluster.yaml").read_text())
    assert config["apiVersion"] == "kind.x-k8s.io/v1alpha4" and config["kind"] == "Cluster"
    (node,) = config["nodes"]
    (mapping,) = node["extraPortMappings"]
    service = of_kind(rendered("kind"), "Service")["hecaton"]["spec"]
    assert service["type"] == "NodePort" and service["ports"][0]["nodePort"] == mapping["containerPort"]
    assert (mapping["hostPort"], mapping["listenAddress"]) == (Settings().port, "127.0.0.1")


def test_the_load_balancer_leads_to_envoy() -> None:
    objects = rendered("gke-gpu")
    (rule,) = of_kind(objects, "Ingress")["hecaton"]["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    service = of_kind(objects, "Service")[backend["name"]]
    assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    annotations = service["metadata"]["annotations"]
    assert yaml.safe_load(annotations["cloud.google.com/backend-config"])["default"] in of_kind(
        objects, "BackendConfig"
    )
    ports = {
        port["name"]: port["containerPort"]
        for port in pod_templates(objects)["envoy"]["spec"]["containers"][0]["ports"]
    }
    assert of_kind(objects, "BackendConfig")["hecaton"]["spec"]["healthCheck"]["port"] == ports["http"]
    domains = of_kind(objects, "ManagedCertificate")["hecaton"]["spec"]["domains"]
    assert domains == [rule["host"]]
