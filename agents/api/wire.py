"""Requests, parsed strictly at the edge: what is not understood is refused by name, never ignored.

A client that misspells ``budget`` must learn so at once; every fault's message names the field in the
API's notation (``tools[0].configs[1].permission_policy.type``), what is wrong and what would be right.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, cast

import orjson
from pydantic_core import ErrorDetails, ValidationError
from starlette.requests import Request

from agents.api.param_schema import TAG, enclosing, validator
from agents.errors import InvalidRequest

P = TypeVar("P")

_MAX_FAULTS = 5
"""Faults named in one answer; a body can hold thousands."""
_MAX_DEPTH = 100
"""Nesting of a body; JSON is written back with a limit of 254, and no schema of the API comes near."""

_MAX_NAME = 100
"""Characters of a client's own field name that are echoed."""

_JSON_TYPES: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}
_WANTED = {
    "string_type": "must be a string",
    "list_type": "must be an array",
    "dict_type": "must be an object",
    "bool_type": "must be true or false",
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "union_tag_not_found": "must be an object",
    "float_type": "must be a number",
}
_KINDS = {TAG + "object": "an object", TAG + "array": "an array"}
"""What else a value may be, by the members of a union of kinds."""


async def read_json(request: Request) -> Any:
    """Return the parsed body, ``{}`` for an empty one; raises InvalidRequest when it is not JSON."""
    raw = await request.body()
    return loads(raw)


def loads(raw: bytes) -> Any:
    """Parse a body; raises InvalidRequest for malformed, too deep or unstorable JSON."""
    if not raw:
        return {}
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as fault:
        raise InvalidRequest(f"the body is not valid JSON: {fault}") from None
    if raw.count(b"{") + raw.count(b"[") > _MAX_DEPTH:
        _check_depth(body)
    if b"\\u0000" in raw:
        _check_no_nul(body)
    return body


def no_fields(body: Any) -> None:
    """Raise InvalidRequest when an action that takes no body was sent one."""
    if not isinstance(body, dict):
        raise InvalidRequest(f"the body must be empty or an object, not {_json_type(body)}")
    if body:
        name = next(iter(cast("dict[str, Any]", body)))
        raise InvalidRequest(f"{name}: unknown field; this call takes no fields")


def parse(params: type[P], body: Any) -> P:
    """Return *body* as the SDK's request type *params*; raises InvalidRequest naming each fault."""
    try:
        return validator(params).validate_python(body)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        lines = [_fault(params, body, fault) for fault in faults[:_MAX_FAULTS]]
        if len(faults) > _MAX_FAULTS:
            lines.append(f"and {len(faults) - _MAX_FAULTS} more faults")
        raise InvalidRequest("; ".join(lines)) from None


def path_text(location: Iterable[int | str]) -> str:
    """Return a location in the API's notation, such as ``tools[0].name``."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        elif not step.startswith(TAG):
            name = step[:_MAX_NAME]
            text += f".{name}" if text else name
    return text


def _fault(params: type, body: Any, fault: ErrorDetails) -> str:
    location, kind, given = fault["loc"], fault["type"], fault["input"]
    path = path_text(location) or "the body"
    if kind == "missing":
        return f"{path}: required, but missing"
    if kind == "extra_forbidden":
        known = ", ".join(enclosing(params, location[:-1])["fields"])
        return f"{path}: unknown field; known fields are {known}"
    if kind == "union_tag_invalid":
        return _tag_fault(params, location, given)
    if kind == "literal_error":
        return f"{path}: must be {fault.get('ctx', {}).get('expected')}, not {_shown(given)}"
    return f"{path}: {_WANTED.get(kind, fault['msg'])}{_alternatives(params, location)}, not {_json_type(given)}"


def _alternatives(params: type, location: tuple[int | str, ...]) -> str:
    if not location or location[-1] != TAG + "scalar":
        return ""
    kinds = enclosing(params, location[:-1])["choices"]
    return "".join(f" or {words}" for kind, words in _KINDS.items() if kind in kinds)


def _tag_fault(params: type, location: tuple[int | str, ...], given: Any) -> str:
    union = enclosing(params, location)
    field = union["metadata"]["tag_field"]
    wanted = ", ".join(tag.removeprefix(TAG) for tag in union["choices"])
    path = path_text((*location, field))
    if field not in given:
        return f"{path}: required, but missing; it must be one of {wanted}"
    return f"{path}: must be one of {wanted}, not {_shown(given[field])}"


def _shown(value: Any) -> str:
    return repr(value[:60]) if isinstance(value, str) else _json_type(value)


def _json_type(value: object) -> str:
    return _JSON_TYPES.get(type(value), "a value of another type")


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).values()
    return cast("list[Any]", value) if isinstance(value, list) else ()


def _check_depth(body: Any) -> None:
    level, depth = [body], 0
    while level:
        if depth > _MAX_DEPTH:
            raise InvalidRequest(f"the body nests deeper than {_MAX_DEPTH} levels")
        level = [child for value in level for child in _children(value)]
        depth += 1


def _check_no_nul(body: Any) -> None:
    # Databases cannot hold U+0000 in text: it is refused here rather than failing at the store.
    waiting = [body]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(cast("dict[str, Any]", value).keys())
        if isinstance(value, str) and "\x00" in value:
            raise InvalidRequest("the body holds the character U+0000, which cannot be stored")
        waiting.extend(_children(value))
