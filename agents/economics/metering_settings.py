"""Settings of the books of server calls: the section ``metering``."""

from __future__ import annotations

from pydantic import Field

from agents.settings_base import AbsolutePath, Section


class MeteringSettings(Section):
    """The books of calls to hands; see docs/metering.md."""

    directory: AbsolutePath | None = None
    """Where the Parquet files lie; ``<data-dir>/calls`` when unset. Gateways on several machines must share it."""
    write_seconds: float = Field(default=5.0, gt=0, le=3600)
    """How often calls go from the database into files."""
