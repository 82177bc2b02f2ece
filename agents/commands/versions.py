"""What ``hecaton brains`` and ``hecaton hands`` have in common: versions that share the new sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote

from anthropic import Anthropic
from rich.text import Text

_STYLE = {"current": "green", "trial": "yellow", "withdrawn": "red", "idle": "dim"}


def change_versions(client: Anthropic, path: str, name: str, action: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Have the server do *action* (release, promote or rollback) with what is called *name*; returns its answer."""
    given = {key: value for key, value in body.items() if value is not None}
    return cast("dict[str, Any]", client.post(f"{path}/{quote(name, safe='')}/{action}", cast_to=object, body=given))


def state_of(version: Mapping[str, Any]) -> Text:
    """Return the state of a version, in its colour."""
    state = str(version["state"])
    return Text(state, style=_STYLE.get(state, ""))
