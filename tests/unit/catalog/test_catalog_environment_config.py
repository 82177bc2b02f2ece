"""Creating and changing an environment's body (spec A.2)."""

from __future__ import annotations

from typing import Any

import pytest

from agents.catalog.environment_config import environment_body, updated_environment_body
from agents.errors import InvalidRequest

NO_PACKAGES = {"type": "packages", "apt": [], "cargo": [], "gem": [], "go": [], "npm": [], "pip": []}


def create(**fields: Any) -> dict[str, Any]:
    return environment_body({"name": "e", **fields})  # type: ignore[typeddict-item]


def update(stored: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return updated_environment_body(stored, fields)  # type: ignore[arg-type]


def limited(**fields: Any) -> dict[str, Any]:
    return {"type": "cloud", "networking": {"type": "limited", **fields}}


def test_a_minimal_environment_is_a_cloud_one_with_everything_spelled_out() -> None:
    assert create() == {
        "config": {"type": "cloud", "networking": {"type": "unrestricted"}, "packages": NO_PACKAGES},
        "description": None,
        "metadata": {},
        "scope": "organization",
    }


def test_limited_networking_shows_all_its_switches() -> None:
    assert create(config=limited(allowed_hosts=["api.example.com"]))["config"]["networking"] == {
        "type": "limited",
        "allowed_hosts": ["api.example.com"],
        "allow_mcp_servers": False,
        "allow_package_managers": False,
    }


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"config": {"type": "cloud", "packages": {"pip": ["numpy", "-rfile"]}}}, "config.packages.pip[1]"),
        ({"config": {"type": "cloud", "packages": {"apt": ["a\nb"]}}}, "config.packages.apt[0]"),
        ({"config": {"type": "cloud", "packages": {"npm": [""]}}}, "config.packages.npm[0]"),
        ({"config": {"type": "cloud", "packages": {"gem": ["x"] * 201}}}, "config.packages.gem"),
        ({"config": limited() | {"packages": {"pip": ["numpy"]}}}, "allow_package_managers"),
        ({"config": limited(allowed_hosts=["https://x.com"])}, "allowed_hosts[0]"),
        ({"config": limited(allowed_hosts=["a.com", "b c"])}, "allowed_hosts[1]"),
        ({"config": limited(allowed_hosts=["a.com:99999"])}, "allowed_hosts[0]"),
        ({"config": limited(allowed_hosts=["a.com"] * 257)}, "allowed_hosts"),
        ({"scope": "account"}, "scope"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
    ],
)
def test_a_bad_or_unavailable_field_is_refused_by_name(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        create(**fields)
    assert word in caught.value.message


def test_packages_are_kept_as_they_are_written() -> None:
    wanted = {"pip": ["numpy==2.1; python_version > '3.9'"], "npm": ["@scope/name@^1"]}
    assert create(config={"type": "cloud", "packages": wanted})["config"]["packages"] == {**NO_PACKAGES, **wanted}


@pytest.mark.parametrize("host", ["localhost", "10.0.0.1", "::1", "*.example.com", "db:5432"])
def test_an_operator_may_allow_any_host(host: str) -> None:
    assert create(config=limited(allowed_hosts=[host]))


def test_an_update_keeps_what_is_omitted_or_null_in_the_config() -> None:
    stored = create(config=limited(allowed_hosts=["a.com"], allow_mcp_servers=True))
    changed = update(stored, config=limited(allow_mcp_servers=None, allow_package_managers=True))
    assert changed["config"]["networking"] == {
        "type": "limited",
        "allowed_hosts": ["a.com"],
        "allow_mcp_servers": True,
        "allow_package_managers": True,
    }
    assert update(stored, config={"type": "cloud"}) == stored
    assert update(stored, config=None, scope=None) == stored


def test_changing_the_kind_of_network_starts_from_its_defaults() -> None:
    stored = create(config=limited(allowed_hosts=["a.com"]))
    opened = update(stored, config={"type": "cloud", "networking": {"type": "unrestricted"}})
    assert opened["config"]["networking"] == {"type": "unrestricted"}
    assert update(opened, config=limited())["config"]["networking"]["allowed_hosts"] == []


def test_the_type_of_a_config_cannot_change() -> None:
    elsewhere = create(config={"type": "self_hosted"})
    assert elsewhere["config"] == {"type": "self_hosted"} == update(elsewhere, config={"type": "self_hosted"})["config"]
    for stored, other in ((create(), {"type": "self_hosted"}), (elsewhere, {"type": "cloud"})):
        with pytest.raises(InvalidRequest) as caught:
            update(stored, config=other)
        assert caught.value.error_code == "invalid_config_type_change"


def test_description_null_clears_and_empty_is_kept() -> None:
    stored = create(description="d")
    assert update(stored, description=None)["description"] is None
    assert update(stored, description="")["description"] == ""


@pytest.mark.parametrize("empty", [None, ""])
def test_metadata_is_deleted_by_null_and_by_an_empty_value(empty: Any) -> None:
    assert update(create(metadata={"a": "1", "b": "2"}), metadata={"a": empty})["metadata"] == {"b": "2"}
