"""The kinds of resources that sessions and deployments of this server can have."""

from __future__ import annotations

from agents.api.platform import Platform
from agents.catalog.resources import Resources
from agents.files.mounting import FileResources
from agents.memory.attaching import MemoryStoreResources
from agents.repositories.resource import RepositoryResources
from agents.vaults.envelope import Envelope
from agents.vaults.master_keys import master_keys


def resources_of(platform: Platform) -> Resources:
    """Return the kinds of a platform."""
    return Resources(
        {
            "file": FileResources(platform.files),
            "github_repository": RepositoryResources(Envelope(master_keys(platform.settings))),
            "memory_store": MemoryStoreResources(platform.store.memory),
        }
    )
