"""Sending and listing events (spec A.5, B.1, B.4)."""

from __future__ import annotations

from typing import Any

import pytest
from api_fakes import Server, refusal

from agents.api.describe import EVENT_TYPES
from agents.errors import NotFound
from agents.sessions.events import EventType

PIXEL = "iVBORw0KGgo="
TEXT_RUBRIC = {"type": "text", "content": "r"}


def text(content: str = "hi") -> dict[str, Any]:
    return {"type": "text", "text": content}


def image(**source: Any) -> dict[str, Any]:
    return {"type": "image", "source": source}


def document(**source: Any) -> dict[str, Any]:
    return {"type": "document", "source": source}


def message(*content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "user.message", "content": list(content or [text()])}


async def path_of(server: Server) -> str:
    return f"/v1/sessions/{(await server.session())['id']}/events"


async def test_a_send_answers_with_the_stored_echoes_in_order(server: Server) -> None:
    path = await path_of(server)
    sent = [message(text("one")), {"type": "user.interrupt"}, message(text("two"))]
    body = (await server.client.post(path, json={"events": sent})).json()
    assert set(body) == {"data"}
    assert [event["type"] for event in body["data"]] == ["user.message", "user.interrupt", "user.message"]
    assert all(event["processed_at"] is None for event in body["data"])
    ids = [event["id"] for event in body["data"]]
    assert len(set(ids)) == 3 and all(each.startswith("sevt_") for each in ids)
    # The gateway names the events: an owner that takes over from a lost one knows them again.
    assert server.host.sent[0][1] == [{**event, "id": each} for event, each in zip(sent, ids, strict=True)]


@pytest.mark.parametrize(
    "event",
    [
        message(image(type="base64", media_type="image/png", data=PIXEL), text()),
        message(image(type="url", url="https://example.com/a.png")),
        message(document(type="base64", media_type="application/pdf", data=PIXEL)),
        message(document(type="text", media_type="text/plain", data="words") | {"title": "t", "context": None}),
        {"type": "user.interrupt", "session_thread_id": None},
        {"type": "user.tool_confirmation", "tool_use_id": "sevt_1", "result": "deny", "deny_message": "no"},
        {"type": "user.tool_confirmation", "tool_use_id": "sevt_1", "result": "allow", "deny_message": None},
        {"type": "user.custom_tool_result", "custom_tool_use_id": "sevt_1"},
        {"type": "user.custom_tool_result", "custom_tool_use_id": "sevt_1", "content": [text("")], "is_error": True},
        {
            "type": "user.custom_tool_result",
            "custom_tool_use_id": "sevt_1",
            "content": [
                {
                    "type": "search_result",
                    "source": "https://x",
                    "title": "t",
                    "content": [text()],
                    "citations": {"enabled": True},
                }
            ],
        },
    ],
)
async def test_every_legal_shape_reaches_the_owner_unchanged(server: Server, event: dict[str, Any]) -> None:
    path = await path_of(server)
    assert (await server.client.post(path, json={"events": [event]})).status_code == 200
    ((_, [sent], _),) = server.host.sent
    assert {key: value for key, value in sent.items() if key != "id"} == event


@pytest.mark.parametrize(
    ("event", "named"),
    [
        (message() | {"content": []}, "content"),
        (message(text("  ")), "content[0].text"),
        (message({"type": "redacted"}), "content[0].type"),
        (message({"type": "search_result"}), "content[0].type"),
        (message(text() | {"cache_control": {}}), "content[0].cache_control"),
        (message(image(type="base64", media_type="image/bmp", data=PIXEL)), "content[0].source.media_type"),
        (message(image(type="base64", media_type="image/png", data="")), "content[0].source.data"),
        (message(image(type="base64", media_type="image/png", data="not base64!")), "content[0].source.data"),
        (message(image(type="base64", media_type="image/png", data="ébé")), "content[0].source.data"),
        (message(document(type="base64", media_type="pdf", data=PIXEL)), "content[0].source.media_type"),
        (message(document(type="text", media_type="text/html", data="x")), "content[0].source.media_type"),
        (message(document(type="text", media_type="text/plain", data=" ")), "content[0].source.data"),
        (message(image(type="url", url="file:///etc/passwd")), "content[0].source.url"),
        (message(image(type="url", url="https://x/" + "y" * 2048)), "content[0].source.url"),
        (message(image(type="file", file_id="")), "content[0].source.file_id"),
        (message(document(type="file", file_id="")), "content[0].source.file_id"),
        (
            {"type": "user.tool_confirmation", "tool_use_id": "s", "result": "allow", "deny_message": "x"},
            "deny_message",
        ),
        ({"type": "user.tool_confirmation", "tool_use_id": "s", "result": "maybe"}, "result"),
        ({"type": "user.tool_confirmation", "result": "allow"}, "tool_use_id"),
        ({"type": "user.custom_tool_result", "custom_tool_use_id": "s", "content": "text"}, "content"),
        (
            {"type": "user.custom_tool_result", "custom_tool_use_id": "s", "content": [{"type": "redacted"}]},
            "content[0]",
        ),
        (
            {"type": "user.tool_result", "tool_use_id": "s", "content": [{"type": "redacted"}]},
            "content[0].type",
        ),
        ({"type": "system.message", "content": []}, "content"),
        ({"type": "system.message", "content": [text()] * 1001}, "content"),
        ({"type": "system.message", "content": [{"type": "text", "text": " "}]}, "content[0].text"),
        ({"type": "system.message", "content": [image(type="url", url="https://x/a.png")]}, "content[0]"),
        *(
            ({"type": "user.define_outcome", "description": "d", "rubric": TEXT_RUBRIC, **more}, named)
            for more, named in (
                ({"description": " "}, "description"),
                ({"description": "d" * 32_769}, "description"),
                ({"max_iterations": 0}, "max_iterations"),
                ({"max_iterations": 21}, "max_iterations"),
                ({"rubric": {"type": "text", "content": " "}}, "rubric.content"),
                ({"rubric": {"type": "text", "content": "r" * 262_145}}, "rubric.content"),
                ({"rubric": {"type": "file", "file_id": "file_none"}}, "rubric.file_id"),
            )
        ),
        ({"type": "agent.message"}, "type"),
        ({"content": []}, "type"),
        ("text", "must be an object"),
    ],
)
async def test_an_illegal_event_is_refused_by_name_and_nothing_is_sent(server: Server, event: Any, named: str) -> None:
    path = await path_of(server)
    text_of_refusal = refusal(await server.client.post(path, json={"events": [message(), event]}), 400)
    assert text_of_refusal.startswith("events[1]")
    assert named in text_of_refusal
    assert server.host.sent == []


REMARK = {"type": "system.message", "content": [{"type": "text", "text": "s"}]}
INTERRUPT = {"type": "user.interrupt"}


@pytest.mark.parametrize(
    ("events", "at"),
    [([REMARK, message()], 0), ([message(), REMARK, REMARK], 1), ([message(), INTERRUPT, REMARK], 2)],
)
async def test_a_system_message_stands_last_behind_what_it_accompanies(server: Server, events: Any, at: int) -> None:
    got = refusal(await server.client.post(await path_of(server), json={"events": events}), 400)
    assert got.startswith(f"events[{at}].type: system.message must ")
    assert server.host.sent == []


@pytest.mark.parametrize("events", [[REMARK], [INTERRUPT, message(), REMARK]])
async def test_a_system_message_is_taken_alone_or_behind_a_message(server: Server, events: Any) -> None:
    assert (await server.client.post(await path_of(server), json={"events": events})).status_code == 200


@pytest.mark.parametrize("body", [{}, {"events": []}, {"events": {}}, [], {"events": [message()], "event": 1}])
async def test_a_send_needs_a_list_of_at_least_one_event_and_nothing_else(server: Server, body: Any) -> None:
    refusal(await server.client.post(await path_of(server), json=body), 400)


async def test_a_send_takes_at_most_a_hundred_events(server: Server) -> None:
    path = await path_of(server)
    assert "at most 100" in refusal(await server.client.post(path, json={"events": [message()] * 101}), 400)
    assert (await server.client.post(path, json={"events": [message()] * 100})).status_code == 200


async def test_sending_to_an_unknown_session_is_404(server: Server) -> None:
    answer = await server.client.post("/v1/sessions/sesn_none/events", json={"events": [message()]})
    refusal(answer, 404, "not_found_error")


async def test_the_owner_learns_which_request_is_a_retry_of_which(server: Server) -> None:
    path = await path_of(server)

    async def key(body: dict[str, Any], **headers: str | bytes) -> str:
        encoded = {name: value if isinstance(value, bytes) else value.encode() for name, value in headers.items()}
        await server.client.post(path, json=body, headers=encoded)
        return str(server.host.sent[-1][2])

    first = await key({"events": [message()]})
    again = await key({"events": [message()]}, **{"x-stainless-retry-count": "2"})
    other_body = await key({"events": [message(text("x"))]})
    other_key = await key({"events": [message()]}, **{"x-api-key": "someone else"})
    nonsense = await key({"events": [message()]}, **{"x-stainless-retry-count": "many"})
    superscript = await key({"events": [message()]}, **{"x-stainless-retry-count": b"\xb2"})
    named = await key({"events": [message()]}, **{"idempotency-key": "first"})
    named_again = await key({"events": [message()]}, **{"idempotency-key": "first", "x-stainless-retry-count": "1"})
    other_name = await key({"events": [message()]}, **{"idempotency-key": "second"})
    assert first.startswith("0:")
    assert again == "2:" + first[2:]
    assert nonsense == superscript == first
    assert named == named_again and named.startswith("1:")
    assert len({each.partition(":")[2] for each in (first, other_body, other_key, named, other_name)}) == 5


async def fill(server: Server) -> tuple[str, list[str]]:
    """A session with five logged events and three waiting ones; returns its events path and their ids."""
    session = await server.session()
    path = f"/v1/sessions/{session['id']}/events"
    logged = [
        (await server.host.log(session["id"], EventType.AGENT_MESSAGE, {"content": [text(str(n))]})).id
        for n in range(5)
    ]
    waiting = (await server.client.post(path, json={"events": [message(text(str(n))) for n in range(3)]})).json()[
        "data"
    ]
    return path, [*logged, *(event["id"] for event in waiting)]


async def read(server: Server, path: str, **query: Any) -> list[list[str]]:
    pages: list[list[str]] = []
    page: str | None = None
    while len(pages) < 50:
        body = (await server.client.get(path, params=query | ({"page": page} if page else {}))).json()
        assert set(body) == {"data", "next_page"}
        pages.append([event["id"] for event in body["data"]])
        page = body["next_page"]
        if page is None:
            return pages
    raise AssertionError("the pages never end")


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 8, 9, None])
async def test_history_pages_through_log_and_queue_once_and_in_order(
    server: Server, order: str, limit: int | None
) -> None:
    path, ids = await fill(server)
    pages = await read(server, path, order=order, **({"limit": limit} if limit else {}))
    assert [each for page in pages for each in page] == (ids if order == "asc" else ids[::-1])
    assert all(len(page) <= (limit or 1000) for page in pages)


async def test_history_is_ascending_by_default_and_waiting_events_have_no_time(server: Server) -> None:
    path, ids = await fill(server)
    data = (await server.client.get(path)).json()["data"]
    assert [event["id"] for event in data] == ids
    assert [event["processed_at"] is None for event in data] == [False] * 5 + [True] * 3


async def test_history_filters_by_type_and_time(server: Server) -> None:
    path, ids = await fill(server)
    assert await read(server, path, **{"types[]": ["agent.message", "agent.thinking"]}) == [ids[:5]]
    assert await read(server, path, types="user.message") == [ids[5:]]
    third = (await server.client.get(path)).json()["data"][2]["processed_at"]
    assert await read(server, path, **{"created_at[gt]": third}) == [ids[3:5]]
    assert await read(server, path, **{"created_at[lte]": third}) == [ids[:3]]


def test_the_filter_takes_the_41_types_of_the_api() -> None:
    assert len(EVENT_TYPES) == 41
    assert {kind.value for kind in EventType} - {"session.deleted"} <= set(EVENT_TYPES)


@pytest.mark.parametrize(
    "query", ["types[]=session.deleted", "types[]=event_delta", "types[]=nonsense", "limit=1001", "order=", "page=x"]
)
async def test_a_bad_filter_of_history_is_named(server: Server, query: str) -> None:
    path = await path_of(server)
    assert refusal(await server.client.get(f"{path}?{query}"), 400).startswith(query.partition("=")[0])


async def test_a_cursor_belongs_to_its_session(server: Server) -> None:
    path, _ = await fill(server)
    page = (await server.client.get(path, params={"limit": 1})).json()["next_page"]
    other = await path_of(server)
    refusal(await server.client.get(other, params={"page": page}), 400)
    refusal(await server.client.get("/v1/sessions/sesn_none/events"), 404, "not_found_error")


async def test_an_event_taken_up_between_two_pages_is_not_lost(server: Server) -> None:
    path, ids = await fill(server)
    first = (await server.client.get(path, params={"limit": 6})).json()
    session_id = path.split("/")[3]
    stored = server.store.log.sessions[session_id]
    stored.queue.pop(ids[5])
    logged = await server.host.log(session_id, EventType.USER_MESSAGE, {"content": [text("taken up")]})
    second = (await server.client.get(path, params={"limit": 6, "page": first["next_page"]})).json()["data"]
    assert [event["id"] for event in second] == [logged.id, *ids[6:]]


async def test_unknown_is_unknown_also_for_the_owner(server: Server) -> None:
    path = await path_of(server)
    server.host.failure = NotFound("session gone")
    refusal(await server.client.post(path, json={"events": [message()]}), 404, "not_found_error")
