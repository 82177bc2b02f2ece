"""All checks of one run, by name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.chaos import api_checks, effect_checks, log_checks, resource_checks, thread_checks
from tests.chaos.record import Run, Violation
from tests.chaos.script import Script

NAMES = (
    "ends",
    "one result",
    "answered once",
    "unique ids",
    "order",
    "shown",
    "gaps",
    "previews",
    "sent once",
    "whole messages",
    "requests",
    "effects happen",
    "at most once",
    "refused",
    "failed calls",
    "files",
    "mounts",
    "outputs",
    "memories",
    "threads",
    "outcomes",
    "runs",
    "webhooks",
    "API errors",
    "remains",
    "memory",
)
"""Every promise that a run is held to; the last two are checked by ``remains`` and ``memory``."""
_LOG = (
    log_checks.every_session_ends,
    log_checks.one_result_per_call,
    log_checks.answered_once,
    log_checks.unique_ids,
    log_checks.stable_order,
    log_checks.shown_is_listed,
    log_checks.resumed_without_gap,
    log_checks.previews_are_beginnings,
    log_checks.sent_once,
    log_checks.whole_messages,
    log_checks.requests_closed,
    effect_checks.results_are_true,
    effect_checks.felt_at_most_once,
    effect_checks.refused_never_happen,
    effect_checks.repeated_with_reason,
    api_checks.only_a_dead_edge_fails,
    resource_checks.mounts_are_read,
    resource_checks.outputs_are_listed,
    resource_checks.outcomes_are_met,
    resource_checks.runs_have_one_session,
    resource_checks.hooks_are_told,
    thread_checks.delegated_once,
)
_SCRIPTED = (effect_checks.felt_at_least_once, effect_checks.files_survive, resource_checks.memories_are_kept)
_THREAD = (
    log_checks.one_result_per_call,
    log_checks.answered_once,
    log_checks.unique_ids,
    log_checks.whole_messages,
    log_checks.requests_closed,
    effect_checks.results_are_true,
    effect_checks.repeated_with_reason,
)
"""What also holds of the log of each thread beside the primary."""


def violations(run: Run, scripts: Mapping[str, Script]) -> list[Violation]:
    """Return everything in a run's record that must not be."""
    found = [violation for check in _LOG for violation in check(run)]
    threads = thread_checks.threads_as_sessions(run)
    found += [violation for check in _THREAD for violation in check(threads)]
    return found + [violation for check in _SCRIPTED for violation in check(run, scripts)]
