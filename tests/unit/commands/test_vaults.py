"""``hecaton vaults`` and what doctor says of its key (ours); changing the key: tests/unit/vaults/test_rotation.py."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from agents.commands.vault_check import check_master_key
from agents.commands.vaults import list_vaults
from agents.config import Settings
from agents.vaults.master_keys import KeyFile
from agents.vaults.settings import VaultSettings
from tests.unit.commands.screen import said, screen
from tests.unit.commands.scripted_api import AT, ScriptedApi

ROW: dict[str, Any] = {"metadata": {}, "created_at": AT, "updated_at": AT, "archived_at": None}
VAULTS = [
    {"id": "vlt_1", "type": "vault", "display_name": "Alice \x1b[31m", **ROW},
    {"id": "vlt_2", "type": "vault", "display_name": "Bob", **ROW},
]
AUTHS: list[dict[str, Any]] = [
    {"type": "static_bearer", "mcp_server_url": "https://mcp.example.com/mcp"},
    {"type": "environment_variable", "secret_name": "API_TOKEN", "networking": {"type": "unrestricted"}},
]
HELD = [
    {"id": f"vcrd_{n}", "type": "vault_credential", "vault_id": "vlt_1", "display_name": None, "auth": auth, **ROW}
    for n, auth in enumerate(AUTHS)
]


@pytest.fixture
def api() -> ScriptedApi:
    made = ScriptedApi()
    made.routes["GET", "/v1/vaults"] = lambda request: {"data": VAULTS, "next_page": None}
    made.routes["GET", "/v1/vaults/vlt_1/credentials"] = lambda request: {"data": HELD, "next_page": None}
    made.routes["GET", "/v1/vaults/vlt_2/credentials"] = lambda request: {"data": [], "next_page": None}
    return made


def listed(api: ScriptedApi, *, as_json: bool) -> str:
    out = screen()
    list_vaults(out, api.client(), as_json=as_json)
    return said(out)


def test_vaults_are_listed_with_what_their_credentials_are_for(api: ScriptedApi) -> None:
    head, alice, bob = listed(api, as_json=False).splitlines()
    assert head.split() == ["vault", "name", "credentials"]
    assert "https://mcp.example.com/mcp, API_TOKEN" in alice and "\x1b" not in alice
    assert bob.split() == ["vlt_2", "Bob"]


def test_programs_get_what_the_server_answers(api: ScriptedApi) -> None:
    assert [each["id"] for each in json.loads(listed(api, as_json=True))] == ["vlt_1", "vlt_2"]


def test_doctor_tries_the_key_and_makes_none(tmp_path: Path) -> None:
    settings, path = Settings(data_dir=tmp_path), tmp_path / "master.key"
    assert (check_master_key(settings).state, path.exists()) == ("ok", False)
    made = asyncio.run(KeyFile(path, make=True).current())
    assert check_master_key(settings).found == f"{made}, here"
    path.chmod(0o644)
    open_to_all = check_master_key(settings)
    assert open_to_all.state == "problem" and "chmod 600" in open_to_all.found
    shared = Settings(data_dir=tmp_path, database_url=SecretStr("postgresql+asyncpg://x"))
    assert check_master_key(shared).state == "note"
    service = Settings(data_dir=tmp_path, vaults=VaultSettings(key_service="no_such_module:client"))
    assert check_master_key(service).state == "problem"
