"""What every vault must do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import SecretStr

from agents.config import Settings
from agents.vault import MemoryVault, SettingsVault, Vault

MakeVault = Callable[[dict[str, str]], Vault]


def from_settings(secrets: dict[str, str]) -> Vault:
    return SettingsVault(Settings(**{name: SecretStr(value) for name, value in secrets.items()}), {})


def from_environment(secrets: dict[str, str]) -> Vault:
    return SettingsVault(Settings(), {name.upper(): value for name, value in secrets.items()})


@pytest.fixture(params=[MemoryVault, from_settings, from_environment], ids=["memory", "settings", "environment"])
def make_vault(request: pytest.FixtureRequest) -> MakeVault:
    return request.param


async def test_a_secret_is_found_by_its_name(make_vault: MakeVault) -> None:
    found = await make_vault({"anthropic_api_key": "sk-1", "api_key": "sk-2"}).secret("anthropic_api_key")
    assert found is not None
    assert found.get_secret_value() == "sk-1"


async def test_a_secret_does_not_show_itself(make_vault: MakeVault) -> None:
    vault = make_vault({"anthropic_api_key": "sk-1"})
    assert "sk-1" not in f"{await vault.secret('anthropic_api_key')!r} {vault!r}"


@pytest.mark.parametrize("name", ["anthropic_api_key", "no_such_secret", "data_dir", "__class__", ""])
async def test_what_is_not_there_is_none(make_vault: MakeVault, name: str) -> None:
    assert await make_vault({}).secret(name) is None


async def test_an_empty_secret_is_none(make_vault: MakeVault) -> None:
    assert await make_vault({"anthropic_api_key": ""}).secret("anthropic_api_key") is None


async def test_settings_win_over_the_environment() -> None:
    vault = SettingsVault(Settings(anthropic_api_key=SecretStr("settings")), {"ANTHROPIC_API_KEY": "environment"})
    found = await vault.secret("anthropic_api_key")
    assert found is not None
    assert found.get_secret_value() == "settings"
