"""Whether an agent's lists of domains let an URL be (spec C.1). The lists themselves: ``agents.catalog.domains``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any


def permitted(config: Mapping[str, Any], host: str, path: str = "/") -> bool:
    """Whether ``allowed_domains`` has *host*, or ``blocked_domains`` has not. *host* is canonical (agents.net.guard).

    Subdomains are included; an entry with a path (web_search) is for what lies below it, where ``*`` is anything.
    """
    allowed: Sequence[str] | None = config.get("allowed_domains")
    blocked: Sequence[str] | None = config.get("blocked_domains")
    if allowed is not None:
        return any(_covers(entry, host, path) for entry in allowed)
    return not any(_covers(entry, host, path) for entry in blocked or ())


def _covers(entry: str, host: str, path: str) -> bool:
    domain, slash, below = entry.lower().partition("/")
    if host != domain and not host.endswith(f".{domain}"):
        return False
    return not slash or _below(below).match(path) is not None


@lru_cache(maxsize=1024)
def _below(path: str) -> re.Pattern[str]:
    whole = "/" + path.rstrip("/")
    wild = ".*".join(re.escape(part) for part in whole.rstrip("/").split("*"))
    return re.compile(f"{wild}(/|$)", re.IGNORECASE)
