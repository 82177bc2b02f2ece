"""Which IP addresses are public: where somebody else's URL may send this server.

Python's own ``is_global`` follows the registry of its release (3.11 takes 6to4 relays for public, and
``::ffff:0:0/96`` for an IPv6 address), so the tables are here: IANA's special-purpose registries, RFC 6890 ff.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_SPECIAL_V4 = {
    "0.0.0.0/8": "unspecified",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "reserved",
    "192.88.99.0/24": "reserved",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "reserved",
    "198.51.100.0/24": "reserved",
    "203.0.113.0/24": "reserved",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
# Of IPv6 only 2000::/3 is public at all; these are what is not, within it. Tunnels that carry an IPv4 address in
# theirs (Teredo, 6to4) are out of use, and somebody else's way around the table above.
_SPECIAL_V6 = {
    "::/128": "unspecified",
    "::1/128": "loopback",
    "fe80::/10": "link-local",
    "fc00::/7": "private",
    "fec0::/10": "private",
    "ff00::/8": "multicast",
    "2001::/23": "reserved",
    "2001:db8::/32": "reserved",
    "2002::/16": "a 6to4 tunnel",
    "3fff::/20": "reserved",
}
# Where clouds tell a machine its own credentials. 168.63.129.16 lies in a public network.
_METADATA = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.169.253",
        "169.254.170.2",
        "169.254.170.23",
        "169.254.0.23",
        "169.254.42.42",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
    )
)
_TABLE: list[tuple[Network, str]] = [(ip_network(text), kind) for text, kind in (_SPECIAL_V4 | _SPECIAL_V6).items()]
_PUBLIC_V6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


def refusal_of(address: Address, opened: Iterable[Network] = ()) -> str | None:
    """Say what kind of address this is that nobody may be sent to, such as ``loopback``; None when it is public.

    An IPv4 address inside an IPv6 one (mapped, NAT64) is judged as itself. A network among *opened* makes its
    addresses as good as public; those where a cloud hands out credentials only when it names that one alone.
    """
    bare = _unwrapped(address)
    if isinstance(bare, IPv6Address) and bare.scope_id is not None:
        return "link-local"
    if bare in _METADATA:
        alone = any(network.num_addresses == 1 and bare in network for network in opened)
        return None if alone else "a metadata service"
    if any(bare in network for network in opened):
        return None
    for network, kind in _TABLE:
        if bare in network:
            return kind
    if isinstance(bare, IPv6Address) and bare not in _PUBLIC_V6:
        return "reserved"
    return None


def _unwrapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for, if it does, else itself."""
    if not isinstance(address, IPv6Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
