"""Which brain a model request went to, and why: told in the stream of its answer, kept in the log.

A routed stream begins with one event that is none of the Messages API's: ``{"type": "hecaton_route", "route": ...}``.
When another brain takes over, its own route follows and replaces what came before it. The event never leaves
the process that routes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.brains.registry import RegisteredBrain

OWN = "hecaton_"
"""How the kinds of events begin that are the platform's own; no model server may send one."""
ROUTE = f"{OWN}route"


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A brain (by its id) that would have come first, and why it did not answer."""

    brain: str
    reason: str


@dataclass(frozen=True, slots=True)
class Route:
    """Where one model request went."""

    brain: RegisteredBrain
    requested: str
    """What the agent named."""
    reason: str | None = None
    """Why the policy chose it; None when the agent named it."""
    passed_over: tuple[PassedOver, ...] = ()
    moved_from: PassedOver | None = None
    """The version that the session had, and why it has another one from now on."""
    implied: bool = False
    """Whether there was nothing to choose, as no brain is declared: the log then says nothing of it."""

    def event(self) -> dict[str, Any]:
        """Return the event that opens the stream."""
        return {"type": ROUTE, "route": self}

    def wire(self) -> dict[str, Any]:
        """Return what ``span.model_request_end`` says of it; what there is nothing to say of is left out."""
        body: dict[str, Any] = {"id": self.brain.id, "requested": self.requested}
        if self.reason is not None:
            body["reason"] = self.reason
        if self.passed_over:
            body["passed_over"] = [{"id": each.brain, "reason": each.reason} for each in self.passed_over]
        if self.moved_from is not None:
            body["moved_from"] = {"id": self.moved_from.brain, "reason": self.moved_from.reason}
        return body


def versions_told(told: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the versions, by the brain's name, that a session stays with by what ``Route.wire`` told.

    Of one brain the first counts: a version that was passed over once is the session's all the same.
    """
    if told is None:
        return {}
    ids = [*(each["id"] for each in told.get("passed_over", ())), told["id"]]
    parts = [brain.partition("@") for brain in reversed(ids)]
    return {name: version for name, _, version in parts}
