"""``/v1/models``: the brains as models."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types.beta import BetaModelInfo
from api_fakes import Server, refusal

Make = Any
BRAINS: dict[str, Any] = {
    "qwen": {
        "engine": "server",
        "model": "/weights",
        "version": "2",
        "display_name": "Qwen",
        "aliases": ["fast", "q-"],
        "capabilities": {"context_tokens": 4096, "max_output_tokens": 512, "vision": True},
    },
    "plan": {"engine": "replay"},
}


async def ids(server: Server, query: str = "") -> list[str]:
    return [model["id"] for model in (await server.client.get(f"/v1/models{query}")).json()["data"]]


async def test_each_declared_brain_is_listed_with_what_it_can_do(make_server: Make) -> None:
    server = await make_server(brains=BRAINS)
    page = (await server.client.get("/v1/models")).json()
    assert (page["has_more"], page["first_id"], page["last_id"]) == (False, "qwen@2", "plan@1")
    first = page["data"][0]
    assert set(first) == set(BetaModelInfo.model_fields) | {"brain"}
    assert (first["display_name"], first["max_input_tokens"], first["max_tokens"]) == ("Qwen", 4096, 512)
    able = BetaModelInfo.model_validate(first).capabilities
    assert able is not None and able.image_input.supported and not able.thinking.supported


@pytest.mark.parametrize("name", ["qwen", "qwen@2", "fast", "q-anything"])
async def test_a_brain_is_found_by_every_name_it_has(make_server: Make, name: str) -> None:
    server = await make_server(brains=BRAINS)
    assert (await server.client.get(f"/v1/models/{name}")).json()["id"] == "qwen@2"


async def test_an_unknown_model_is_a_404_that_names_the_brains(make_server: Make) -> None:
    server = await make_server(brains=BRAINS)
    assert "qwen@2" in refusal(await server.client.get("/v1/models/qwen@1"), 404, "not_found_error")


async def test_without_declared_brains_the_price_books_models_are_listed_and_every_name_is_found(
    server: Server,
) -> None:
    assert "claude-opus-5-5" in await ids(server, "?limit=1000")
    assert (await server.client.get("/v1/models/anything-9")).json()["id"] == "anything-9"


async def test_a_brain_without_a_model_of_its_own_is_listed_as_those_it_stands_for(make_server: Make) -> None:
    server = await make_server(brains=BRAINS | {"claude": {"engine": "claude", "aliases": ["claude-opus-"]}})
    listed = await ids(server, "?limit=1000")
    assert listed[:2] == ["qwen@2", "plan@1"] and len(listed) > 2
    assert all(name.startswith("claude-opus-") for name in listed[2:])
    assert (await server.client.get(f"/v1/models/{listed[2]}")).json()["id"] == listed[2]


async def test_auto_is_found_though_not_listed(make_server: Make) -> None:
    server = await make_server(brains=BRAINS)
    assert (await server.client.get("/v1/models/auto")).json()["id"] == "auto"
    assert "auto" not in await ids(server)


async def test_pages_go_forward_and_back(server: Server) -> None:
    every = await ids(server, "?limit=1000")
    first = (await server.client.get("/v1/models?limit=2")).json()
    assert (first["has_more"], first["last_id"]) == (True, every[1])
    assert await ids(server, f"?limit=2&after_id={every[1]}") == every[2:4]
    assert await ids(server, f"?limit=2&before_id={every[3]}") == every[1:3]
    last = (await server.client.get(f"/v1/models?after_id={every[-1]}")).json()
    assert last == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "limit:"),
        ("limit=1001", "limit:"),
        ("after_id=nobody", "after_id: 'nobody' is not in this list"),
        ("after_id=a&before_id=b", "before_id: cannot be combined"),
        ("lifecycle=old", "lifecycle[]:"),
    ],
)
async def test_a_page_that_makes_no_sense_is_refused(server: Server, query: str, message: str) -> None:
    assert refusal(await server.client.get(f"/v1/models?{query}"), 400).startswith(message)


async def test_only_what_is_active_is_there(server: Server) -> None:
    assert await ids(server, "?lifecycle[]=retired") == []
    assert await ids(server, "?lifecycle=active&lifecycle=retired") != []
