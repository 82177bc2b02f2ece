"""``hecaton environments``: the keys with which worker hosts serve self-hosted environments."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import quote

from anthropic import Anthropic
from rich.console import Console
from rich.table import Table

from agents.commands.answers import print_json
from agents.commands.paging import every_row
from agents.commands.timeline import printable


def _path(environment_id: str) -> str:
    return f"/v1/environments/{quote(environment_id, safe='')}/keys"


def create_key(console: Console, client: Anthropic, environment_id: str, name: str, *, as_json: bool) -> None:
    """Make a key and print it: nobody can see it again."""
    answer = cast("dict[str, Any]", client.post(_path(environment_id), cast_to=object, body={"name": name}))
    if as_json:
        print_json(console, answer)
        return
    console.print(answer["key"], soft_wrap=True, markup=False)
    console.print(f"{answer['id']}: shown this once only; give it to a worker as $ANTHROPIC_ENVIRONMENT_KEY")


def list_keys(console: Console, client: Anthropic, environment_id: str, *, as_json: bool) -> None:
    """Print every key of an environment, without the keys themselves."""
    found = every_row(client, _path(environment_id))
    if as_json:
        print_json(console, {"data": found})
        return
    table = Table(box=None, pad_edge=False)
    for column in ("id", "name", "made", "revoked"):
        table.add_column(column)
    for key in found:
        table.add_row(key["id"], printable(key["name"]), key["created_at"][:19], (key["revoked_at"] or "")[:19])
    console.print(table)


def revoke_key(console: Console, client: Anthropic, environment_id: str, key_id: str, *, as_json: bool) -> None:
    """End a key for good: the next request that shows it is refused."""
    path = f"{_path(environment_id)}/{quote(key_id, safe='')}"
    answer = cast("dict[str, Any]", client.delete(path, cast_to=object))
    if as_json:
        print_json(console, answer)
    else:
        console.print(f"{answer['id']} is revoked")
