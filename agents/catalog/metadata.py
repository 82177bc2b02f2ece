"""Metadata bags: up to 16 short pairs, merged per key on update (spec section 0)."""

from __future__ import annotations

from collections.abc import Mapping

from agents.catalog import limits
from agents.errors import InvalidRequest


def checked(bag: Mapping[str, str], where: str = "metadata") -> dict[str, str]:
    """Return a copy of a whole bag; raises InvalidRequest (``invalid_metadata``) when it breaks a limit."""
    if len(bag) > limits.METADATA_PAIRS:
        raise _invalid(where, f"at most {limits.METADATA_PAIRS} pairs are allowed, not {len(bag)}")
    for key, value in bag.items():
        if not 1 <= len(key) <= limits.METADATA_KEY_CHARS:
            shown = key[: limits.METADATA_KEY_CHARS]
            raise _invalid(where, f"key {shown!r} must have 1 to {limits.METADATA_KEY_CHARS} characters")
        if len(value) > limits.METADATA_VALUE_CHARS:
            raise _invalid(f"{where}.{key}", f"must have at most {limits.METADATA_VALUE_CHARS} characters")
    return dict(bag)


def merged(
    stored: Mapping[str, str], patch: Mapping[str, str | None] | None, *, empty_deletes: bool = False
) -> dict[str, str]:
    """Return *stored* with *patch* applied: null deletes a key (with *empty_deletes* also ""), null for the
    whole patch empties the bag. Raises InvalidRequest when the result breaks a limit."""
    if patch is None:
        return {}
    bag = dict(stored)
    for key, value in patch.items():
        if value is None or (empty_deletes and not value):
            bag.pop(key, None)
        else:
            bag[key] = value
    return checked(bag)


def _invalid(where: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{where}: {what}", error_code="invalid_metadata")
