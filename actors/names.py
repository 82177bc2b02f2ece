"""Names under which the parts of the platform find each other on a Ray cluster."""

from __future__ import annotations

NAMESPACE = "hecaton"
BRAIN_APP = "hecaton-brain"
GATEWAY_APP = "hecaton-gateway"
FLEET = "fleet"


def harness_name(index: int) -> str:
    return f"harness-{index}"


def harness_index(name: str) -> int | None:
    """Return the index in a harness's name, None for another part's."""
    prefix, _, index = name.rpartition("-")
    return int(index) if prefix == "harness" and index.isdigit() else None
