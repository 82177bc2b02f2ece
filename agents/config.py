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
from agents.errors import HecatonError
from agents.settings_base import AbsolutePath, KeyName, Section

ENV_PREFIX = "HECATON_"
INTERNAL_VARIABLES = frozenset({"HECATON_CONFIG", "HECATON_INSTANCE", "HECATON_NO_DASHBOARD"})
"""Variables with our prefix that are not settings: where the file is, the mark of a platform, no Ray dashboard."""
_BRAINS = "brains."
_BORROWED_VARIABLES = {"anthropic_api_key": "ANTHROPIC_API_KEY", "brain.base_url": "ANTHROPIC_BASE_URL"}


class InvalidSettings(HecatonError):
    """The configuration cannot be used; the message has one line per fault and says where each value came from."""

    code = "invalid_request_error"
    http_status = 400


# An empty key would be matched by an empty header.
Secret = Annotated[SecretStr, Field(min_length=1)]

DEFAULT_PRINCIPAL = "default"
"""Who calls with ``api_key``; the others go by their names in ``api_keys``."""


class GatewaySettings(Section):
    """The HTTP edge."""

    replicas: int = Field(default=1, ge=1, le=64)
    """Serve replicas of the HTTP edge."""
    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    """Larger bodies are refused with 413 (spec A.12)."""
    stream_keepalive_seconds: float = Field(default=15.0, gt=0, le=60)
    """Longest silence on an event stream before a ping."""
    stream_queue_frames: int = Field(default=4096, ge=16)
    """Frames one slow stream may lag before it is closed so that its client reconnects."""
    stream_queue_bytes: int = Field(default=8 * 1024 * 1024, ge=1024)
    """What those frames may hold together; a single one may be larger."""
    max_streams: int = Field(default=2000, ge=1)
    """Open event streams per replica; above it 429 with retry-after."""
    max_ongoing_requests: int = Field(default=512, ge=1)
    """Requests one replica of the edge serves at a time."""
    requests_per_minute: int = Field(default=0, ge=0)
    """Writing requests (POST, DELETE) that one API key may make per minute; above it 429. 0 sets no limit. Each
    replica enforces its part, the limit divided by ``gateway.replicas``, and tells it in its headers."""
    reads_per_minute: int = Field(default=0, ge=0)
    """Reading requests (GET) that one API key may make per minute; counted as ``requests_per_minute`` is."""
    key_share: float = Field(default=0.5, gt=0, le=1)
    """With several API keys: the part of a replica's requests and streams, and of a harness's active sessions, that
    each key may hold however busy the others are. Beyond it a key gets more only while an eighth stays free."""
    owner_wait_seconds: float = Field(default=20.0, gt=0)
    """How long a request waits while the session's owner is replaced, before it is answered 503."""
    retry_dedupe_seconds: float = Field(default=60.0, ge=0)
    """Within this span a byte-identical event POST marked as an SDK retry is answered from memory; 0 is off."""


class HarnessSettings(Section):
    """The owners of sessions."""

    actors: int = Field(default=1, ge=1, le=256)
    """Harness actors that share the partitions."""
    partitions: int = Field(default=64, ge=1, le=4096)
    """Virtual partitions that sessions are spread over; fixed for the life of a data directory."""
    lease_ttl_seconds: float = Field(default=3.0, gt=0)
    """Without renewal for this long a partition may be taken over by another actor."""
    handover_seconds: float = Field(default=30.0, ge=0)
    """How long a partition that is to move waits for the turns in it to end; then it moves between their steps."""
    max_active_sessions: int = Field(default=2000, ge=1)
    """Sessions with a turn under way per actor; above it sending answers 529 with retry-after."""
    max_cached_sessions: int = Field(default=512, ge=1)
    """Idle sessions kept in memory per actor, least recently used out first."""
    max_queued_events: int = Field(default=1000, ge=1)
    """Client events that may wait in one session's queue; above it 429."""
    max_queued_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    """All client events together that may wait in one session's queue; above it 429."""
    max_tool_rounds: int = Field(default=200, ge=1)
    """Model requests in one turn before it ends with tool_use_limit_reached_error."""
    max_resumes: int = Field(default=15, ge=1)
    """Times a turn is taken up again at one place, ever more slowly, before it ends with retries_exhausted."""
    drain_seconds: float = Field(default=20.0, ge=0)
    """How long turns under way may take to end after SIGTERM."""


class BrainSettings(Section):
    """Which brain thinks, and how patiently it is asked."""

    engine: Literal["auto", "claude", "replay"] = "auto"
    """``auto`` is ``claude`` when a key or a base URL is configured, else ``replay``."""
    base_url: str | None = None
    """Messages-API server for the claude engine; ``ANTHROPIC_BASE_URL`` when unset."""
    replay_plan: AbsolutePath | None = None
    """YAML plan of the replay engine; the built-in demonstration when unset."""
    replay_pace: float = Field(default=1.0, ge=0, le=100)
    """Scales the pauses of a replayed plan; 0 plays at once."""
    max_tokens: int = Field(default=32_000, ge=1)
    """Most tokens of one answer."""
    max_attempts: int = Field(default=6, ge=1, le=50)
    """Tries of one model request before the turn ends with retries_exhausted."""
    backoff_base_seconds: float = Field(default=1.0, gt=0)
    """First wait between two tries; it doubles, with jitter."""
    backoff_ceiling_seconds: float = Field(default=60.0, gt=0)
    """Longest wait between two tries."""
    first_event_timeout_seconds: float = Field(default=120.0, gt=0)
    """A model that says nothing for this long after a request has failed."""
    event_gap_timeout_seconds: float = Field(default=120.0, gt=0)
    """A stream that stops for this long has failed."""
    request_timeout_seconds: float = Field(default=1800.0, gt=0)
    """Outer limit of one model request."""
    max_waiting_requests: int = Field(default=10_000, ge=1)
    """Model requests per harness that may wait for a free place on a replica; above it they are rescheduled. Places
    are dealt out in turns between API keys, and within a key in order."""
    waiting_timeout_seconds: float = Field(default=120.0, gt=0)
    """A model request that gets no place on a replica for this long is rescheduled."""
    replicas: int = Field(default=1, ge=1)
    """Serve replicas of the brain."""
    max_ongoing_requests: int = Field(default=256, ge=1)
    """Model requests one replica of the brain streams at a time."""
    drain_seconds: float = Field(default=30.0, ge=0)
    """How long a replica that is to end (a redeploy, fewer replicas) finishes answers under way; then they are asked
    for again elsewhere."""
    price_book: AbsolutePath | None = None
    """YAML price book; the built-in one when unset."""


class SandboxSettings(Section):
    """Limits of one sandbox and the size of the fleet."""

    driver: Literal["bubblewrap", "process", "none"] = "bubblewrap"
    """``process`` runs tools as plain processes WITHOUT isolation: an explicit opt-in. ``none`` refuses tools."""
    root: AbsolutePath | None = None
    """Where sandboxes keep their files; ``<data-dir>/sandboxes`` when unset."""
    hosts: int = Field(default=1, ge=1)
    """Host actors at start-up, each with many sandboxes."""
    warm: int = Field(default=2, ge=0)
    """Sandboxes kept ready per host."""
    max_live: int = Field(default=64, ge=1)
    """Live sandboxes per host; above it the least recently used idle one is put away (its files stay)."""
    idle_seconds: float = Field(default=300.0, gt=0)
    """A sandbox unused for this long is put away (its files stay)."""
    keep_files_seconds: float = Field(default=24 * 3600.0, gt=0)
    """Files of a session unused for this long leave this machine once a checkpoint has them; they come back on use."""
    min_free_bytes: int = Field(default=1024**3, ge=0)
    """With less room than this on the disk, such files leave it earlier, those unused longest first."""
    tool_timeout_seconds: float = Field(default=150.0, gt=0)
    """Outer limit of any one call."""
    bash_timeout_seconds: float = Field(default=120.0, gt=0)
    """Limit of one shell command that names none itself."""
    cpu_seconds: int = Field(default=600, ge=1)
    """CPU time of any one process."""
    memory_bytes: int = Field(default=4 * 1024**3, ge=64 * 1024**2)
    """Private memory of any one process."""
    processes: int = Field(default=256, ge=8)
    """Processes of one sandbox."""
    file_bytes: int = Field(default=1024**3, ge=1024)
    """Size of any one file."""
    disk_bytes: int = Field(default=4 * 1024**3, ge=1024**2)
    """All files of one sandbox together."""
    output_chars: int = Field(default=100_000, ge=1000)
    """Longer output goes to a file in the sandbox and the model sees a preview (spec C.1)."""
    max_parallel_calls: int = Field(default=16, ge=1)
    """Tool calls of one sandbox that run at a time."""
    seed_dir: AbsolutePath | None = None
    """A folder copied into every new workspace of this server, less ``.git``, virtual environments and caches."""
    seed_bytes: int = Field(default=256 * 1024**2, ge=0)
    """At most this much of ``seed_dir`` is copied; what does not fit is left out."""


class CheckpointSettings(Section):
    """Copies of the sandboxes' files, from which a sandbox is made again elsewhere."""

    mode: Literal["before_result", "after_result", "off"] = "before_result"
    """When a call that changed files is copied: before its result is given, right after it, or never."""
    url: str | None = None
    """Where copies go, as an fsspec URL (``s3://bucket/prefix``); ``<data-dir>/checkpoints`` when unset."""
    endpoint_url: str | None = None
    """S3-compatible server other than the provider's own; credentials come from the usual AWS variables."""
    timeout_seconds: float = Field(default=60.0, gt=0)
    """Limit of writing or reading one copy."""
    max_bytes: int = Field(default=4 * 1024**3, ge=1024)
    """A workspace larger than this is not copied; the model is told so after a loss."""


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
    change the same agents, environments and sessions: they tell callers apart, they do not separate them."""
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
    brains: dict[KeyName, BrainDefinition] = Field(default_factory=lambda: {})
    """The brains there are, each under its name (``brains.qwen.engine``); see docs/brains.md. When there is none,
    ``brain`` alone says what thinks, whatever model an agent names."""
    sandbox: SandboxSettings = SandboxSettings()
    checkpoints: CheckpointSettings = CheckpointSettings()

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
    """Lay a value over one of less precedence; a brain keeps what only the lower one says of it."""
    below, above = lower and _mapping(lower.value), _mapping(higher.value)
    if lower is None or below is None or above is None:
        return higher
    merged = dict(below)
    for name, value in above.items():
        under = _Sourced(below[name], lower.source) if name in below else None
        merged[name] = _over(under, _Sourced(value, higher.source)).value
    return _Sourced(merged, f"{lower.source}, {higher.source}")


def _mapping(value: object) -> Mapping[str, Any] | None:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else None


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
        # A brain is one value: names in it (labels, variables) may have dots.
        if isinstance(value, Mapping) and prefix != _BRAINS:
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
        brain = ".".join(key.split(".")[:2])
        source = values[key if key in values else brain].source if key in values or brain in values else "settings"
        info = setting_of(key, known) or known.get(key)
        shown = "" if info is None or is_secret(info) else f" (got {detail['input']!r})"
        faults.append(f"{source}: {key}: {detail['msg']}{shown}")
    return faults


_SECTIONS = frozenset(
    name for name, info in Settings.model_fields.items() if name not in dict(setting_keys()) or is_mapping(info)
)
