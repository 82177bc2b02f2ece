"""Attempts to get around the proxy of a sandbox, each really made; what would be reached is looked at afterwards.

Bug class this catches: a name that is judged in one form and connected to in another, a request that rides on the
permission of the one before, a way to the host's network that leads past the proxy. Source: the issue's list (step D).
"""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.hands.egress.client_hello import ClientHello, Greeting, read_hello
from agents.hands.egress.host_rules import host_rules, is_named
from tests.unit.hands.conftest import Hands
from tests.unit.hands.egress_site import UNRESTRICTED, Site, ask, host_with, limited, site_certificate


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.start()
    yield site
    await site.stop()


@pytest.fixture
async def hands(place: Path) -> AsyncIterator[Hands]:
    hands = await host_with(place)
    hands.environment = limited("good.test")
    yield hands
    await hands.host.stop()


def status(answer: str) -> int:
    return int(answer.split(" ")[1]) if answer.startswith("HTTP/1.1 ") else 0


# --- past the proxy -----------------------------------------------------------------------------------------


async def test_no_socket_leads_out_but_the_proxys(hands: Hands, site: Site) -> None:
    hands.environment = UNRESTRICTED
    own = socket.gethostbyname(socket.gethostname())
    out = await hands.python(f"""
import ctypes, os, socket
tries = [
    ("tcp to the host's loopback", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", {site.port})),
    ("tcp to the host's address", socket.AF_INET, socket.SOCK_STREAM, ({own!r}, {site.port})),
    ("tcp to the internet", socket.AF_INET, socket.SOCK_STREAM, ("1.1.1.1", 443)),
    ("tcp to metadata", socket.AF_INET, socket.SOCK_STREAM, ("169.254.169.254", 80)),
    ("udp dns", socket.AF_INET, socket.SOCK_DGRAM, ("8.8.8.8", 53)),
    ("udp quic", socket.AF_INET, socket.SOCK_DGRAM, ("1.1.1.1", 443)),
    ("broadcast", socket.AF_INET, socket.SOCK_DGRAM, ("255.255.255.255", 67)),
    ("tcp by ipv6", socket.AF_INET6, socket.SOCK_STREAM, ("2606:4700:4700::1111", 443)),
    ("udp by ipv6", socket.AF_INET6, socket.SOCK_DGRAM, ("2001:4860:4860::8888", 53)),
    ("mapped ipv6", socket.AF_INET6, socket.SOCK_STREAM, ("::ffff:127.0.0.1", {site.port})),
    ("link-local", socket.AF_INET6, socket.SOCK_DGRAM, ("fe80::1", 53)),
]
for name, family, kind, address in tries:
    with socket.socket(family, kind) as s:
        s.settimeout(5)
        try:
            s.connect(address)
            s.send(b"x")
            print(name, "got out")
        except OSError as error:
            pass
for name, family, kind, protocol in [
    ("raw ip", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    ("raw packets", socket.AF_PACKET, socket.SOCK_RAW, 0),
    ("raw ipv6", socket.AF_INET6, socket.SOCK_RAW, 58),
    ("to the machine's host", socket.AF_VSOCK, socket.SOCK_STREAM, 0),
    ("to the machine's host by messages", socket.AF_VSOCK, socket.SOCK_SEQPACKET, 0),
    *((f"family {{n}}", n, kind, 0) for n in range(3, 50) if n not in (10, 16) for kind in (1, 2, 5)),
]:
    try:
        socket.socket(family, kind, protocol)
        print(name, "opened")
    except OSError:
        pass
try:
    print(socket.getaddrinfo("good.test", 80), "resolved")
except OSError:
    pass
libc = ctypes.CDLL(None, use_errno=True)
print("io_uring:", libc.syscall(425, 1, ctypes.create_string_buffer(120)), os.strerror(ctypes.get_errno()))
print("a pair:", libc.socketpair(40, 1, 0, ctypes.create_string_buffer(8)), os.strerror(ctypes.get_errno()))
left, right = socket.socketpair()
print("end")
""")
    assert out.split("\n") == [
        "io_uring: -1 Function not implemented",
        "a pair: -1 Address family not supported by protocol",
        "end",
    ]
    assert site.connections == 0


@pytest.mark.skipif(platform.machine() != "x86_64", reason="its machine code is x86's")
async def test_the_other_numbers_of_system_calls_make_no_sockets(hands: Hands) -> None:
    # socket(AF_VSOCK, SOCK_STREAM) by the numbers of 32 bits (int 0x80) and of x32: the machine's code, in memory.
    code = {
        "32 bits": b"\xb8\x67\x01\x00\x00\xbb\x28\x00\x00\x00\xb9\x01\x00\x00\x00\x31\xd2\xcd\x80\xc3",
        "x32": b"\xb8\x29\x00\x00\x40\xbf\x28\x00\x00\x00\xbe\x01\x00\x00\x00\x31\xd2\x0f\x05\xc3",
    }
    run = """
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write({!r})
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
"""
    ended = await hands.bash(f"cat > a.py <<'E'{run.format(code['32 bits'])}E\npython3 a.py; echo status $?")
    assert "status 159" in str(ended.content)
    assert await hands.python(run.format(code["x32"])) == "-38"


async def test_the_network_cannot_be_changed_from_inside(hands: Hands) -> None:
    out = await hands.python("""
import ctypes, os, socket, fcntl
libc = ctypes.CDLL(None, use_errno=True)
print(libc.unshare(0x40000000), libc.unshare(0x10000000))
for pid in ("1", "self"):
    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    print(libc.setns(fd, 0x40000000))
with socket.socket() as s:
    try:
        fcntl.ioctl(s, 0x8914, b"lo".ljust(40, b"\\0"))  # SIOCSIFFLAGS
        print("changed")
    except OSError as error:
        print(error.strerror)
""")
    assert out.split("\n") == ["-1 -1", "-1", "-1", "Operation not permitted"]


async def test_the_proxys_place_cannot_be_taken(hands: Hands) -> None:
    out = await hands.python("""
import socket
for address in ("127.0.0.1", "0.0.0.0"):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            s.bind((address, 3128))
            s.listen()
            print("taken")
        except OSError as error:
            print(error.strerror)
""")
    assert out == "Address already in use\nAddress already in use"


async def test_each_session_has_a_proxy_of_its_own_and_no_other(hands: Hands, site: Site) -> None:
    hands.environment = limited("a.test")
    assert await hands.out(f"curl -s http://a.test:{site.port}/", session="sesn_a") == "hello"
    hands.environment = limited("b.test")
    command = f"curl -s http://b.test:{site.port}/; curl -sw '%{{http_code}}' http://a.test:{site.port}/"
    out = await hands.out(command, session="sesn_b")
    assert out.startswith("hello") and out.endswith("403")
    # Neither is there a path to it, nor does the host itself listen where sandboxes ask.
    sockets = r"find / \( -path /usr -o -path /proc \) -prune -o -type s -print 2>/dev/null"
    assert await hands.out(f"{sockets}; tail -n +2 /proc/net/unix") == "(no output)"
    with socket.socket() as outside:
        outside.settimeout(2)
        assert outside.connect_ex(("127.0.0.1", 3128)) != 0


async def test_a_process_that_outlives_its_call_has_no_more_than_its_session(hands: Hands, site: Site) -> None:
    await hands.out(f"(sleep 60; curl -s http://evil.test:{site.port}/) >/dev/null 2>&1 &")
    await hands.host.release("sesn_a", destroy=False)
    assert site.connections == 0


# --- confusion ----------------------------------------------------------------------------------------------


async def test_a_request_for_one_host_is_never_one_for_another(hands: Hands, site: Site) -> None:
    at = f":{site.port}"
    good, evil = f"good.test{at}", f"evil.test{at}"
    asked = {
        "host header": f"GET http://{good}/ HTTP/1.1\r\nHost: {evil}\r\n\r\n",
        "host header without port": f"GET http://{good}/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        "target": f"GET http://{evil}/ HTTP/1.1\r\nHost: {good}\r\n\r\n",
        "two host headers": f"GET http://{good}/ HTTP/1.1\r\nHost: {good}\r\nHost: {evil}\r\n\r\n",
        "origin form": f"GET / HTTP/1.1\r\nHost: {good}\r\n\r\n",
        "userinfo": f"GET http://good.test@{evil}/ HTTP/1.1\r\nHost: {evil}\r\n\r\n",
        "userinfo before the good": f"GET http://evil.test@{good}/ HTTP/1.1\r\nHost: {good}\r\n\r\n",
        "backslash": f"GET http://{evil}\\@good.test/ HTTP/1.1\r\nHost: {evil}\r\n\r\n",
        "fragment": f"GET http://{evil}#@{good}/ HTTP/1.1\r\nHost: {evil}\r\n\r\n",
        "query": f"GET http://{evil}?@{good}/ HTTP/1.1\r\nHost: {evil}\r\n\r\n",
        "percent": f"GET http://good.test%2f{evil}/ HTTP/1.1\r\nHost: {good}\r\n\r\n",
        "encoded name": f"GET http://%65vil.test{at}/ HTTP/1.1\r\nHost: {good}\r\n\r\n",
        "nul": f"GET http://good.test\0.evil.test{at}/ HTTP/1.1\r\nHost: {good}\r\n\r\n",
        "tab": f"GET http://good.test\t{evil}/ HTTP/1.1\r\nHost: {good}\r\n\r\n",
        "suffix": f"GET http://good.test.evil.test{at}/ HTTP/1.1\r\nHost: good.test.evil.test{at}\r\n\r\n",
        "prefix": f"GET http://notgood.test{at}/ HTTP/1.1\r\nHost: notgood.test{at}\r\n\r\n",
        "two dots": f"GET http://evil.test..{at}/ HTTP/1.1\r\nHost: evil.test..{at}\r\n\r\n",
        "https": f"GET https://{good}/ HTTP/1.1\r\nHost: {good}\r\n\r\n",
        "other scheme": f"GET ftp://{good}/ HTTP/1.1\r\nHost: {good}\r\n\r\n",
        "scheme in capitals": f"GET HTTP://{evil}/ HTTP/1.1\r\nHost: {evil}\r\n\r\n",
        "port twice": f"GET http://good.test:80{at}/ HTTP/1.1\r\nHost: good.test\r\n\r\n",
        "signed port": f"GET http://good.test:+{site.port}/ HTTP/1.1\r\nHost: {good}\r\n\r\n",
        "digits of elsewhere": "GET http://good.test:８０/ HTTP/1.1\r\nHost: good.test\r\n\r\n".encode().decode(
            "latin-1"
        ),
        "connect": f"CONNECT {evil} HTTP/1.1\r\nHost: {evil}\r\n\r\n",
        "connect by host header": f"CONNECT {evil} HTTP/1.1\r\nHost: {good}\r\n\r\n",
        "connect with another host header": f"CONNECT {good} HTTP/1.1\r\nHost: {evil}\r\n\r\n",
        "connect userinfo": f"CONNECT good.test@{evil} HTTP/1.1\r\nHost: {evil}\r\n\r\n",
        "connect url": f"CONNECT http://{good}/ HTTP/1.1\r\nHost: {good}\r\n\r\n",
        "connect without port": "CONNECT good.test HTTP/1.1\r\nHost: good.test\r\n\r\n",
        "connect with body": f"CONNECT {good} HTTP/1.1\r\nHost: {good}\r\nContent-Length: 5\r\n\r\nhello",
        "socks": "\x05\x01\x00",
        "line ends": f"GET http://good.test/\nHost: {evil}\n\n",
        "folded header": f"GET http://{evil}/ HTTP/1.1\r\nHost: {evil}\r\n x: {good}\r\n\r\n",
        "bad header": f"GET http://{good}/ HTTP/1.1\r\nHost: {good}\r\nX\0: 1\r\n\r\n",
        "two lengths": f"GET http://{good}/ HTTP/1.1\r\nHost: {good}\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        "endless head": f"GET http://{good}/ HTTP/1.1\r\nHost: {good}\r\nX: {'x' * 300_000}\r\n\r\n",
    }
    answers = await ask(hands, *asked.values())
    got = {name: status(answer) for name, answer in zip(asked, answers, strict=True)}
    assert {
        name: code for name, code in got.items() if not (400 <= code < 500 or (name == "socks" and code == 0))
    } == {}
    assert site.connections == 0


async def test_addresses_in_odd_spellings_are_refused(hands: Hands, site: Site) -> None:
    hands.environment = limited("good.test", "127.0.0.1.nip.test")
    spellings = [
        "127.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.1", "127.0.0.01", "[::1]",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::1%25lo]", "localhost", "localhost.", "0", "0.0.0.0", "①.test",
    ]  # fmt: skip
    asked = [f"CONNECT {text}:{site.port} HTTP/1.1\r\nHost: x\r\n\r\n" for text in spellings]
    asked += [f"GET http://{text}:{site.port}/ HTTP/1.1\r\nHost: {text}:{site.port}\r\n\r\n" for text in spellings]
    answers = await ask(hands, *(each.encode().decode("latin-1") for each in asked))
    assert [answer for answer in answers if not 400 <= status(answer) < 500] == []
    assert site.connections == 0


async def test_a_second_request_on_one_connection_is_judged_by_itself(hands: Hands, site: Site) -> None:
    at = f":{site.port}"
    good = f"GET http://good.test{at}/ HTTP/1.1\r\nHost: good.test{at}\r\n"
    evil = f"GET http://evil.test{at}/stolen HTTP/1.1\r\nHost: evil.test{at}\r\n\r\n"
    (answer,) = await ask(hands, f"{good}\r\n{evil}", whole=True)
    assert "200 OK" in answer and "403" in answer and "evil.test is not among" in answer
    # What stands inside a body is no request, whoever counts its length otherwise.
    smuggled = (
        f"POST http://good.test{at}/ HTTP/1.1\r\nHost: good.test{at}\r\nContent-Length: 4\r\n"
        f"Transfer-Encoding: chunked\r\n\r\n{len(evil):x}\r\n{evil}\r\n0\r\n\r\n"
    )
    await ask(hands, smuggled, f"{good}Connection: host\r\nTransfer-Encoding: xchunked\r\n\r\n", whole=True)
    lines = [line for request in site.requests for line in request.split(b"\r\n") if line.lower().startswith(b"host:")]
    assert all(line == f"host: good.test{at}".encode() for line in lines if b"evil" not in line)
    assert not [request for request in site.requests if request.startswith(b"GET /stolen")]
    assert not [request for request in site.requests if b"content-length: 4" in request and b"chunked" in request]


async def test_a_redirect_leads_nowhere_that_is_not_allowed(hands: Hands, site: Site) -> None:
    for where in (f"http://evil.test:{site.port}/", "http://169.254.169.254/latest/meta-data/", "http://private.test/"):
        site.answer = f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode()
        out = await hands.out(f"curl -sLw '%{{http_code}}' http://good.test:{site.port}/")
        assert out.endswith("403")
    assert site.connections == 3


async def test_an_allowed_name_that_leads_into_a_private_network_is_refused(hands: Hands) -> None:
    hands.environment = limited("private.test", "10.1.2.3", "*.test")
    asked = ["CONNECT private.test:443", "CONNECT 10.1.2.3:443", "CONNECT private.sub.test:443"]
    answers = await ask(hands, *(f"{line} HTTP/1.1\r\nHost: {line.split()[1]}\r\n\r\n" for line in asked))
    assert [status(answer) for answer in answers] == [403, 403, 403]


@pytest.fixture
async def secure(place: Path) -> AsyncIterator[Site]:
    """A site that answers TLS by whatever name it is called."""
    site = Site()
    await site.start(site_certificate(place, "good.test")[0])
    yield site
    await site.stop()


async def test_a_tunnel_to_an_allowed_host_is_for_that_host_alone(hands: Hands, secure: Site) -> None:
    out = await hands.python(f"""
import socket, ssl
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
def tunnel():
    s = socket.create_connection(("127.0.0.1", 3128), timeout=10)
    s.sendall(b"CONNECT good.test:{secure.port} HTTP/1.1\\r\\nHost: good.test:{secure.port}\\r\\n\\r\\n")
    assert b" 200 " in s.recv(1000)
    return s
for name in ("good.test", "GOOD.test", "evil.test", "good.test.evil.test"):
    try:
        context.wrap_socket(tunnel(), server_hostname=name)
        print("in")
    except OSError:
        print("out")
for first in (b"GET / HTTP/1.1\\r\\nHost: evil.test\\r\\n\\r\\n", b"SSH-2.0-x\\r\\n", b"\\x16\\x02\\x01\\x00\\x00"):
    s = tunnel()
    s.sendall(first)
    try:
        print(s.recv(1000))
    except OSError:
        print(b"")
""")
    assert out.split("\n") == ["in", "in", "out", "out", "b''", "b''", "b''"]


async def test_a_tunnel_ends_when_its_host_is_no_longer_allowed(hands: Hands, caplog: pytest.LogCaptureFixture) -> None:
    talks = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(1))
        await reader.read()
        talks.set()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    hands.environment = UNRESTRICTED
    await hands.one(
        "write",
        file_path="/tmp/tunnel.py",
        content=f"""
import socket
for host in ("good.test", "evil.test"):
    s = socket.create_connection(("127.0.0.1", 3128), timeout=60)
    s.sendall(f"CONNECT {{host}}:{port} HTTP/1.1\\r\\nHost: {{host}}:{port}\\r\\n\\r\\n".encode())
    assert b" 200 " in s.recv(1000)
    s.sendall(b"x")
    print(s.recv(1), flush=True)
    held = [*globals().get("held", []), s]
print([s.recv(1) for s in held], flush=True)
""",
    )
    await hands.out("python3 /tmp/tunnel.py > said 2>&1 & until [ $(wc -l < said) = 2 ]; do sleep 0.05; done")
    hands.environment = limited("good.test")
    ended = await hands.bash("until [ $(wc -l < said) != 2 ]; do sleep 0.05; done", timeout_ms=10_000)
    assert not ended.is_error and talks.is_set() and caplog.text == ""
    server.close()


async def test_a_tunnel_carries_tls_to_its_end(place: Path, hands: Hands, secure: Site) -> None:
    await hands.one("write", file_path="ca.pem", content=(place / "authority.pem").read_text())
    assert await hands.out(f"curl -s --cacert ca.pem https://good.test:{secure.port}/") == "hello"


# --- the pieces ---------------------------------------------------------------------------------------------


def hello(name: str | None) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    connection = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def test_a_greeting_is_read_however_it_is_cut() -> None:
    whole = hello("Some.Example.com")
    assert read_hello(whole) == ClientHello("Some.Example.com")
    assert read_hello(hello(None)) == ClientHello(None)
    assert {read_hello(whole[:size]) for size in range(len(whole))} == {Greeting.UNFINISHED}
    body = whole[5:]
    records = b"".join(b"\x16\x03\x01\x00\x01" + body[at : at + 1] for at in range(len(body)))
    assert read_hello(records) == ClientHello("Some.Example.com")
    assert is_named("Some.Example.com.", "some.example.com")


@pytest.mark.parametrize("data", [b"G", b"\x15\x03", b"\x16\x02", b"\x16\x03\x01\x00\x01\x02"])
def test_what_is_no_greeting_is_told_early(data: bytes) -> None:
    assert read_hello(data) is Greeting.NOT_TLS


def test_garbage_is_never_a_greeting_with_a_name() -> None:
    whole = hello("good.test")
    for at in range(5, len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        found = read_hello(bytes(damaged))
        assert isinstance(found, Greeting | ClientHello)
    assert read_hello(b"\x16\x03\x01" + (3).to_bytes(2, "big") + os.urandom(3)) in (
        Greeting.NOT_TLS,
        Greeting.UNFINISHED,
    )


def test_rules_read_hosts_in_all_forms_that_the_api_takes() -> None:
    rules = host_rules(["Api.Example.com.", "*.example.org", "192.0.2.1", "::1", "x.example:8080", "no good", "127.1"])
    assert [(rule.host, rule.below, rule.port) for rule in rules] == [
        ("api.example.com", False, None),
        ("example.org", True, None),
        ("192.0.2.1", False, None),
        ("::1", False, None),
        ("x.example", False, 8080),
    ]
