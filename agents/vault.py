"""The port to secrets: named, fetched when needed, never logged.

A secret leaves the vault as a :class:`pydantic.SecretStr`, whose repr and str hide it; only the code
that puts it on a connection unwraps it (law 8 of the design).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol

from pydantic import SecretStr

from agents.config import Settings


class Vault(Protocol):
    """Where secrets come from."""

    async def secret(self, name: str) -> SecretStr | None:
        """Return the secret called *name* (such as ``anthropic_api_key``), or None when there is none."""
        ...


class SettingsVault:
    """Secrets of the settings, then of the process environment (``anthropic_api_key`` is ``ANTHROPIC_API_KEY``)."""

    def __init__(self, settings: Settings, environment: Mapping[str, str] | None = None) -> None:
        self._settings = settings
        self._environment = os.environ if environment is None else environment

    async def secret(self, name: str) -> SecretStr | None:
        held: object = getattr(self._settings, name, None) if name in Settings.model_fields else None
        if isinstance(held, SecretStr) and held.get_secret_value():
            return held
        value = self._environment.get(name.upper())
        return SecretStr(value) if value else None


class MemoryVault:
    """The in-memory twin: secrets given at construction."""

    def __init__(self, secrets: Mapping[str, str] | None = None) -> None:
        self._secrets = {name: SecretStr(value) for name, value in (secrets or {}).items() if value}

    async def secret(self, name: str) -> SecretStr | None:
        return self._secrets.get(name)
