"""The sections of the settings, one for each part of the platform; ``agents.config`` puts them together."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agents.settings_base import AbsolutePath, Section


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
    """Writing requests (POST, DELETE) that one API key of the settings, or all keys of one workspace together, may make
    per minute; above it 429. 0 sets no limit. Each
    replica enforces its part, the limit divided by ``gateway.replicas``, and tells it in its headers."""
    reads_per_minute: int = Field(default=0, ge=0)
    """Reading requests (GET) that one API key may make per minute; counted as ``requests_per_minute`` is."""
    hsts_seconds: int = Field(default=0, ge=0)
    """Sent as ``Strict-Transport-Security``: browsers then come by TLS only, for so long. Set it only where every way
    to the server is behind TLS; 0 sends nothing."""
    key_share: float = Field(default=0.5, gt=0, le=1)
    """With several API keys: the part of a replica's requests and streams, and of a harness's active sessions, that
    each key may hold however busy the others are. Beyond it a key gets more only while an eighth stays free."""
    owner_wait_seconds: float = Field(default=20.0, gt=0)
    """How long a request waits while the session's owner is replaced, before it is answered 503."""
    retry_dedupe_seconds: float = Field(default=60.0, ge=0)
    """Within this span a byte-identical event POST that is marked as an SDK retry, or has the same ``Idempotency-Key``,
    is answered from memory; 0 is off."""


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
    context_cache_bytes: int = Field(default=64 * 1024**2, ge=0)
    """Memory in which one replica keeps the conversations that it has read, so that only what is new travels to it; 0
    sends every request whole."""
    price_book: AbsolutePath | None = None
    """YAML price book; the built-in one when unset."""
    ceiling_usd_per_hour: float | None = Field(default=None, gt=0)
    """Most that all declared brains together may spend in an hour: what replicas at ``gpu_hour`` may cost at most is
    set aside, and the answers of the others have the rest. Unset, only each brain's own ceiling holds."""


class CompactionSettings(Section):
    """Summaries that take the place of the older part of a conversation, so that a session outlives any context."""

    share: float = Field(default=0.85, gt=0, le=1)
    """A request that would take more than this part of the brain's context, less the room for its answer, is preceded
    by a summary."""
    keep_messages: int = Field(default=20, ge=0)
    """Messages at the end of the conversation that stay as they are, at most."""
    keep_share: float = Field(default=0.3, ge=0, le=0.9)
    """How much of what may be sent those may take; when not even the last of them fits, none stays."""
    summary_tokens: int = Field(default=4096, ge=64)
    """Most tokens of a summary; it is never longer than a quarter of what may be sent."""
    result_characters: int = Field(default=4000, ge=100)
    """Tool inputs and results longer than this are shown to the summarizer without their middle."""
    max_futile: int = Field(default=2, ge=1)
    """Summaries in a row, each hardly shorter than what it stands for, before the turn ends with
    compaction_limit_reached_error."""


class PermissionSettings(Section):
    """Who judges the tool calls under the permission policy ``auto``, and on what."""

    judge: str | None = None
    """The model that judges, by a name that agents may give; the session's own when unset. A session with a budget is
    judged by its own where this one has no price."""
    judge_seconds: float = Field(default=60.0, gt=0)
    """When the calls of an answer are not judged for so long, the user is asked."""
    judge_tokens: int = Field(default=2048, ge=16)
    """Most tokens of a judgement, thinking included; it is one word."""
    judge_characters: int = Field(default=24_000, ge=1000)
    """Most characters of the conversation that the judge is shown, of the agent's instructions, and of the call. A call
    that is longer is asked about."""


class SandboxSettings(Section):
    """Limits of one sandbox and the size of the fleet."""

    driver: Literal["bubblewrap", "process", "none"] = "bubblewrap"
    """``process`` runs tools as plain processes WITHOUT isolation: an explicit opt-in. ``none`` refuses tools."""
    root: AbsolutePath | None = None
    """Where sandboxes keep their files; ``<data-dir>/sandboxes`` when unset."""
    hosts: int = Field(default=1, ge=1)
    """Host actors at start-up, each with many sandboxes."""
    warm: int = Field(default=2, ge=0)
    """Sandboxes kept ready per host, at least; with 0 there are none."""
    warm_most: int = Field(default=8, ge=0)
    """As many are kept ready while many are wanted, those with packages of environments among them."""
    provision: Literal["when_called", "before_turn"] = "when_called"
    """When a session gets its sandbox: with its first call of one, or before each turn of an agent that may call one,
    which then waits for it."""
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


class MonolithSettings(Section):
    """What one replica of the monolith is; only with ``topology: monolith``, or as a standby."""

    replicas: int = Field(default=1, ge=1, le=256)
    """Replicas, each with every brain, a harness and a sandbox host in one process."""
    turns: int | None = Field(default=None, ge=1)
    """Turns that one replica works on at a time, each from its first model request to its end, tools included; the
    others wait. Unset: as many as each of its brains takes model requests (``max_ongoing_requests``)."""


class StandbySettings(Section):
    """A monolith beside the parts, which takes new sessions while they keep failing (docs/operations.md, "Standby")."""

    enabled: bool = False
    """Whether there is one. It needs its own CPUs, memory and GPU, and ``monolith`` says how large it is."""
    window_seconds: float = Field(default=60.0, gt=0, le=3600)
    """The parts are judged by their model requests and batches of tool calls of so long."""
    min_requests: int = Field(default=20, ge=1)
    """Of fewer nothing is concluded."""
    max_error_rate: float = Field(default=0.3, gt=0, lt=1)
    """When a larger part of them was lost, with a replica or a sandbox host, new sessions go to the monolith."""
    outage_seconds: float = Field(default=15.0, gt=0)
    """So do they when a part has been away for so long: all harnesses, all sandbox hosts, or every replica of a brain
    that requests wait for."""
    pause_seconds: float = Field(default=60.0, gt=0)
    """How long they go there before the parts are tried again; it doubles with each trial that fails."""
    longest_pause_seconds: float = Field(default=900.0, gt=0)
    """As far as this."""
    trial_share: float = Field(default=0.2, gt=0, le=1)
    """The part of the new sessions that a trial gives to the parts."""
    trial_seconds: float = Field(default=30.0, gt=0)
    """How long a trial lasts at least; it also takes ``min_requests``."""
