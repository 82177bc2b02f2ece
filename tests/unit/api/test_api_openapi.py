"""``/openapi.json`` is a whole and valid description: what a generator of clients needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from api_fakes import Server

Json = dict[str, Any]


@pytest.fixture
async def document(server: Server) -> Json:
    return (await server.client.get("/openapi.json")).json()


def _operations(document: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for each in node.values():
            yield from _references(each)
    elif isinstance(node, list):
        for each in node:
            yield from _references(each)


async def test_the_document_is_valid_openapi(document: Json) -> None:
    schemathesis.openapi.from_dict(document).validate()


async def test_every_reference_leads_somewhere(document: Json) -> None:
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(_references(document)) - known == set()


async def test_every_operation_has_a_name_of_its_own_and_says_what_it_takes_and_answers(document: Json) -> None:
    found = [*_operations(document)]
    names = [operation["operationId"] for _, operation in found]
    assert len(names) == len(set(names)) > 100
    for where, operation in found:
        for part in (
            operation["responses"]["200"],
            *([operation["requestBody"]] if "requestBody" in operation else []),
        ):
            assert all(each["schema"] for each in part["content"].values()), where
        if operation["tags"] != ["meta"]:
            refused = {status: each for status, each in operation["responses"].items() if not status.startswith("2")}
            assert {"400", "401", "404", "429"} <= set(refused), where
            for each in refused.values():
                assert each["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}, where


async def test_every_parameter_of_a_path_is_described(document: Json) -> None:
    for where, operation in _operations(document):
        path = where.partition(" ")[2]
        described = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert described == {part[1:-1] for part in path.split("/") if part.startswith("{")}, where
