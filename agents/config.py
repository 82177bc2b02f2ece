"""The one ``Settings`` of the platform.

It reads nothing but its arguments, so that a child process that gets the settings as JSON sees exactly what its parent
saw; ``agents.settings_loading`` is the only reader of file and environment.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agents.access.settings import AccessSettings
from agents.brain_settings import BrainDefinition
from agents.deployments.settings import DeploymentSettings
from agents.economics.metering_settings import MeteringSettings
from agents.errors import HecatonError
from agents.files.settings import FileSettings
from agents.governance.anomalies.settings import AnomalySettings
from agents.governance.audit.settings import AuditSettings
from agents.hand_settings import HandDefinition
from agents.hands.egress.settings import EgressSettings
from agents.hands.packages.settings import PackageSettings
from agents.hands.seed import is_copied
from agents.hands.servers.settings import HandCacheSettings, McpSettings
from agents.net.settings import NetworkSettings
from agents.repositories.settings import RepositorySettings
from agents.settings_base import AbsolutePath, KeyName
from agents.settings_sections import (
    BrainSettings,
    CheckpointSettings,
    CompactionSettings,
    GatewaySettings,
    HarnessSettings,
    MonolithSettings,
    PermissionSettings,
    SandboxSettings,
    StandbySettings,
)
from agents.telemetry.settings import TelemetrySettings
from agents.vaults.settings import VaultSettings
from agents.web.settings import WebSettings
from agents.worker_settings import WorkerSettings

ENV_PREFIX = "HECATON_"


class InvalidSettings(HecatonError):
    """The configuration cannot be used; the message has one line per fault and says where each value came from."""

    code = "invalid_request_error"
    http_status = 400


# An empty key would be matched by an empty header.
Secret = Annotated[SecretStr, Field(min_length=1)]

MIN_PARTITIONS = 2
"""Of a platform with a standby: one side each."""
DEFAULT_PRINCIPAL = "default"
"""Who calls with ``api_key``; the others go by their names in ``api_keys``."""


class Settings(BaseSettings):
    """Everything that can be configured."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    host: str = "127.0.0.1"
    """Address the server listens on; anything but a loopback address makes it reachable from other machines."""
    port: int = Field(default=8123, ge=1, le=65535)
    """TCP port of the REST API."""
    data_dir: AbsolutePath = Path(".hecaton")
    """Everything that must survive: database, sandboxes' files, logs."""
    api_key: Secret | None = None
    """When set, every request must carry it, or one of ``api_keys``, or a key made with ``hecaton keys``; when there is
    no key at all the server accepts any (and says so at start-up)."""
    api_keys: dict[KeyName, Secret] = Field(default_factory=lambda: {})
    """More keys, each under a name that limits and shares are counted by (``api_keys.team-a``). Keys of the settings
    are the operator's: all have the scope admin, and see and change the same agents, environments and sessions, those
    of the workspace ``default``. They tell callers apart, they do not separate them; only vaults are their maker's
    (docs/vaults.md). Keys with narrower scopes and workspaces are made with ``hecaton keys`` (docs/security.md)."""
    anthropic_api_key: SecretStr | None = None
    """Key of the claude engine; ``ANTHROPIC_API_KEY`` when unset."""
    database_url: SecretStr | None = None
    """``postgresql+asyncpg://...``; SQLite in the data directory when unset."""
    proxy: Literal["haproxy", "direct"] = "haproxy"
    """``haproxy`` is the fast ingress, but with it replicas listen on all interfaces (the gateway then refuses
    foreign peers itself while ``host`` is a loopback address); ``direct`` binds nothing but ``host``."""
    topology: Literal["decoupled", "monolith"] = "decoupled"
    """``decoupled`` runs brains, harnesses and sandbox hosts apart; ``monolith`` runs all three in one replica, whose
    GPU each turn holds until it ends, tools included. See docs/operations.md, "Monolith"."""
    gateway: GatewaySettings = GatewaySettings()
    harness: HarnessSettings = HarnessSettings()
    brain: BrainSettings = BrainSettings()
    brains: dict[KeyName, BrainDefinition] = Field(default_factory=lambda: {})
    """The brains there are, each under its name (``brains.qwen.engine``); see docs/brains.md. When there is none,
    ``brain`` alone says what thinks, whatever model an agent names."""
    hands: dict[KeyName, HandDefinition] = Field(default_factory=lambda: {})
    """Hands that are deployed when the platform comes up, each under its name (``hands.crm.server``); more are added
    while it runs. See docs/hands.md."""
    compaction: CompactionSettings = CompactionSettings()
    permissions: PermissionSettings = PermissionSettings()
    sandbox: SandboxSettings = SandboxSettings()
    checkpoints: CheckpointSettings = CheckpointSettings()
    files: FileSettings = FileSettings()
    repositories: RepositorySettings = RepositorySettings()
    egress: EgressSettings = EgressSettings()
    packages: PackageSettings = PackageSettings()
    monolith: MonolithSettings = MonolithSettings()
    standby: StandbySettings = StandbySettings()
    mcp: McpSettings = McpSettings()
    hand_cache: HandCacheSettings = HandCacheSettings()
    network: NetworkSettings = NetworkSettings()
    web: WebSettings = WebSettings()
    vaults: VaultSettings = VaultSettings()
    workers: WorkerSettings = WorkerSettings()
    metering: MeteringSettings = MeteringSettings()
    anomalies: AnomalySettings = AnomalySettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    access: AccessSettings = AccessSettings()
    deployments: DeploymentSettings = DeploymentSettings()
    audit: AuditSettings = AuditSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @field_validator("api_keys")
    @classmethod
    def _distinct(cls, keys: dict[str, SecretStr], info: ValidationInfo) -> dict[str, SecretStr]:
        if DEFAULT_PRINCIPAL in keys:
            raise ValueError(f"{DEFAULT_PRINCIPAL!r} is the name of api_key")
        single = info.data.get("api_key")
        secrets = [key.get_secret_value() for key in [*keys.values(), *([single] if single else [])]]
        if len(set(secrets)) < len(secrets):
            raise ValueError("the same key is there under two names")
        return keys

    @field_validator("sandbox")
    @classmethod
    def _seeds_no_data(cls, sandbox: SandboxSettings, info: ValidationInfo) -> SandboxSettings:
        data_dir: Path | None = info.data.get("data_dir")
        if sandbox.seed_dir is not None and data_dir is not None and is_copied(data_dir, sandbox.seed_dir):
            raise ValueError(
                f"seed_dir has the data directory {data_dir} in it, which every sandbox would get a copy of"
            )
        return sandbox

    @field_validator("vaults")
    @classmethod
    def _seeds_no_key(cls, vaults: VaultSettings, info: ValidationInfo) -> VaultSettings:
        sandbox: SandboxSettings | None = info.data.get("sandbox")
        key, seed = vaults.master_key_file, sandbox.seed_dir if sandbox is not None else None
        if key is not None and seed is not None and is_copied(key, seed):
            raise ValueError(f"master_key_file is in sandbox.seed_dir ({seed}), which every sandbox gets a copy of")
        return vaults

    @field_validator("standby")
    @classmethod
    def _beside_parts(cls, standby: StandbySettings, info: ValidationInfo) -> StandbySettings:
        harness: HarnessSettings | None = info.data.get("harness")
        if standby.enabled and info.data.get("topology") == "monolith":
            raise ValueError("a standby stands beside a decoupled platform; this one is a monolith")
        if standby.enabled and harness is not None and harness.partitions < MIN_PARTITIONS:
            raise ValueError(f"with a standby harness.partitions must be at least {MIN_PARTITIONS}")
        return standby

    @property
    def has_monolith(self) -> bool:
        """Whether the monolith is deployed: as the whole platform, or as a standby."""
        return self.topology == "monolith" or self.standby.enabled

    @property
    def database_file(self) -> Path:
        """SQLite's file, which is the database where there is no ``database_url``."""
        return self.data_dir / "hecaton.db"

    @property
    def principals(self) -> dict[str, SecretStr]:
        """Every API key by the name of who calls with it; empty when any key is accepted."""
        return {**({DEFAULT_PRINCIPAL: self.api_key} if self.api_key else {}), **self.api_keys}

    @property
    def key_share(self) -> float:
        """The part that one API key, or one workspace, has a right to: everything while there is only one."""
        several = len(self.principals) > 1 or self.access.share_between_workspaces
        return self.gateway.key_share if several else 1.0

    @property
    def engine(self) -> Literal["claude", "replay"]:
        """The engine that ``brain.engine`` means here: ``auto`` depends on what is configured."""
        if self.brain.engine != "auto":
            return self.brain.engine
        return "claude" if self.anthropic_api_key or self.brain.base_url else "replay"

    def to_json(self) -> str:
        """Return all settings, secrets included, for a child process; never log or show the text."""
        return json.dumps(self.model_dump(), default=_plain)

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Rebuild settings from ``to_json``. Raises pydantic's ValidationError."""
        return cls(**json.loads(text))


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
