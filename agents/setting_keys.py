"""The settings by their dotted keys (``sandbox.max_live``), as files, variables and the reference name them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from agents.config import ENV_PREFIX, Settings


def setting_keys(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every setting as its dotted key and its field."""
    for name, info in model.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from setting_keys(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, info


def is_mapping(info: FieldInfo) -> bool:
    """Whether a setting has entries of the user's own naming, each given as a key of its own (``api_keys.NAME``)."""
    return get_origin(info.annotation) is dict


def is_secret(info: FieldInfo) -> bool:
    """Whether a setting's value must not be shown."""
    return "SecretStr" in str(info.annotation)


def setting_of(key: str, known: Mapping[str, FieldInfo]) -> FieldInfo | None:
    """Return the setting that a dotted key gives a value to, or an entry of; None when there is none."""
    info = known.get(key)
    if info is not None:
        return None if is_mapping(info) else info
    whole = known.get(key.partition(".")[0])
    return whole if whole is not None and is_mapping(whole) else None


def variable_of(key: str) -> str:
    """Name the environment variable of a dotted key."""
    return ENV_PREFIX + key.upper().replace(".", "__")


SECTIONS = frozenset(
    name for name, info in Settings.model_fields.items() if name not in dict(setting_keys()) or is_mapping(info)
)
"""Keys that hold other keys."""
