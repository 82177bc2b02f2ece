"""All checks of one run, by name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.chaos import api_checks, effect_checks, log_checks
from tests.chaos.plan import Script
from tests.chaos.record import Run, Violation

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
)
_SCRIPTED = (effect_checks.felt_at_least_once, effect_checks.files_survive)


def violations(run: Run, scripts: Mapping[str, Script]) -> list[Violation]:
    """Return everything in a run's record that must not be."""
    found = [violation for check in _LOG for violation in check(run)]
    return found + [violation for check in _SCRIPTED for violation in check(run, scripts)]
