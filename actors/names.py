"""Names under which the parts of the platform find each other on a Ray cluster."""

from __future__ import annotations

NAMESPACE = "hecaton"
BRAIN_APP = "hecaton-brain"
GATEWAY_APP = "hecaton-gateway"
FLEET = "fleet"


def harness_name(index: int) -> str:
    return f"harness-{index}"


def sandbox_host_name(index: int) -> str:
    return f"sandbox-host-{index}"
