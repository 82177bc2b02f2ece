"""What parts say of themselves on ``/metrics`` when they are asked (``agents.telemetry.metrics``), for docs/metrics.md.

The figures have their names where they arise; a test on a live platform finds one that is missing here.
"""

from __future__ import annotations

_HARNESS = {
    "active": "sessions with a turn under way",
    "cached": "sessions in memory",
    "removals": "deleted sessions whose files have yet to go",
    "generation": "how often a process of this name has joined",
    "partitions": "partitions held",
    "takeovers": "partitions claimed",
    "handovers": "partitions given to another harness",
    "calls_resumed": "tool calls that the owner before may have sent, and that were asked for again",
    "calls_repeated": "repeatable calls that were run again because their host was lost",
    "calls_ambiguous": "calls of which nobody knows whether they took effect",
    "compactions": "summaries that took the place of older messages",
    "compactions_futile": "those that made their context hardly shorter",
    "compaction_tokens_before": "tokens of contexts before their summary, estimated",
    "compaction_tokens_after": "and after it",
    "hand_cache_hits": "calls of hands answered from memory",
    "hand_cache_joined": "those answered by an equal call under way",
    "hand_cache_misses": "calls that memory could not answer",
    "hand_cache_evicted": "results that made room for others",
    "hand_cache_results": "results kept",
    "hand_cache_bytes": "their size",
    "links": "links of gateways",
    "brain_replicas": "replicas of all brains that can be asked",
    "model_requests": "model requests that have a place",
    "model_requests_waiting": "model requests in line",
    "trace_spans": "spans of traces that are finished",
    "trace_spans_dropped": "those for which there was no room",
    "trace_spans_failed": "those that a receiver or a disk refused",
    "turn_slots": "places for turns, in a monolith",
    "turn_slots_held": "those that are taken",
    "turns_waiting": "turns in line for one",
}
_SANDBOXES = {
    "live": "sandboxes of sessions that run",
    "warm": "sandboxes that wait for a session",
    "provisions": "sandboxes given to sessions",
    "provision_seconds": "how long that took, together",
    "claims": "sandboxes given to sessions without files",
    "claim_seconds": "how long that took, together",
    "warm_hits": "claims met by a warm one",
    "evictions": "idle sandboxes put away for others",
    "failures": "sandboxes that did not start",
    "orphans": "processes of dead hosts killed at the start",
    "checkpoints": "copies of sessions' files made",
    "checkpoint_bytes": "their size",
    "checkpoint_seconds": "how long they took",
    "checkpoint_failures": "copies that failed",
    "restores": "sandboxes made from a copy",
    "restore_seconds": "how long that took",
    "files_evicted": "sessions whose files were removed here, being copied",
    "egress_allowed": "connections that sandboxes made",
    "egress_refused": "those that were refused",
    "egress_bytes": "bytes of connections",
    "layer_builds": "layers of packages built",
    "layer_failures": "those that failed",
    "layer_build_seconds": "how long building took",
    "layers_evicted": "layers removed for room",
}
_BRAIN_SEEN = {
    "replicas": "replicas that can be asked",
    "requests": "requests that have a place",
    "requests_waiting": "requests in line",
    "contexts_sent": "requests whose context went as chunks",
    "contexts_resent": "those that had to go again, whole",
    "chunk_hits": "chunks that stayed because the replica had them",
    "chunk_misses": "chunks that travelled",
    "chunk_bytes_sent": "their bytes",
    "chunks_kept": "chunks that replicas keep",
    "chunk_bytes_kept": "their bytes",
    "prompt_tokens": "tokens that the model was shown",
    "prompt_tokens_cached": "those from its prompt cache",
    "circuit_open": "1 while the brain is passed over, as it keeps failing",
    "circuit_openings": "how often that began",
}
_BRAIN = {
    "replicas_running": "replicas of all versions",
    "replicas_beyond_max": "replicas of a burst",
    "usd_per_hour": "what it costs: replicas at their price, else the answers of the last hour",
    "ceiling_usd_per_hour": "what it may cost, where there is a ceiling",
}
_REPLICA = {
    "gpu_busy_seconds": "in which a simulated GPU read or wrote",
    "gpu_prefill_seconds": "of these, reading",
    "gpu_answer_seconds": "in decoding steps, of all answers together",
    "gpu_tokens_read": "tokens of prompts read",
    "gpu_tokens_cached": "tokens of prompts not read again",
    "gpu_tokens_written": "tokens of answers",
    "gpu_requests_done": "requests answered",
    "gpu_requests_cancelled": "requests given up",
    "gpu_batch": "requests in the batch",
    "gpu_requests_waiting": "requests waiting for it",
}
_STANDBY = {
    "share_of_new_sessions": "part of the new sessions that goes to the standby",
    "switches": "how often it changed",
    "replicas": "replicas of the standby",
    "path_requests": "requests and calls by which the parts are judged",
    "path_requests_lost": "those that were lost with their part",
    "path_outage": "1 while a part is away",
}
_WORK = {
    "depth": "items that wait for a worker elsewhere",
    "pending": "polled, not acknowledged",
    "held": "leased by a worker",
    "oldest_seconds": "how long the first one waits",
    "claims": "items claimed from this gateway",
    "claim_seconds": "how long they had waited, together",
    "leases_lost": "items claimed because their worker had gone silent",
}


def _family(prefix: str, labels: str, figures: dict[str, str]) -> list[tuple[str, str, str]]:
    return [(f"hecaton_{prefix}_{name}", labels, text[0].upper() + text[1:]) for name, text in figures.items()]


SELF_REPORTED: list[tuple[str, str, str]] = [
    ("hecaton_harness_members", "", "Live harnesses"),
    *_family("harness", "`harness`", _HARNESS),
    *_family("sandboxes", "`host`", _SANDBOXES),
    *_family("brain", "`harness`, `brain` (id)", _BRAIN_SEEN),
    *_family("brain", "`brain` (name)", _BRAIN),
    *_family("brain_replica", "`brain` (id), `replica`", _REPLICA),
    *_family("standby", "", _STANDBY),
    *_family("work", "", _WORK),
]
"""Name, labels and meaning of each."""
