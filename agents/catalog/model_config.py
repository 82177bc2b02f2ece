"""Which model an agent thinks with: a bare id or an object becomes the full object (spec A.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.catalog import limits
from agents.errors import InvalidRequest

DEFAULT_EFFORT = "high"
_GEOGRAPHIES = ("us", "global")


def resolve_model(given: str | Mapping[str, Any], *, stored: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the resolved model. With *stored* (an update) an omitted effort stays when the id is unchanged.

    Raises InvalidRequest for an empty id or an unknown geography.
    """
    if isinstance(given, str):
        given = {"id": given}
    limits.check_length("model", given["id"], limits.MODEL_ID_CHARS, shortest=1)
    geography = given.get("inference_geo")
    if geography is not None and geography not in _GEOGRAPHIES:
        raise InvalidRequest(f"model.inference_geo: must be one of {', '.join(_GEOGRAPHIES)}, not {geography[:60]!r}")
    return {
        "id": given["id"],
        "effort": _effort(given, stored),
        "inference_geo": geography,
        "speed": given.get("speed") or "standard",
    }


def _effort(given: Mapping[str, Any], stored: Mapping[str, Any] | None) -> dict[str, Any]:
    if "effort" not in given and stored is not None and stored["id"] == given["id"]:
        return dict(stored["effort"])
    effort = given.get("effort") or DEFAULT_EFFORT
    return {"type": effort} if isinstance(effort, str) else {"type": effort["type"]}
