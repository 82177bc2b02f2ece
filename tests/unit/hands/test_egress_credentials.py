"""Secrets of vaults in sandboxes: inside there is a placeholder, and the real thing only where it may go (spec A.8)."""

from __future__ import annotations

import base64
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop
from pydantic import SecretStr

from agents.errors import Unavailable
from agents.hands.egress.placeholders import Substitution, placeholder_key, placeholders_of
from agents.hands.egress.replacer import Replacer
from agents.vaults.port import EnvironmentCredential, NoCredentials
from tests.unit.hands.conftest import Hands
from tests.unit.hands.egress_site import UNRESTRICTED, Site, host_with, limited, site_certificate

SECRET = f"canary-{secrets.token_hex(12)}"
TOKEN = EnvironmentCredential("vlt_1", "cred_1", "API_TOKEN", SecretStr(SECRET), ("good.test",))


class Vault(NoCredentials):
    """Holds what the test puts in."""

    def __init__(self, *credentials: EnvironmentCredential) -> None:
        self.credentials = list(credentials)
        self.asked: list[Sequence[str]] = []
        self.broken = False

    async def for_environment(self, vault_ids: Sequence[str]) -> Sequence[EnvironmentCredential]:
        self.asked.append(vault_ids)
        if self.broken:
            raise Unavailable("the vaults cannot be read just now")
        return self.credentials


@pytest.fixture
async def secure(place: Path) -> AsyncIterator[Site]:
    """A site that answers TLS as good.test, and repeats what it got."""
    site = Site()
    context, _ = site_certificate(place, "good.test")
    await site.start(context)
    site.answer, site.echoes = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", True
    yield site
    await site.stop()


@pytest.fixture
def vault() -> Vault:
    return Vault(TOKEN)


@pytest.fixture
async def hands(place: Path, secure: Site, vault: Vault) -> AsyncIterator[Hands]:
    hands = await host_with(place, credentials=vault, ca_file=place / "authority.pem")
    hands.environment = limited("good.test", "other.test")
    hands.vault_ids = ("vlt_1",)
    yield hands
    await hands.host.stop()


async def test_the_secret_arrives_and_is_never_inside(
    hands: Hands, secure: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    out = await hands.out(
        f'curl -sS -H "Authorization: Bearer $API_TOKEN" https://good.test:{secure.port}/v1; echo; echo $API_TOKEN'
    )
    placeholder = out.splitlines()[-1]
    assert f"authorization: Bearer {SECRET}\r\n".encode() in secure.requests[0].lower().replace(b"bearer", b"Bearer")
    assert f"authorization: Bearer {placeholder}" in out, "what the site repeats has the placeholder in it"
    everything = await hands.out(
        "env; cat /proc/*/environ | tr '\\0' '\\n'; grep -rs canary /etc /run /tmp /workspace /home; declare -p"
    )
    assert SECRET not in out + everything and placeholder in everything
    assert "PRIVATE KEY" not in await hands.out("cat /etc/ssl/sandbox.pem; ls -R /etc/ssl | grep -i key")
    assert SECRET not in caplog.text


async def test_other_hosts_get_the_placeholder_and_their_own_certificate(
    hands: Hands, secure: Site, place: Path
) -> None:
    await hands.one("write", file_path="ca.pem", content=(place / "authority.pem").read_text())
    command = f'curl -sSk -H "X-Token: $API_TOKEN" https://other.test:{secure.port}/ -o /dev/null -w "%{{certs}}"'
    await hands.out(command)
    assert SECRET.encode() not in secure.requests[0] and b"x-token: placeholder-" in secure.requests[0].lower()
    trusted = f"curl -sS --cacert ca.pem https://good.test:{secure.port}/"
    assert "certificate" in await hands.out(trusted), "the real one is not what this sandbox sees there"
    direct = f"curl -sS --resolve other.test:{secure.port}:127.0.0.1 --cacert ca.pem https://other.test:{secure.port}/"
    assert "no alternative certificate subject name" in await hands.out(direct)


async def test_nothing_is_put_into_requests_in_the_clear(hands: Hands) -> None:
    plain = Site()
    await plain.start()
    try:
        await hands.out(f'curl -s -H "X-Token: $API_TOKEN" http://good.test:{plain.port}/')
        assert b"placeholder-" in plain.requests[0] and SECRET.encode() not in plain.requests[0]
    finally:
        await plain.stop()


async def test_the_secret_is_put_where_the_credential_says(hands: Hands, secure: Site, vault: Vault) -> None:
    vault.credentials.append(replace(TOKEN, credential_id="cred_2", secret_name="BODY", in_header=False, in_body=True))
    out = await hands.out(
        f"url=https://good.test:{secure.port}/\n"
        'curl -s -H "X-A: $API_TOKEN" -H "X-B: $BODY" -d "a=$API_TOKEN&b=$BODY" $url\n'
        'curl -s -u "user:$API_TOKEN" $url\n'
        'curl -s -H "Transfer-Encoding: chunked" -d "b=$BODY." $url\n'
        'curl -s "$url?$API_TOKEN"'
    )
    first, basic, chunked, target = (request.decode() for request in secure.requests)
    head, _, body = first.partition("\r\n\r\n")
    assert f"x-a: {SECRET}" in head.lower() and "x-b: placeholder-" in head.lower()
    assert body.startswith("a=placeholder-") and body.endswith(f"&b={SECRET}")
    assert f"content-length: {len(body)}" in head.lower()
    assert base64.b64encode(f"user:{SECRET}".encode()).decode() in basic
    assert f"b={SECRET}." in chunked
    assert SECRET not in target and "?placeholder-" in target
    assert SECRET not in out and base64.b64encode(f"user:{SECRET}".encode()).decode() not in out


async def test_inside_of_an_intercepted_connection_only_its_host_can_be_asked(hands: Hands, secure: Site) -> None:
    url = f"https://good.test:{secure.port}/"
    out = await hands.out(
        f"curl -s {url} -H 'Host: evil.test'; curl -s {url} --request-target http://evil.test/;"
        f"curl -sS --connect-to evil.test:443:good.test:{secure.port} https://evil.test/"
    )
    assert "its Host header says otherwise" in out
    assert "only its paths" in out
    assert "curl: (35)" in out, "and by no other name"
    assert secure.requests == []


async def test_a_packed_answer_is_refused_since_a_secret_could_hide_in_it(hands: Hands, secure: Site) -> None:
    secure.answer, secure.echoes = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", False
    out = await hands.out(f"curl -s --compressed https://good.test:{secure.port}/")
    assert "packed its answer" in out
    assert b"accept-encoding: identity" in secure.requests[0]


async def test_python_and_git_trust_the_proxy_too(hands: Hands, secure: Site) -> None:
    secure.answer, secure.echoes = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", False
    url = f"https://good.test:{secure.port}/x.git"
    python = await hands.python(f"import urllib.request as u; u.urlopen('{url}')")
    assert "HTTP Error 404" in python
    assert "not found" in await hands.out(f"git ls-remote {url} 2>&1")


def test_secrets_are_put_in_on_the_event_loop_of_a_server_too(place: Path) -> None:
    async def main() -> None:
        site = Site()
        await site.start(site_certificate(place, "good.test")[0])
        hands = await host_with(place, credentials=Vault(TOKEN), ca_file=place / "authority.pem")
        hands.environment, hands.vault_ids = limited("good.test"), ("vlt_1",)
        body = "head -c 300000 /dev/zero | tr '\\0' x > body"
        out = await hands.out(f'{body}; curl -s -H "X: $API_TOKEN" --data-binary @body https://good.test:{site.port}/')
        assert out == "hello"
        assert SECRET.encode() in site.requests[0] and site.requests[0].endswith(b"x" * 300_000)
        await hands.host.stop()
        await site.stop()

    uvloop.run(main())


async def test_a_site_whose_certificate_is_not_trusted_gets_nothing(place: Path, secure: Site, vault: Vault) -> None:
    hands = await host_with(place / "other", credentials=vault)
    hands.environment, hands.vault_ids = UNRESTRICTED, ("vlt_1",)
    try:
        out = await hands.out(f'curl -s -H "X: $API_TOKEN" https://good.test:{secure.port}/')
        assert out == f"good.test cannot be reached on port {secure.port}: its certificate is not trusted"
        assert secure.requests == []
    finally:
        await hands.host.stop()


async def test_vaults_that_cannot_be_read_are_an_error_result(hands: Hands, vault: Vault) -> None:
    vault.broken = True
    result = await hands.bash("echo $API_TOKEN")
    assert result.is_error and "cannot be read" in str(result.content)
    vault.broken = False
    assert (await hands.out("echo $API_TOKEN")).startswith("placeholder-")
    assert vault.asked == [("vlt_1",)] * 2


async def test_a_secret_that_was_changed_or_archived_goes_out_no_more(
    hands: Hands, secure: Site, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.hands.egress.gate._FRESH_SECONDS", 0.0)
    command = f'curl -s -H "X-T: $API_TOKEN" https://good.test:{secure.port}/'
    await hands.out(command)
    vault.credentials = [replace(TOKEN, value=SecretStr("changed-secret"))]
    await hands.out(command)
    vault.broken = True
    assert await hands.out(command) == "the credentials of this session cannot be read now"
    vault.broken, vault.credentials = False, []
    await hands.out(command)
    sent = [request.split(b"x-t: ")[1].split(b"\r\n")[0] for request in secure.requests]
    assert sent[:2] == [SECRET.encode(), b"changed-secret"]
    assert sent[2].startswith(b"placeholder-") and len(sent) == 3
    # From then on the host is one as any other: its own certificate is what the sandbox sees.
    assert "certificate" in await hands.out(command.replace("-s", "-sS"))


async def test_hosts_of_a_credential_that_the_environment_does_not_allow_are_told(hands: Hands, vault: Vault) -> None:
    hosts = ("good.test", "*.good.test", "else.test", "a.wide.test", "*.wide.test", "*.b.wide.test", "port.test")
    vault.credentials = [replace(TOKEN, allowed_hosts=hosts), replace(TOKEN, secret_name="B", allowed_hosts=None)]
    hands.environment = limited("good.test", "*.wide.test", "port.test:8080")
    (result,) = await hands.batch(("bash", {"command": "true"}))
    assert [(found.credential_id, found.host) for found in result.unreachable] == [
        ("cred_1", "*.good.test"),
        ("cred_1", "else.test"),
    ]
    hands.environment = UNRESTRICTED
    (result,) = await hands.batch(("bash", {"command": "true"}))
    assert result.unreachable == ()


async def test_a_session_without_vaults_asks_none_and_has_no_authority(hands: Hands, vault: Vault) -> None:
    hands.vault_ids = ()
    assert await hands.out("echo $API_TOKEN $SSL_CERT_FILE; ls /etc/ssl") == "\ncerts"
    assert vault.asked == []


# --- the pieces ---------------------------------------------------------------------------------------------


def test_placeholders_stay_the_same_for_a_session_and_are_nobody_elses(tmp_path: Path) -> None:
    key = placeholder_key(tmp_path / "key")
    assert placeholder_key(tmp_path / "key") == key and (tmp_path / "key").stat().st_mode & 0o077 == 0
    texts = {
        placeholders_of([credential], session, key)[0].text
        for credential in (TOKEN, replace(TOKEN, value=SecretStr("changed")))
        for session in ("a", "a")
    }
    assert len(texts) == 1
    assert placeholders_of([TOKEN], "b", key)[0].text not in texts
    assert SECRET not in repr(placeholders_of([TOKEN], "a", key))


def test_a_text_is_replaced_wherever_the_stream_is_cut() -> None:
    table = {b"secret-one": b"1", b"secret-two": b"22", b"aab": b"x"}
    text = b"secret-one aaab secret-on secret-twosecret-onesecret-t"
    expected = b"1 ax secret-on 221secret-t"
    for size in range(1, len(text) + 1):
        replacer = Replacer(table)
        pieces = [replacer.feed(text[at : at + size]) for at in range(0, len(text), size)]
        assert b"".join([*pieces, replacer.finish()]) == expected, size


def test_what_cannot_be_a_secret_is_not_held_back() -> None:
    replacer = Replacer({b"secret": b"x"})
    assert replacer.feed(b"data: 1\n\n") == b"data: 1\n\n"
    assert replacer.feed(b"data: sec") == b"data: "
    assert replacer.feed(b"ond") == b"second"


def test_answers_are_masked_in_the_forms_that_servers_repeat() -> None:
    value = 'p"/w d\\ü(&'
    credential = replace(TOKEN, value=SecretStr(value))
    (placeholder,) = placeholders_of([credential], "a", b"k")
    mask = Substitution([placeholder]).mask()
    forms = [
        value,
        'p\\"/w d\\\\ü(&',
        'p\\"/w d\\\\\\u00fc(&',
        'p\\"\\/w d\\\\\\u00fc(&',
        "p%22%2Fw%20d%5C%C3%BC%28%26",
        "p%22%2fw+d%5c%c3%bc%28%26",
        "p%22%2Fw%20d%5C%C3%BC(%26",
        'p"/w d\\ü(&amp;',
        "p&quot;/w d\\ü(&amp;",
    ]
    for form in forms:
        assert mask.whole(form.encode()) == placeholder.text.encode(), form
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert mask.whole(encode(value.encode())) == encode(placeholder.text.encode())
        assert mask.whole(encode(value.encode()).rstrip(b"=")) == encode(placeholder.text.encode()).rstrip(b"=")
    short = placeholders_of([replace(TOKEN, value=SecretStr("ab"))], "a", b"k")
    assert Substitution(short).mask().whole(b"abcabc") == b"abcabc"
