"""Names of sandbox hosts' lives: ``<host name>/<hex>``, new with every start of a host's process.

What a host remembers of calls dies with its process, so a call that was sent to one incarnation is never
answered from the memory of the next. The host's name stays: its files may still be there.
"""

from __future__ import annotations

import secrets


def new_incarnation(host: str) -> str:
    """Return a name for this life of *host*, unique for ever."""
    return f"{host}/{secrets.token_hex(8)}"


def host_of(incarnation: str) -> str:
    """Return the name of the host whose life this is."""
    return incarnation.rpartition("/")[0]
