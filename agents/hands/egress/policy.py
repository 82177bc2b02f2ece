"""Which hosts a session's sandbox may reach, from its environment's ``networking`` (spec A.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from agents.hands.egress.host_rules import HostRule, host_rules


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What one session may reach; by default nothing."""

    everything: bool = False
    """Whether every public host may be reached."""
    rules: tuple[HostRule, ...] = ()

    def allows(self, host: str, port: int) -> bool:
        """Whether *host*, in its one form, may be asked for; where it leads is for the guard to see."""
        return self.everything or any(rule.matches(host, port) for rule in self.rules)

    def covers(self, wanted: HostRule) -> bool:
        """Whether what *wanted* stands for may be asked for, at one port at least."""
        name = f"x.{wanted.host}" if wanted.below else wanted.host
        rules = (rule for rule in self.rules if rule.below or not wanted.below)
        return self.everything or any(rule.matches(name, rule.port or wanted.port or 0) for rule in rules)

    @property
    def refusal(self) -> str:
        """Why a host is refused, in words that follow its name."""
        if not self.rules:
            return "cannot be reached: this environment has no network"
        return "is not among the hosts that this environment's networking allows"


def policy_of(environment: Mapping[str, Any], mcp_urls: Iterable[str], registries: Sequence[str]) -> EgressPolicy:
    """Return the policy of a session whose agent names the MCP servers *mcp_urls*.

    *registries* are the hosts that package managers need. Without any ``networking`` nothing may be reached.
    """
    networking: Mapping[str, Any] = environment.get("networking") or {}
    match networking.get("type"):
        case "unrestricted":
            return EgressPolicy(everything=True)
        case "limited":
            hosts = [*networking.get("allowed_hosts", ())]
            if networking.get("allow_package_managers"):
                hosts += registries
            if networking.get("allow_mcp_servers"):
                hosts += _endpoints(mcp_urls)
            return EgressPolicy(rules=host_rules(hosts))
        case _:
            return EgressPolicy()


def _endpoints(urls: Iterable[str]) -> list[str]:
    """Return host and port of each server elsewhere; a hand of this platform is not for sandboxes."""
    found: list[str] = []
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname:
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            found.append(f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}")
    return found
