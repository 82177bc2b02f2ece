"""``hecaton vaults``: what vaults there are, and changing the master key that seals their secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from anthropic import Anthropic
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.answers import print_json
from agents.commands.database_place import existing_database
from agents.commands.failures import CommandFailed
from agents.commands.timeline import printable
from agents.deployments.resealing import reseal as reseal_deployments
from agents.store.database import SqlStore, open_store
from agents.vaults.envelope import Envelope
from agents.vaults.master_keys import key_file, master_keys
from agents.vaults.resource_tokens import reseal as reseal_resources
from agents.vaults.rotation import Rotation, rotate
from agents.webhooks.resealing import reseal as reseal_endpoints

if TYPE_CHECKING:
    from agents.config import Settings


def list_vaults(console: Console, client: Anthropic, *, as_json: bool) -> None:
    """Print every vault, and what its credentials are for."""
    vaults = list(client.beta.vaults.list(limit=100))
    if as_json:
        print_json(console, [vault.to_dict(mode="json") for vault in vaults])
        return
    table = Table(box=None, header_style="bold")
    for column in ("vault", "name", "credentials"):
        table.add_column(column, overflow="fold")
    for vault in vaults:
        held = [_purpose(credential.auth) for credential in client.beta.vaults.credentials.list(vault.id, limit=100)]
        table.add_row(Text(vault.id), Text(printable(vault.display_name)), Text(printable(", ".join(held))))
    console.print(table)


def _purpose(auth: object) -> str:
    return str(getattr(auth, "mcp_server_url", None) or getattr(auth, "secret_name", ""))


def rotate_key(console: Console, settings: Settings) -> None:
    """Wrap all data keys by a new master key, and say how it went. Raises CommandFailed when some are left."""
    with console.status("wrapping data keys …") as status:
        rotation = asyncio.run(_rotate(settings, lambda done: status.update(f"wrapping data keys … {done}")))
    if rotation.fresh:
        console.print(f"new master key {rotation.master_key}")
    console.print(f"{rotation.rewrapped} credentials wrapped anew; all are under {rotation.master_key}")
    if rotation.unreadable:
        raise CommandFailed(
            f"less {len(rotation.unreadable)} whose own master key is not there: {', '.join(rotation.unreadable[:5])};"
            " set it beside the new one and run this again, or archive or delete them"
        )


async def _rotate(settings: Settings, told: Callable[[int], None]) -> Rotation:
    store = await open_store(existing_database(settings))
    # Beside PostgreSQL other machines have the file too, and must have a new key before anything is under it.
    file = key_file(settings) if settings.database_url is None else None
    try:
        envelope = Envelope(master_keys(settings))
        # First: a new key is only made when nothing is left under one that then goes.
        await _reseal_others(store, envelope)
        rotation = await rotate(store.vaults, envelope, file, told)
        left = await _reseal_others(store, envelope)
        return replace(rotation, unreadable=(*rotation.unreadable, *left))
    finally:
        await store.close()


async def _reseal_others(store: SqlStore, envelope: Envelope) -> tuple[str, ...]:
    """Wrap the keys of what is no credential; returns what could not be. Raises Unavailable."""
    endpoints = await reseal_endpoints(store.webhook_registrations, envelope)
    deployments = await reseal_deployments(store.deployments, envelope)
    sessions = store.session_tokens
    return (*endpoints, *deployments, *await reseal_resources(sessions.holders(), sessions.exchange, envelope))
