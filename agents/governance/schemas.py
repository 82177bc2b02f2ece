"""JSON Schemas of tools: which are taken, and whether a value keeps to one. ``jsonschema`` is loaded at first use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_MAX_NODES = 20_000
_MAX_DEPTH = 64
_MAX_FAULTS = 5
_SHOWN_CHARS = 200
_BESIDE = ("not", "if", "then", "else")
_LISTS_BESIDE = ("allOf", "anyOf", "oneOf")
"""Keywords whose schemas are about the same value as the schema that they are in."""


class InvalidSchema(ValueError):
    """No JSON Schema that is taken; the message says where and why."""


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise InvalidSchema unless *schema* is one of draft 2020-12 whose references stay within it and end."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    for count, (where, depth, node) in enumerate(_nodes(schema)):
        if count > _MAX_NODES:
            raise InvalidSchema(f"has more than {_MAX_NODES} parts")
        if depth > _MAX_DEPTH:
            raise InvalidSchema(f"{where}: is nested more than {_MAX_DEPTH} deep")
        _check_reference(schema, where, node)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = ".".join(str(part) for part in error.absolute_path)
        raise InvalidSchema(f"{where or 'schema'}: {error.message[:_SHOWN_CHARS]}") from error
    ended = set[int]()
    for where, _, node in _nodes(schema):
        if isinstance(node, Mapping):
            _check_ends(schema, where, cast("Mapping[str, Any]", node), frozenset(), ended)


def _check_reference(root: Mapping[str, Any], where: str, node: object) -> None:
    if not isinstance(node, Mapping):
        return
    schema = cast("Mapping[str, Any]", node)
    for keyword in ("$dynamicRef", "$recursiveRef", "$id"):
        # What other documents call a schema is of no use here, and would change what '#' means.
        if isinstance(schema.get(keyword), str) and not (keyword == "$id" and schema is root):
            raise InvalidSchema(f"{where}{keyword}: is not taken; refer to parts of this schema by $ref")
    given = schema.get("patternProperties")
    expressions = [*(cast("Mapping[str, Any]", given) if isinstance(given, Mapping) else ()), schema.get("pattern")]
    for expression in expressions:
        if isinstance(expression, str):
            try:
                re.compile(expression)
            except re.error as error:
                raise InvalidSchema(f"{where}pattern: {expression[:80]!r} is no expression: {error}") from error
    reference = schema.get("$ref")
    if isinstance(reference, str):
        try:
            resolved(root, reference)
        except LookupError as error:
            raise InvalidSchema(f"{where}$ref: {reference[:80]!r} is not in this schema; refer to '#/...'") from error


def _check_ends(
    root: Mapping[str, Any], where: str, schema: Mapping[str, Any], above: frozenset[int], ended: set[int]
) -> None:
    """Refuse a schema that says of a value what it says of the same value, and so without end."""
    if id(schema) in above:
        raise InvalidSchema(f"{where or 'schema'}: refers to itself without end")
    if id(schema) in ended:
        return
    for each in _beside(root, schema):
        _check_ends(root, where, each, above | {id(schema)}, ended)
    ended.add(id(schema))


def _beside(root: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    found = [schema.get(keyword) for keyword in _BESIDE]
    for keyword in _LISTS_BESIDE:
        if isinstance(listed := schema.get(keyword), list):
            found += cast("list[Any]", listed)
    if isinstance(dependent := schema.get("dependentSchemas"), Mapping):
        found += cast("Mapping[str, Any]", dependent).values()
    if isinstance(reference := schema.get("$ref"), str):
        found.append(resolved(root, reference))
    yield from (cast("Mapping[str, Any]", each) for each in found if isinstance(each, Mapping))


def resolved(root: Mapping[str, Any], reference: str) -> Any:
    """Return what a ``$ref`` of *root* means. Raises LookupError when that is not in it."""
    if not reference.startswith("#"):
        raise LookupError(reference)
    pointer, node = unquote(reference[1:]), cast("Any", root)
    if pointer and not pointer.startswith("/"):
        raise LookupError(reference)
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        node = _member(node, name)
    if not isinstance(node, Mapping | bool):
        raise LookupError(reference)
    return cast("Any", node)


def _member(node: object, name: str) -> Any:
    if isinstance(node, Mapping):
        return cast("Mapping[str, Any]", node)[name]
    if isinstance(node, list) and name.isdigit():
        return cast("list[Any]", node)[int(name)]
    raise LookupError(name)


def _nodes(schema: object) -> Iterator[tuple[str, int, object]]:
    waiting: list[tuple[str, int, object]] = [("", 0, schema)]
    while waiting:
        where, depth, node = waiting.pop()
        yield where, depth, node
        if isinstance(node, Mapping):
            entries = cast("Mapping[str, object]", node).items()
            waiting += [(f"{where}{name}.", depth + 1, value) for name, value in entries]
        elif isinstance(node, list):
            values = enumerate(cast("list[object]", node))
            waiting += [(f"{where}{index}.", depth + 1, value) for index, value in values]


def validator_of(schema: Mapping[str, Any]) -> Validator:
    """Return what checks values against *schema*; formats are notes and not checked, as in MCP's own SDK."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema)


def faults(validator: Validator, value: object) -> Sequence[str]:
    """Return where and why *value* breaks the schema: a few faults, the most telling first."""
    from jsonschema.exceptions import relevance

    found = sorted(validator.iter_errors(cast("Any", value)), key=relevance, reverse=True)
    return [f"{_path(each.absolute_path)}{each.message[:_SHOWN_CHARS]}" for each in found[:_MAX_FAULTS]]


def _path(steps: Any) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
    return f"{text}: " if text else ""
