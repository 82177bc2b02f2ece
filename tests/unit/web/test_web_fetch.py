"""web_fetch: what comes back for what a page is, and what is refused, on a web of its own."""

from __future__ import annotations

import asyncio
import base64
import gzip
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agents.errors import Overloaded
from agents.hands.servers.port import Caller, ServerCall, ServerResult, ServerUnreachable, ToolServer
from agents.hands.servers.remembered import RememberedServers
from agents.net.guard import MAX_URL_CHARS, Guard
from agents.web.settings import WebSettings
from agents.web.tools import WebTools
from tests.unit.web.sites import GUARD, Answer, Request, Sites, everywhere

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
PDF = b"%PDF-1.7\n" + bytes(20)
WEB = ToolServer("", "")
ANYONE = Caller("sesn_1")


def call_for(
    url: str, call_id: str = "c1", config: dict[str, Any] | None = None, said: str | None = None
) -> ServerCall:
    context = [{"role": "user", "content": [{"type": "text", "text": url if said is None else said}]}]
    return ServerCall(call_id, WEB, "web_fetch", {"url": url}, 20.0, config=config or {}, context=context)


@pytest.fixture
async def tools() -> AsyncIterator[WebTools]:
    web = WebTools(WebSettings(), GUARD)
    yield web
    await web.close()


async def fetch(tools: WebTools, url: str, **how: Any) -> ServerResult:
    return await tools.call(call_for(url, **how), ANYONE)


def text_of(result: ServerResult) -> str:
    return "\n".join(block["text"] for block in result.content if block["type"] == "text")


async def refusal(tools: WebTools, url: str, **how: Any) -> str:
    """Return the code with which a fetch fails."""
    result = await fetch(tools, url, **how)
    assert (result.is_error, result.outcome) == (True, "tool_error"), text_of(result)
    return text_of(result).partition("(")[2].partition(")")[0]


async def test_a_page_comes_as_markdown_with_absolute_links(tools: WebTools, sites: Sites) -> None:
    html = "<title>Ünï</title><h1>Hi</h1><p>A <a href='/b?x=1'>link</a><script>evil()</script>"
    sites.pages({"example.com/a/": Answer(html.encode("latin-1"), "text/html; charset=iso-8859-1")})

    result = await fetch(tools, sites.url("example.com", "/a/"))

    assert text_of(result) == (
        f"URL: {sites.url('example.com', '/a/')}\nTitle: Ünï\n\n# Hi\n\nA [link]({sites.url('example.com', '/b?x=1')})"
    )
    assert (result.is_error, result.outcome) == (False, "ok")
    assert result.consumption.bytes_out > 0
    assert result.consumption.run_seconds > 0


@pytest.mark.parametrize(
    ("body", "content_type", "shown"),
    [
        (b"plain \xe4", "text/plain; charset=latin-1", "plain ä"),
        (b"plain \xe4", "text/plain", "plain \N{REPLACEMENT CHARACTER}"),
        ("\N{BYTE ORDER MARK}ü".encode("utf-16-le"), "text/plain", "ü"),
        (b"ok", "text/plain; charset=no-such-codec", "ok"),
        (b"ok", "text/plain; charset=hex", "ok"),
        # What a stranger's server says must not keep this one busy: both took time without end.
        (b"ok" * 999, "text/plain; charset=Punycode", "ok" * 999),
        (b"<!---->" * 140 + b"x", "", "<!---->" * 140 + "x"),
        (b"<!-- a --> <!-- b -->\n<html>x", "", "x"),
        (b'{"a": 1}', "application/json", '{"a": 1}'),
        (b'{"a": 1}', "application/ld+json; charset=utf-8", '{"a": 1}'),
        (b"<feed/>", "application/atom+xml", "<feed/>"),
        (b"a,b\n1,2\n", "text/csv", "a,b\n1,2\n"),
        (b"# hi", "", "# hi"),
        (b"# hi", "application/octet-stream", "# hi"),
        (b"a\0b", "text/plain", "a\N{REPLACEMENT CHARACTER}b"),
        (b"", "text/plain", "(the page has no text)"),
    ],
)
async def test_text_comes_as_it_is(tools: WebTools, sites: Sites, body: bytes, content_type: str, shown: str) -> None:
    sites.answer = lambda request: Answer(body, content_type)

    assert text_of(await fetch(tools, sites.url("example.com"))).endswith(f"\n\n{shown}")


@pytest.mark.parametrize(
    ("body", "content_type", "block", "media_type"),
    [
        (PNG, "image/png", "image", "image/png"),
        (PNG, "image/jpeg", "image", "image/png"),
        (PNG, "", "image", "image/png"),
        (PDF, "application/pdf", "document", "application/pdf"),
        (PDF, "application/octet-stream", "document", "application/pdf"),
    ],
)
async def test_images_and_pdfs_come_as_blocks(
    tools: WebTools, sites: Sites, body: bytes, content_type: str, block: str, media_type: str
) -> None:
    sites.answer = lambda request: Answer(body, content_type)

    shown = (await fetch(tools, sites.url("example.com"))).content[1]

    data = base64.b64encode(body).decode()
    assert shown == {"type": block, "source": {"type": "base64", "media_type": media_type, "data": data}}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"no image", "image/png"),
        (b"no pdf", "application/pdf"),
        (PNG, "application/pdf"),
        (bytes(9), "application/octet-stream"),
        (b"x", "video/mp4"),
        (b"x", "image/svg"),
        (b"x", "application/zip"),
    ],
)
async def test_what_no_model_can_be_shown_is_refused(
    tools: WebTools, sites: Sites, body: bytes, content_type: str
) -> None:
    sites.answer = lambda request: Answer(body, content_type)

    assert await refusal(tools, sites.url("example.com")) == "unsupported_content_type"


@pytest.mark.parametrize(
    ("packing", "packed"),
    [
        ("gzip", gzip.compress(b"hello")),
        ("deflate", zlib.compress(b"hello")),
        ("deflate", zlib.compress(b"hello", wbits=-15)),
        ("identity", b"hello"),
    ],
    ids=["gzip", "zlib", "deflate", "identity"],
)
async def test_packed_pages_are_unpacked(tools: WebTools, sites: Sites, packing: str, packed: bytes) -> None:
    sites.answer = lambda request: Answer(packed, "text/plain", headers=[f"Content-Encoding: {packing}"])

    assert text_of(await fetch(tools, sites.url("example.com"))).endswith("\n\nhello")


@pytest.mark.parametrize(
    ("packing", "packed", "code"),
    [
        ("br", b"\x8b\x02\x80hello\x03", "unsupported_content_type"),
        ("gzip, gzip", b"x", "unsupported_content_type"),
        ("gzip", b"hello", "url_not_accessible"),
        ("deflate", b"hello", "url_not_accessible"),
    ],
)
async def test_other_packings_are_refused(
    tools: WebTools, sites: Sites, packing: str, packed: bytes, code: str
) -> None:
    sites.answer = lambda request: Answer(packed, "text/plain", headers=[f"Content-Encoding: {packing}"])

    assert await refusal(tools, sites.url("example.com")) == code


async def test_a_bomb_is_unpacked_no_further_than_may_be_read(sites: Sites) -> None:
    bomb = gzip.compress(bytes(8 * 1024**2))
    sites.answer = lambda request: Answer(bomb, "image/png", headers=["Content-Encoding: gzip"])
    web = WebTools(WebSettings(max_page_bytes=100_000), GUARD)
    peak: list[int] = []
    original = zlib.decompressobj

    class Watched:
        def __init__(self, bits: int) -> None:
            self._inner = original(bits)

        def decompress(self, data: bytes, limit: int) -> bytes:
            found = self._inner.decompress(data, limit)
            peak.append(len(found))
            return found

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zlib, "decompressobj", Watched)
        assert await refusal(web, sites.url("example.com")) == "unsupported_content_type"
    await web.close()
    assert max(peak) <= 100_001


async def test_long_text_is_cut_off_with_a_note(sites: Sites) -> None:
    sites.answer = lambda request: Answer(b"x" * 5000, "text/plain")
    web = WebTools(WebSettings(max_page_bytes=2000, max_content_tokens=100), GUARD)

    by_default = text_of(await fetch(web, sites.url("example.com")))
    by_agent = text_of(await fetch(web, sites.url("example.com"), config={"max_content_tokens": 10}))
    by_size = text_of(await fetch(web, sites.url("example.com"), config={"max_content_tokens": 10_000}))
    await web.close()

    assert [text.count("x") for text in (by_default, by_agent, by_size)] == [300 + 1, 30 + 1, 2000 + 1]
    assert "cut off: only the first 30 characters" in by_agent


async def test_a_file_larger_than_may_be_read_is_refused(sites: Sites) -> None:
    sites.answer = lambda request: Answer(PDF + bytes(5000), "application/pdf")
    web = WebTools(WebSettings(max_page_bytes=2000), GUARD)

    assert await refusal(web, sites.url("example.com")) == "content_too_large"
    await web.close()


async def test_redirects_are_followed_and_the_last_url_is_told(tools: WebTools, sites: Sites) -> None:
    sites.pages(
        {
            "example.com/": Answer(status="302 Found", headers=["Location: /next"]),
            "example.com/next": Answer(status="308 Moved", headers=[f"Location: {sites.url('other.org', '/end#x')}"]),
            "other.org/end": Answer(b"here", "text/plain"),
        }
    )

    assert text_of(await fetch(tools, sites.url("example.com"))) == f"URL: {sites.url('other.org', '/end')}\n\nhere"


@pytest.mark.parametrize(
    ("place", "config", "code"),
    [
        ("http://10.0.0.1/", {}, "url_not_allowed"),
        ("http://169.254.169.254/latest/meta-data/", {}, "url_not_allowed"),
        ("http://intranet.example.com/", {}, "url_not_allowed"),
        ("http://other.org:{port}/", {"allowed_domains": ["example.com"]}, "url_not_allowed"),
        ("http://other.org:{port}/", {"blocked_domains": ["other.org"]}, "url_not_allowed"),
        ("file:///etc/passwd", {}, "url_not_allowed"),
        ("http://example.com:{port}/", {}, "url_not_accessible"),
    ],
)
async def test_a_redirect_passes_the_same_rules(
    tools: WebTools, sites: Sites, place: str, config: dict[str, Any], code: str
) -> None:
    target = place.format(port=sites.port)
    sites.answer = lambda request: Answer(b"x", "text/plain", "302 Found", [f"Location: {target}"])

    assert await refusal(tools, sites.url("example.com"), config=config) == code
    assert {request.headers["host"] for request in sites.requests} == {f"example.com:{sites.port}"}


@pytest.mark.parametrize(
    ("url", "config", "code"),
    [
        ("http://127.0.0.1/", {}, "url_not_allowed"),
        ("http://2130706433/", {}, "url_not_allowed"),
        ("http://user:pw@example.com/", {}, "url_not_allowed"),
        ("http://intranet.example.com/", {}, "url_not_allowed"),
        ("ftp://example.com/", {}, "url_not_allowed"),
        ("no url", {}, "url_not_allowed"),
        ("http://example.com/", {"blocked_domains": ["example.com"]}, "url_not_allowed"),
        ("http://www.example.com./", {"blocked_domains": ["example.com"]}, "url_not_allowed"),
        ("http://example.org/", {"allowed_domains": ["example.com"]}, "url_not_allowed"),
        ("http://example.com/" + "a" * MAX_URL_CHARS, {}, "url_too_long"),
    ],
)
async def test_what_is_not_allowed_is_refused_before_a_connection(
    sites: Sites, url: str, config: dict[str, Any], code: str
) -> None:
    web = WebTools(WebSettings(), Guard(resolver=everywhere))

    assert await refusal(web, url, config=config) == code
    await web.close()
    assert sites.requests == []


async def test_an_url_that_nobody_gave_is_refused(tools: WebTools, sites: Sites) -> None:
    url = sites.url("example.com", "/?secret=1")

    assert await refusal(tools, url, said="hello") == "url_not_in_prior_context"
    closed = {"url_sources": {"user_input": {"type": "none"}}}
    assert await refusal(tools, url, config=closed) == "url_not_allowed"
    assert sites.requests == []


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("404 Not Found", "url_not_accessible"),
        ("500 Internal Server Error", "url_not_accessible"),
        ("304 Not Modified", "url_not_accessible"),
        ("429 Too Many Requests", "too_many_requests"),
    ],
)
async def test_a_servers_refusal_is_told(tools: WebTools, sites: Sites, status: str, code: str) -> None:
    sites.answer = lambda request: Answer(b"secret words", status=status)

    assert await refusal(tools, sites.url("example.com")) == code


@pytest.mark.parametrize("given", [{}, {"url": ""}, {"url": 5}, {"url": "http://example.com/", "prompt": "x"}])
async def test_input_that_does_not_fit_is_refused(tools: WebTools, given: dict[str, Any]) -> None:
    result = await tools.call(ServerCall("c1", WEB, "web_fetch", given, 5.0), ANYONE)

    assert "(invalid_tool_input)" in text_of(result)


async def test_an_url_with_half_a_character_is_refused_in_words_that_can_be_kept(tools: WebTools) -> None:
    result = await fetch(tools, "http://ex\ud800ample.com/")

    text_of(result).encode()
    assert result.is_error


async def test_a_server_that_never_answers_is_given_up(sites: Sites) -> None:
    async def never(request: Request) -> Answer:
        await asyncio.sleep(3600)
        return Answer()

    sites.answer = never
    web = WebTools(WebSettings(fetch_timeout_seconds=0.05), GUARD)

    assert await refusal(web, sites.url("example.com")) == "url_not_accessible"
    await web.close()


async def test_no_server_gets_what_another_one_set(tools: WebTools, sites: Sites) -> None:
    sites.answer = lambda request: Answer(b"x", "text/plain", headers=["Set-Cookie: who=you; Path=/"])

    await fetch(tools, sites.url("example.com"))
    await fetch(tools, sites.url("example.com", "/again"))

    assert all("cookie" not in request.headers for request in sites.requests)
    assert sites.requests[0].headers["user-agent"].startswith("Hecaton")


async def test_robots_are_obeyed_where_the_operator_says_so(sites: Sites) -> None:
    sites.pages(
        {
            "example.com/robots.txt": Answer(b"User-agent: hecaton\nDisallow: /private\n", "text/plain"),
            "example.com/private": Answer(b"x", "text/plain"),
            "example.com/open": Answer(b"x", "text/plain"),
            "other.org/private": Answer(b"x", "text/plain"),
        }
    )
    web = WebTools(WebSettings(obey_robots=True), GUARD)

    assert await refusal(web, sites.url("example.com", "/private")) == "url_not_allowed"
    assert not (await fetch(web, sites.url("example.com", "/open"))).is_error
    assert not (await fetch(web, sites.url("other.org", "/private"))).is_error
    await web.close()
    assert [request.target for request in sites.requests].count("/robots.txt") == 2


async def test_a_call_goes_on_without_its_session_and_can_be_called_off(sites: Sites) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Answer:
        asked.set()
        await go.wait()
        return Answer(b"done", "text/plain")

    sites.answer = slow
    web = RememberedServers(WebTools(WebSettings(), GUARD))
    call = call_for(sites.url("example.com"))
    first = asyncio.create_task(web.call(call, ANYONE))
    await asked.wait()
    first.cancel()  # whoever waited is gone
    go.set()

    assert text_of(await web.call(call, ANYONE)).endswith("done")
    assert len(sites.requests) == 1

    go.clear()
    asked.clear()
    other = call_for(sites.url("example.com"), "c2")
    second = asyncio.create_task(web.call(other, ANYONE))
    await asked.wait()
    web.cancel([other], ANYONE)

    assert ((await second).outcome, (await second).is_error) == ("cancelled", True)
    go.set()
    await web.close()


async def test_more_calls_than_may_wait_are_put_off(sites: Sites) -> None:
    go = asyncio.Event()

    async def slow(request: Request) -> Answer:
        await go.wait()
        return Answer(b"done", "text/plain")

    sites.answer = slow
    web = WebTools(WebSettings(max_parallel=1), GUARD)
    waiting = [asyncio.create_task(web.call(call_for(sites.url("example.com"), f"c{n}"), ANYONE)) for n in range(5)]
    await asyncio.sleep(0)

    with pytest.raises(Overloaded) as refused:
        await web.call(call_for(sites.url("example.com"), "c5"), ANYONE)
    go.set()

    assert refused.value.retry_after
    assert [result.is_error for result in await asyncio.gather(*waiting)] == [False] * 5
    await web.close()


async def test_it_offers_nothing_to_mcp_toolsets(tools: WebTools) -> None:
    with pytest.raises(ServerUnreachable):
        await tools.offer(WEB, ANYONE)
