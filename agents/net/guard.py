"""The guard of outgoing connections: an URL that a user or a model gave never leads into the operator's network.

Whoever connects to such an URL (MCP servers, token endpoints, web_fetch) does it with a client made by
:func:`agents.net.client.guarded_client`; the guard is asked there at each connection, so redirects are, too:

- every address that a name has must be public (:mod:`agents.net.addresses`), or in a network that the operator has
  opened (``network.allow_private``, ``hecaton up --allow-private``);
- the connection goes to an address that was checked, so a name that changes its mind in between gains nothing;
- http and https only, no credentials in the URL, no odd spellings of addresses, no ports of other protocols.

What is refused raises NetworkRefused here, and comes out of a guarded client as httpx2.ConnectError caused by it:
callers treat it as a server that cannot be reached. Nothing of this is checked when an agent is created: which
networks are open is the operator's to change, and what a name means changes by itself.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address

from agents.errors import HecatonError
from agents.net.addresses import Address, Network, refusal_of

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host name, as text. Raises OSError when there is none."""

_SCHEMES = {"http": 80, "https": 443}
MAX_URL_CHARS = 8192
_MAX_ADDRESSES = 32
_MAX_LOOKUPS = 16
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
# Ports of protocols in which the text of an HTTP request can mean something ("bad port" in WHATWG's Fetch standard),
# and of databases that never ask who is there.
# fmt: off
_OTHER_PROTOCOLS = frozenset({
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530,
    531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190,
    5060, 5061, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080, 11211,
})
# fmt: on


class NetworkRefused(HecatonError):
    """This server connects to no such place; the message says which and why, and tells no address of a name."""

    code = "invalid_request_error"
    http_status = 400


@dataclass(frozen=True, slots=True)
class Place:
    """Where an http(s) URL leads: ``host`` in lower case ASCII, without brackets and trailing dot."""

    scheme: str
    host: str
    port: int
    path: str
    query: str


async def _system_resolver(host: str, port: int) -> Sequence[str]:
    lookup = asyncio.get_running_loop().run_in_executor(
        _lookups(), lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    )
    return list(dict.fromkeys(str(entry[4][0]) for entry in await lookup))


@lru_cache(maxsize=1)
def _lookups() -> ThreadPoolExecutor:
    # Its own, since a name server that does not answer holds a thread for many seconds.
    return ThreadPoolExecutor(_MAX_LOOKUPS, thread_name_prefix="dns")


@dataclass(frozen=True, slots=True)
class Guard:
    """The rule, with what the operator has opened. ``ports``: empty, any but those of other protocols."""

    allow_private: tuple[Network, ...] = ()
    ports: frozenset[int] = frozenset()
    lookup_seconds: float = 5.0
    resolver: Resolver = _system_resolver

    def check_url(self, url: str) -> Place:
        """Return where *url* leads, as far as it can be told without looking its name up. Raises NetworkRefused."""
        place = parse_url(url)
        self.check_port(place.port)
        literal = _literal(place.host)
        if literal is not None:
            self._check_address(place.host, literal)
        return place

    def check_port(self, port: int) -> None:
        """Raise NetworkRefused for a port that no connection may go to."""
        if not 0 < port < 65536 or (self.ports and port not in self.ports) or port in _OTHER_PROTOCOLS:
            raise NetworkRefused(f"port {port} is not allowed")

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of *host*, all of them checked, in the order to try them.

        Raises NetworkRefused, OSError when the name is unknown, and TimeoutError after ``lookup_seconds``.
        """
        self.check_port(port)
        host = canonical_host(host)
        literal = _literal(host)
        if literal is not None:
            self._check_address(host, literal)
            return [str(literal)]
        async with asyncio.timeout(self.lookup_seconds):
            found = await self.resolver(host, port)
        if not found:
            raise OSError(f"{host} has no address")
        if len(found) > _MAX_ADDRESSES:
            raise NetworkRefused(f"{host} has more than {_MAX_ADDRESSES} addresses")
        # All, not only the one that is used: a name that mixes them has something in mind.
        for address in found:
            self._check_address(host, ip_address(address))
        return list(found)

    def _check_address(self, host: str, address: Address) -> None:
        kind = refusal_of(address, self.allow_private)
        if kind is not None:
            raise NetworkRefused(
                f"{host} is in a network that this server does not connect to ({kind});"
                " its operator can open it by --allow-private"
            )


def parse_url(url: str) -> Place:
    """Return where *url* leads, by the parser that connects: two that differ are how guards are passed.

    Raises NetworkRefused for what is no plain http(s) URL.
    """
    import httpx2

    if len(url) > MAX_URL_CHARS:
        raise NetworkRefused(f"the URL is longer than {MAX_URL_CHARS} characters")
    if "\\" in url:
        raise NetworkRefused("a URL has no backslash")
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise NetworkRefused(f"this is no URL: {error}") from error
    if parsed.userinfo:
        raise NetworkRefused("a URL must not contain a user name or password")
    if parsed.scheme not in _SCHEMES:
        raise NetworkRefused(f"only http and https are allowed, not {parsed.scheme[:20]!r}")
    host = canonical_host(parsed.raw_host.decode("ascii"))
    port = _SCHEMES[parsed.scheme] if parsed.port is None else parsed.port
    return Place(parsed.scheme, host, port, parsed.path or "/", parsed.query.decode("ascii", "replace"))


def place_of(url: str) -> Place | None:
    """Return where *url* leads, None when it is no plain http(s) URL."""
    try:
        return parse_url(url)
    except NetworkRefused:
        return None


def canonical_host(host: str) -> str:
    """Return *host* in lower case, without brackets and trailing dot. Raises NetworkRefused for odd spellings.

    Among those are numbers that some resolvers take for addresses (``2130706433``, ``0x7f.1``, ``0177.0.0.1``).
    """
    bare = host.lower()
    if bare.startswith("[") and bare.endswith("]"):
        bare = bare[1:-1]
    if ":" in bare:
        return _ipv6(bare)
    bare = bare.removesuffix(".")
    labels = bare.split(".")
    if len(bare) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise NetworkRefused(f"{host[:80]!r} is not a host name")
    if _NUMBER.fullmatch(labels[-1]) and not _is_dotted_quad(bare):
        raise NetworkRefused(f"{host[:80]!r} is an odd spelling of an address; write it as 192.0.2.1")
    return bare


def _ipv6(text: str) -> str:
    try:
        if "%" not in text:  # a zone names an interface of this machine
            return str(IPv6Address(text))
    except AddressValueError:
        pass
    raise NetworkRefused(f"{text[:80]!r} is not an IPv6 address without a zone")


def _is_dotted_quad(host: str) -> bool:
    try:
        IPv4Address(host)
    except AddressValueError:
        return False
    return True


def _literal(host: str) -> Address | None:
    """Return the address that a canonical host is, None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None
