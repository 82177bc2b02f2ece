"""What a result was expected to be, held against what it is.

Expectations are JSON. An object with one key that begins with ``$`` is a matcher; everything else must be the same:

* ``{"$any": true}``: whatever it is; ``{"$type": "integer"}``: any value of that JSON type
* ``{"$matches": "^INV-"}``: a text in which the expression is found; ``{"$between": [1, 2]}``: a number, ends included
* ``{"$includes": X}``: an object with at least these members, or a list with at least these entries
* ``{"$unordered": [...]}``: a list of these entries, in any order
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

_SHOWN_CHARS = 120
_TYPES: Mapping[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}


def differences(expected: Any, actual: Any, path: str = "") -> Iterator[str]:
    """Yield where and how *actual* is not what was expected."""
    name = _matcher_of(expected)
    if name is not None:
        yield from _MATCHERS[name](expected[name], actual, path)
    elif isinstance(expected, dict) and isinstance(actual, dict):
        yield from _members(cast("dict[str, Any]", expected), cast("dict[str, Any]", actual), path, exact=True)
    elif isinstance(expected, list) and isinstance(actual, list):
        yield from _entries(cast("list[Any]", expected), cast("list[Any]", actual), path)
    elif not _same(expected, actual):
        yield f"{path or 'it'}: is {_shown(actual)}, not {_shown(expected)}"


def check_expectation(expected: Any) -> None:
    """Raise ValueError when a matcher within *expected* is none."""
    name = _matcher_of(expected)
    if name is not None:
        if name not in _MATCHERS:
            raise ValueError(f"{name}: unknown matcher; there are {', '.join(_MATCHERS)}")
        _CHECKS.get(name, _no_check)(expected[name])
        return
    if isinstance(expected, dict):
        for each in cast("dict[str, Any]", expected).values():
            check_expectation(each)
    elif isinstance(expected, list):
        for each in cast("list[Any]", expected):
            check_expectation(each)


def type_of(value: Any) -> str:
    """Return the JSON type of a value."""
    return next(name for name, kinds in _TYPES.items() if _is(value, name, kinds))


def _is(value: Any, name: str, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and (name == "boolean" or not isinstance(value, bool))


def _matcher_of(expected: Any) -> str | None:
    if not isinstance(expected, dict):
        return None
    keys = list(cast("dict[str, Any]", expected))
    return keys[0] if len(keys) == 1 and keys[0].startswith("$") else None


def _same(expected: Any, actual: Any) -> bool:
    # To Python True is 1.
    return expected == actual and isinstance(expected, bool) is isinstance(actual, bool)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


def _members(expected: dict[str, Any], actual: dict[str, Any], path: str, *, exact: bool) -> Iterator[str]:
    for name, each in expected.items():
        where = f"{path}.{name}" if path else name
        if name in actual:
            yield from differences(each, actual[name], where)
        else:
            yield f"{where}: is missing"
    if exact:
        yield from (f"{path}.{name}".removeprefix(".") + ": is more than expected" for name in actual.keys() - expected)


def _entries(expected: list[Any], actual: list[Any], path: str) -> Iterator[str]:
    if len(expected) != len(actual):
        yield f"{path or 'it'}: has {len(actual)} entries, not {len(expected)}"
    for index, (one, other) in enumerate(zip(expected, actual, strict=False)):
        yield from differences(one, other, f"{path}[{index}]")


def _any(wanted: Any, actual: Any, path: str) -> Iterator[str]:
    del wanted, actual, path
    yield from ()


def _type(wanted: Any, actual: Any, path: str) -> Iterator[str]:
    if not _is(actual, wanted, _TYPES[wanted]):
        yield f"{path or 'it'}: is {_shown(actual)}, no {wanted}"


def _matches(wanted: Any, actual: Any, path: str) -> Iterator[str]:
    if not isinstance(actual, str) or not re.search(wanted, actual):
        yield f"{path or 'it'}: is {_shown(actual)}, in which {wanted!r} is not found"


def _between(wanted: Any, actual: Any, path: str) -> Iterator[str]:
    least, most = wanted
    if not _is(actual, "number", _TYPES["number"]) or not least <= actual <= most:
        yield f"{path or 'it'}: is {_shown(actual)}, not from {least} to {most}"


def _includes(wanted: Any, actual: Any, path: str) -> Iterator[str]:
    if isinstance(wanted, dict) and isinstance(actual, dict):
        yield from _members(cast("dict[str, Any]", wanted), cast("dict[str, Any]", actual), path, exact=False)
    elif isinstance(wanted, list) and isinstance(actual, list):
        for each in cast("list[Any]", wanted):
            if not any(not list(differences(each, entry)) for entry in cast("list[Any]", actual)):
                yield f"{path or 'it'}: has no {_shown(each)}"
    else:
        yield f"{path or 'it'}: is {_shown(actual)}, not {_shown(wanted)} and maybe more"


def _unordered(wanted: Any, actual: Any, path: str) -> Iterator[str]:
    if not isinstance(actual, list) or len(cast("list[Any]", actual)) != len(wanted):
        yield f"{path or 'it'}: is {_shown(actual)}, no list of {len(wanted)} entries"
        return
    left = list(cast("list[Any]", actual))
    for each in wanted:
        found = next((index for index, entry in enumerate(left) if not list(differences(each, entry))), None)
        if found is None:
            yield f"{path or 'it'}: has no {_shown(each)}"
        else:
            del left[found]


_MATCHERS: Mapping[str, Callable[[Any, Any, str], Iterator[str]]] = {
    "$any": _any,
    "$type": _type,
    "$matches": _matches,
    "$between": _between,
    "$includes": _includes,
    "$unordered": _unordered,
}


def _no_check(wanted: Any) -> None:
    del wanted


def _check_type(wanted: Any) -> None:
    if wanted not in _TYPES:
        raise ValueError(f"$type: {_shown(wanted)} is none of {', '.join(_TYPES)}")


def _check_expression(wanted: Any) -> None:
    try:
        re.compile(wanted)
    except (re.error, TypeError) as error:
        raise ValueError(f"$matches: {_shown(wanted)} is no expression: {error}") from error


def _check_between(wanted: Any) -> None:
    bounds = cast("list[Any]", wanted) if isinstance(wanted, list) else []
    if len(bounds) != 2 or not all(_is(each, "number", _TYPES["number"]) for each in bounds):
        raise ValueError(f"$between: must be two numbers, not {_shown(wanted)}")


def _check_list(wanted: Any) -> None:
    if not isinstance(wanted, list):
        raise ValueError(f"$unordered: must be a list, not {_shown(wanted)}")
    check_expectation(wanted)


_CHECKS: Mapping[str, Callable[[Any], None]] = {
    "$type": _check_type,
    "$matches": _check_expression,
    "$between": _check_between,
    "$includes": check_expectation,
    "$unordered": _check_list,
}
