"""The renderer of these tests does what kubectl does; what it cannot do faithfully it refuses."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.manifests.kustomize import Object, build, identity
from tests.unit.manifests.manifests import KUBERNETES, OVERLAYS


class _Loader(yaml.CSafeLoader):
    """Takes a bare ``=`` for a text, as YAML 1.2 and what writes it do."""


_Loader.add_constructor("tag:yaml.org,2002:value", yaml.CSafeLoader.construct_scalar)


def _kubectl_renders() -> bool:
    # Kustomize in kubectl before 1.27 lacks what we use.
    if shutil.which("kubectl") is None:
        return False
    version = subprocess.run(["kubectl", "version", "--client", "-o", "yaml"], capture_output=True, text=True)
    return "kustomizeVersion: v5" in version.stdout


@pytest.mark.skipif(
    not _kubectl_renders(), reason="needs kubectl 1.27 or newer; Debian 12 has 1.20, and no registry of ours has one"
)
def test_the_renderer_makes_what_kubectl_makes(overlay: str, objects: list[Object]) -> None:
    shown = subprocess.run(["kubectl", "kustomize", OVERLAYS[overlay]], capture_output=True, text=True, check=True)
    theirs = {identity(made): made for made in yaml.load_all(shown.stdout, Loader=_Loader)}
    assert {identity(made): made for made in objects} == theirs


def test_every_file_of_the_base_and_of_an_overlay_is_used() -> None:
    for folder in [path.parent for path in KUBERNETES.rglob("kustomization.yaml")]:
        wanted: Any = yaml.safe_load((folder / "kustomization.yaml").read_text())
        used = {"kustomization.yaml", *wanted.get("resources", [])}
        used |= {patch["path"] for patch in wanted.get("patches", []) if "path" in patch}
        for generator in wanted.get("configMapGenerator", []):
            used |= {*generator.get("files", []), *generator.get("envs", [])}
        there = {path.name for path in folder.iterdir() if path.is_file()} - {"cluster.yaml"}  # kind's own
        assert there == {name for name in used if "/" not in name}, folder


def _kustomization(folder: Path, text: str) -> Path:
    (folder / "kustomization.yaml").write_text(text)
    (folder / "map.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: one}, data: {a: b}}")
    return folder


@pytest.mark.parametrize(
    "text",
    [
        "{resources: [map.yaml], namePrefix: my-}",
        "{resources: [map.yaml, map.yaml]}",
        "{resources: [map.yaml], patches: [{target: {kind: Secret}, patch: '[]'}]}",
        "{resources: [map.yaml], patches: [{target: {kind: ConfigMap}, patch: '[{op: remove, path: /data/c}]'}]}",
        "{resources: [map.yaml], patches: [{target: {kind: ConfigMap}, patch: '[{op: test, path: /data/a}]'}]}",
        "{resources: [map.yaml], patches: [{target: {kind: ConfigMap}, patch: '{data: [1]}'}]}",
        "{resources: [map.yaml], configMapGenerator: [{name: two, literals: [a=b]}]}",
    ],
)
def test_what_the_renderer_does_not_know_or_does_not_fit_stops_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError):
        build(_kustomization(tmp_path, text))
