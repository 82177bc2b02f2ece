"""Where the platform's database is, from its settings, and whether the cluster may use it so."""

from __future__ import annotations

import asyncio
import socket

import ray

from agents.api.peers import is_loopback
from agents.brains.immutable import check_unchanged
from agents.brains.registry import registry_of
from agents.config import Settings
from agents.errors import InvalidRequest
from agents.store.database import SqlStore, open_store


async def open_platform_store(settings: Settings) -> SqlStore:
    """Open PostgreSQL when it is configured, else SQLite in the data directory.

    Raises Unavailable, or InvalidRequest when the settings do not fit the database or the cluster.
    """
    if settings.database_url is None:
        await asyncio.to_thread(_check_machine, settings)
        store = await open_store(settings.database_file, audit=settings.audit)
    else:
        store = await open_store(settings.database_url.get_secret_value(), audit=settings.audit)
    fixed, asked = await store.leases.fix_partitions(settings.harness.partitions), settings.harness.partitions
    if fixed != asked:
        await store.close()
        raise InvalidRequest(
            f"harness.partitions: this database was made with {fixed} partitions and cannot have {asked};"
            f" set harness.partitions to {fixed}"
        )
    return store


def check_brains(settings: Settings) -> None:
    """Raise InvalidSettings when a version of a brain is not what it was. Blocks; raises as ``open_platform_store``."""
    if settings.brains:
        asyncio.run(_check_brains(settings))


async def _check_brains(settings: Settings) -> None:
    store = await open_platform_store(settings)
    try:
        await check_unchanged(registry_of(settings).brains, store.releases)
    finally:
        await store.close()


def check_cluster(settings: Settings) -> None:
    """Raise InvalidRequest when the cluster has several machines, and the settings are for one."""
    names = _machines()
    if len(names) > 1 and is_loopback(settings.host):
        raise InvalidRequest(
            f"host: must not be {settings.host}, because this cluster has {len(names)} machines, whose parts could not"
            " reach each other; set host to 0.0.0.0 and an api_key"
        )
    if settings.database_url is None and len(names) > 1:
        raise InvalidRequest(
            f"database_url: must be set (postgresql+asyncpg://...), because this cluster has {len(names)} machines"
            f" ({', '.join(sorted(names)[:5])}): SQLite is a file that only one machine can write safely"
        )


def _machines() -> set[str]:
    """Name the machines that are alive; several Ray nodes may be on one."""
    return {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}


def _check_machine(settings: Settings) -> None:
    """Raise InvalidRequest when the data directory is, or may be, another machine's.

    A machine that joins later must not stop what already works: with the mark of this one the directory is ours.
    """
    mark, here = settings.data_dir / "run" / "machine", socket.gethostname()
    if mark.exists() and mark.read_text(encoding="utf-8").strip() == here:
        return
    check_cluster(settings)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(here, encoding="utf-8")
