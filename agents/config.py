"""The one ``Settings`` of the platform.

Precedence, highest first: command-line flags (passed as overrides), environment variables
(``HECATON_SANDBOX__MAX_LIVE=8``), the YAML file, defaults. An unknown key stops start-up and is named.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GatewaySettings(_Section):
    """The HTTP edge."""

    replicas: int = Field(default=1, ge=1, le=64)
    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    """Larger bodies are refused with 413 (spec A.12)."""
    stream_keepalive_seconds: float = Field(default=15.0, gt=0, le=60)
    stream_queue_frames: int = Field(default=4096, ge=16)
    """Frames one slow stream may lag before it is closed so that its client reconnects."""
    max_streams: int = Field(default=2000, ge=1)
    """Open event streams per replica; above it 429 with retry-after."""
    max_ongoing_requests: int = Field(default=512, ge=1)
    retry_dedupe_seconds: float = Field(default=60.0, ge=0)
    """Within this span a byte-identical event POST marked as an SDK retry is answered from memory; 0 is off."""


class HarnessSettings(_Section):
    """The owners of sessions."""

    actors: int = Field(default=1, ge=1, le=256)
    partitions: int = Field(default=64, ge=1, le=4096)
    lease_ttl_seconds: float = Field(default=10.0, gt=0)
    max_active_sessions: int = Field(default=2000, ge=1)
    """Sessions with a turn under way per actor; above it sending answers 529 with retry-after."""
    max_cached_sessions: int = Field(default=512, ge=1)
    """Idle sessions kept in memory per actor, least recently used out first."""
    max_queued_events: int = Field(default=1000, ge=1)
    """Client events that may wait in one session's queue; above it 429."""
    max_tool_rounds: int = Field(default=200, ge=1)
    """Model requests in one turn before it ends with tool_use_limit_reached_error."""
    drain_seconds: float = Field(default=20.0, ge=0)


class BrainSettings(_Section):
    """Which brain thinks, and how patiently it is asked."""

    engine: Literal["auto", "claude", "replay"] = "auto"
    """``auto`` is ``claude`` when a key or a base URL is configured, else ``replay``."""
    base_url: str | None = None
    """Messages-API server for the claude engine; ``ANTHROPIC_BASE_URL`` when unset."""
    replay_plan: Path | None = None
    """YAML plan of the replay engine; the built-in demonstration when unset."""
    max_tokens: int = Field(default=32_000, ge=1)
    max_attempts: int = Field(default=6, ge=1, le=50)
    backoff_base_seconds: float = Field(default=1.0, gt=0)
    backoff_ceiling_seconds: float = Field(default=60.0, gt=0)
    first_event_timeout_seconds: float = Field(default=120.0, gt=0)
    event_gap_timeout_seconds: float = Field(default=120.0, gt=0)
    request_timeout_seconds: float = Field(default=1800.0, gt=0)
    replicas: int = Field(default=1, ge=1)
    max_ongoing_requests: int = Field(default=256, ge=1)
    price_book: Path | None = None
    """YAML price book; the built-in one when unset."""


class SandboxSettings(_Section):
    """Limits of one sandbox and the size of the fleet."""

    driver: Literal["bubblewrap", "process", "none"] = "bubblewrap"
    """``process`` runs tools as plain processes WITHOUT isolation: an explicit opt-in. ``none`` refuses tools."""
    root: Path | None = None
    """Where sandboxes keep their files; ``<data-dir>/sandboxes`` when unset."""
    hosts: int = Field(default=1, ge=1)
    warm: int = Field(default=2, ge=0)
    """Sandboxes kept ready per host."""
    max_live: int = Field(default=64, ge=1)
    """Live sandboxes per host; above it the least recently used idle one is put away (its files stay)."""
    idle_seconds: float = Field(default=300.0, gt=0)
    tool_timeout_seconds: float = Field(default=150.0, gt=0)
    """Outer limit of any one call."""
    bash_timeout_seconds: float = Field(default=120.0, gt=0)
    cpu_seconds: int = Field(default=600, ge=1)
    """CPU time of any one process."""
    memory_bytes: int = Field(default=4 * 1024**3, ge=64 * 1024**2)
    """Private memory of any one process."""
    processes: int = Field(default=256, ge=8)
    file_bytes: int = Field(default=1024**3, ge=1024)
    """Size of any one file."""
    disk_bytes: int = Field(default=4 * 1024**3, ge=1024**2)
    """All files of one sandbox together."""
    output_chars: int = Field(default=100_000, ge=1000)
    """Longer output goes to a file in the sandbox and the model sees a preview (spec C.1)."""
    max_parallel_calls: int = Field(default=16, ge=1)


class Settings(BaseSettings):
    """Everything that can be configured."""

    model_config = SettingsConfigDict(env_prefix="HECATON_", env_nested_delimiter="__", extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8123, ge=1, le=65535)
    data_dir: Path = Path(".hecaton")
    api_key: SecretStr | None = None
    """When set, every request must carry it; when unset the server accepts any key (and says so at start-up)."""
    anthropic_api_key: SecretStr | None = None
    """Key of the claude engine; ``ANTHROPIC_API_KEY`` when unset."""
    database_url: SecretStr | None = None
    """``postgresql+asyncpg://...``; SQLite in the data directory when unset."""
    proxy: Literal["haproxy", "direct"] = "haproxy"
    """``haproxy`` is the fast ingress, but with it replicas listen on all interfaces (the gateway then refuses
    foreign peers itself while ``host`` is a loopback address); ``direct`` binds nothing but ``host``."""
    gateway: GatewaySettings = GatewaySettings()
    harness: HarnessSettings = HarnessSettings()
    brain: BrainSettings = BrainSettings()
    sandbox: SandboxSettings = SandboxSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings)
