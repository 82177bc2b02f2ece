"""``/openapi.json``: the API described from the same operations that it is mounted from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from agents.api.param_schema import json_schema
from agents.api.routes import Operation, Parameter

_PATH_PARAMETER = re.compile(r"{(\w+)}")
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["type", "error", "request_id"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}, "details": {"type": "object"}},
        },
        "request_id": {"type": "string"},
    },
}
_BYTES: dict[str, Any] = {"type": "string", "format": "binary"}
_FILE = "application/octet-stream"
"""What a file is when nobody knows; it may be of any other type, too."""
_UNTYPED: dict[str, dict[str, Any]] = {
    "application/json": {"type": "object"},
    "text/event-stream": {"type": "string"},
    "text/plain": {"type": "string"},
}
"""Schemas of answers that have no type of their own; of other media types they are bytes."""
_COMMON_STATUSES = (400, 401, 403, 404, 413, 429, 503, 529)
_META_STATUSES = (403,)


def describe(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of *operations*."""
    components: dict[str, Any] = {"Error": _ERROR}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Hecaton", "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _operation(operation: Operation, components: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "parameters": [*_path_parameters(operation.path), *map(_parameter, operation.parameters)],
        "responses": _responses(operation, components),
    }
    if operation.tag != "meta":
        described["security"] = [{"bearer": []}, {"key": []}]
    if operation.body is not None:
        schema = _component(components, operation.body.__name__, json_schema(operation.body))
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if operation.form is not None:
        described["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": operation.form}}}
    return described


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PATH_PARAMETER.findall(path)
    ]


def _parameter(parameter: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.where,
        "required": False,
        "description": parameter.description,
        "schema": parameter.schema,
    }
    if parameter.schema.get("type") == "array":
        described |= {"style": "form", "explode": True}
    return described


def _responses(operation: Operation, components: dict[str, Any]) -> dict[str, Any]:
    refusal = {"description": "Refused", "content": {"application/json": {"schema": _reference("Error")}}}
    success: dict[str, Any] = {"description": "Done"}
    schema = _UNTYPED.get(operation.media_type, _BYTES)
    if operation.answer is not None:
        schema = _answer_schema(operation, components)
    success["content"] = {operation.media_type: {"schema": schema}}
    if operation.media_type == _FILE:
        success["content"]["*/*"] = {"schema": schema}
    if operation.streams:
        success["content"]["text/event-stream"] = {"schema": _UNTYPED["text/event-stream"]}
    statuses = _META_STATUSES if operation.tag == "meta" else _COMMON_STATUSES
    done = {"200": success}
    if any(each.name == "Range" for each in operation.parameters):
        done["206"] = {**success, "description": "The range that was asked for"}
    return {**done, **{str(status): refusal for status in sorted({*statuses, *operation.statuses})}}


def _answer_schema(operation: Operation, components: dict[str, Any]) -> dict[str, Any]:
    answer: Any = operation.answer
    # The SDK's unions are annotated, and have no name of their own.
    name = answer.__name__ if isinstance(answer, type) else operation.name + "Item"
    schema = _component(components, name, _json_schema_of(answer))
    if not operation.listing:
        return schema
    page = {"type": ["string", "null"]}
    return {
        "type": "object",
        "required": ["data", "next_page"],
        "properties": {"data": {"type": "array", "items": schema}, "next_page": page, "prev_page": page},
    }


@cache
def _json_schema_of(answer: Any) -> dict[str, Any]:
    """Made once for all operations that answer with the same type: it is most of the work."""
    return TypeAdapter(answer).json_schema(mode="serialization")


def _component(components: dict[str, Any], name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Keep a schema under its name, its own definitions beside it; returns the reference to it."""
    whole = {key: value for key, value in schema.items() if key != "$defs"}
    for each, definition in {**schema.get("$defs", {}), name: whole}.items():
        relocated = _relocated(definition)
        assert components.setdefault(each, relocated) == relocated, f"two schemas are called {each}"
    return _reference(name)


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _relocated(node: Any) -> Any:
    if isinstance(node, dict):
        items: dict[str, Any] = node  # pyright: ignore[reportUnknownVariableType]
        return {
            key: value.replace("#/$defs/", "#/components/schemas/")
            if key == "$ref" and isinstance(value, str)
            else _relocated(value)
            for key, value in items.items()
        }
    if isinstance(node, list):
        return [_relocated(value) for value in node]  # pyright: ignore[reportUnknownVariableType]
    return node
