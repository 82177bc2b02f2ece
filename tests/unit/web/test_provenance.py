"""Which URLs a conversation gives to web_fetch, by source."""

from __future__ import annotations

from typing import Any

import pytest

from agents.brains.summarizing import summary_block
from agents.web.provenance import PastUrls, appeared
from tests.unit.brains.answers import user

URL = "https://docs.example.com/a/b?x=1"
ALL, NONE = {"type": "all"}, {"type": "none"}


def used(name: str, text: str) -> list[dict[str, Any]]:
    use = {"type": "tool_use", "id": "t1", "name": name, "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": text}]}
    return [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]


@pytest.mark.parametrize(
    "text",
    [
        URL,
        f"read {URL}.",
        f"read <{URL}>, please",
        f"(see {URL})",
        f"[the docs]({URL})",
        f"[{URL}]({URL})!",
        f'{{"url": "{URL}"}}',
        f"`{URL}`",
        f"**{URL}**",
        f"{URL}#section",
        "HTTPS://DOCS.EXAMPLE.COM/a/b?x=1",
        "https://docs.example.com:443/a/b?x=1",
        "http://docs.example.com/a/b?x=1",
        "docs.example.com/a/b?x=1",
        "(docs.example.com/a/b?x=1)",
    ],
)
def test_an_url_is_found_however_a_text_wraps_it(text: str) -> None:
    assert appeared(URL, [user(text)], None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://docs.example.com/a/b",
        "https://docs.example.com/a/b?x=12",
        "https://docs.example.com/a",
        "https://example.com/a/b?x=1",
        "https://docs.example.com.evil.org/a/b?x=1",
        "https://docs.example.com:8443/a/b?x=1",
        "https://evil.org/?u=docs.example.com/a/b?x=1",
    ],
)
def test_another_url_is_not_it(text: str) -> None:
    assert not appeared(URL, [user(text)], None)


def test_urls_with_parentheses_and_other_scripts() -> None:
    assert appeared("https://de.example.org/wiki/A_(b)", [user("see https://de.example.org/wiki/A_(b)")], None)
    assert appeared("https://xn--bcher-kva.example/", [user("see bücher.example")], None)
    assert appeared("https://example.com", [user("go to example.com, then stop")], None)


def test_what_a_model_says_or_a_summary_holds_is_no_source() -> None:
    told = {"role": "assistant", "content": [{"type": "text", "text": URL}]}
    summary = {"role": "user", "content": [summary_block(f"It found {URL}")]}

    assert not appeared(URL, [user("hello"), told], None)
    assert not appeared(URL, [summary], None)
    assert appeared(URL, [{"role": "system", "content": [{"type": "text", "text": URL}]}], None)


@pytest.mark.parametrize(
    ("name", "sources", "expected"),
    [
        ("web_search", None, True),
        ("web_fetch", None, True),
        ("lookup", None, True),
        ("bash", None, False),
        ("mcp__crm__find", None, False),
        ("web_search", {"server_tool_results": NONE, "client_tool_results": ALL}, False),
        ("web_search", {"server_tool_results": None}, True),
        ("lookup", {"client_tool_results": NONE}, False),
        ("lookup", {"server_tool_results": NONE}, True),
        ("web_search", {"server_tool_results": {"type": "only", "tools": [{"name": "web_search"}]}}, True),
        ("web_fetch", {"server_tool_results": {"type": "only", "tools": [{"name": "web_search"}]}}, False),
        ("web_fetch", {"server_tool_results": {"type": "except", "tools": [{"name": "web_fetch"}]}}, False),
        ("lookup", {"client_tool_results": {"type": "except", "tools": [{"name": "Lookup"}]}}, True),
    ],
)
def test_results_count_by_the_tool_that_gave_them(name: str, sources: dict[str, Any] | None, expected: bool) -> None:
    assert appeared(URL, used(name, f"hit: {URL}"), sources) is expected


def test_user_input_can_be_closed() -> None:
    assert not appeared(URL, [user(URL)], {"user_input": NONE})
    assert appeared(URL, [user(URL)], {"user_input": ALL})


def test_a_users_text_document_counts_as_their_text() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": f"list:\n{URL}\n"}
    message = {"role": "user", "content": [{"type": "document", "source": source}]}

    assert appeared(URL, [message], None)


def test_what_a_summary_has_replaced_still_counts_by_the_same_sources() -> None:
    past = PastUrls()
    past.add(
        [user(f"read {URL}."), *used("web_search", "https://found.example.com/x"), *used("bash", "https://shell.org/")]
    )
    past.add(
        [{"role": "user", "content": [summary_block("https://summed.org/")]}, *used("lookup", "https://told.org/")]
    )
    kept = past.messages()

    assert [appeared(url, kept, None) for url in (URL, "https://found.example.com/x", "https://told.org/")] == [
        True
    ] * 3
    assert not any(appeared(url, kept, None) for url in ("https://shell.org/", "https://summed.org/"))
    assert not appeared(URL, kept, {"user_input": NONE})
    assert not appeared("https://found.example.com/x", kept, {"server_tool_results": NONE})
    assert not appeared("https://told.org/", kept, {"client_tool_results": NONE})


def test_the_urls_that_are_remembered_are_bounded_and_the_oldest_go() -> None:
    past = PastUrls()
    past.add([user(" ".join(f"https://example.com/{number}" for number in range(6000)))])

    assert not appeared("https://example.com/999", past.messages(), None)
    assert appeared("https://example.com/5999", past.messages(), None)
