"""Names that come from another server and are used on this side's disks: nothing but plain ones will do.

A session from elsewhere has its sandbox under the name of its environment, which whoever started the worker gave, and
its own. So the sessions of two servers are apart whatever ids a server makes up, and apart from the platform's own.
"""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


def is_plain(name: str) -> bool:
    """Whether *name* is short, and made of letters, digits, ``_`` and ``-`` only."""
    return _PLAIN.fullmatch(name) is not None


def sandbox_name(environment_id: str, session_id: str) -> str:
    """Return what hands call a session of an environment elsewhere; both ids must be plain."""
    return f"{environment_id}.{session_id}"
