"""Domain lists of the web tools and host lists of networks (spec C.1): plain public hostnames only."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from agents.catalog import limits
from agents.errors import InvalidRequest

_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_PRIVATE = ("localhost", "local", "internal", "localdomain", "invalid")
_SUFFIX = re.compile(r"/[\x21-\x7e]*")
_HOST = re.compile(r"(\*\.)?(?P<name>[^:/*]+)(:(?P<port>[0-9]{1,5}))?")


def check_domains(where: str, domains: Sequence[str], *, paths: bool) -> None:
    """Raise InvalidRequest naming the list and index of the first entry that is no plain public hostname.

    With *paths* an entry may end in a path (web_search only).
    """
    if not domains:
        raise InvalidRequest(f"{where}: must not be empty; omit the field instead")
    limits.check_count(where, domains, limits.DOMAINS)
    seen: set[str] = set()
    for index, domain in enumerate(domains):
        at = f"{where}[{index}]"
        limits.check_length(at, domain, limits.DOMAIN_CHARS, shortest=1)
        fault = _domain_fault(domain, paths=paths)
        if fault:
            raise InvalidRequest(f"{at}: {domain[:80]!r} {fault}; use a plain hostname such as docs.example.com")
        if domain.lower() in seen:
            raise InvalidRequest(f"{at}: {domain[:80]!r} is listed twice")
        seen.add(domain.lower())


def _domain_fault(domain: str, *, paths: bool) -> str | None:
    host, slash, rest = domain.partition("/")
    if not domain.isascii():
        return "is not ASCII (write international names in punycode)"
    if "://" in domain:
        return "has a scheme"
    if slash and not (paths and _SUFFIX.fullmatch(slash + rest)):
        return "has a path"
    if "*" in host:
        return "has a wildcard (subdomains are included anyway)"
    if is_address(host):
        return "is an IP address"
    if ":" in host:
        return "has a port"
    return _name_fault(host)


def _name_fault(host: str) -> str | None:
    labels = host.lower().split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        return "is not a hostname"
    if labels[-1] in _PRIVATE:
        return "is not a public hostname"
    if len(labels) < 2:
        return "is a single label"
    return None


def is_address(host: str) -> bool:
    """Whether *host* is a literal IP address, with or without brackets."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def check_hosts(where: str, hosts: Sequence[str]) -> None:
    """Raise InvalidRequest for an entry of a network's ``allowed_hosts`` that is no host.

    Private names and addresses are the operator's to allow; ``*.`` and a port may be given.
    """
    limits.check_count(where, hosts, limits.ALLOWED_HOSTS)
    for index, host in enumerate(hosts):
        limits.check_length(f"{where}[{index}]", host, limits.DOMAIN_CHARS, shortest=1)
        if not (is_address(host) or _is_host(host)):
            raise InvalidRequest(f"{where}[{index}]: {host[:80]!r} is not a host; use api.example.com or *.example.com")


def _is_host(text: str) -> bool:
    match = _HOST.fullmatch(text)
    if match is None or not text.isascii():
        return False
    port = match["port"]
    if port is not None and not 1 <= int(port) <= 65535:
        return False
    return all(_LABEL.fullmatch(label) for label in match["name"].split("."))
