"""Whether a JSON Schema takes everything that another one took.

The answer errs on one side only: a change that is called harmless is, one that is called breaking may be harmless
where schemas cannot be compared (patterns, ``not``). The older schema is read as a caller reads it: properties that it
does not mention are not sent, unless it says ``additionalProperties``. So a new optional property breaks nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from agents.governance.schema_keywords import (
    TYPES,
    Narrowing,
    Schema,
    at,
    bounds,
    is_open,
    listed_apart,
    missing,
    number_bounds,
    patterns,
    same,
    schemas_for,
    schemas_like,
    shallow,
    short,
    string_bounds,
    text_of,
    types_of,
    without_branches,
)
from agents.governance.schemas import resolved, validator_of

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_BUDGET = 20_000
_TOO_LARGE = "the schemas are too large to be compared"


def narrowings(older: Schema, newer: Schema) -> Sequence[Narrowing]:
    """Return where *newer* refuses values that *older* takes; none when it takes them all."""
    return [] if text_of(older) == text_of(newer) else _Comparison(older, newer).run()


class _OutOfBudget(Exception):
    """It takes too long to compare them."""


class _Comparison:
    """The comparison of two whole schemas, whose parts refer to them by ``$ref``."""

    def __init__(self, older: Schema, newer: Schema) -> None:
        self._older, self._newer = older, newer
        self._left = _BUDGET
        self._assumed = dict[tuple[tuple[int, ...], int], Any]()
        """What holds unless something else speaks against it, with what its key refers to."""
        self._validators: dict[int, Any] = {id(root): validator_of(root) for root in (older, newer)}

    def run(self) -> Sequence[Narrowing]:
        try:
            return list(dict.fromkeys(self._within(self._parts(self._older), self._newer, "")))
        except _OutOfBudget:
            return [Narrowing("", _TOO_LARGE)]

    # -- the older side: a list of schemas that all hold ------------------------------------------

    def _parts(self, schema: Any) -> list[Schema]:
        """Return *schema* with what it refers to and ``allOf``, as schemas without those that all hold."""
        if isinstance(schema, bool):
            return [] if schema else [{"enum": []}]
        parts = [cast("Schema", schema)]
        if isinstance(reference := schema.get("$ref"), str):
            parts += self._parts(resolved(self._older, reference))
        for each in schema.get("allOf", ()):
            parts += self._parts(each)
        return parts

    def _types(self, parts: Sequence[Schema]) -> frozenset[str]:
        found = TYPES
        for part in parts:
            found &= types_of(part)
        return found

    def _finite(self, parts: Sequence[Schema]) -> list[Any] | None:
        """Return the values that the parts take, if they are listed."""
        listed = next((part for part in parts if "enum" in part or "const" in part), None)
        if listed is not None:
            values = [listed["const"]] if "const" in listed else listed["enum"]
        elif (types := self._types(parts)) <= {"null", "boolean"}:
            values = [value for kind in types for value in ([None] if kind == "null" else [True, False])]
        else:
            return None
        return [value for value in values if all(self._takes(self._older, part, value) for part in parts)]

    def _takes(self, root: Schema, schema: Any, value: Any) -> bool:
        within: Validator = self._validators[id(root)].evolve(schema=schema)
        return within.is_valid(value)

    # -- older within newer ------------------------------------------------------------------------

    def _within(self, older: list[Schema], newer: Any, path: str) -> Iterator[Narrowing]:
        self._left -= 1
        if self._left < 0:
            raise _OutOfBudget
        if newer is True or newer == {}:
            return
        if (values := self._finite(older)) is not None:
            yield from self._values_within(values, newer, path)
            return
        if newer is False:
            yield Narrowing(path, "is refused")
            return
        key = tuple(sorted(id(part) for part in older)), id(newer)
        if key in self._assumed:
            return
        before = len(self._assumed)
        self._assumed[key] = older, newer
        found = list(self._keywords(older, newer, path))
        branches = next((part[word] for part in older for word in ("anyOf", "oneOf") if word in part), None)
        if found and branches is not None:
            self._forget(before)
            rest = [without_branches(part, branches) for part in older]
            found = [each for branch in branches for each in self._within(rest + self._parts(branch), newer, path)]
        if found:
            self._forget(before)
        yield from found

    def _forget(self, before: int) -> None:
        """Assume nothing any more that was assumed since there were *before* assumptions."""
        while len(self._assumed) > before:
            self._assumed.popitem()

    def _values_within(self, values: list[Any], newer: Any, path: str) -> Iterator[Narrowing]:
        refused = [value for value in values if not self._takes(self._newer, newer, value)]
        if refused:
            shown = ", ".join(map(text_of, refused))
            yield Narrowing(path, f"{short(shown)} is refused")

    def _keywords(self, older: list[Schema], newer: Schema, path: str) -> Iterator[Narrowing]:
        if isinstance(reference := newer.get("$ref"), str):
            yield from self._within(older, resolved(self._newer, reference), path)
        for each in newer.get("allOf", ()):
            yield from self._within(older, each, path)
        types = self._types(older)
        if gone := missing(types, types_of(newer)):
            yield Narrowing(path, f"type: {' or '.join(sorted(gone))} is refused")
        if "enum" in newer or "const" in newer:
            listed = [newer["const"]] if "const" in newer else newer["enum"]
            yield Narrowing(path, f"only {short(', '.join(map(text_of, listed)))} is taken")
        if types & {"number", "integer"}:
            yield from number_bounds(older, newer, path, integers="number" not in types)
        if "string" in types:
            yield from string_bounds(older, newer, path)
        if "array" in types:
            yield from self._arrays(older, newer, path)
        if "object" in types:
            yield from self._objects(older, newer, path)
        yield from self._choices(older, newer, path)

    # -- choices -------------------------------------------------------------------------------------

    def _choices(self, older: list[Schema], newer: Schema, path: str) -> Iterator[Narrowing]:
        for word in ("anyOf", "oneOf"):
            if word in newer and not same(older, newer, word):
                yield from self._one_of(older, newer[word], path, only=word == "oneOf")
        if "not" in newer and not same(older, newer, "not"):
            yield Narrowing(path, "not: differs and cannot be compared")
        if "if" in newer and not same(older, newer, "if", "then", "else"):
            for word in ("then", "else"):
                yield from self._within(older, newer.get(word, True), path)

    def _one_of(self, older: list[Schema], branches: Sequence[Any], path: str, *, only: bool) -> Iterator[Narrowing]:
        for index, branch in enumerate(branches):
            others = [each for place, each in enumerate(branches) if place != index]
            if only and not all(self._apart(branch, each) for each in others):
                continue
            if self._holds(older, branch, path):
                return
        types = self._types(older)
        kinds = types - {"integer"} if "number" in types else types
        if 1 < len(kinds) < len(TYPES) - 1:
            for each in sorted(kinds):
                yield from self._one_of([*older, {"type": each}], branches, path, only=only)
            return
        inner = next((part[word] for part in older for word in ("anyOf", "oneOf") if word in part), None)
        if inner is None:
            yield Narrowing(path, "none of the alternatives takes all of it")
            return
        rest = [without_branches(part, inner) for part in older]
        for each in inner:
            yield from self._one_of(rest + self._parts(each), branches, path, only=only)

    def _holds(self, older: list[Schema], newer: Any, path: str) -> bool:
        """Return whether the newer schema takes it all."""
        return next(self._within(older, newer, path), None) is None

    def _apart(self, one: Any, other: Any) -> bool:
        """Whether no value keeps to both of two branches of the newer schema, as far as types and constants tell."""
        a, b = (shallow(self._newer, each) for each in (one, other))
        if a is None or b is None:
            return False
        types, others = types_of(a), types_of(b)
        if not types & others:
            return True
        if not types == others == frozenset({"object"}):
            return False
        shared = set(a.get("required", ())) & set(b.get("required", ()))
        return any(listed_apart(a, b, name) for name in shared)

    # -- arrays and objects --------------------------------------------------------------------------

    def _arrays(self, older: list[Schema], newer: Schema, path: str) -> Iterator[Narrowing]:
        yield from bounds(older, newer, path, "minItems", "maxItems", "items")
        if newer.get("uniqueItems") and not any(part.get("uniqueItems") for part in older):
            yield Narrowing(path, "uniqueItems: the same item twice is refused")
        if "contains" in newer and not same(older, newer, "contains", "minContains", "maxContains"):
            yield Narrowing(path, "contains: differs and cannot be compared")
        if newer.get("unevaluatedItems", True) is not True:
            yield Narrowing(path, "unevaluatedItems: cannot be compared")
        first = cast("list[Any]", newer.get("prefixItems", []))
        for place, schema in enumerate(first):
            yield from self._within(self._item(older, place), schema, f"{path}[{place}]")
        if "items" in newer:
            longest = max((len(part.get("prefixItems", ())) for part in older), default=0)
            for place in range(len(first), longest):
                yield from self._within(self._item(older, place), newer["items"], f"{path}[{place}]")
            yield from self._within(self._item(older, max(longest, len(first))), newer["items"], f"{path}[]")

    def _item(self, older: list[Schema], place: int) -> list[Schema]:
        found = list[Schema]()
        for part in older:
            first = part.get("prefixItems", ())
            found += self._parts(first[place] if place < len(first) else part.get("items", True))
        return found

    def _objects(self, older: list[Schema], newer: Schema, path: str) -> Iterator[Narrowing]:
        required = {name for part in older for name in part.get("required", ())}
        names = {name for part in older for name in part.get("properties", {})} | required
        for name in newer.get("required", ()):
            if name not in required:
                yield Narrowing(at(path, name), "is required")
        yield from self._dependent(older, newer, path, names, required)
        yield from bounds(older, newer, path, "minProperties", None, "properties")
        yield from self._property_names(older, newer, path, names)
        if newer.get("unevaluatedProperties", True) is not True:
            yield Narrowing(path, "unevaluatedProperties: cannot be compared")
        for name in sorted(names):
            for schema in schemas_for(newer, name):
                if schema is False:
                    yield Narrowing(at(path, name), "is refused")
                else:
                    yield from self._within(self._property(older, name), schema, at(path, name))
        yield from self._other_properties(older, newer, path, names)

    def _property(self, older: list[Schema], name: str) -> list[Schema]:
        return [each for part in older for schema in schemas_for(part, name) for each in self._parts(schema)]

    def _other_properties(self, older: list[Schema], newer: Schema, path: str, names: set[str]) -> Iterator[Narrowing]:
        """What the older schema takes under names that it does not list."""
        explicit = [part["additionalProperties"] for part in older if "additionalProperties" in part]
        for pattern, schema in [each for part in older for each in patterns(part)]:
            for newer_schema in schemas_like(newer, pattern):
                yield from self._within(self._parts(schema), newer_schema, at(path, f"/{pattern}/"))
        if not explicit or any(each is False for each in explicit):
            return
        other = [part for schema in explicit for part in self._parts(schema)]
        for name, schema in newer.get("properties", {}).items():
            if name not in names:
                yield from self._within(other, schema, at(path, name))
        rest = [schema for _, schema in patterns(newer)] + [newer.get("additionalProperties", True)]
        for schema in rest:
            yield from self._within(other, schema, at(path, "*"))

    def _property_names(self, older: list[Schema], newer: Schema, path: str, names: set[str]) -> Iterator[Narrowing]:
        closed = not is_open(older)
        if "maxProperties" in newer and not (closed and len(names) <= newer["maxProperties"]):
            yield from bounds(older, newer, path, None, "maxProperties", "properties")
        wanted = newer.get("propertyNames", True)
        if wanted is True or same(older, newer, "propertyNames"):
            return
        refused = [name for name in sorted(names) if not self._takes(self._newer, wanted, name)]
        if refused or not closed:
            yield Narrowing(path, f"propertyNames: {short(', '.join(refused)) or 'other names'} may be refused")

    def _dependent(
        self, older: list[Schema], newer: Schema, path: str, names: set[str], required: set[str]
    ) -> Iterator[Narrowing]:
        open_ = is_open(older)
        for name, wanted in newer.get("dependentRequired", {}).items():
            before = {each for part in older for each in part.get("dependentRequired", {}).get(name, ())}
            more = [each for each in wanted if each not in before | required]
            if more and (open_ or name in names):
                yield Narrowing(at(path, more[0]), f"is required with {name}")
        for name, schema in newer.get("dependentSchemas", {}).items():
            same = any(part.get("dependentSchemas", {}).get(name) == schema for part in older)
            if not same and (open_ or name in names):
                yield from self._within(older, schema, path)
