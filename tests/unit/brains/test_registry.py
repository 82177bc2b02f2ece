"""Names of brains, and what they stand for.

Bug class this catches: an agent's model that is thought by another brain than the one declared for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.brain_settings import BrainDefinition
from agents.brains.registry import Registry, registry_of
from agents.config import InvalidSettings, Settings
from agents.errors import NotFound
from agents.settings_loading import load_settings

PAGE = Path(__file__).parents[3] / "docs" / "brains.md"


def registry(**brains: dict[str, Any]) -> Registry:
    return Registry({name: BrainDefinition(**{"engine": "replay", **given}) for name, given in brains.items()})


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("small", "small@1"),
        ("small@1", "small@1"),
        ("big", "big@2.1"),
        ("big@2.1", "big@2.1"),
        ("gpt", "small@1"),
        ("qwen3-8b", "small@1"),
        ("qwen3-80b", "big@2.1"),
        ("qwen3-80b-instruct", "big@2.1"),
        ("claude-opus-4-8", "cloud@1"),
    ],
)
def test_a_name_stands_for_a_brain(model: str, found: str) -> None:
    brains = registry(
        small={"aliases": ["gpt", "qwen3-"]},
        big={"version": "2.1", "aliases": ["qwen3-80b", "qwen3-80b-"]},
        cloud={"engine": "claude"},
    )
    assert brains.find(model).id == found


@pytest.mark.parametrize("model", ["", "@", "large", "small@2", "gpt@1", "gpt-2", "claude-opus-4-8"])
def test_an_unknown_name_is_told_which_there_are(model: str) -> None:
    with pytest.raises(NotFound, match=r"there are small@1, big@2.1, and auto"):
        registry(small={"aliases": ["gpt"]}, big={"version": "2.1"}).find(model)


def test_without_declared_brains_one_takes_every_name() -> None:
    [brain] = registry_of(Settings()).brains
    assert registry_of(Settings()).find("claude-opus-4-8") == registry_of(Settings()).find("whatever@3") == brain
    assert (brain.id, brain.definition.engine, brain.told("claude-opus-4-8")) == (
        "default@1",
        "replay",
        "claude-opus-4-8",
    )


def test_the_engine_is_told_the_brains_model() -> None:
    assert registry(small={"model": "org/weights"}).find("small").told("small") == "org/weights"


def test_who_stands_in_is_asked_in_order_and_once() -> None:
    brains = registry(a={"fallbacks": ["b", "c"]}, b={"fallbacks": ["d", "a"]}, c={"fallbacks": ["d"]}, d={})
    assert [brain.name for brain in brains.line(brains.find("a"))] == ["a", "b", "c", "d"]
    assert [brain.name for brain in brains.line(brains.find("d"))] == ["d"]


def test_roles_are_found_in_the_order_of_declaration() -> None:
    brains = registry(a={"roles": ["generation"]}, b={"roles": ["summarization", "generation"]})
    assert [brain.name for brain in brains.choosable if "generation" in brain.definition.roles] == ["a", "b"]
    assert [brain.name for brain in brains.choosable if "reasoning" in brain.definition.roles] == []


@pytest.mark.parametrize(
    ("brains", "fault"),
    [
        ({"a": {"aliases": ["b"]}, "b": {}}, "brains.b: the name 'b' is taken by a"),
        ({"a": {"aliases": ["x"]}, "b": {"aliases": ["x"]}}, "brains.b: the name 'x' is taken by a"),
        ({"auto": {}}, "brains.auto: the name 'auto' is taken by the policy"),
        ({"a": {"engine": "claude"}, "b": {"engine": "claude"}}, "the name 'claude-' is taken by a"),
        ({"a": {"fallbacks": ["c"]}, "b": {}}, "brains.a.fallbacks: there is no brain 'c'; there are a, b"),
        ({"a": {"fallbacks": ["a"]}}, "brains.a.fallbacks: it cannot stand in for itself"),
    ],
)
def test_clashes_are_named(brains: dict[str, dict[str, Any]], fault: str) -> None:
    with pytest.raises(InvalidSettings, match=fault):
        registry(**brains)


@pytest.mark.parametrize("judge", ["qwne", "auto:judgement"])
def test_a_judge_that_is_no_brain_is_refused_at_the_start(judge: str) -> None:
    settings = Settings.model_validate(
        {"brains": {"qwen": {"engine": "server", "model": "m"}}, "permissions": {"judge": judge}}
    )
    with pytest.raises(InvalidSettings, match=rf"permissions.judge: .*{judge}.* not found; there are"):
        registry_of(settings)
    known = settings.model_copy(update={"permissions": settings.permissions.model_copy(update={"judge": "qwen@1"})})
    assert [brain.id for brain in registry_of(known).brains] == ["qwen@1"]


def test_brains_are_read_from_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(
        "brains:\n  qwen:\n    engine: server\n    model: org/weights\n"
        "    resources: {num_gpus: 1, labels: {ray.io/market-type: spot}}\n    scaling: {max_replicas: 4}\n"
    )
    monkeypatch.setenv("HECATON_BRAINS__QWEN__SCALING__MIN_REPLICAS", "0")
    [brain] = registry_of(load_settings(file)).brains
    assert brain.definition.resources.labels == {"ray.io/market-type": "spot"}
    assert (brain.definition.scaling.min_replicas, brain.definition.scaling.max_replicas) == (0, 4)
    assert Settings.from_json(load_settings(file).to_json()) == load_settings(file)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("{engine: server}", "brains.qwen: .*the server engine must be told a model"),
        (
            "{engine: gpt}",
            "file .*settings.yaml: brains.qwen.engine: .*'claude', 'server', 'transformers', 'replay' or 'simulated'",
        ),
        ("{engine: replay, enginee: 1}", "file .*settings.yaml: brains.qwen.enginee: Extra inputs"),
        ("{engine: replay, scaling: {min_replicas: 3}}", "min_replicas 3 is above max_replicas 1"),
        ("{engine: replay, aliases: [auto]}", "'auto' is no alias"),
    ],
)
def test_a_wrong_declaration_is_named_with_its_place(tmp_path: Path, given: str, fault: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"brains: {{qwen: {given}}}")
    with pytest.raises(InvalidSettings, match=fault):
        load_settings(file)


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ("small", None),
        ("small@1", None),
        ("claude-opus-4-8", None),
        ("auto", None),
        ("auto:summarization", None),
        ("large", "there are small@1, cloud@1, and auto"),
        ("auto:", "there are auto, auto:reasoning, auto:generation, auto:summarization"),
        ("automatic", "there are small@1, cloud@1, and auto"),
        ("cloud", "cloud@1 is told no model of its own; name one of claude-*"),
        ("cloud@1", "cloud@1 is told no model of its own"),
    ],
)
def test_whether_an_agent_may_name_a_model(model: str, fault: str | None) -> None:
    brains = registry(small={}, cloud={"engine": "claude"})
    if fault is None:
        brains.check(model)
        return
    with pytest.raises(NotFound) as caught:
        brains.check(model)
    assert fault in caught.value.message


def test_auto_is_no_model_where_every_brain_must_be_told_one() -> None:
    with pytest.raises(NotFound, match="none of cloud@1 is told its model"):
        registry(cloud={"engine": "claude"}).check("auto")


def test_without_declared_brains_any_name_may_be_named() -> None:
    brains = registry_of(Settings())
    for model in ("auto", "auto:magic", "default", "whatever"):
        brains.check(model)
        assert not brains.is_auto(model)


@pytest.mark.parametrize(
    ("brains", "fault"),
    [
        ({"cloud": {"engine": "claude", "roles": ["reasoning"]}}, r"brains.cloud.roles: set brains.cloud.model too"),
        ({"a": {"fallbacks": ["cloud"]}, "cloud": {"engine": "claude"}}, r"brains.a.fallbacks: set brains.cloud.model"),
    ],
)
def test_only_a_brain_that_knows_its_model_can_be_chosen(brains: dict[str, dict[str, Any]], fault: str) -> None:
    with pytest.raises(InvalidSettings, match=fault):
        registry(**brains)


def test_the_brains_of_the_documentation_can_be_declared(tmp_path: Path) -> None:
    file, text = tmp_path / "settings.yaml", PAGE.read_text(encoding="utf-8")
    file.write_text(text.partition("```yaml\n")[2].partition("```")[0])
    brains = registry_of(load_settings(file))
    assert [brain.name for brain in brains.line(brains.find("claude-opus-4-8"))] == ["opus", "local"]
