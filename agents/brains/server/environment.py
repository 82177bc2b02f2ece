"""What an inference server is told by its environment, and what it is not (law 8).

It inherits the replica's, for it needs ``CUDA_VISIBLE_DEVICES`` as Ray set it, caches, and the token for a gated
model; but neither keys of models that are asked elsewhere nor the platform's own settings, which hold secrets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_WITHHELD_PREFIXES = ("ANTHROPIC_", "HECATON_")
_WITHHELD_SUFFIX = "_API_KEY"
"""Inference servers also take such a variable as a key to demand of whoever asks them."""
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|CREDENTIAL|_KEY$", re.IGNORECASE)
_SHORTEST_SECRET = 8


def child_environment(inherited: Mapping[str, str], declared: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of an inference server; what is *declared* for it goes before what it inherits."""
    kept = {name: value for name, value in inherited.items() if not _is_withheld(name)}
    return kept | dict(declared)


def mask_for(environment: Mapping[str, str]) -> Callable[[str], str]:
    """Return what cuts the secrets of *environment* out of a text."""
    secrets = {
        value: f"[{name}]"
        for name, value in environment.items()
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET
    }
    if not secrets:
        return str
    pattern = re.compile("|".join(re.escape(value) for value in sorted(secrets, key=len, reverse=True)))
    return lambda text: pattern.sub(lambda found: secrets[found[0]], text)


def _is_withheld(name: str) -> bool:
    return name.startswith(_WITHHELD_PREFIXES) or name.endswith(_WITHHELD_SUFFIX)
