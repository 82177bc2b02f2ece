"""Several versions of one brain: how they are declared and named.

Bug class this catches: a version that is not what its declaration says, or changes on its way to another process.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from agents.brains.registry import Registry, registry_of
from agents.config import Settings
from agents.errors import NotFound
from agents.settings_loading import load_settings

QWEN: dict[str, Any] = {
    "engine": "server",
    "model": "org/qwen-1",
    "aliases": ["gpt-"],
    "fallbacks": ["spare"],
    "resources": {"num_gpus": 2, "labels": {"zone": "a"}},
    "server": {"arguments": ["--fast"]},
    "versions": {2: {"model": "org/qwen-2", "weight": 10}, "3b": {"resources": {"labels": {"disk": "big"}}}},
}


def brains(**qwen: Any) -> Registry:
    return registry_of(Settings(brains={"qwen": {**QWEN, **qwen}, "spare": {"engine": "replay"}}))  # type: ignore[arg-type]


def test_a_version_is_as_its_brain_but_for_what_it_says() -> None:
    first, second, third, _ = brains().brains
    assert [each.id for each in (first, second, third)] == ["qwen@1", "qwen@2", "qwen@3b"]
    assert (first.definition.model, second.definition.model) == ("org/qwen-1", "org/qwen-2")
    assert second.definition.server.arguments == ["--fast"]
    assert second.definition.fallbacks == ["spare"]
    resources = third.definition.resources
    assert (resources.num_gpus, resources.labels) == (2, {"zone": "a", "disk": "big"})


def test_versions_are_the_same_in_every_process() -> None:
    settings = Settings(brains={"qwen": QWEN, "spare": {"engine": "replay"}})  # type: ignore[arg-type]
    carried = Settings.from_json(settings.to_json())
    assert carried == settings
    assert registry_of(carried).brains == registry_of(settings).brains


def test_a_version_is_found_by_its_id_and_the_declared_one_by_every_other_name() -> None:
    found = brains()
    assert [found.find(name).id for name in ("qwen", "gpt-9", "qwen@2", "qwen@3b")] == [
        "qwen@1",
        "qwen@1",
        "qwen@2",
        "qwen@3b",
    ]
    with pytest.raises(NotFound, match=r"there are qwen@1, qwen@2, qwen@3b, spare@1, and auto"):
        found.find("qwen@4")


def test_a_brain_is_in_a_line_and_among_the_choices_once() -> None:
    found = registry_of(
        Settings(brains={"a": {**QWEN, "fallbacks": ["b"]}, "b": {"engine": "replay", "fallbacks": ["a"]}})  # type: ignore[arg-type]
    )
    assert [each.id for each in found.line(found.find("a@2"))] == ["a@2", "b@1"]
    assert [each.id for each in found.choosable] == ["a@1", "b@1"]


def test_versions_come_from_any_layer_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HECATON_BRAINS__TINY__ENGINE", "replay")
    monkeypatch.setenv("HECATON_BRAINS__TINY__VERSIONS__2__MODEL", "two")
    settings = load_settings(overrides={"brains": {"tiny": {"versions": {"2": {"weight": 5}}}}})
    second = settings.brains["tiny"].versions["2"]
    assert (second.engine, second.model, second.weight) == ("replay", "two", 5)


@pytest.mark.parametrize(
    ("versions", "fault"),
    [
        ({"1": {}}, "version '1' is among versions too"),
        ({"2": {"weight": 60}, "3": {"weight": 50}}, "add up to 110"),
        ({"2": {"aliases": ["x"]}}, "versions.2.aliases"),
        ({"2@": {}}, "versions.2@"),
        ({"2": {"model": None}}, "must be told a model"),
    ],
)
def test_what_a_version_cannot_be_is_refused(versions: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        brains(versions=versions)
