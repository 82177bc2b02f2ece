"""``hecaton hands``: the hands that a server runs."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote

from anthropic import Anthropic
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.answers import print_json
from agents.commands.failures import CommandFailed
from agents.commands.timeline import printable
from agents.hand_settings import HandDefinition
from agents.hands.deployed.source import pack, read_contract

_PATH = "/-/hands"
_GIVEN_UP = "DEPLOY_FAILED"
_STATE_STYLE = {"RUNNING": "green", _GIVEN_UP: "red", "UNHEALTHY": "red"}
_LOOK_SECONDS = 0.5


def add_hand(
    console: Console, client: Anthropic, name: str, given: Mapping[str, Any], *, wait: float, as_json: bool
) -> None:
    """Send the code of a hand to the server; wait until it has said what it offers, for *wait* seconds at most.

    Raises CommandFailed when it does not come to that.
    """
    definition = _definition({key: value for key, value in given.items() if value is not None})
    packed, archive = pack(definition)
    body: dict[str, Any] = {"name": name, "definition": packed.model_dump(mode="json", exclude_defaults=True)}
    if archive is not None:
        body["source"] = base64.b64encode(archive).decode()
    if contract := read_contract(definition):
        body["contract"] = contract
    answer = cast("dict[str, Any]", client.post(_PATH, cast_to=object, body=body))
    answer = _settled(client, answer, wait)
    if as_json:
        print_json(console, answer)
    else:
        _show(console, [answer])
        for tool in answer["tools"] or ():
            console.print(Text(f"  {tool['name']}  ", style="bold"), Text(printable(tool["description"])[:200]))
    if answer["state"] == _GIVEN_UP:
        raise CommandFailed(f"hand {answer['id']} does not start: {answer['message']}")


def assignments(option: str, given: Sequence[str]) -> dict[str, str]:
    """Return what an option's ``NAME=VALUE`` assignments set. Raises CommandFailed."""
    parts = [assignment.partition("=") for assignment in given]
    if bad := [name for name, equals, _ in parts if not equals or not name]:
        raise CommandFailed(f"{option} {bad[0]}: expected NAME=VALUE", exit_code=2)
    return {name: value for name, _, value in parts}


def _settled(client: Anthropic, answer: dict[str, Any], wait: float) -> dict[str, Any]:
    """Return the newest report: once the hand is known to run or not to, or when *wait* seconds are over."""
    end = time.monotonic() + wait
    while answer["tools"] is None and answer["state"] != _GIVEN_UP and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
        answer = cast("dict[str, Any]", client.get(f"{_PATH}/{quote(answer['id'], safe='@')}", cast_to=object))
    return answer


def _definition(given: Mapping[str, Any]) -> HandDefinition:
    try:
        return HandDefinition.model_validate(given)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise CommandFailed("\n".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in faults), exit_code=2) from None


def list_hands(console: Console, client: Anthropic, *, as_json: bool) -> None:
    """Print every hand."""
    answer = cast("dict[str, Any]", client.get(_PATH, cast_to=object))
    if as_json:
        print_json(console, answer)
    else:
        _show(console, answer["data"])


def remove_hand(console: Console, client: Anthropic, hand: str, *, force: bool, as_json: bool) -> None:
    """Take a version away, also one that agents name (*force*): its calls end, its replicas go."""
    path = f"{_PATH}/{quote(hand, safe='@')}{'?force=true' if force else ''}"
    answer = cast("dict[str, Any]", client.delete(path, cast_to=object))
    if as_json:
        print_json(console, answer)
    else:
        console.print(f"removed {answer['id']}", markup=False)


def _show(console: Console, hands: list[dict[str, Any]]) -> None:
    table = Table(box=None, header_style="bold")
    for column in ("hand", "state", "replicas", "tools", "what for", "why"):
        table.add_column(column, overflow="fold", justify="right" if column in ("replicas", "tools") else "left")
    for hand in hands:
        definition = hand["definition"]
        table.add_row(
            Text(hand["id"]),
            Text(hand["state"], style=_STATE_STYLE.get(hand["state"], "")),
            f"{hand['replicas']} of {definition['min_replicas']}-{definition['max_replicas']}",
            "?" if hand["tools"] is None else str(len(hand["tools"])),
            Text(printable(hand["description"])),
            Text(printable(hand["message"])),
        )
    console.print(table)
