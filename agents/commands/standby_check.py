"""What ``hecaton doctor`` looks at where a standby monolith stands beside the parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import httpx2

from agents.commands.brain_checks import readiness
from agents.commands.findings import Check
from agents.commands.platform import find_platform
from agents.config import Settings

_REMEDY = "mend the parts; then they are tried again by themselves (hecaton topology)"


def standby_checks(settings: Settings) -> list[Callable[[], Check]]:
    """Return the check of the standby, if there is to be one."""
    return [partial(check_standby, settings)] if settings.standby.enabled else []


def check_standby(settings: Settings) -> Check:
    """Whether the standby of the platform that runs is there, and whether it is needed."""
    record = find_platform(settings)
    if record is None:
        return Check("standby", "ok", "nothing is up yet")
    try:
        told: dict[str, Any] = readiness(record)["standby"]
        mode, replicas = str(told["mode"]), list(told["replicas"])
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
        return Check("standby", "note", f"{record.url}/-/readyz does not tell: {error!r}", "look at hecaton's log")
    if not replicas:
        return Check("standby", "problem", "no replica of the monolith is there", "look at Serve's hecaton-monolith")
    found = f"{', '.join(replicas)}; new sessions: {mode}"
    if mode == "decoupled":
        return Check("standby", "ok", found)
    return Check("standby", "note", f"{found} ({told['reason']})", "" if told["forced"] else _REMEDY)
