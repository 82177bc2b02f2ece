"""Strict validators for the SDK's own request types.

The SDK describes every request body as a TypedDict. This module translates such a class into a
pydantic-core schema, so the fields we accept are the vendor's and can never drift from them: unknown
fields are refused at every level, numbers and strings are never converted, and a union picks its
member by the literal that tells them apart (ADR 0002).
"""

from __future__ import annotations

import collections.abc
from collections.abc import Callable, Iterable
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Required, Union, cast, get_args, get_origin

from anthropic.types.beta import BetaManagedAgentsAgentWithOverridesParams
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import SchemaValidator
from pydantic_core import core_schema as cs
from typing_extensions import get_type_hints, is_typeddict

HEADER_FIELDS = frozenset({"betas", "workspace_id"})
"""Parameters that the SDK sends as headers though its types list them with the body."""

_NULL_CLEARS: dict[type, frozenset[str]] = {
    BetaManagedAgentsAgentWithOverridesParams: frozenset({"tools", "mcp_servers", "skills", "model"})
}
"""Fields whose type has no null but for which spec A.4 gives null a meaning (clearing, or its own refusal)."""

TAG = "\x00"
"""Marks a union member's name in an error's location, so that it is never taken for a field."""

_LISTS = (collections.abc.Iterable, collections.abc.Sequence, list)


@cache
def core_schema(params: type) -> cs.CoreSchema:
    """Return the strict schema of a TypedDict class; raises TypeError for a type without a translation."""
    return _typed_dict(params, HEADER_FIELDS)


@cache
def validator(params: type) -> SchemaValidator:
    """Return the strict validator of a TypedDict class."""
    return SchemaValidator(core_schema(params))


@cache
def json_schema(params: type) -> dict[str, Any]:
    """Return the JSON schema of a TypedDict class, for the API description."""
    return GenerateJsonSchema().generate(core_schema(params))


def enclosing(params: type, location: Iterable[int | str]) -> dict[str, Any]:
    """Return the part of the schema that an error's location points into."""
    schema = cast("dict[str, Any]", core_schema(params))
    for step in location:
        schema = _past_null(_step_into(_past_null(schema), step))
    return schema


def _past_null(schema: dict[str, Any]) -> dict[str, Any]:
    return schema["schema"] if schema["type"] == "nullable" else schema


def _step_into(schema: dict[str, Any], step: int | str) -> dict[str, Any]:
    if schema["type"] == "typed-dict":
        return schema["fields"][step]["schema"]
    if schema["type"] == "list":
        return schema["items_schema"]
    if schema["type"] == "tagged-union":
        return schema["choices"][step]
    return schema["values_schema"]


def _typed_dict(params: type, drop: frozenset[str]) -> cs.CoreSchema:
    hints = get_type_hints(params, include_extras=True)
    fields: dict[str, cs.TypedDictField] = {}
    for name, hint in hints.items():
        if name in drop:
            continue
        required = get_origin(hint) is Required
        inner = get_args(hint)[0] if get_origin(hint) in (Required, NotRequired) else hint
        schema = _schema(inner)
        if name in _NULL_CLEARS.get(params, ()):
            schema = cs.nullable_schema(schema)
        fields[name] = cs.typed_dict_field(schema, required=required)
    is_open = getattr(params, "__extra_items__", None) is object
    return cs.typed_dict_schema(fields, extra_behavior="allow" if is_open else "forbid", strict=True)


def _schema(hint: Any) -> cs.CoreSchema:
    if hint is str:
        return cs.str_schema(strict=True)
    if hint is bool:
        return cs.bool_schema(strict=True)
    if hint is int:
        return cs.int_schema(strict=True)
    if hint is object:
        return cs.any_schema()
    if is_typeddict(hint):
        return _typed_dict(hint, frozenset())
    return _generic(hint)


def _generic(hint: Any) -> cs.CoreSchema:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return cs.literal_schema(list(args))
    if origin in _LISTS:
        return cs.list_schema(_schema(args[0]), strict=True)
    if origin is dict:
        return cs.dict_schema(_schema(args[0]), _schema(args[1]), strict=True)
    if origin in (Union, UnionType):
        return _union(args)
    raise TypeError(f"the SDK's request type {hint!r} has no strict translation yet")


def _union(args: Iterable[Any]) -> cs.CoreSchema:
    members = [member for member in args if member is not NoneType]
    objects = [member for member in members if is_typeddict(member)]
    scalars = [member for member in members if not is_typeddict(member)]
    schema = _objects_or_scalars(objects, scalars)
    return cs.nullable_schema(schema) if NoneType in args else schema


def _objects_or_scalars(objects: list[type], scalars: list[Any]) -> cs.CoreSchema:
    if not objects:
        return _scalars(scalars)
    if not scalars:
        return _objects(objects)
    return cs.tagged_union_schema(
        {TAG + "object": _objects(objects), TAG + "scalar": _scalars(scalars)}, discriminator=_object_or_scalar
    )


def _object_or_scalar(value: Any) -> str:
    return TAG + ("object" if isinstance(value, dict) else "scalar")


def _scalars(scalars: list[Any]) -> cs.CoreSchema:
    # A list of known names beside plain ``str`` is advice to type checkers, not a limit.
    if str in scalars:
        return cs.str_schema(strict=True)
    if len(scalars) == 1:
        return _schema(scalars[0])
    raise TypeError(f"the SDK's request union {scalars!r} has no strict translation yet")


def _objects(objects: list[type]) -> cs.CoreSchema:
    if len(objects) == 1:
        return _typed_dict(objects[0], frozenset())
    tag_field, tags = _discriminator(objects)
    choices = {TAG + tag: _typed_dict(member, frozenset()) for tag, member in tags.items()}
    return cs.tagged_union_schema(choices, discriminator=_tag_reader(tag_field), metadata={"tag_field": tag_field})


def _tag_reader(tag_field: str) -> Callable[[Any], str | None]:
    def read(value: Any) -> str | None:
        if not isinstance(value, dict):
            return None
        tag = cast("dict[str, Any]", value).get(tag_field)
        # A tag that is no string, or a stranger, is reported by name rather than as missing.
        return f"{TAG}{tag_field}" if tag is None else TAG + str(tag)

    return read


def _discriminator(objects: list[type]) -> tuple[str, dict[str, type]]:
    for name in ("type", "name"):
        tags = {tag: member for member in objects for tag in _literals(member, name)}
        if len(tags) == len(objects):
            return name, tags
    raise TypeError(f"nothing tells the members of the SDK's request union {objects!r} apart")


def _literals(member: type, name: str) -> tuple[str, ...]:
    hint = get_type_hints(member, include_extras=True).get(name)
    if get_origin(hint) is not Required:
        return ()
    inner = get_args(hint)[0]
    return get_args(inner) if get_origin(inner) is Literal else ()
