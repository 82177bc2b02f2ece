"""The web tools: what they bring, what they refuse, what is counted (spec C.1, A.4)."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.conformance.requirements import requirement
from tests.conformance.scene import ASK, Json, Scene, calls, message, of_type, ordered_results, says, text_of, toolset
from tests.stub_model.web import PDF, PNG


def page(scene: Scene, name: str) -> str:
    return f"{scene.platform.stub.url}/web/{name}"


async def fetched(
    scene: Scene, *urls: str, said: str | None = None, tools: Json | None = None, **more: Any
) -> list[Json]:
    """Have the model ask for *urls*, which the user has named; returns the results."""
    await scene.answers(*(calls(("web_fetch", {"url": url})) for url in urls), says("done"))
    session = await scene.session(tools or toolset(), **more)
    return ordered_results(await scene.turn(session, message(" ".join(urls) if said is None else said)))


@requirement("tools:web-fetch")
async def test_pages_come_as_markdown_and_open_what_they_link_to(scene: Scene) -> None:
    first, second = page(scene, "page"), page(scene, "next")
    found = await fetched(scene, first, second, page(scene, "moved"), said=f"read {first}, then {page(scene, 'moved')}")
    shown = f"URL: {first}\nTitle: A page\n\n# Hello\n\nRead the [next page]({second})."
    assert [text_of(result) for result in found] == [shown, *[f"URL: {second}\n\nthe end"] * 2]
    assert [result["is_error"] for result in found] == [False] * 3


@requirement("tools:web-fetch")
async def test_files_come_as_blocks_and_the_rest_is_refused(scene: Scene) -> None:
    urls = [page(scene, name) for name in ("pdf", "image", "binary", "absent")]
    pdf, image, binary, absent = await fetched(scene, *urls)
    for result, kind, media_type, data in (
        (pdf, "document", "application/pdf", PDF),
        (image, "image", "image/png", PNG),
    ):
        source = {"type": "base64", "media_type": media_type, "data": base64.b64encode(data).decode()}
        assert {key: result["content"][1][key] for key in ("type", "source")} == {"type": kind, "source": source}
    assert "unsupported_content_type" in text_of(binary) and binary["is_error"]
    assert "url_not_accessible" in text_of(absent) and "404" in text_of(absent) and absent["is_error"]


@requirement("tools:web-fetch")
async def test_long_pages_are_cut_off_where_the_agent_says(scene: Scene) -> None:
    short = toolset(web_fetch={"max_content_tokens": 100})
    (by_agent,) = await fetched(scene, page(scene, "long"), tools=short)
    (by_default,) = await fetched(scene, page(scene, "long"))
    assert 100 < text_of(by_agent).count("x") < 1000 < text_of(by_default).count("x") < 500_000
    assert "cut off" in text_of(by_agent) and "cut off" in text_of(by_default)


@requirement("tools:web-domains")
@pytest.mark.parametrize(
    "lists", [{"allowed_domains": ["example.com"]}, {"blocked_domains": ["example.org"]}], ids=["allowed", "blocked"]
)
async def test_domain_lists_refuse_before_anything_is_asked(scene: Scene, lists: Json) -> None:
    (result,) = await fetched(scene, "https://www.example.org/", tools=toolset(web_fetch=lists))
    assert result["is_error"] and "url_not_allowed" in text_of(result)


@requirement("tools:web-sources")
async def test_only_what_the_conversation_holds_is_read(scene: Scene) -> None:
    url = page(scene, "next")
    (made_up,) = await fetched(scene, url, said="read something")
    assert made_up["is_error"] and "url_not_in_prior_context" in text_of(made_up)
    closed = toolset(web_fetch={"url_sources": {"user_input": "none", "client_tool_results": "all"}})
    (refused,) = await fetched(scene, url, tools=closed)
    assert refused["is_error"] and "url_not_allowed" in text_of(refused)


@requirement("tools:web-private")
async def test_no_url_and_no_redirect_leads_into_the_operators_network(scene: Scene) -> None:
    urls = ["http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[::ffff:a9fe:a9fe]/"]
    urls += ["http://2852039166/", page(scene, "private"), page(scene, "metadata")]
    found = await fetched(scene, *urls)
    assert ["url_not_allowed" in text_of(result) and result["is_error"] for result in found] == [True] * len(urls)


@requirement("tools:web-search", "tools:web-usage")
async def test_a_search_names_pages_that_can_then_be_read_and_both_are_counted(scene: Scene) -> None:
    url = page(scene, "page")
    await scene.answers(
        calls(("web_search", {"query": "news"})),
        calls(("web_fetch", {"url": url}), ("web_fetch", {"url": "x"})),
        says("ok"),
    )
    session = await scene.session(toolset())
    log = await scene.turn(session, message("what is new?"))
    found = ordered_results(log)
    assert text_of(found[0]) == f"1. About news\n   {url}\n   An excerpt."
    assert [result["is_error"] for result in found] == [False, False, True]
    usage = (await scene.retrieve(session))["usage"]
    assert usage["server_tool_use"] == {"web_search_requests": 1, "web_fetch_requests": 1}
    assert int(usage["list_cost"]["amount"]) >= 1
    assert of_type(log, "session.usage")[-1]["usage"]["server_tool_use"] == usage["server_tool_use"]


@requirement("tools:web-search")
async def test_searches_obey_their_domain_lists_and_say_what_does_not_fit(scene: Scene) -> None:
    uses = [("web_search", {"query": "news"}), ("web_search", {"query": "x" * 500}), ("web_search", {"q": "news"})]
    only = toolset(web_search={"allowed_domains": ["example.com"]})
    nothing, long, unfit = await scene.results(*uses, tools=[only])
    assert "Nothing was found" in text_of(nothing) and not nothing["is_error"]
    assert "query_too_long" in text_of(long) and long["is_error"]
    assert "query" in text_of(unfit) and unfit["is_error"]


@requirement("tools:web-policy")
@pytest.mark.parametrize("answer", ["allow", "deny"])
async def test_web_tools_ask_like_any_other(scene: Scene, answer: str) -> None:
    await scene.answers(calls(("web_search", {"query": "news"})), says("done"))
    session = await scene.session(toolset(web_search=ASK))
    (use,) = of_type(await scene.turn(session), "agent.tool_use")
    assert use["evaluated_permission"] == "ask"
    confirmation = {"type": "user.tool_confirmation", "tool_use_id": use["id"], "result": answer}
    (result,) = of_type(await scene.turn(session, confirmation), "agent.tool_result")
    assert result["tool_use_id"] == use["id"] and result["is_error"] == (answer == "deny")
    assert ("About news" in text_of(result)) == (answer == "allow")
