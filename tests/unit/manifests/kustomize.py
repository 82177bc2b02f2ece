"""As much of ``kubectl kustomize`` as our overlays use, so that what they make can be looked at without kubectl.

What it does not know stops it, so that the manifests stay within what it does faithfully: resources, components,
generated ConfigMaps without a suffix, labels, a namespace, images, strategic patches of maps, JSON patches.
``test_rendering`` holds it against kubectl where there is one.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
_FIELDS = {
    "apiVersion",
    "kind",
    "namespace",
    "labels",
    "resources",
    "components",
    "configMapGenerator",
    "generatorOptions",
    "patches",
    "images",
}
_CLUSTER_WIDE = {"Namespace"}


def build(folder: Path) -> list[Object]:
    """Return the objects that the kustomization in *folder* makes. Raises ValueError for what is not known here."""
    return _apply(folder, [])


def _apply(folder: Path, objects: list[Object]) -> list[Object]:
    file = folder / "kustomization.yaml"
    wanted: Object = yaml.safe_load(file.read_text())
    if unknown := wanted.keys() - _FIELDS:
        raise ValueError(f"{file}: {sorted(unknown)} are not known to this renderer")
    for name in wanted.get("resources", []):
        path = folder / name
        objects = [*objects, *(build(path.resolve()) if path.is_dir() else _load(path))]
    for generator in wanted.get("configMapGenerator", []):
        objects = _generated(folder, generator, wanted, objects)
    for name in wanted.get("components", []):
        objects = _apply((folder / name).resolve(), objects)
    for patch in wanted.get("patches", []):
        objects = _patched(folder, patch, objects)
    for made in objects:
        _transform(made, wanted)
    names = [identity(made) for made in objects]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{file}: {doubled} are there twice")
    return objects


def identity(made: Object) -> tuple[str, str, str]:
    """Return what tells an object from all others: kind, namespace, name."""
    metadata = made["metadata"]
    return made["kind"], metadata.get("namespace", ""), metadata["name"]


def _load(path: Path) -> list[Object]:
    # What anchors share is shared no more: a patch changes one place.
    return [json.loads(json.dumps(made)) for made in yaml.safe_load_all(path.read_text()) if made is not None]


def _generated(folder: Path, generator: Object, wanted: Object, objects: list[Object]) -> list[Object]:
    if not wanted.get("generatorOptions", {}).get("disableNameSuffixHash"):
        raise ValueError("names with a hash are not known to this renderer")
    data = {Path(name).name: (folder / name).read_text() for name in generator.get("files", [])}
    for name in generator.get("envs", []):
        lines = (line.strip() for line in (folder / name).read_text().splitlines())
        data |= {key: value for key, _, value in (line.partition("=") for line in lines if line and line[0] != "#")}
    behaviour, name = generator.get("behavior", "create"), generator["name"]
    there = [made for made in objects if (made["kind"], made["metadata"]["name"]) == ("ConfigMap", name)]
    if behaviour == "create" and not there:
        return [*objects, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}]
    if behaviour == "replace" and len(there) == 1:
        there[0]["data"] = data
        return objects
    raise ValueError(f"ConfigMap {name}: cannot be made by {behaviour} with {len(there)} of that name")


def _patched(folder: Path, patch: Object, objects: list[Object]) -> list[Object]:
    text = (folder / patch["path"]).read_text() if "path" in patch else patch["patch"]
    change = yaml.safe_load(text)
    target = patch.get("target") or {"kind": change["kind"], "name": change["metadata"]["name"]}
    found = [made for made in objects if _matches(made, target)]
    if not found:
        raise ValueError(f"no object for the patch of {target}")
    if isinstance(change, list):
        for made in found:
            for operation in change:
                _operate(made, operation)
        return objects
    if change.pop("$patch", None) == "delete":
        return [made for made in objects if made not in found]
    for made in found:
        _merge(made, change)
    return objects


def _matches(made: Object, target: Object) -> bool:
    return made["kind"] == target["kind"] and target.get("name") in (None, made["metadata"]["name"])


def _merge(made: Object, change: Object) -> None:
    for key, value in change.items():
        if isinstance(value, list):
            raise ValueError(f"a strategic patch of the list {key} is not known to this renderer: use a JSON patch")
        if isinstance(value, dict):
            _merge(made.setdefault(key, {}), value)
        else:
            made[key] = value


def _operate(made: Object, operation: Object) -> None:
    """Carry out one operation of RFC 6902 on *made*. Raises ValueError when it does not fit."""
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    place: Any = made
    for part in way:
        place = place[int(part)] if isinstance(place, list) else place[part]
    key: Any = last if isinstance(place, dict) else (len(place) if last == "-" else int(last))
    value, op = copy.deepcopy(operation.get("value")), operation["op"]
    there = key in place if isinstance(place, dict) else key < len(place)
    if op == "add" and isinstance(place, list):
        place.insert(key, value)
    elif op == "add" or (op == "replace" and there):
        place[key] = value
    elif op == "remove" and there:
        del place[key]
    elif op != "test" or not there or place[key] != value:
        raise ValueError(f"{op} {operation['path']}: does not fit {identity(made)}")


def _transform(made: Object, wanted: Object) -> None:
    if "namespace" in wanted and made["kind"] not in _CLUSTER_WIDE:
        made["metadata"]["namespace"] = wanted["namespace"]
    for labels in wanted.get("labels", []):
        if labels.keys() != {"pairs"}:
            raise ValueError("labels of selectors and templates are not known to this renderer")
        made["metadata"].setdefault("labels", {}).update(labels["pairs"])
    for image in wanted.get("images", []):
        _rename(made, image)


def _rename(value: Any, image: Object) -> None:
    if isinstance(value, list):
        for each in value:
            _rename(each, image)
    elif isinstance(value, dict):
        for key in ("containers", "initContainers"):
            for container in value.get(key) or []:
                name, colon, tag = container["image"].partition(":")
                if name == image["name"]:
                    container["image"] = f"{image.get('newName', name)}{colon}{image.get('newTag', tag)}"
        for each in value.values():
            _rename(each, image)
