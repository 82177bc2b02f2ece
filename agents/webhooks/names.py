"""The names of what webhooks tell (spec A.11); an endpoint asks for some of them, or for all."""

from __future__ import annotations

from collections.abc import Mapping

EVERYTHING = "*"
"""What stands for all names, also those of later releases."""

_SESSION = (
    "created",
    "pending",
    "running",
    "idled",
    "requires_action",
    "archived",
    "deleted",
    "updated",
    "status_run_started",
    "status_idled",
    "status_rescheduled",
    "status_terminated",
    "budget_reached",
    "thread_created",
    "thread_idled",
    "thread_terminated",
    "outcome_evaluation_ended",
)
_OTHERS = {
    "agent": ("created", "updated", "archived", "deleted"),
    "environment": ("created", "updated", "archived", "deleted"),
    "deployment": ("created", "updated", "paused", "unpaused", "archived", "deleted"),
    "deployment_run": ("started", "succeeded", "failed"),
    "vault": ("created", "archived", "deleted"),
    "vault_credential": ("created", "archived", "deleted", "refresh_failed"),
    "memory_store": ("created", "archived", "deleted"),
}

EVENT_NAMES: frozenset[str] = frozenset(
    f"{kind}.{what}" for kind, every in {"session": _SESSION, **_OTHERS}.items() for what in every
)
"""Every name that an endpoint may ask for.

Of the SDK's names those of tunnels' keys and of user profiles are missing, which this platform does not have.
"""

NEVER_TOLD: Mapping[str, str] = {
    "session.pending": "a session is idle until it runs",
    "agent.deleted": "agents are archived, the API deletes none",
    "deployment.deleted": "deployments are archived, the API deletes none",
}
"""Names that may be asked for, as clients of the hosted service do, and why nothing here is told by them."""
