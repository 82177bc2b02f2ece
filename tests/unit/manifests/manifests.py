"""The rendered overlays, and the parts of them that several tests look at."""

from __future__ import annotations

import pickle
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.unit.manifests.kustomize import Object, build

ROOT = Path(__file__).resolve().parents[3]
KUBERNETES = ROOT / "cluster" / "kubernetes"
OVERLAYS = {"base": KUBERNETES / "base", **{path.name: path for path in sorted(KUBERNETES.glob("overlays/*"))}}


@cache
def _rendered(overlay: str) -> bytes:
    return pickle.dumps(build(OVERLAYS[overlay]))


def rendered(overlay: str) -> list[Object]:
    """Return the objects of an overlay, fresh ones each time."""
    return pickle.loads(_rendered(overlay))


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    """Return the objects of a kind by name."""
    return {made["metadata"]["name"]: made for made in objects if made["kind"] == kind}


def ray_cluster(objects: list[Object]) -> Object:
    """Return the ``rayClusterConfig`` of the one RayService."""
    (service,) = of_kind(objects, "RayService").values()
    return service["spec"]["rayClusterConfig"]


def groups(objects: list[Object]) -> dict[str, Object]:
    """Return the worker groups by name."""
    return {group["groupName"]: group for group in ray_cluster(objects)["workerGroupSpecs"]}


def pod_templates(objects: list[Object]) -> dict[str, Object]:
    """Return every pod template by the component that its pods are."""
    cluster = ray_cluster(objects)
    templates = [cluster["headGroupSpec"]["template"], *(group["template"] for group in cluster["workerGroupSpecs"])]
    templates += [made["spec"]["template"] for made in objects if made["kind"] in ("Deployment", "StatefulSet")]
    return {template["metadata"]["labels"]["app.kubernetes.io/component"]: template for template in templates}


def ray_templates(objects: list[Object]) -> dict[str, Object]:
    """Return the templates of Ray's nodes."""
    return {name: each for name, each in pod_templates(objects).items() if name in ("head", "hands", "brains")}


def settings_text(objects: list[Object]) -> str:
    """Return the platform's settings, as every Ray node has them."""
    return of_kind(objects, "ConfigMap")["hecaton-settings"]["data"]["hecaton.yaml"]


def serve_config(objects: list[Object]) -> dict[str, Any]:
    """Return what Serve is told to run."""
    (service,) = of_kind(objects, "RayService").values()
    return yaml.safe_load(service["spec"]["serveConfigV2"])
