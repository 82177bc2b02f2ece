"""Whether a schema takes all that another one took.

Bug class this catches: a change that breaks callers and is called harmless.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.governance.schema_change import narrowings

STRING: dict[str, Any] = {"type": "string"}
INTEGER: dict[str, Any] = {"type": "integer"}


def object_of(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def told(older: Any, newer: Any) -> list[str]:
    return [f"{each.path}: {each.reason}".removeprefix(": ") for each in narrowings(older, newer)]


NO_ALTERNATIVE = "none of the alternatives takes all of it"
OPTIONAL = {"anyOf": [STRING, {"type": "null"}]}
TREE = {"type": "object", "properties": {"v": INTEGER, "below": {"type": "array", "items": {"$ref": "#"}}}}
CIRCLE = {**object_of("kind", "r", kind={"const": "circle"}, r=INTEGER)}
SQUARE = {**object_of("kind", "a", kind={"const": "square"}, a=INTEGER)}


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (STRING, {}),
        (STRING, {"type": ["string", "null"]}),
        (INTEGER, {"type": "number"}),
        (STRING, OPTIONAL),
        (OPTIONAL, {"type": ["null", "string"]}),
        ({"type": ["null", "string"]}, OPTIONAL),
        ({"enum": ["a", "b"]}, STRING),
        ({"enum": ["a", "b"]}, {"enum": ["b", "a", "c"]}),
        ({"type": "boolean"}, {"enum": [True, False, None]}),
        ({"const": 3}, {"type": "integer", "minimum": 3}),
        ({**STRING, "maxLength": 3}, {**STRING, "maxLength": 5}),
        ({**INTEGER, "minimum": 3}, {**INTEGER, "exclusiveMinimum": 2}),
        ({**INTEGER, "multipleOf": 4}, {**INTEGER, "multipleOf": 2}),
        (INTEGER, {"type": "number", "multipleOf": 1}),
        (object_of(a=STRING), object_of(a=STRING, b=INTEGER)),
        (object_of(a=STRING), {**object_of(a=STRING), "additionalProperties": False}),
        (object_of("a", a=STRING), object_of(a=OPTIONAL)),
        (object_of(a=STRING), {"type": "object", "additionalProperties": STRING}),
        (object_of("a", a=STRING), {"allOf": [object_of("a"), object_of(a={})]}),
        ({"type": "array", "items": STRING}, {"type": "array", "items": OPTIONAL}),
        ({"type": "array", "prefixItems": [STRING], "items": INTEGER}, {"items": {"type": ["string", "integer"]}}),
        (TREE, {**TREE, "properties": {**TREE["properties"], "v": {"type": "number"}}}),
        (object_of(a={"$ref": "#/$defs/x"}) | {"$defs": {"x": STRING}}, object_of(a=STRING)),
        ({"oneOf": [CIRCLE]}, {"oneOf": [CIRCLE, SQUARE]}),
        ({"anyOf": [CIRCLE, SQUARE]}, {"oneOf": [SQUARE, CIRCLE]}),
        ({**STRING, "pattern": "^a"}, {**STRING, "pattern": "^a"}),
        ({"type": "object", "unevaluatedProperties": False}, {"type": "object", "unevaluatedProperties": False}),
        ({"not": STRING}, {"not": STRING, "title": "anything else"}),
    ],
)
def test_what_takes_everything_as_before_breaks_nothing(older: Any, newer: Any) -> None:
    assert told(older, newer) == []


@pytest.mark.parametrize(
    ("older", "newer", "fault"),
    [
        (object_of(a=STRING), object_of("a", a=STRING), "a: is required"),
        (object_of(), object_of("b", b=STRING), "b: is required"),
        (object_of(a=OPTIONAL), object_of(a=STRING), "a: null is refused"),
        ({"type": "number"}, INTEGER, "type: number is refused"),
        ({"enum": ["a", "b"]}, {"enum": ["a"]}, '"b" is refused'),
        (STRING, {"enum": ["a"]}, 'only "a" is taken'),
        ({**INTEGER, "minimum": 1}, {**INTEGER, "minimum": 2}, "minimum: 2 is tighter than before"),
        ({**INTEGER, "maximum": 5}, {**INTEGER, "exclusiveMaximum": 5}, "exclusiveMaximum: 5 is tighter than before"),
        (STRING, {**STRING, "maxLength": 9}, "maxLength: more than 9 characters are refused"),
        (STRING, {**STRING, "pattern": "^a"}, 'pattern: only "^a" is taken'),
        (STRING, {**STRING, "format": "date"}, 'format: only "date" is taken'),
        ({**INTEGER, "multipleOf": 2}, {**INTEGER, "multipleOf": 3}, "multipleOf: only multiples of 3 are taken"),
        (
            object_of(a=STRING, b=STRING),
            {**object_of(a=STRING), "additionalProperties": False},
            "b: is refused",
        ),
        (
            {**object_of(a=STRING), "additionalProperties": True},
            {**object_of(a=STRING), "additionalProperties": False},
            "*: is refused",
        ),
        (
            {**object_of(a=STRING), "additionalProperties": True},
            object_of(a=STRING, b=INTEGER),
            "b: type: array or boolean or null or number or object or string is refused",
        ),
        ({"type": "array"}, {"type": "array", "minItems": 1}, "minItems: fewer than 1 items are refused"),
        (
            {"type": "array", "items": {"type": "array", "items": STRING}},
            {"type": "array", "items": {"type": "array", "items": INTEGER}},
            "[][]: type: string is refused",
        ),
        (
            object_of(a=object_of(b={"type": ["string", "null"]})),
            object_of(a={"$ref": "#/$defs/x"}) | {"$defs": {"x": object_of(b=STRING)}},
            "a.b: type: null is refused",
        ),
        ({"oneOf": [CIRCLE, SQUARE]}, CIRCLE, 'kind: "square" is refused'),
        (
            {"oneOf": [CIRCLE, SQUARE]},
            {"oneOf": [CIRCLE]},
            NO_ALTERNATIVE,
        ),
        (STRING, {"oneOf": [STRING, {"minLength": 3}]}, NO_ALTERNATIVE),
        (STRING, {"not": {"const": "a"}}, "not: differs and cannot be compared"),
        (
            TREE,
            {**TREE, "properties": {**TREE["properties"], "v": {**INTEGER, "minimum": 0}}},
            "v: minimum: 0 is tighter than before",
        ),
        (
            object_of(a=STRING, b=STRING),
            {**object_of(a=STRING, b=STRING), "dependentRequired": {"a": ["b"]}},
            "b: is required with a",
        ),
    ],
)
def test_what_refuses_something_is_told_with_its_place(older: Any, newer: Any, fault: str) -> None:
    assert fault in told(older, newer)


def test_what_fails_in_one_alternative_is_not_taken_for_granted_in_the_next() -> None:
    deep = object_of(x=object_of(y=STRING))
    older = {"anyOf": [{**deep, "title": "one"}, {**deep, "title": "two"}], "properties": deep["properties"]}
    assert told(older, object_of(x=object_of(y=INTEGER)))


def test_schemas_that_are_too_large_are_called_so() -> None:
    wide = {"anyOf": [object_of(**{f"p{i}": {**INTEGER, "minimum": i}}) for i in range(200)]}
    newer = {"anyOf": [object_of(**{f"p{i}": {**INTEGER, "minimum": i + 1}}) for i in range(200)]}
    assert told(wide, newer) == ["the schemas are too large to be compared"]


# -- against the library that checks values -------------------------------------------------------------------

NAMES = "abc"
PLAIN = ("string", "integer", "number", "null", "boolean")


class Maker:
    """Makes schemas, changes them a little, and makes values that they may take, as *random* has it."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def some(self, **words: Callable[[], Any]) -> dict[str, Any]:
        return {word: make() for word, make in words.items() if self.random.random() < 0.35}

    def bound(self) -> int:
        return self.random.randint(0, 3)

    def schemas(self, depth: int, most: int = 2) -> list[Any]:
        return [self.schema(depth) for _ in range(self.random.randint(0, most))]

    def schema(self, depth: int = 2) -> Any:
        kinds = [*PLAIN, "enum", "any", *(("array", "object", "object", "object", "union", "all") if depth else ())]
        kind, below = self.random.choice(kinds), partial(self.schema, depth - 1)
        match kind:
            case "any":
                return self.random.choice([{}, {"minLength": 1}, {"minimum": 1}, {"required": ["a"]}])
            case "enum":
                return {"enum": self.random.sample(["a", "ab", 0, 1, 2, None, True], self.random.randint(1, 3))}
            case "union":
                return {self.random.choice(["anyOf", "oneOf"]): [below(), below()]}
            case "all":
                return {"allOf": [below(), below()]}
            case "string":
                pattern = partial(self.random.choice, ["a", "^b"])
                return {"type": kind, **self.some(minLength=self.bound, maxLength=self.bound, pattern=pattern)}
            case "integer" | "number":
                step, edge = partial(self.random.choice, [1, 2, 4]), self.bound
                words = self.some(minimum=edge, maximum=edge, exclusiveMinimum=edge, multipleOf=step)
                return {"type": kind, **words}
            case "array":
                words = {"minItems": self.bound, "maxItems": self.bound, "items": below, "contains": below}
                first = partial(self.schemas, depth - 1)
                return {"type": kind, **self.some(**words, uniqueItems=lambda: True, prefixItems=first)}
            case "object":
                names = self.random.sample(NAMES, self.random.randint(0, 3))
                return {"type": kind, "properties": {name: below() for name in names}, **self.about_objects(below)}
            case _:
                return {"type": kind}

    def about_objects(self, below: Callable[[], Any]) -> dict[str, Any]:
        return self.some(
            required=lambda: self.random.sample(NAMES, self.random.randint(0, 2)),
            additionalProperties=lambda: self.random.choice([True, False, below()]),
            patternProperties=lambda: {"[ab]": below()},
            maxProperties=self.bound,
            minProperties=self.bound,
            dependentRequired=lambda: {"a": ["b"]},
            propertyNames=lambda: {"pattern": "a"},
        )

    def changed(self, schema: Any) -> Any:
        """Return a schema that differs from *schema* a little, at one place."""
        if not isinstance(schema, dict) or not schema or self.random.random() < 0.1:
            return self.schema(1)
        word = self.random.choice(sorted(schema))
        value, rest = schema[word], {name: each for name, each in schema.items() if name != word}
        within = self.random.random() < 0.7
        if not within and "type" in schema:
            return self.random.choice([rest, {"anyOf": [schema, {"type": "null"}]}, {**schema, **self.like(schema)}])
        if word in ("properties", "patternProperties") and value:
            name = self.random.choice(sorted(value))
            return {**rest, word: {**value, name: self.changed(value[name])}}
        if word in ("anyOf", "oneOf", "allOf", "prefixItems") and value:
            return {**rest, word: [self.changed(value[0]), *value[1:]]}
        if word in ("items", "additionalProperties", "contains"):
            return {**rest, word: self.changed(value)}
        if type(value) is int:
            return {**rest, word: max(1, value + self.random.choice([-1, 1]))}
        return rest

    def like(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return words for a schema of the same type."""
        for _ in range(50):
            other = self.schema(1)
            if other.get("type") == schema["type"]:
                return other
        return {}

    def value(self, schema: Any, depth: int = 3) -> Any:
        """Return what *schema* may take, with no properties but those that it says something of."""
        schema = schema if isinstance(schema, dict) else {}
        if "enum" in schema:
            return self.random.choice(schema["enum"])
        if choices := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
            return self.value(self.random.choice(choices), depth)
        match schema.get("type") or self.random.choice(PLAIN):
            case "array":
                first, size = schema.get("prefixItems", []), self.random.randint(0, 3)
                return [
                    self.value(first[i] if i < len(first) else schema.get("items", {}), depth - 1) for i in range(size)
                ]
            case "object":
                return self.properties(schema, depth)
            case "string":
                return "".join(self.random.choices("ab", k=self.random.randint(0, 4)))
            case "integer":
                return self.random.randint(-1, 8)
            case "number":
                return self.random.choice([-1, 0, 0.5, 1, 1.0, 2, 3.5, 4])
            case "boolean":
                return self.random.choice([True, False])
            case _:
                return None

    def properties(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        known, other = schema.get("properties", {}), schema.get("additionalProperties", False)
        names = [*known, *schema.get("required", ()), *(["ab"] if "patternProperties" in schema else ())]
        names += ["d", *NAMES] if other is not False else []
        chosen = {*schema.get("required", ()), *(name for name in names if self.random.random() < 0.6)}
        return {name: self.value(known.get(name, other), depth - 1) for name in sorted(chosen)}


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 1 << 32))
def test_a_compatible_change_accepts_everything_that_was_accepted(seed: int) -> None:
    maker = Maker(Random(seed))
    older = maker.schema()
    newer = maker.changed(older)
    if narrowings(older, newer):
        return
    before, after = jsonschema.Draft202012Validator(older), jsonschema.Draft202012Validator(newer)
    for _ in range(20):
        value = maker.value(older)
        if before.is_valid(value):
            assert after.is_valid(value), (older, newer, value)
