"""Settings of the Files API."""

from __future__ import annotations

from pydantic import Field

from agents.settings_base import Section


class FileSettings(Section):
    """Uploaded files, and where their bytes are."""

    url: str | None = None
    """Where the bytes are kept, as an fsspec URL (``s3://bucket/prefix``); ``<data-dir>/files`` when unset. All
    gateways and sandbox hosts must reach it."""
    endpoint_url: str | None = None
    """S3-compatible server other than the provider's own; credentials come from the usual AWS variables."""
    timeout_seconds: float = Field(default=60.0, gt=0)
    """Limit of one step of writing or reading there."""
    max_bytes: int = Field(default=500 * 1024**2, ge=1)
    """Largest file (spec E.1)."""
    workspace_bytes: int = Field(default=100 * 1024**3, ge=1)
    """All files of a workspace together; what would exceed it is refused (``storage_quota_exceeded``)."""
    max_uploads: int = Field(default=32, ge=1)
    """Uploads that one gateway replica takes at a time."""
    upload_seconds: float = Field(default=3600.0, gt=0)
    """An upload that takes longer is refused."""
    sweep_seconds: float = Field(default=600.0, gt=0)
    """How often expired files, and bytes that no file has any more, are looked for."""
