"""The settings of a platform as a file that everybody may read: no keys, no passwords, no data directory.

What is left out is named in the file, because somebody has to set it again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import yaml
from pydantic import SecretStr

from agents.config import Settings
from agents.settings_base import PASSWORD_IN_URL

NAME = "settings.yaml"
_HERE = ("data_dir",)
_TELLING = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
"""Names of variables that must not have secrets, and are left out in case they do."""
_VARIABLES = ("environment", "env_vars")


def settings_text(settings: Settings) -> str:
    """Return what differs from the defaults as YAML, with a comment for each setting that is left out."""
    given = settings.model_dump(exclude_defaults=True)
    left_out: list[str] = []
    kept = _open(given, "", left_out)
    for name in _HERE:
        kept.pop(name, None)
    lines = ["# Settings of a Hecaton platform, as its backup found them. Paths are those of the old machine."]
    lines += [f"# {key}: set this again; it is a secret and not in the backup" for key in left_out]
    return "\n".join(lines) + "\n" + (yaml.safe_dump(kept, sort_keys=False, allow_unicode=True) if kept else "")


def _open(values: Mapping[str, Any], prefix: str, left_out: list[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        in_variables = prefix.removesuffix(".").rpartition(".")[2] in _VARIABLES
        if isinstance(value, SecretStr) or (in_variables and _TELLING.search(name)):
            left_out.append(key)
        elif isinstance(value, Mapping):
            if inner := _open(cast("Mapping[str, Any]", value), f"{key}.", left_out):
                kept[name] = inner
        else:
            kept[name] = _plain(value)
    return kept


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in cast("list[Any]", value)]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return PASSWORD_IN_URL.sub("://", str(value))
