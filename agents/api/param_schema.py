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
from typing import Annotated, Any, Literal, NotRequired, Required, Union, cast, get_args, get_origin

from anthropic.types.beta import BetaManagedAgentsAgentWithOverridesParams
from anthropic.types.beta.memory_stores import MemoryCreateParams, MemoryUpdateParams
from anthropic.types.beta.sessions import ResourceUpdateParams
from anthropic.types.beta.vaults import CredentialUpdateParams
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import SchemaValidator
from pydantic_core import core_schema as cs
from typing_extensions import get_type_hints, is_typeddict

HEADER_FIELDS = frozenset({"betas", "workspace_id"})
"""Parameters that the SDK sends as headers though its types list them with the body."""

IN_PATH: dict[type, frozenset[str]] = {
    CredentialUpdateParams: frozenset({"vault_id"}),
    MemoryCreateParams: frozenset({"view"}),
    MemoryUpdateParams: frozenset({"memory_store_id", "view"}),
    ResourceUpdateParams: frozenset({"session_id"}),
}
"""Parameters that the SDK puts into the path or the query though its types list them with the body."""

_NULL_CLEARS: dict[type, frozenset[str]] = {
    BetaManagedAgentsAgentWithOverridesParams: frozenset({"tools", "mcp_servers", "skills", "model"})
}
"""Fields whose type has no null but for which spec A.4 gives null a meaning (clearing, or its own refusal)."""

TAG = "\x00"
"""Marks a union member's name in an error's location, so that it is never taken for a field."""

_SCALARS: dict[type, cs.CoreSchema] = {
    str: cs.str_schema(strict=True),
    bool: cs.bool_schema(strict=True),
    int: cs.int_schema(strict=True),
    float: cs.float_schema(strict=True),
    object: cs.any_schema(),
}
_LISTS = (collections.abc.Iterable, collections.abc.Sequence, list)


@cache
def core_schema(params: type) -> cs.CoreSchema:
    """Return the strict schema of a TypedDict class; raises TypeError for a type without a translation."""
    translation = _Translation()
    headers = HEADER_FIELDS if params.__module__.startswith("anthropic.") else frozenset[str]()
    fields = translation.fields_of(params, headers | IN_PATH.get(params, frozenset()))
    return cs.definitions_schema(fields, list(translation.definitions.values()))


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
    whole = cast("dict[str, Any]", core_schema(params))
    definitions = {schema["ref"]: schema for schema in whole["definitions"]}
    schema: dict[str, Any] = whole["schema"]
    for step in location:
        schema = _step_into(schema, step)
        while schema["type"] in ("nullable", "definition-ref"):
            schema = schema["schema"] if schema["type"] == "nullable" else definitions[schema["schema_ref"]]
    return schema


def _step_into(schema: dict[str, Any], step: int | str) -> dict[str, Any]:
    if schema["type"] == "typed-dict":
        return schema["fields"][step]["schema"]
    if schema["type"] == "list":
        return schema["items_schema"]
    if schema["type"] == "tagged-union":
        return schema["choices"][step]
    return schema["values_schema"]


class _Translation:
    """One request type and all that it mentions; each class of objects is translated once."""

    def __init__(self) -> None:
        self.definitions: dict[str, cs.CoreSchema] = {}

    def fields_of(self, params: type, drop: frozenset[str] = frozenset(), *, ref: str | None = None) -> cs.CoreSchema:
        hints = get_type_hints(params, include_extras=True)
        fields: dict[str, cs.TypedDictField] = {}
        for name, hint in hints.items():
            if name in drop:
                continue
            required = get_origin(hint) is Required
            inner = get_args(hint)[0] if get_origin(hint) in (Required, NotRequired) else hint
            schema = self._schema(inner)
            if name in _NULL_CLEARS.get(params, ()):
                schema = cs.nullable_schema(schema)
            fields[name] = cs.typed_dict_field(schema, required=required)
        is_open = getattr(params, "__extra_items__", None) is object
        return cs.typed_dict_schema(fields, extra_behavior="allow" if is_open else "forbid", strict=True, ref=ref)

    def _object(self, params: type) -> cs.CoreSchema:
        ref = f"{params.__module__}.{params.__name__}"
        if ref not in self.definitions:
            self.definitions[ref] = cs.any_schema()  # holds the place of a class that mentions itself
            self.definitions[ref] = self.fields_of(params, ref=ref)
        return cs.definition_reference_schema(ref)

    def _schema(self, hint: Any) -> cs.CoreSchema:
        if (scalar := _SCALARS.get(hint) if isinstance(hint, type) else None) is not None:
            return scalar
        if is_typeddict(hint):
            return self._object(hint)
        return self._generic(hint)

    def _generic(self, hint: Any) -> cs.CoreSchema:
        origin, args = get_origin(hint), get_args(hint)
        if origin is Literal:
            return cs.literal_schema(list(args))
        if origin in _LISTS:
            return cs.list_schema(self._schema(args[0]), strict=True)
        if origin is dict:
            return cs.dict_schema(self._schema(args[0]), self._schema(args[1]), strict=True)
        if origin in (Union, UnionType):
            return self._union(args)
        raise TypeError(f"the SDK's request type {hint!r} has no strict translation yet")

    def _union(self, args: Iterable[Any]) -> cs.CoreSchema:
        members = [member for member in args if member is not NoneType and not _is_answer(member)]
        objects = [member for member in members if is_typeddict(member)]
        lists = [member for member in members if get_origin(member) in _LISTS]
        mappings = [member for member in members if get_origin(member) is dict]
        scalars = [member for member in members if member not in (*objects, *lists, *mappings)]
        # A mapping beside classes of objects says that any object will do.
        kinds = {"object": self._schema(mappings[0]) if mappings else self._objects(objects) if objects else None}
        kinds |= {"array": self._schema(lists[0]) if lists else None}
        kinds |= {"scalar": self._scalars(scalars) if scalars else None}
        schema = _told_apart({TAG + kind: schema for kind, schema in kinds.items() if schema is not None})
        return cs.nullable_schema(schema) if NoneType in args else schema

    def _scalars(self, scalars: list[Any]) -> cs.CoreSchema:
        # A list of known names beside plain ``str`` is advice to type checkers, not a limit.
        if str in scalars:
            return cs.str_schema(strict=True)
        if len(scalars) == 1:
            return self._schema(scalars[0])
        raise TypeError(f"the SDK's request union {scalars!r} has no strict translation yet")

    def _objects(self, objects: list[type]) -> cs.CoreSchema:
        if len(objects) == 1:
            return self._object(objects[0])
        tag_field, tags, default = _discriminator(objects)
        choices = {TAG + tag: self._object(member) for tag, member in tags.items()}
        reader = _tag_reader(tag_field, default)
        return cs.tagged_union_schema(choices, discriminator=reader, metadata={"tag_field": tag_field})


def _is_answer(member: Any) -> bool:
    """Whether a member is a class of the SDK's answers: as JSON it is what the request type beside it describes."""
    if get_origin(member) in (Annotated, Union):
        return any(_is_answer(inner) for inner in get_args(member))
    return isinstance(member, type) and issubclass(member, BaseModel)


def _told_apart(kinds: dict[str, cs.CoreSchema]) -> cs.CoreSchema:
    """Return the union of members of several kinds of JSON values; the last takes what is of no kind."""
    if len(kinds) == 1:
        return next(iter(kinds.values()))
    *_, last = kinds

    def kind_of(value: Any) -> str:
        kind = "object" if isinstance(value, dict) else "array" if isinstance(value, list) else "scalar"
        return TAG + kind if TAG + kind in kinds else last

    return cs.tagged_union_schema({**kinds}, discriminator=kind_of)


def _tag_reader(tag_field: str, default: str | None) -> Callable[[Any], str | None]:
    def read(value: Any) -> str | None:
        if not isinstance(value, dict):
            return None
        tag = cast("dict[str, Any]", value).get(tag_field)
        if tag is None:
            tag = default
        # A tag that is no string, or a stranger, is reported by name rather than as missing.
        return f"{TAG}{tag_field}" if tag is None else TAG + str(tag)

    return read


def _discriminator(objects: list[type]) -> tuple[str, dict[str, type], str | None]:
    """Return the field whose literal tells the members apart, the member of each, and what it is when left out."""
    for name in ("type", "name", "role"):
        literals = [(tag, member) for member in objects for tag in _literals(member, name)]
        tags = dict(literals)
        optional = [tag for tag, member in literals if not _is_required(member, name)]
        if len(literals) == len(tags) and set(tags.values()) == set(objects) and len(optional) <= 1:
            return name, tags, optional[0] if optional else None
    raise TypeError(f"nothing tells the members of the SDK's request union {objects!r} apart")


def _is_required(member: type, name: str) -> bool:
    return get_origin(get_type_hints(member, include_extras=True).get(name)) is Required


def _literals(member: type, name: str) -> tuple[str, ...]:
    hint = get_type_hints(member, include_extras=True).get(name)
    for inner in (hint, *get_args(hint)):
        if get_origin(inner) is Literal:
            return get_args(inner)
    return ()
