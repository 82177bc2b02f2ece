"""Every metric that the platform counts, once: registry, ``/metrics``, Ray's charts and docs/metrics.md are made of it.

Names and units follow Prometheus' conventions. No label is ever an id of a session, a call or a key.
"""

from __future__ import annotations

from agents.telemetry.metric import Kind, Label, Metric

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)
_CALLS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_TURNS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)

BRAIN = Label("brain")
HAND = Label("hand")
_ROUTE = Label("route", most=200)
_STATES = Label("state", ("running", "idle", "rescheduling", "terminated"))
_TURN_OUTCOMES = Label("outcome", ("ended", "requires_action", "failed", "interrupted", "refused", "out_of_budget"))
_MEMBERS = Label("kind", ("agent", "advisor"))
_VERDICTS = Label("result", ("satisfied", "needs_revision", "max_iterations_reached", "failed", "interrupted"))
_REQUEST_OUTCOMES = Label("outcome", ("ok", "error", "cancelled"))
_CALL_OUTCOMES = Label("outcome", ("ok", "error"))
_TOKENS = Label("kind", ("input", "output", "cache_read", "cache_creation"))


def _counter(name: str, unit: str, text: str, *labels: Label) -> Metric:
    return Metric(name, Kind.COUNTER, unit, text, labels)


def _gauge(name: str, unit: str, text: str, *labels: Label) -> Metric:
    return Metric(name, Kind.GAUGE, unit, text, labels)


def _seconds(name: str, buckets: tuple[float, ...], text: str, *labels: Label) -> Metric:
    return Metric(name, Kind.HISTOGRAM, "seconds", text, labels, buckets)


# -- sessions and turns --------------------------------------------------------------------------

SESSIONS = _gauge("hecaton_sessions", "sessions", "Sessions in the store, by what they do", _STATES)
STUCK_SESSIONS = _gauge(
    "hecaton_stuck_sessions", "sessions", "Sessions that run, with nothing committed for 10 minutes"
)
TURNS = _counter("hecaton_turns_total", "turns", "Turns, from running to idle, by how they ended", _TURN_OUTCOMES)
TURN_SECONDS = _seconds(
    "hecaton_turn_duration_seconds", _TURNS, "How long turns took, from running to idle, back-off included"
)
SESSION_FAILURES = _counter(
    "hecaton_session_failures_total", "errors", "Errors of sessions that ended a turn; MTBF is turn time over these"
)
RETRIES = _counter(
    "hecaton_retries_total",
    "retries",
    "What was tried again: model requests that failed or lost their brain, tool calls whose host or hand was lost",
    Label("what", ("model_request", "tool_call")),
)

THREADS = _counter(
    "hecaton_threads_total", "threads", "Threads that coordinators have created, by whose they are", _MEMBERS
)
OUTCOME_EVALUATIONS = _counter(
    "hecaton_outcome_evaluations_total", "evaluations", "Evaluations of outcomes, by what came of them", _VERDICTS
)

# -- brains --------------------------------------------------------------------------------------

MODEL_REQUESTS = _counter(
    "hecaton_model_requests_total",
    "requests",
    "Model requests that have ended, of sessions and of `/v1/messages`",
    BRAIN,
    _REQUEST_OUTCOMES,
)
MODEL_REQUEST_SECONDS = _seconds(
    "hecaton_model_request_duration_seconds",
    _CALLS,
    "From a request's place in the log (of `/v1/messages`: from being asked) to its end",
    BRAIN,
)
FIRST_TOKEN_SECONDS = _seconds(
    "hecaton_time_to_first_token_seconds",
    _CALLS,
    "From asking a brain, its queue included, until the answer's first token",
    BRAIN,
)
TOKENS = _counter("hecaton_tokens_total", "tokens", "Tokens of model requests", BRAIN, _TOKENS)
COST = _counter("hecaton_cost_usd_total", "USD", "What these tokens cost by the price book", BRAIN)
GPU_SECONDS = _counter(
    "hecaton_brain_gpu_seconds_total", "GPU seconds", "GPUs that replicas held, times how long they did", BRAIN
)

# -- hands and tools -----------------------------------------------------------------------------

TOOL_CALLS = _counter(
    "hecaton_tool_calls_total", "calls", "Tool calls of sessions that have their result", HAND, _CALL_OUTCOMES
)
TOOL_CALL_SECONDS = _seconds(
    "hecaton_tool_call_duration_seconds",
    _CALLS,
    "From a call's place in the log, or its permission, to its result: queues and retries included",
    HAND,
)
REPEATED_TOOL_CALLS = _counter(
    "hecaton_repeated_tool_calls_total", "calls", "Calls with the tool, input and result of an earlier one: loops"
)
HAND_CALLS_RUNNING = _gauge("hecaton_hand_calls_running", "calls", "Calls of deployed hands that have a place", HAND)
HAND_CALLS_WAITING = _gauge("hecaton_hand_calls_waiting", "calls", "Calls of deployed hands in line for one", HAND)
HAND_REPLICAS = Metric(
    "hecaton_hand_replicas",
    Kind.GAUGE,
    "replicas",
    "Replicas of deployed hands that can be called, seen by who calls them",
    (HAND,),
    merge="max",
)
HAND_COST = _counter("hecaton_hand_cost_usd_total", "USD", "What sessions' calls of hands cost by their prices", HAND)
HAND_BUDGET = _gauge(
    "hecaton_hand_error_budget_remaining_ratio",
    "ratio",
    "What is left of a hand's error budget, by the worst of its promises; negative when one is broken",
    HAND,
)

# -- sandboxes -----------------------------------------------------------------------------------

SANDBOX_LIVE = _gauge("hecaton_sandbox_live", "sandboxes", "Sandboxes of sessions that run")
SANDBOX_WARM = _gauge("hecaton_sandbox_warm", "sandboxes", "Sandboxes that wait for a session")
SANDBOX_PROVISION_SECONDS = _seconds(
    "hecaton_sandbox_provision_duration_seconds", _FAST, "From a session's need of a sandbox until it has one"
)
SANDBOX_HITS = _counter("hecaton_sandbox_pool_hits_total", "sandboxes", "New sessions that got a warm sandbox")
SANDBOX_MISSES = _counter(
    "hecaton_sandbox_pool_misses_total", "sandboxes", "New sessions for which one had to be started"
)
SANDBOX_EVICTIONS = _counter(
    "hecaton_sandbox_evictions_total", "sandboxes", "Idle sandboxes that were put away to make room"
)
REPOSITORY_SECONDS = _seconds(
    "hecaton_repository_copy_duration_seconds",
    _CALLS,
    "Copies of Git repositories for sandboxes, by what came of them",
    Label("outcome", ("ok", "authentication", "forbidden", "not_found", "checkout", "clone")),
)

# -- skills --------------------------------------------------------------------------------------

SKILL_COPIES = _counter(
    "hecaton_skill_copies_total",
    "copies",
    "Copies of skills into sandboxes, by what came of them (gone: deleted; blocked: the session has something there)",
    Label("outcome", ("ok", "gone", "blocked", "damaged", "failed")),
)

# -- memory stores -------------------------------------------------------------------------------

MEMORY_PASSES = _counter(
    "hecaton_memory_passes_total",
    "passes",
    "How often a sandbox's directory and its memory store were brought to one state, by what came of it",
    Label("outcome", ("ok", "failed", "gone")),
)
MEMORY_CHANGES = _counter(
    "hecaton_memory_changes_total",
    "memories",
    "Memories that passes have brought over, or not: lost are changes of sandboxes that gave way to the store's",
    Label("what", ("fetch", "remove", "create", "update", "delete", "lost", "refused", "overtaken")),
)

# -- the log, leases, streams --------------------------------------------------------------------

APPEND_SECONDS = _seconds(
    "hecaton_log_append_duration_seconds", _FAST, "How long a change waited until it was durable, its queue included"
)
APPEND_BATCH = Metric(
    "hecaton_log_append_batch_events",
    Kind.HISTOGRAM,
    "events",
    "Events that one transaction of the log wrote",
    buckets=(1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0),
)
LOG_LAG = _gauge("hecaton_log_lag_events", "events", "Events that wait for their commit")
STREAMS = _gauge("hecaton_streams", "streams", "Event streams that are open")
LEASES = _gauge("hecaton_leases", "partitions", "Partitions that each harness holds", Label("harness"))
TAKEOVERS = _counter(
    "hecaton_takeovers_total", "partitions", "Partitions that a harness claimed which had an owner before"
)
OBSERVER_FAILURES = _counter(
    "hecaton_observer_failures_total",
    "failures",
    "Commits at which a counter, a detector or a trace has failed to look; their sessions go on",
    Label("observer", most=20),
)

# -- HTTP ----------------------------------------------------------------------------------------

HTTP_REQUESTS = _counter(
    "hecaton_http_requests_total",
    "requests",
    "Requests to the API, by the template of their path",
    _ROUTE,
    Label("method", ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")),
    Label("status", most=40),
)
HTTP_SECONDS = _seconds(
    "hecaton_http_request_duration_seconds",
    _CALLS,
    "From a request's head to its answer's end; of what is streamed, to its beginning",
    _ROUTE,
)

# -- deployments ---------------------------------------------------------------------------------

DEPLOYMENT_RUNS = _counter(
    "hecaton_deployment_runs_total",
    "runs",
    "Runs of deployments that are settled, by what has started them and whether they made their session",
    Label("trigger", ("schedule", "manual")),
    _CALL_OUTCOMES,
)
DEPLOYMENT_LATENESS = _seconds(
    "hecaton_deployment_lateness_seconds", _CALLS, "How long after its time, jitter included, a schedule was fired"
)

# -- anomalies -----------------------------------------------------------------------------------

ANOMALIES = _counter("hecaton_anomalies_total", "anomalies", "What the anomaly detector found", Label("kind", most=20))

# -- webhooks ------------------------------------------------------------------------------------

WEBHOOK_ATTEMPTS = _counter(
    "hecaton_webhook_attempts_total",
    "attempts",
    "Attempts to post a message to a registered webhook, by what came of it",
    _CALL_OUTCOMES,
)

# -- files ---------------------------------------------------------------------------------------

FILE_BYTES = _counter(
    "hecaton_file_bytes_total",
    "bytes",
    "Bytes of files that were uploaded, that were downloaded, and that sessions left as outputs",
    Label("way", ("upload", "download", "output")),
)

CATALOGUE: tuple[Metric, ...] = tuple(each for each in globals().values() if isinstance(each, Metric))
