"""What single keywords of JSON Schemas say, for the comparison of two of them (``agents.governance.schema_change``).

The older schema is a list of *parts* that all hold; the functions look for one that implies what the newer one says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

from agents.governance.schemas import resolved

Schema = Mapping[str, Any]
TYPES = frozenset({"null", "boolean", "number", "integer", "string", "array", "object"})
_SHOWN_CHARS = 80


@dataclass(frozen=True, slots=True)
class Narrowing:
    """A place where the newer schema refuses what the older one may have taken."""

    path: str
    """Such as ``customer.name``; empty for the whole."""
    reason: str


def types_of(schema: Schema) -> frozenset[str]:
    """Return the types that a schema takes; who takes numbers takes integers."""
    given: Any = schema.get("type")
    if given is None:
        return TYPES
    types = {given} if isinstance(given, str) else set(cast("list[str]", given))
    return frozenset(types | ({"integer"} if "number" in types else set()))


def missing(older: frozenset[str], newer: frozenset[str]) -> frozenset[str]:
    gone = older - newer
    return gone - {"integer"} if "number" in gone else gone


def same(older: Sequence[Schema], newer: Schema, *words: str) -> bool:
    """Whether some part says just the same by all of *words*; what refers to elsewhere may be something else there."""
    wanted = [text_of(newer.get(word)) for word in words]
    return not any('"$ref"' in text for text in wanted) and any(
        [text_of(part.get(word)) for word in words] == wanted for part in older
    )


def is_open(older: Sequence[Schema]) -> bool:
    """Whether an object may have properties that the parts do not list."""
    return any(patterns(part) or part.get("additionalProperties", False) is not False for part in older)


def text_of(value: Any) -> str:
    """Return a value as text that is the same for the same values only."""
    # As text, since to Python 1 and True are equal.
    return json.dumps(value, sort_keys=True)


def without_branches(part: Schema, branches: Any) -> Schema:
    return {word: value for word, value in part.items() if value is not branches}


def shallow(root: Schema, branch: Any) -> Schema | None:
    if isinstance(branch, bool):
        return None
    while isinstance(reference := branch.get("$ref"), str):
        branch = resolved(root, reference)
        if isinstance(branch, bool):
            return None
    return branch


def listed_apart(one: Schema, other: Schema, name: str) -> bool:
    values: list[list[Any]] = []
    for each in (one, other):
        schema: Any = each.get("properties", {}).get(name)
        if not isinstance(schema, Mapping):
            return False
        listed = cast("Schema", schema)
        if "const" not in listed and "enum" not in listed:
            return False
        values.append([listed["const"]] if "const" in listed else listed["enum"])
    return not any(value in values[1] for value in values[0])


def number_bounds(older: list[Schema], newer: Schema, path: str, *, integers: bool) -> Iterator[Narrowing]:
    for word, strict, sign in (("minimum", "exclusiveMinimum", 1), ("maximum", "exclusiveMaximum", -1)):
        wanted = _edge([newer], word, strict, sign)
        held = _edge(older, word, strict, sign)
        if wanted is not None and (held is None or wanted > held):
            value, is_strict = wanted
            yield Narrowing(path, f"{strict if is_strict else word}: {_number(value * sign)} is tighter than before")
    if "multipleOf" in newer:
        step = Fraction(str(newer["multipleOf"]))
        steps = [Fraction(str(part["multipleOf"])) for part in older if "multipleOf" in part]
        if integers:
            steps.append(Fraction(1))
        if not any((each / step).denominator == 1 for each in steps):
            yield Narrowing(path, f"multipleOf: only multiples of {newer['multipleOf']} are taken")


def _edge(parts: Sequence[Schema], word: str, strict: str, sign: int) -> tuple[Fraction, bool] | None:
    """Return the tightest edge; a strict one is tighter than one that is not. Upper edges are mirrored."""
    edges = [(Fraction(str(part[word])) * sign, False) for part in parts if word in part]
    edges += [(Fraction(str(part[strict])) * sign, True) for part in parts if strict in part]
    return max(edges, default=None)


def _number(value: Fraction) -> str:
    return f"{float(value):g}"


def string_bounds(older: list[Schema], newer: Schema, path: str) -> Iterator[Narrowing]:
    yield from bounds(older, newer, path, "minLength", "maxLength", "characters")
    # Many servers hold callers to formats, though JSON Schema calls them notes.
    for word in ("pattern", "format"):
        if word in newer and not same(older, newer, word):
            yield Narrowing(path, f"{word}: only {short(text_of(newer[word]))} is taken")


def bounds(
    older: list[Schema], newer: Schema, path: str, least: str | None, most: str | None, what: str
) -> Iterator[Narrowing]:
    if least is not None and (fewest := newer.get(least, 0)) > max((part.get(least, 0) for part in older), default=0):
        yield Narrowing(path, f"{least}: fewer than {fewest} {what} are refused")
    if most is not None and most in newer:
        held = min((part[most] for part in older if most in part), default=None)
        if held is None or newer[most] < held:
            yield Narrowing(path, f"{most}: more than {newer[most]} {what} are refused")


def patterns(schema: Schema) -> list[tuple[str, Any]]:
    return list(schema.get("patternProperties", {}).items())


def schemas_for(schema: Schema, name: str) -> list[Any]:
    """Return what an object's schema says of the property *name*."""
    found = [each for pattern, each in patterns(schema) if re.search(pattern, name)]
    if name in schema.get("properties", {}):
        found.append(schema["properties"][name])
    return found or [schema.get("additionalProperties", True)]


def schemas_like(schema: Schema, pattern: str) -> list[Any]:
    """Return what an object's schema may say of a property whose name matches *pattern*."""
    found = [each for _, each in patterns(schema)]
    found += [each for name, each in schema.get("properties", {}).items() if re.search(pattern, name)]
    return (
        found if pattern in schema.get("patternProperties", {}) else [*found, schema.get("additionalProperties", True)]
    )


def at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
