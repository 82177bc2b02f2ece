"""Rules that allow hosts. Invariant: what is compared is what is connected to, in the guard's one form of a name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agents.net.guard import NetworkRefused, canonical_host

_WILDCARD = "*."
_LAST_PORT = 65535


def split_authority(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Return host, in its one form, and port of ``host:port``. Raises NetworkRefused for anything else."""
    head, colon, tail = text.rpartition(":")
    if not colon or tail.endswith("]"):
        head, tail = text, "" if default_port is None else str(default_port)
    if not (tail.isascii() and tail.isdecimal() and len(tail) <= 5 and 1 <= int(tail) <= _LAST_PORT):
        raise NetworkRefused(f"{text[:80]!r} does not name a host and a port")
    if ":" in head and not head.startswith("["):
        raise NetworkRefused(f"{text[:80]!r} does not name one host and one port")
    return canonical_host(head), int(tail)


def is_named(name: str, host: str) -> bool:
    """Whether *name*, as somebody wrote it, is the host whose one form is *host*."""
    try:
        return canonical_host(name) == host
    except NetworkRefused:
        return False


@dataclass(frozen=True, slots=True)
class HostRule:
    """One entry of a list of hosts; ``port`` None: any."""

    host: str
    below: bool = False
    """Whether it stands for every name below ``host``, and not for ``host`` itself."""
    port: int | None = None

    @property
    def text(self) -> str:
        """The entry, in its one form."""
        return f"{_WILDCARD if self.below else ''}{self.host}{f':{self.port}' if self.port else ''}"

    def matches(self, host: str, port: int) -> bool:
        """Whether a host in its one form is meant."""
        if self.port not in (None, port):
            return False
        return host.endswith(f".{self.host}") if self.below else host == self.host


def host_rules(entries: Iterable[str]) -> tuple[HostRule, ...]:
    """Read the entries of an ``allowed_hosts``; one that names no host allows none."""
    return tuple(rule for entry in entries if (rule := _rule(entry)) is not None)


def _rule(entry: str) -> HostRule | None:
    below = entry.startswith(_WILDCARD)
    text = entry.removeprefix(_WILDCARD)
    try:
        return HostRule(canonical_host(text), below)
    except NetworkRefused:
        pass  # then with a port
    try:
        host, port = split_authority(text)
    except NetworkRefused:
        return None
    return HostRule(host, below, port)
