"""The kinds of resources that sessions and deployments of this server can have."""

from __future__ import annotations

from agents.api.platform import Platform
from agents.catalog.resources import Resources
from agents.files.mounting import FileResources
from agents.files.service import open_files
from agents.memory.attaching import MemoryStoreResources
from agents.repositories.resource import RepositoryResources
from agents.vaults.envelope import Envelope
from agents.vaults.master_keys import master_keys


def resources_of(platform: Platform) -> Resources:
    """Return the kinds of a platform. Raises StoreUnavailable for a place of files that is not installed."""
    settings = platform.settings
    return Resources(
        {
            "file": FileResources(open_files(settings, platform.store, platform.clock)),
            "github_repository": RepositoryResources(Envelope(master_keys(settings))),
            "memory_store": MemoryStoreResources(platform.store.memory),
        }
    )
