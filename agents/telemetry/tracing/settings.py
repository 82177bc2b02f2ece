"""Settings of traces: the section ``telemetry.traces``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints, field_validator

from agents.settings_base import PASSWORD_IN_URL, AbsolutePath, Section

HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class TraceSettings(Section):
    """Traces of turns; see docs/traces.md."""

    enabled: bool = True
    """Whether turns are traced at all."""
    ratio: float = Field(default=1.0, ge=0, le=1)
    """The part of the turns whose trace is kept; those with an error, and slow ones, are kept in any case."""
    slow_seconds: float = Field(default=60.0, ge=0)
    """A turn of at least so long is slow."""
    max_spans_per_turn: int = Field(default=10_000, ge=10)
    """Spans of one turn that are kept until it ends; more are dropped, and counted."""
    store: bool = True
    """Whether spans are written to Parquet files, for ``hecaton traces``."""
    directory: AbsolutePath | None = None
    """Where the files lie; ``<data-dir>/traces`` when unset. Machines that do not share it each keep their own."""
    write_seconds: float = Field(default=5.0, gt=0, le=300)
    """How often spans are written and exported."""
    keep_days: int = Field(default=7, ge=1, le=3650)
    """Files of earlier days are removed."""
    max_bytes: int = Field(default=1024**3, ge=1024**2)
    """All files together; beyond it the oldest are removed."""
    endpoint: str | None = None
    """URL of an OTLP/HTTP receiver (``http://localhost:4318/v1/traces``); spans go nowhere else when unset."""
    headers: dict[HeaderName, SecretStr] = Field(default_factory=lambda: {})
    """HTTP headers that the receiver asks for, each under its name (``telemetry.traces.headers.authorization``)."""
    timeout_seconds: float = Field(default=10.0, gt=0, le=120)
    """Limit of one request to the receiver, its repetitions included; then its spans are dropped, and counted."""
    max_queued_spans: int = Field(default=20_000, ge=100)
    """Spans that may wait in one process to be written, and as many to be exported; more are dropped, and counted."""

    @field_validator("endpoint")
    @classmethod
    def _is_http(cls, endpoint: str | None) -> str | None:
        if endpoint is None:
            return None
        if not endpoint.startswith(("http://", "https://")):
            raise ValueError("must be an http or https URL such as http://localhost:4318/v1/traces")
        if PASSWORD_IN_URL.search(endpoint):
            raise ValueError("must have no user name or password in it; give the receiver a header instead")
        return endpoint
