"""A data directory with a database, checkpoints and books of calls, made without a server."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from agents.config import Settings
from agents.hands.checkpoint_manifest import Manifest
from agents.hands.checkpoint_pack import PackName, PackWriter
from agents.hands.checkpoint_store import CheckpointStore, LocalStore
from agents.store.database import open_store

_SESSION = (
    "INSERT INTO sessions (id, partition, status, seq, queued, created_at, updated_at, agent_id, agent_version,"
    " environment_id, digest, state) VALUES (?, 1, 'idle', 0, 0, 0, 0, 'agent_1', 1, 'env_1', '', ?)"
)
_CREDENTIAL = (
    "INSERT INTO vault_credentials (id, vault_id, key, body, sealed, data_key, master_key, created_at, updated_at)"
    " VALUES (?, 'vlt_1', ?, '{}', 'x', 'y', ?, 0, 0)"
)

_SKILL_VERSION = (
    "INSERT INTO skill_versions (id, skill_id, name, description, size, created_at) VALUES (?, ?, 'tidy', 'd', ?, 0)"
)
_FILE = (
    "INSERT INTO files (id, workspace_id, kind, filename, mime_type, size, sha256, created_at)"
    " VALUES (?, 'wrkspc_1', 'upload', 'a', 'text/plain', 1, ?, 0)"
)
_API_KEY = (
    "INSERT INTO api_keys (id, name, workspace_id, scope, digest, hint, created_by, created_at)"
    " VALUES ('key_1', 'k', 'wrkspc_1', 'admin', 'd', 'h', 'me', 0)"
)


def settings_of(data_dir: Path, **more: object) -> Settings:
    return Settings.model_validate({"data_dir": data_dir, **more})


def made_site(data_dir: Path) -> Settings:
    """An empty platform's data."""

    async def work() -> None:
        await (await open_store(data_dir / "hecaton.db")).close()

    asyncio.run(work())
    return settings_of(data_dir)


def add_session(data_dir: Path, session: str, files_version: int = 0) -> None:
    state = json.dumps({"workspace": ["host-0", files_version]})
    _execute(data_dir, _SESSION, (session, state))


def add_credential(data_dir: Path, master_key: str) -> None:
    _execute(data_dir, _CREDENTIAL, (f"vcrd_{master_key}", master_key, master_key))


def add_api_key(data_dir: Path) -> None:
    _execute(data_dir, _API_KEY, ())


def add_skill(data_dir: Path, skill: str, version: str, archive: bytes) -> None:
    _execute(data_dir, _SKILL_VERSION, (version, skill, len(archive)))
    with LocalStore(data_dir / "files").writing(f"skills/{skill}", version) as sink:
        sink.write(archive)


def add_file(data_dir: Path, file: str, sha256: str) -> None:
    """Note a file, without its bytes; without a digest it has expired."""
    _execute(data_dir, _FILE, (file, sha256))


def add_blob(data_dir: Path, sha256: str, content: bytes) -> None:
    with LocalStore(data_dir / "files").writing(f"blobs/{sha256[:2]}", sha256) as sink:
        sink.write(content)


def add_pack(store: CheckpointStore, session: str, version: int, content: bytes, *, needs: Sequence[int] = ()) -> str:
    """Write a whole checkpoint whose table is empty; it refers to packs of the versions that it *needs*."""
    name = PackName(version, "host_1")
    packs = {each: (str(PackName(each, "host_1")), 1) for each in needs}
    with store.writing(session, str(name)) as sink:
        writer = PackWriter(sink)
        writer.add(content)
        writer.finish(Manifest(version, "origin", None, packs, {}))
    return str(name)


def add_calls(data_dir: Path, name: str, content: bytes) -> None:
    month = data_dir / "calls" / "month=2026-11"
    month.mkdir(parents=True, exist_ok=True)
    (month / name).write_bytes(content)


def packs_of(data_dir: Path) -> LocalStore:
    return LocalStore(data_dir / "checkpoints")


def _execute(data_dir: Path, statement: str, values: Sequence[object]) -> None:
    with closing(sqlite3.connect(data_dir / "hecaton.db")) as connection, connection:
        connection.execute(statement, values)
