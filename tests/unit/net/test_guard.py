"""The guard refuses every way into the operator's network that has a name, and lets public places be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import pytest

from agents.config import InvalidSettings, Settings
from agents.net.addresses import refusal_of
from agents.net.guard import Guard, NetworkRefused, canonical_host
from agents.net.settings import NetworkSettings
from agents.settings_loading import load_settings

REFUSED_LITERALS = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.254",
    "127.0.0.1",
    "127.1.2.3",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2002:808:808::1]",
    "[2001::1]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    "[2001:db8::1]",
    "[2001:2::1]",
    "[2001:20::1]",
    "[3fff::1]",
    "[100::1]",
    "[5f00::1]",
    "[4000::1]",
    "[fc00::1]",
    "[fd00::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[febf::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[ff0e::1]",
]
REFUSED_URLS = [
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0x0.0x0.0x1/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.0.0.01/",
    "http://127.0.0.1.1/",
    "http://example.0x7f/",
    "http://1/",
    "http://0/",
    "http://0x/",
    "http://127.0.0.1./",
    "http://127.0.0.1:80/",
    "https://127.0.0.1:8123/v1/sessions",
    "http://127。0。0。1/",
    "http://１２７.0.0.1/",
    "http://①②⑦.0.0.1/",
    "http://[fe80::1%25eth0]/",
    "http://[::1%25lo]/",
    "http://[::ffff:127.0.0.1%251]/",
    "http://user@example.com/",
    "http://user:secret@example.com/",
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http:\\\\127.0.0.1/",
    "http://example.com:22/",
    "http://example.com:25/",
    "http://example.com:6379/",
    "http://example.com:11211/",
    "http://example.com:0/",
    "http://example.com:99999/",
    "http://exam ple.com/",
    "http://exa\tmple.com/",
    "http://example.com\r\nX: y/",
    "http://example..com/",
    "http://.example.com/",
    "http://-example.com/",
    "http://*.example.com/",
    "http://" + "a" * 64 + ".com/",
    "http://" + ".".join(["abcdefg"] * 40) + ".com/",
    "http://",
    "http:///etc/passwd",
    "//example.com/",
    "example.com",
    "/relative",
    "",
    "file:///etc/passwd",
    "ftp://example.com/",
    "gopher://127.0.0.1:6379/_INFO",
    "dict://127.0.0.1:11211/",
    "data:text/plain,hello",
    "javascript:alert(1)",
    "ws://example.com/",
    "hand://crm",
    "unix:///run/docker.sock",
    "http+unix://%2Frun%2Fdocker.sock/",
    "jar:http://example.com!/",
    "https://example.com/" + "a" * 9000,
]
PUBLIC = [
    ("https://example.com/a?b#c", "example.com", 443),
    ("http://Example.COM./", "example.com", 80),
    ("http://example.com:8080/", "example.com", 8080),
    ("https://8.8.8.8/", "8.8.8.8", 443),
    ("https://[2606:4700::1111]:8443/", "2606:4700::1111", 8443),
    ("https://[64:ff9b::8.8.8.8]/", "64:ff9b::808:808", 443),
    ("https://bücher.example/", "xn--bcher-kva.example", 443),
    ("https://a_b.example.com/", "a_b.example.com", 443),
    ("https://1.example.com/", "1.example.com", 443),
    ("https://172.32.0.1/", "172.32.0.1", 443),
    ("https://100.128.0.1/", "100.128.0.1", 443),
]


def resolving(*addresses: str) -> Guard:
    """Return a guard for whom every name has these addresses."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return Guard(resolver=resolve)


@pytest.mark.parametrize("host", REFUSED_LITERALS)
async def test_no_url_leads_to_an_address_that_is_not_public(host: str) -> None:
    with pytest.raises(NetworkRefused):
        Guard().check_url(f"http://{host}/latest/meta-data/")
    with pytest.raises(NetworkRefused):
        await Guard().addresses(host, 80)


@pytest.mark.parametrize("host", [host.strip("[]") for host in REFUSED_LITERALS])
async def test_no_name_leads_to_an_address_that_is_not_public(host: str) -> None:
    with pytest.raises(NetworkRefused):
        await resolving(host).addresses("rebind.example.com", 443)
    with pytest.raises(NetworkRefused):
        await resolving("8.8.8.8", host).addresses("mixed.example.com", 443)


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_odd_urls_are_refused(url: str) -> None:
    with pytest.raises(NetworkRefused):
        Guard().check_url(url)


@pytest.mark.parametrize(("url", "host", "port"), PUBLIC)
def test_public_places_are_let_be(url: str, host: str, port: int) -> None:
    target = Guard().check_url(url)

    assert (target.host, target.port) == (host, port)


async def test_a_scoped_address_of_a_name_is_link_local() -> None:
    with pytest.raises(NetworkRefused, match="link-local"):
        await resolving("fe80::1%eth0").addresses("example.com", 443)


async def test_a_public_name_has_all_its_addresses() -> None:
    guard = resolving("2606:4700::1111", "1.1.1.1")

    assert await guard.addresses("example.com", 443) == ["2606:4700::1111", "1.1.1.1"]


async def test_a_name_without_an_address_is_unknown() -> None:
    with pytest.raises(OSError, match="no address"):
        await resolving().addresses("example.com", 443)


async def test_a_name_with_very_many_addresses_is_refused() -> None:
    with pytest.raises(NetworkRefused):
        await resolving(*(f"8.8.8.{number}" for number in range(33))).addresses("example.com", 443)


async def test_looking_up_a_name_has_a_deadline() -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(TimeoutError):
        await Guard(lookup_seconds=0.001, resolver=never).addresses("example.com", 443)


async def test_localhost_is_loopback_by_whatever_name() -> None:
    for name in ("localhost", "LOCALHOST", "localhost."):
        with pytest.raises(NetworkRefused, match="loopback"):
            await Guard().addresses(name, 80)


@pytest.mark.parametrize(
    ("address", "opened", "kind"),
    [
        ("127.0.0.1", "127.0.0.0/8", None),
        ("::ffff:127.0.0.1", "127.0.0.0/8", None),
        ("127.0.0.1", "10.0.0.0/8", "loopback"),
        ("::1", "::1/128", None),
        ("fd12::1", "fd00::/8", None),
        ("169.254.169.254", "169.254.0.0/16", "a metadata service"),
        ("169.254.169.254", "0.0.0.0/0", "a metadata service"),
        ("169.254.0.23", "169.254.0.0/16", "a metadata service"),
        ("169.254.42.42", "169.254.0.0/16", "a metadata service"),
        ("168.63.129.16", "0.0.0.0/0", "a metadata service"),
        ("169.254.169.254", "169.254.169.254/32", None),
        ("fd00:ec2::254", "fd00::/8", "a metadata service"),
    ],
)
def test_an_opened_network_is_as_good_as_public_but_for_metadata_services(
    address: str, opened: str, kind: str | None
) -> None:
    assert refusal_of(ip_address(address), [ip_network(opened)]) == kind


def test_ports_can_be_named_and_those_of_other_protocols_never_open() -> None:
    guard = Guard(ports=frozenset({443, 25}))

    guard.check_port(443)
    for port in (80, 25):
        with pytest.raises(NetworkRefused):
            guard.check_port(port)


def test_the_refusal_of_a_name_tells_none_of_its_addresses() -> None:
    with pytest.raises(NetworkRefused) as refused:
        asyncio.run(resolving("10.1.2.3").addresses("intranet.example.com", 443))

    assert "10.1.2.3" not in refused.value.message


def test_a_canonical_host_is_what_lists_are_compared_with() -> None:
    assert canonical_host("WWW.Example.com.") == "www.example.com"
    assert canonical_host("[0:0::1]") == "::1"


def test_settings_make_the_guard() -> None:
    guard = NetworkSettings.model_validate({"allow_private": ["127.0.0.0/8", "10.1.2.3"], "ports": [443]}).guard()

    assert guard.allow_private == (ip_network("127.0.0.0/8"), ip_network("10.1.2.3/32"))
    assert guard.ports == {443}


def test_the_command_line_gives_networks_as_text_and_as_flags() -> None:
    overrides: list[dict[str, object]] = [
        {"network.allow_private": "127.0.0.0/8, ::1/128"},
        {"network.allow_private": ["127.0.0.0/8", "::1/128"]},
    ]
    for override in overrides:
        settings = load_settings(overrides=override)
        assert Settings.from_json(settings.to_json()).network.guard().allow_private == (
            ip_network("127.0.0.0/8"),
            ip_network("::1/128"),
        )


def test_what_is_no_network_stops_start_up() -> None:
    with pytest.raises(InvalidSettings, match="allow_private"):
        load_settings(overrides={"network.allow_private": ["127.0.0.1/8"]})
