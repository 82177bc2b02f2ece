"""Memory stores as resources of sessions: what is kept of one, where it is mounted, what the agent is told of it.

Name and description are the store's when the session was made: what changes later is for later sessions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from agents.catalog import limits
from agents.catalog.resources import ResourceOwner, StoredResource, resource_wire, stored_resource
from agents.errors import InvalidRequest
from agents.hands.port import Mount
from agents.memory import rules
from agents.memory.records import MemoryRepository

MOUNT_ROOT = "/mnt/memory"
MAX_STORES = 8  # of a session; spec A.7
INSTRUCTION_CHARS = 4_096  # spec A.7

_NOTE = (
    "Memory stores keep text from one session to the next. Each is a directory of files. Before you begin, look in "
    "them for what concerns the task; before you end, write into those that you may write to what later sessions "
    "should know."
)
_OTHERS = re.compile(r"[^a-z0-9]+")


class MemoryStoreResources:
    """The ResourceKind of memory stores."""

    most = MAX_STORES
    self_hosted = True
    addable = False

    def __init__(self, memory: MemoryRepository) -> None:
        self._memory = memory

    async def attach(self, where: str, given: Mapping[str, Any], owner: ResourceOwner) -> StoredResource:
        """See ResourceKind.attach."""
        store_id: str = given["memory_store_id"]
        instructions: str | None = given.get("instructions")
        limits.check_length(f"{where}.instructions", instructions or "", INSTRUCTION_CHARS)
        if (await self._memory.get(store_id)).workspace_id != owner.workspace_id:
            raise rules.no_store(store_id)
        store = await self._memory.attach(store_id, owner.session_id)
        name: str = store.body["name"]
        wire = {
            "type": "memory_store",
            "memory_store_id": store_id,
            "access": given.get("access") or "read_write",
            "name": name,
            "description": store.body["description"],
            "instructions": instructions,
            "mount_path": mount_path(name),
        }
        read_only = wire["access"] == "read_only"
        mount = Mount("memory", store_id, mount_path(name), read_only, name)
        return stored_resource(wire, mount=mount, private={"session_id": owner.session_id})

    async def changed(self, stored: StoredResource, change: Mapping[str, Any], owner: ResourceOwner) -> StoredResource:
        """See ResourceKind.changed."""
        del stored, change, owner
        raise InvalidRequest("authorization_token: only resources of type github_repository have one")

    async def detach(self, stored: StoredResource) -> None:
        """See ResourceKind.detach."""
        await self._memory.detach(resource_wire(stored)["memory_store_id"], stored["private"]["session_id"])


def mount_path(name: str) -> str:
    """Return where a store of this name is in a sandbox (spec C.5)."""
    return f"{MOUNT_ROOT}/{_OTHERS.sub('-', name.lower())}"


def access_to(resources: Iterable[StoredResource], store_id: str) -> str | None:
    """Return how a session's resources give access to a store, ``read_write`` or ``read_only``; None: not at all."""
    for wire in map(resource_wire, resources):
        if wire["type"] == "memory_store" and wire["memory_store_id"] == store_id:
            return wire["access"]
    return None


def note_on(resources: Iterable[StoredResource]) -> str | None:
    """Return what the system prompt says of the memory stores among a session's resources; None without any."""
    entries = [_entry(wire) for wire in map(resource_wire, resources) if wire["type"] == "memory_store"]
    return "\n".join([_NOTE, "<memory_stores>", *entries, "</memory_stores>"]) if entries else None


def _entry(wire: Mapping[str, Any]) -> str:
    told = {
        "name": wire["name"],
        "path": wire["mount_path"],
        "access": wire["access"],
        "description": wire["description"],
        "instructions": wire["instructions"],
    }
    lines = [f"<{tag}>{escape(text, quote=False)}</{tag}>" for tag, text in told.items() if text]
    return "\n".join(["<memory_store>", *lines, "</memory_store>"])
