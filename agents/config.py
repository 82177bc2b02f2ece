"""The one ``Settings`` of the platform.

Precedence, highest first: command-line flags (passed as overrides), environment variables
(``HECATON_SANDBOX__MAX_LIVE=8``), the YAML file, defaults. An unknown key stops start-up and is named.
``Settings(...)`` itself reads nothing but its arguments, so that a child process that gets the settings
as JSON sees exactly what its parent saw; :func:`load_settings` is the only reader of file and environment.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_origin

import yaml
from pydantic import (
    BaseModel,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from agents.brain_settings import BrainDefinition
from agents.economics.metering_settings import MeteringSettings
from agents.errors import HecatonError
from agents.hand_settings import HandDefinition
from agents.hands.egress.settings import EgressSettings
from agents.hands.packages.settings import PackageSettings
from agents.hands.seed import is_copied
from agents.hands.servers.settings import HandCacheSettings, McpSettings
from agents.net.settings import NetworkSettings
from agents.settings_base import AbsolutePath, KeyName, as_mapping, laid_over
from agents.settings_sections import (
    BrainSettings,
    CheckpointSettings,
    CompactionSettings,
    GatewaySettings,
    HarnessSettings,
    MonolithSettings,
    SandboxSettings,
    StandbySettings,
)
from agents.vaults.settings import VaultSettings
from agents.web.settings import WebSettings
from agents.worker_settings import WorkerSettings

ENV_PREFIX = "HECATON_"
INTERNAL_VARIABLES = frozenset({"HECATON_CONFIG", "HECATON_INSTANCE", "HECATON_NO_DASHBOARD"})
"""Variables with our prefix that are not settings: where the file is, the mark of a platform, no Ray dashboard."""
_WHOLE = ("brains.", "hands.")
"""Sections whose entries are one value each."""
_BORROWED_VARIABLES = {"anthropic_api_key": "ANTHROPIC_API_KEY", "brain.base_url": "ANTHROPIC_BASE_URL"}


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
    """When set, every request must carry it, or one of ``api_keys``; when neither is set the server accepts any key
    (and says so at start-up)."""
    api_keys: dict[KeyName, Secret] = Field(default_factory=lambda: {})
    """More keys, each under a name that limits and shares are counted by (``api_keys.team-a``). All keys see and
    change the same agents, environments and sessions: they tell callers apart, they do not separate them. Only vaults
    are their maker's (docs/vaults.md)."""
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
    sandbox: SandboxSettings = SandboxSettings()
    checkpoints: CheckpointSettings = CheckpointSettings()
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
    def principals(self) -> dict[str, SecretStr]:
        """Every API key by the name of who calls with it; empty when any key is accepted."""
        return {**({DEFAULT_PRINCIPAL: self.api_key} if self.api_key else {}), **self.api_keys}

    @property
    def key_share(self) -> float:
        """The part that one API key has a right to: everything while there is only one."""
        return self.gateway.key_share if len(self.principals) > 1 else 1.0

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


def load_settings(file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read flags, environment, file and defaults, in this order of precedence, into one ``Settings``.

    *file* defaults to ``HECATON_CONFIG``. *overrides* may be nested or have dotted keys
    (``{"sandbox.warm": 0}``); a None among them means "not given". Raises InvalidSettings.
    """
    chosen = file or (Path(os.environ["HECATON_CONFIG"]) if os.environ.get("HECATON_CONFIG") else None)
    values: dict[str, _Sourced] = {}
    faults: list[str] = []
    known = dict(setting_keys())
    for key, sourced in _layers(chosen, overrides or {}, known):
        if setting_of(key, known):
            values[key] = _over(values.get(key), sourced)
        else:
            faults.append(f"{sourced.source}: unknown setting {key!r}{_hint(key, known)}")
    faults += _unknown_variables(known)
    if not faults:
        try:
            return Settings(**_nest(values))
        except ValidationError as error:
            faults = _faults(error, values, known)
    raise InvalidSettings("\n".join(faults))


def setting_keys(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every setting as its dotted key and its field."""
    for name, info in model.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from setting_keys(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, info


def is_mapping(info: FieldInfo) -> bool:
    """Whether a setting has entries of the user's own naming, each given as a key of its own (``api_keys.NAME``)."""
    return get_origin(info.annotation) is dict


def is_secret(info: FieldInfo) -> bool:
    """Whether a setting's value must not be shown."""
    return "SecretStr" in str(info.annotation)


def setting_of(key: str, known: Mapping[str, FieldInfo]) -> FieldInfo | None:
    """Return the setting that a dotted key gives a value to, or an entry of; None when there is none."""
    info = known.get(key)
    if info is not None:
        return None if is_mapping(info) else info
    whole = known.get(key.partition(".")[0])
    return whole if whole is not None and is_mapping(whole) else None


def variable_of(key: str) -> str:
    """Name the environment variable of a dotted key."""
    return ENV_PREFIX + key.upper().replace(".", "__")


@dataclass(frozen=True, slots=True)
class _Sourced:
    value: Any
    source: str


def _over(lower: _Sourced | None, higher: _Sourced) -> _Sourced:
    """Lay a value over one of less precedence; a brain or a hand keeps what only the lower one says of it."""
    if lower is None or as_mapping(lower.value) is None or as_mapping(higher.value) is None:
        return higher
    return _Sourced(laid_over(lower.value, higher.value), f"{lower.source}, {higher.source}")


def _layers(
    file: Path | None, overrides: Mapping[str, Any], known: Mapping[str, FieldInfo]
) -> Iterator[tuple[str, _Sourced]]:
    """Yield every given value, lowest precedence first; unknown variables are left to ``_unknown_variables``."""
    for key, variable in _BORROWED_VARIABLES.items():
        if os.environ.get(variable):
            yield key, _Sourced(os.environ[variable], f"environment variable {variable}")
    if file is not None:
        for key, value in _flatten(_read_file(file)):
            yield key, _Sourced(value, f"file {file}")
    for key, value in _flatten(_read_environment()):
        if setting_of(key, known):
            yield key, _Sourced(value, f"environment variable {variable_of(key)}")
    for key, value in _flatten(overrides):
        if value is not None:
            yield key, _Sourced(value, "command line")


def _read_environment() -> Mapping[str, Any]:
    try:
        return EnvSettingsSource(Settings)()
    except SettingsError as error:
        raise InvalidSettings(f"environment variables: {error}") from error


def _read_file(file: Path) -> Mapping[str, Any]:
    try:
        content: object = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSettings(f"file {file}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"file {file}: is not YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InvalidSettings(f"file {file}: must hold settings as 'key: value' lines")
    return cast("dict[str, Any]", content)


def _flatten(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        key = f"{prefix}{name}"
        # A brain or a hand is one value: names in it (labels, variables) may have dots.
        if isinstance(value, Mapping) and prefix not in _WHOLE:
            yield from _flatten(cast("Mapping[Any, Any]", value), f"{key}.")
        elif value is not None or key not in _SECTIONS:
            yield key, value


def _nest(values: Mapping[str, _Sourced]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, sourced in values.items():
        # At the first dot: the name of an entry that has more of them is for its mapping to judge.
        section, dot, name = key.partition(".")
        target = nested.setdefault(section, {}) if dot else nested
        target[name or section] = sourced.value
    return nested


def _unknown_variables(known: Mapping[str, FieldInfo]) -> list[str]:
    names = {variable_of(key) for key in known}
    entries = tuple(f"{variable_of(key)}__" for key, info in known.items() if is_mapping(info))
    found: list[str] = []
    for variable in sorted(os.environ):
        upper = variable.upper()
        if not upper.startswith(ENV_PREFIX) or upper in names | INTERNAL_VARIABLES or upper.startswith(entries):
            continue
        close = difflib.get_close_matches(upper, names, n=1)
        found.append(f"environment variable {variable}: unknown setting" + (f"; nearest: {close[0]}" if close else ""))
    return found


def _hint(key: str, known: Mapping[str, FieldInfo]) -> str:
    if key in _SECTIONS:
        example = f"{key}.NAME" if key in known else next(name for name in known if name.startswith(key))
        return f" (a section: set its keys, such as {example!r})"
    by_name = {name.rpartition(".")[2]: name for name in known}
    close = difflib.get_close_matches(key, known, n=1) or [
        by_name[name] for name in difflib.get_close_matches(key.rpartition(".")[2], by_name, n=1)
    ]
    return f"; nearest: {close[0]!r}" if close else ""


def _faults(error: ValidationError, values: Mapping[str, _Sourced], known: Mapping[str, FieldInfo]) -> list[str]:
    faults: list[str] = []
    for detail in error.errors(include_url=False, include_context=False):
        # The name of an entry that is no good is marked by a part of its own at the end.
        key = ".".join(str(part) for part in detail["loc"] if part != "[key]")
        sourced = values.get(key) or values.get(".".join(key.split(".")[:2]))  # a brain or a hand is one value
        source = sourced.source if sourced else "settings"
        info = setting_of(key, known) or known.get(key)
        shown = "" if info is None or is_secret(info) else f" (got {detail['input']!r})"
        faults.append(f"{source}: {key}: {detail['msg']}{shown}")
    return faults


_SECTIONS = frozenset(
    name for name, info in Settings.model_fields.items() if name not in dict(setting_keys()) or is_mapping(info)
)
